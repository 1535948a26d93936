"""The story of a booking, played on the real parts: what happened in Dynamics, what Outlook showed, and how soon.

A planner works through the Dataverse Web API and a technician looks through Microsoft Graph, each with an identity of
their own; between them is nothing but the app in its functions host.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from urllib.parse import quote

from sandbox.client import Client
from sandbox.http import Json
from sandbox.process import ChildError
from sandbox.up import Up

PATIENCE = 20.0
"""Seconds until a step that does not come true has failed."""
LOOK_AGAIN = 0.1
"""Seconds until the technician looks again, even if nothing was heard in between."""


PEOPLE = ("alice", "bob")

type Calendars = Mapping[str, list[Json]]
"""The events of each of these people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: what the planner does, in words and in deeds, and what the technician must see then."""

    name: str
    in_dynamics: str
    act: Callable[[], Awaitable[None]]
    in_outlook: Callable[[Calendars], str]
    """What stands in the calendars -> what is seen, in words; empty while it is not the expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """How a step went; `ms` from the answer of Dynamics to the first look that showed the expected."""

    name: str
    ok: bool
    ms: int


class StoryError(Exception):
    """A call of the planner or the technician was refused, so the story cannot go on."""


class Story:
    """Alice's technician calendar and the planner who fills it."""

    def __init__(self, up: Up, client: Client, now: datetime) -> None:
        """Tell the story tomorrow morning."""
        self._up = up
        self._client = client
        self._morning = (now + timedelta(days=1)).replace(hour=9, minute=0, second=0, microsecond=0)
        self._booking = ""
        self._ids: dict[str, str] = {}

    def steps(self) -> list[Step]:
        """The whole story."""
        afternoon = self._morning + timedelta(hours=5)
        return [
            Step(
                name="create",
                in_dynamics="the planner books Alice for a boiler service, tomorrow 09:00 to 10:30",
                act=lambda: self._book("Boiler service"),
                in_outlook=lambda seen: _shows(seen, "Boiler service", self._morning, "busy"),
            ),
            Step(
                name="move",
                in_dynamics="drags it to 14:00",
                act=lambda: self._save(_times(afternoon)),
                in_outlook=lambda seen: _shows(seen, "Boiler service", afternoon, "busy"),
            ),
            Step(
                name="rename",
                in_dynamics="renames it to 'Boiler repair'",
                act=lambda: self._save({"name": "Boiler repair"}),
                in_outlook=lambda seen: _shows(seen, "Boiler repair", afternoon, "busy"),
            ),
            Step(
                name="work order",
                in_dynamics="attaches a work order of a customer",
                act=self._attach_work_order,
                in_outlook=lambda seen: _shows(seen, self._customer, afternoon, "busy"),
            ),
            Step(
                name="status",
                in_dynamics="sets the status back to Proposed",
                act=lambda: self._set_status("Proposed"),
                in_outlook=lambda seen: _shows(seen, self._customer, afternoon, "tentative"),
            ),
            Step(
                name="reassign",
                in_dynamics="gives it to Bob",
                act=lambda: self._assign("Bob Brandt"),
                in_outlook=lambda seen: _shows(seen, self._customer, afternoon, "tentative", "bob"),
            ),
            Step(
                name="reassign back",
                in_dynamics="gives it back to Alice",
                act=lambda: self._assign("Alice Anderson"),
                in_outlook=lambda seen: _shows(seen, self._customer, afternoon, "tentative"),
            ),
            Step(
                name="cancel",
                in_dynamics="cancels the booking",
                act=lambda: self._set_status("Canceled"),
                in_outlook=_shows_nothing,
            ),
            Step(
                name="take back",
                in_dynamics="commits it again",
                act=lambda: self._set_status("Committed"),
                in_outlook=lambda seen: _shows(seen, self._customer, afternoon, "busy"),
            ),
            Step(
                name="delete",
                in_dynamics="deletes the booking",
                act=self._delete,
                in_outlook=_shows_nothing,
            ),
            Step(
                name="lost answer",
                in_dynamics="books again, and Graph's answer to the create never arrives",
                act=self._book_unanswered,
                in_outlook=lambda seen: _shows(seen, "Answer lost", self._morning, "busy"),
            ),
            Step(
                name="delete that",
                in_dynamics="deletes it, too",
                act=self._delete,
                in_outlook=_shows_nothing,
            ),
            Step(
                name="heal",
                in_dynamics="books again while the webhook is down, then saves the booking once more",
                act=self._book_unheard,
                in_outlook=lambda seen: _shows(seen, "Heard at last", self._morning, "busy"),
            ),
        ]

    async def play(self, step: Step) -> tuple[Played, str]:
        """Do it, then look until it shows; what was seen, in words."""
        if step.in_outlook is _shows_nothing and not any((await self._calendars()).values()):
            raise StoryError(f"'{step.name}' has nothing to remove: an earlier step did not come true")
        await step.act()
        began = time.perf_counter()
        seen = ""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while not (seen := step.in_outlook(await self._calendars())):
                    await self._up.simulators.cloud.recorder.wait_for_traffic(LOOK_AGAIN)
        ms = round((time.perf_counter() - began) * 1000)
        return Played(name=step.name, ok=bool(seen), ms=ms), seen

    # The technician.

    async def _calendars(self) -> Calendars:
        return {person: await self._events(person) for person in PEOPLE}

    async def _events(self, person: str) -> list[Json]:
        if person not in self._ids:
            self._ids[person] = (await self._graph(f"users/{person}@contoso.test?$select=id"))["id"]
        answer = await self._graph(f"users/{self._ids[person]}/events?$select=subject,start,end,showAs")
        return list(answer["value"])

    async def _graph(self, path: str) -> Json:
        status, body, _ = await self._client.graph("GET", path, headers={"Prefer": 'outlook.timezone="UTC"'})
        if status != HTTPStatus.OK:
            raise StoryError(f"Graph refused to show {path}: {body}")
        return body

    # The planner.

    async def _book(self, name: str) -> None:
        body = {
            "name": name,
            **_times(self._morning),
            "bookingtype": 1,
            "Resource@odata.bind": await self._find("bookableresources", "name", "Alice Anderson"),
            "BookingStatus@odata.bind": await self._find("bookingstatuses", "name", "Committed"),
        }
        headers = {"Prefer": "return=representation"}
        made = await self._dataverse("POST", "bookableresourcebookings", body, headers)
        self._booking = made["bookableresourcebookingid"]

    async def _assign(self, name: str) -> None:
        await self._save({"Resource@odata.bind": await self._find("bookableresources", "name", name)})

    async def _book_unanswered(self) -> None:
        create = {"service": "graph", "method": "POST", "path": "/v1.0/users/*/events"}
        self._up.simulators.cloud.faults.add({**create, "app": self._up.app.client_id, "do": "drop_after_commit"})
        await self._book("Answer lost")

    async def _book_unheard(self) -> None:
        faults = self._up.simulators.cloud.faults
        [rule] = faults.add({"service": "webhook", "do": "lose", "times": None})
        await self._book("Nobody heard this")
        await self._up.simulators.dataverse.webhooks.quiet()
        rule.times = 0
        await self._save({"name": "Heard at last"})

    async def _save(self, columns: Json) -> None:
        await self._dataverse("PATCH", f"bookableresourcebookings({self._booking})", columns, {"If-Match": "*"})

    async def _set_status(self, name: str) -> None:
        await self._save({"BookingStatus@odata.bind": await self._find("bookingstatuses", "name", name)})

    async def _attach_work_order(self) -> None:
        path = "msdyn_workorders?$select=msdyn_name&$expand=msdyn_serviceaccount($select=name)&$top=1"
        [order] = (await self._dataverse("GET", path))["value"]
        self._customer = order["msdyn_serviceaccount"]["name"]
        await self._save({"msdyn_workorder@odata.bind": f"/msdyn_workorders({order['msdyn_workorderid']})"})

    async def _delete(self) -> None:
        await self._dataverse("DELETE", f"bookableresourcebookings({self._booking})")

    async def _find(self, entity_set: str, column: str, value: str) -> str:
        """The address of the row whose `column` is `value`, for binding a lookup to it."""
        condition = quote(f"{column} eq '{value}'")
        rows = (await self._dataverse("GET", f"{entity_set}?$select={column}&$filter={condition}"))["value"]
        if not rows:
            raise StoryError(f"there is no '{value}' among the {entity_set}")
        [key] = [name for name in rows[0] if name.endswith("id") and "@" not in name]
        return f"/{entity_set}({rows[0][key]})"

    async def _dataverse(
        self, method: str, path: str, body: Json = None, headers: Mapping[str, str] | None = None
    ) -> Json:
        status, answer, _ = await self._client.dataverse(method, path, body, headers)
        if status >= HTTPStatus.BAD_REQUEST:
            raise StoryError(f"Dataverse refused {method} {path}: {answer}")
        return answer


def _times(start: datetime) -> dict[str, object]:
    end = start + timedelta(minutes=90)
    return {"starttime": _stamp(start), "endtime": _stamp(end), "duration": 90}


def _stamp(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _shows(seen: Calendars, subject: str, start: datetime, show_as: str, person: str = "alice") -> str:
    """The one event in words, if it is the expected one, in this person's calendar and in nobody else's."""
    if any(events for other, events in seen.items() if other != person):
        return ""
    match seen[person]:
        case [{"subject": shown, "start": {"dateTime": begins}, "end": {"dateTime": ends}, "showAs": free_busy}]:
            began = datetime.fromisoformat(begins[:26]).replace(tzinfo=UTC)
            if (shown, began, free_busy) == (subject, start, show_as):
                return f"{person.capitalize()} has '{shown}', {began:%a} {begins[11:16]} to {ends[11:16]}, {free_busy}"
    return ""


def _shows_nothing(seen: Calendars) -> str:
    return "" if any(seen.values()) else "the event is gone"


async def tell(up: Up, say: Callable[[str], None]) -> dict[str, Json]:
    """Play the whole story; the report that `--json` prints."""
    played: list[Played] = []
    last = up.simulators.cloud.recorder.last
    async with up.client() as client:
        story = Story(up, client, up.simulators.cloud.clock.now())
        for step in story.steps():
            result, seen = await story.play(step)
            played.append(result)
            shown = f"Outlook after {result.ms:>4} ms: {seen}" if result.ok else f"NOT in Outlook after {result.ms} ms"
            say(f"{step.name:>13}  Dynamics: {step.in_dynamics:<72}  {shown}")
    counts = up.simulators.cloud.recorder.counts(app=up.app.client_id, after=last)
    return {
        "ok": all(result.ok for result in played),
        "steps": [{"name": result.name, "ok": result.ok, "ms": result.ms} for result in played],
        "requests": {name: counts.get(name, {"http": 0, "logical": 0}) for name in ("graph", "dataverse")},
    }


async def run(argv: Sequence[str]) -> int:
    """`python -m sandbox demo [--once] [--json]`: 0 when every step came true, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="dev.py demo", description="Watch bookings of Dynamics appear in Outlook.")
    parser.add_argument("--once", action="store_true", help="end when the story is told")
    parser.add_argument("--json", action="store_true", help="print the report as the last line, in JSON")
    given = parser.parse_args(argv)
    telling = asyncio.create_task(_tell_and_stay(once=given.once, as_json=given.json))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, telling.cancel)
    try:
        return await telling
    except (ChildError, StoryError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except asyncio.CancelledError:
        return 0


async def _tell_and_stay(*, once: bool, as_json: bool) -> int:
    async with Up() as up:
        report = await tell(up, _print)
        graph, dataverse = (report["requests"][name]["http"] for name in ("graph", "dataverse"))
        _print(f"\nThe app made {graph} requests to Graph and {dataverse} to Dataverse.")
        if as_json:
            _print(json.dumps(report))
        if not once:
            _print("\nThe sandbox stays up; Ctrl-C ends it. Where everything is:")
            for name, address in up.endpoints.items():
                _print(f"  {name:10} {address}")
            _print(f"  {'log':10} {up.functions_log}")
            await asyncio.Event().wait()
        return 0 if report["ok"] else 1


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()

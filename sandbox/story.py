"""The story of a few bookings: what the planner does in Dynamics, and what the technicians must see in Outlook then.

The planner works through the Dataverse Web API and keeps a diary; the technicians look through Microsoft Graph. Between
them is nothing but the app in its functions host.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from urllib.parse import quote

from sandbox.client import Client
from sandbox.http import Json
from sandbox.up import Up

PATIENCE = 20.0
"""Seconds until a step that does not come true has failed."""
PATIENCE_AFTER_A_WIPE = 90.0
"""The same while the app searches all calendars, waits 25 s and searches them again."""
PATIENCE_AFTER_A_LOST_ANSWER = 60.0
"""The same while the app does not know yet what its lost create has led to: it waits until that must be over."""
LOOK_AGAIN = 0.1
"""Seconds until the technicians look again, even if nothing was heard in between."""
LENGTH = timedelta(minutes=90)

PEOPLE = {"alice": "Alice Anderson", "bob": "Bob Brandt"}
SHOWN_AS = {"Committed": "busy", "Proposed": "tentative"}
BURST, TEAM = 100, 20
"""How many bookings are made at once, and for how many people."""
MOST_REQUESTS = {"graph": 15, "dataverse": 10}
"""What these may cost at most."""
ALL_POSTS = {"service": "webhook", "times": None}
CREATE = {"service": "graph", "method": "POST", "path": "*/users/*/events"}

type Calendars = Mapping[str, list[Json]]
"""The events of each of these people."""


async def nothing() -> None:
    """Nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: what the planner does, in words and in deeds, and what the technicians must see then."""

    name: str
    in_dynamics: str
    act: Callable[[], Awaitable[object]]
    in_outlook: Callable[[Calendars], str]
    """What stands in the calendars -> what is seen, in words; empty while it is not the expected."""
    then: Callable[[], Awaitable[object]] = nothing
    """What has to happen before they can see it; its time counts."""
    objection: Callable[[], str] = lambda: ""
    """What is wrong although they see it, in words; empty when nothing is."""
    patience: float = PATIENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """How a step went; `ms` from the answer of Dynamics to the first look that showed the expected."""

    name: str
    ok: bool
    ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A booking in the planner's diary; one that is `shown_as` nothing is canceled."""

    subject: str
    person: str
    start: datetime
    shown_as: str


class StoryError(Exception):
    """A call of the planner or the technicians was refused, so the story cannot go on."""


class Story:
    """Two technicians' calendars and the planner who fills them."""

    def __init__(self, up: Up, client: Client, now: datetime) -> None:
        """Tell the story tomorrow morning."""
        self._up = up
        self._client = client
        self._morning = (now + timedelta(days=1)).replace(hour=9, minute=0, second=0, microsecond=0)
        self._diary: dict[str, Entry] = {}
        self._booking = ""
        """The one that the planner has in hand; a key of the diary."""
        self._team: Collection[str] = PEOPLE
        self._mailboxes: dict[str, str] = {}
        self._items: Counter[tuple[str, str]] = Counter()
        self._last_request = 0

    def steps(self) -> list[Step]:
        """The whole story."""
        afternoon = self._morning + timedelta(hours=5)

        def step(name: str, in_dynamics: str, act: Callable[[], Awaitable[object]]) -> Step:
            return Step(name=name, in_dynamics=in_dynamics, act=act, in_outlook=self._as_in_the_diary)

        return [
            step(
                "create",
                "the planner books Alice for a boiler service, tomorrow 09:00 to 10:30",
                lambda: self._book("Boiler service"),
            ),
            step("move", "drags it to 14:00", lambda: self._move(afternoon)),
            step("rename", "renames it to 'Boiler repair'", lambda: self._rename("Boiler repair")),
            step("work order", "attaches a work order of a customer", self._attach_work_order),
            step("status", "sets the status back to Proposed", lambda: self._set_status("Proposed")),
            step("reassign", "gives it to Bob", lambda: self._assign("bob")),
            step("reassign back", "gives it back to Alice", lambda: self._assign("alice")),
            step("cancel", "cancels the booking", lambda: self._set_status("Canceled")),
            step("take back", "commits it again", lambda: self._set_status("Committed")),
            step("delete", "deletes the booking", self._delete),
            step(
                "lost answer",
                "books again, and Graph's answer to the create never arrives",
                self._book_unanswered,
            ),
            replace(step("delete that", "deletes it, too", self._delete), patience=PATIENCE_AFTER_A_LOST_ANSWER),
            step(
                "heal",
                "books again while the webhook is down, then saves the booking once more",
                self._book_unheard,
            ),
            step("a full day", "books four more visits, for Alice and Bob", self._fill_the_day),
            Step(
                name="wipe",
                in_dynamics="posts everything again; the app has lost its tables (half a minute)",
                act=self._wipe_and_post_again,
                then=self._up.quiet,
                in_outlook=self._as_before_the_wipe,
                patience=PATIENCE_AFTER_A_WIPE,
            ),
            Step(
                name="after it",
                in_dynamics="drags the first visit to 16:00",
                act=self._move_after_the_wipe,
                in_outlook=self._as_the_same_items,
            ),
            Step(
                name="lost hour",
                in_dynamics="books, moves, reassigns, cancels, deletes; an hour of posts is lost",
                act=self._work_unheard,
                then=lambda: self._up.functions.run_function("pull_dataverse"),
                in_outlook=self._as_asked_for,
            ),
            Step(
                name="burst",
                in_dynamics=f"books {BURST} visits for {TEAM} people at once; Microsoft takes its usual time",
                act=self._book_the_week,
                in_outlook=self._as_in_the_week,
                objection=self._costs_too_much,
            ),
        ]

    async def play(self, step: Step) -> tuple[Played, str]:
        """Do it, then look until it shows; what was seen, in words, or what is wrong."""
        await step.act()
        began = time.perf_counter()
        seen = ""
        with suppress(TimeoutError):
            async with asyncio.timeout(step.patience):
                await step.then()
                while not (seen := step.in_outlook(await self._calendars())):
                    await self._up.simulators.cloud.recorder.wait_for_traffic(LOOK_AGAIN)
        ms = round((time.perf_counter() - began) * 1000)
        objection = step.objection() if seen else "not in Outlook"
        return Played(name=step.name, ok=not objection, ms=ms), objection or seen

    # The technicians.

    async def _calendars(self) -> Calendars:
        return {person: await self._events(person) for person in self._team}

    async def _events(self, person: str) -> list[Json]:
        if person not in self._mailboxes:
            self._mailboxes[person] = (await self._graph(f"users/{person}@contoso.test?$select=id"))["id"]
        answer = await self._graph(f"users/{self._mailboxes[person]}/events?$select=subject,start,end,showAs&$top=100")
        return list(answer["value"])

    async def _graph(self, path: str) -> Json:
        status, body, _ = await self._client.graph("GET", path, headers={"Prefer": 'outlook.timezone="UTC"'})
        if status != HTTPStatus.OK:
            raise StoryError(f"Graph refused to show {path}: {body}")
        return body

    def _as_in_the_diary(self, seen: Calendars) -> str:
        """What the calendars show, if it is exactly what the diary says."""
        shown = Counter(_entry(person, event) for person, events in seen.items() for event in events)
        if shown != Counter(entry for entry in self._diary.values() if entry.shown_as):
            return ""
        match list(shown):
            case []:
                return "the event is gone"
            case [one]:
                return f"{_name(one.person)} has '{one.subject}', {_when(one)}, {one.shown_as}"
        return ", ".join(f"{_name(person)} has {len(events)} events" for person, events in seen.items())

    def _as_before_the_wipe(self, seen: Calendars) -> str:
        if self._as_in_the_diary(seen) and _items(seen) == self._items and not self._created_or_deleted():
            return f"the same {self._items.total()} events; the app searched all calendars, and again 25 s later"
        return ""

    def _as_the_same_items(self, seen: Calendars) -> str:
        if self._as_in_the_diary(seen) and _items(seen) == self._items and not self._created_or_deleted():
            return "it is there, still the same event: the app knows its events again"
        return ""

    def _as_asked_for(self, seen: Calendars) -> str:
        return "all five are right, once the app asked Dynamics itself" if self._as_in_the_diary(seen) else ""

    def _as_in_the_week(self, seen: Calendars) -> str:
        visits = Counter(event["subject"] for events in seen.values() for event in events)
        if any(visits[f"Visit {number}"] != 1 for number in range(BURST)):
            return ""
        spent = self._spent()
        return f"{BURST} events after {spent['graph']} requests to Graph and {spent['dataverse']} to Dataverse"

    def _costs_too_much(self) -> str:
        spent = self._spent()
        over = [
            f"{spent[name]} requests to {name}, not {most}"
            for name, most in MOST_REQUESTS.items()
            if spent[name] > most
        ]
        return " and ".join(over)

    def _spent(self) -> Counter[str]:
        """The app's requests to each service since the last one that was noted, but for its regular rounds by timer."""
        calls = self._up.simulators.cloud.recorder.after(self._last_request)
        own = [call for call in calls if call.app == self._up.app.client_id and not call.inner]
        return Counter(call.service for call in own if "delta" not in call.tags)

    def _created_or_deleted(self) -> bool:
        """Whether the app made or deleted an event since the tables were wiped."""
        calls = self._up.simulators.cloud.recorder.after(self._last_request)
        own = [call for call in calls if (call.app, call.service) == (self._up.app.client_id, "graph")]
        return any(call.method in ("POST", "DELETE") and not call.envelope for call in own)

    # The planner.

    @property
    def _in_hand(self) -> Entry:
        return self._diary[self._booking]

    async def _book(self, subject: str, person: str = "alice", start: datetime | None = None) -> None:
        entry = Entry(subject=subject, person=person, start=start or self._morning, shown_as=SHOWN_AS["Committed"])
        body = {
            "name": subject,
            **_times(entry.start),
            "bookingtype": 1,
            **await self._bind("Resource", "bookableresources", PEOPLE[person]),
            **await self._bind("BookingStatus", "bookingstatuses", "Committed"),
        }
        made = await self._dataverse("POST", "bookableresourcebookings", body, {"Prefer": "return=representation"})
        self._booking = str(made["bookableresourcebookingid"])
        self._diary[self._booking] = entry

    async def _book_unanswered(self) -> None:
        answer_lost = {**CREATE, "app": self._up.app.client_id, "do": "drop_after_commit"}
        self._up.simulators.cloud.faults.add(answer_lost)
        await self._book("Answer lost")

    async def _book_unheard(self) -> None:
        await self._unheard(lambda: self._book("Nobody heard this"))
        await self._rename("Heard at last")

    async def _unheard(self, act: Callable[[], Awaitable[object]]) -> None:
        """Do something of which every post is lost."""
        [rule] = self._up.simulators.cloud.faults.add({**ALL_POSTS, "do": "lose"})
        await act()
        await self._up.simulators.dataverse.webhooks.quiet()
        rule.times = 0

    async def _move(self, start: datetime) -> None:
        await self._save(_times(start), replace(self._in_hand, start=start))

    async def _rename(self, name: str) -> None:
        await self._save({"name": name}, replace(self._in_hand, subject=name))

    async def _assign(self, person: str) -> None:
        resource = await self._bind("Resource", "bookableresources", PEOPLE[person])
        await self._save(resource, replace(self._in_hand, person=person))

    async def _set_status(self, name: str) -> None:
        status = await self._bind("BookingStatus", "bookingstatuses", name)
        await self._save(status, replace(self._in_hand, shown_as=SHOWN_AS.get(name, "")))

    async def _attach_work_order(self) -> None:
        path = "msdyn_workorders?$select=msdyn_name&$expand=msdyn_serviceaccount($select=name)&$top=1"
        [order] = (await self._dataverse("GET", path))["value"]
        columns = {"msdyn_workorder@odata.bind": f"/msdyn_workorders({order['msdyn_workorderid']})"}
        await self._save(columns, replace(self._in_hand, subject=order["msdyn_serviceaccount"]["name"]))

    async def _save(self, columns: Json, entry: Entry) -> None:
        """Change the booking in hand; `entry` is what the diary says from now on."""
        await self._dataverse("PATCH", f"bookableresourcebookings({self._booking})", columns, {"If-Match": "*"})
        self._diary[self._booking] = entry

    async def _delete(self) -> None:
        await self._dataverse("DELETE", f"bookableresourcebookings({self._booking})")
        del self._diary[self._booking]

    async def _fill_the_day(self) -> None:
        day = [("Lift inspection", "alice", 2), ("Replace pump", "alice", 4), ("Exchange filter", "bob", 0)]
        for subject, person, hours in [*day, ("Network cabling", "bob", 3)]:
            await self._book(subject, person, self._morning + timedelta(hours=hours))

    async def _wipe_and_post_again(self) -> None:
        """Wipe at rest: an event that the app could not write down any more it would take back and make anew."""
        await self._up.quiet()
        self._items = _items(await self._calendars())
        self._last_request = self._up.simulators.cloud.recorder.last
        await self._up.table.wipe()
        self._up.simulators.dataverse.webhooks.repeat("shuffled")

    async def _move_after_the_wipe(self) -> None:
        self._take("Heard at last")
        await self._move(self._morning + timedelta(hours=7))

    async def _work_unheard(self) -> None:
        """Work while posts are lost; just before, the app looked at the changes as it does every five minutes."""
        await self._up.functions.run_function("pull_dataverse")
        await self._up.quiet()
        before = _items(await self._calendars())
        await self._unheard(self._work)
        if _items(await self._calendars()) != before:
            raise StoryError("a post arrived that was to be lost")

    async def _work(self) -> None:
        await self._book("Repair conveyor", "bob", self._morning + timedelta(hours=6))
        self._take("Lift inspection")
        await self._move(self._morning + timedelta(hours=3))
        self._take("Replace pump")
        await self._assign("bob")
        self._take("Exchange filter")
        await self._set_status("Canceled")
        self._take("Network cabling")
        await self._delete()

    async def _book_the_week(self) -> None:
        """One request with all bookings, as a scheduling engine makes it; they start tomorrow and later."""
        people = "bookableresources?$select=name&$filter=resourcetype%20eq%203&$orderby=name"
        resources = (await self._dataverse("GET", f"{people}&$top={TEAM}"))["value"]
        status = await self._bind("BookingStatus", "bookingstatuses", "Committed")
        targets = [
            {
                "@odata.type": "Microsoft.Dynamics.CRM.bookableresourcebooking",
                "name": f"Visit {number}",
                **_times(self._morning + timedelta(days=1 + number // TEAM)),
                "bookingtype": 1,
                "Resource@odata.bind": f"/bookableresources({resources[number % TEAM]['bookableresourceid']})",
                **status,
            }
            for number in range(BURST)
        ]
        self._team = [resource["name"].partition(" ")[0].lower() for resource in resources]
        self._up.simulators.cloud.settings.change({"graph.latency": "realistic", "dataverse.latency": "realistic"})
        self._last_request = self._up.simulators.cloud.recorder.last
        await self._dataverse(
            "POST", "bookableresourcebookings/Microsoft.Dynamics.CRM.CreateMultiple", {"Targets": targets}
        )

    def _take(self, subject: str) -> None:
        """Take a booking into the hand."""
        [self._booking] = [booking for booking, entry in self._diary.items() if entry.subject == subject]

    async def _bind(self, lookup: str, entity_set: str, name: str) -> dict[str, Json]:
        """The column that binds a lookup to the row of this name."""
        condition = quote(f"name eq '{name}'")
        rows = (await self._dataverse("GET", f"{entity_set}?$select=name&$filter={condition}"))["value"]
        if not rows:
            raise StoryError(f"there is no '{name}' among the {entity_set}")
        [key] = [column for column in rows[0] if column.endswith("id") and "@" not in column]
        return {f"{lookup}@odata.bind": f"/{entity_set}({rows[0][key]})"}

    async def _dataverse(
        self, method: str, path: str, body: Json = None, headers: Mapping[str, str] | None = None
    ) -> Json:
        status, answer, _ = await self._client.dataverse(method, path, body, headers)
        if status >= HTTPStatus.BAD_REQUEST:
            raise StoryError(f"Dataverse refused {method} {path}: {answer}")
        return answer


def _times(start: datetime) -> dict[str, object]:
    minutes = int(LENGTH.total_seconds()) // 60
    return {"starttime": _stamp(start), "endtime": _stamp(start + LENGTH), "duration": minutes}


def _stamp(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _entry(person: str, event: Json) -> Entry:
    """An event as the planner would have written it down; one of another length is no such entry."""
    start, end = (datetime.fromisoformat(event[name]["dateTime"][:26]).replace(tzinfo=UTC) for name in ("start", "end"))
    subject = event["subject"] if end - start == LENGTH else f"{event['subject']} ({end - start})"
    return Entry(subject=subject, person=person, start=start, shown_as=event["showAs"])


def _items(seen: Calendars) -> Counter[tuple[str, str]]:
    """Which items stand in whose calendar."""
    return Counter((person, event["id"]) for person, events in seen.items() for event in events)


def _name(person: str) -> str:
    return person.capitalize()


def _when(entry: Entry) -> str:
    return f"{entry.start:%a %H:%M} to {entry.start + LENGTH:%H:%M}"

"""What the people of a story work with: Dynamics, Outlook, and a look at what the app calls meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from sandbox.client import Client
from sandbox.http import Json
from sandbox.outbox import Outbox
from sandbox.recorder import Call
from sandbox.steps import StoryError
from sandbox.up import Up

BOOKINGS = "bookableresourcebookings"
LENGTH = timedelta(minutes=90)
"""How long every visit takes."""
PEOPLE = {"alice": "Alice Anderson", "bob": "Bob Brandt", "carol": "Carol Castell", "dave": "Dave Doyle"}
WEBHOOK, NOTIFICATION = "webhook", "notification"
"""Who posts: Dataverse, and Graph."""

type Calendars = Mapping[str, list[Json]]
"""The events of each of these people."""


class Hands:
    """Everybody's hands: the services' real APIs, as an application that is not the app."""

    def __init__(self, up: Up, client: Client) -> None:
        """Work as `client`."""
        self.up = up
        self._client = client
        self._mailboxes: dict[str, str] = {}
        self._outboxes: dict[str, Outbox[Any]] = {
            WEBHOOK: up.simulators.dataverse.webhooks,
            NOTIFICATION: up.simulators.graph.notifications,
        }

    # Outlook.

    async def calendars(self, people: Iterable[str]) -> Calendars:
        """What stands in their calendars."""
        return {person: await self._events(person) for person in people}

    async def change_event(self, person: str, event: str, content: Json) -> None:
        """Somebody changes an event in his own calendar."""
        await self._graph("PATCH", f"users/{await self._mailbox(person)}/events/{quote(event, safe='')}", content)

    async def delete_event(self, person: str, event: str) -> None:
        """Somebody deletes an event from his own calendar."""
        await self._graph("DELETE", f"users/{await self._mailbox(person)}/events/{quote(event, safe='')}")

    async def _events(self, person: str) -> list[Json]:
        path = f"users/{await self._mailbox(person)}/events?$select=subject,start,end,showAs&$top=100"
        return list((await self._graph("GET", path))["value"])

    async def _mailbox(self, person: str) -> str:
        if person not in self._mailboxes:
            self._mailboxes[person] = (await self._graph("GET", f"users/{person}@contoso.test?$select=id"))["id"]
        return self._mailboxes[person]

    async def _graph(self, method: str, path: str, body: Json = None) -> Json:
        status, answer, _ = await self._client.graph(method, path, body, {"Prefer": 'outlook.timezone="UTC"'})
        if status >= HTTPStatus.BAD_REQUEST:
            raise StoryError(f"Graph refused {method} {path}: {answer}")
        return answer

    # Dynamics.

    async def book(self, subject: str, person: str, start: datetime) -> str:
        """A committed booking; its id."""
        body = {
            "name": subject,
            **times(start),
            "bookingtype": 1,
            **await self.bind("Resource", "bookableresources", PEOPLE[person]),
            **await self.bind("BookingStatus", "bookingstatuses", "Committed"),
        }
        made = await self.dataverse("POST", BOOKINGS, body, {"Prefer": "return=representation"})
        return str(made["bookableresourcebookingid"])

    async def save(self, booking: str, columns: Json) -> None:
        """Change a booking."""
        await self.dataverse("PATCH", f"{BOOKINGS}({booking})", columns, {"If-Match": "*"})

    async def bind(self, lookup: str, entity_set: str, name: str) -> dict[str, Json]:
        """The column that binds a lookup to the row of this name."""
        condition = quote(f"name eq '{name}'")
        rows = (await self.dataverse("GET", f"{entity_set}?$select=name&$filter={condition}"))["value"]
        if not rows:
            raise StoryError(f"there is no '{name}' among the {entity_set}")
        [key] = [column for column in rows[0] if column.endswith("id") and "@" not in column]
        return {f"{lookup}@odata.bind": f"/{entity_set}({rows[0][key]})"}

    async def dataverse(
        self, method: str, path: str, body: Json = None, headers: Mapping[str, str] | None = None
    ) -> Json:
        """One call of the Web API. Raises `StoryError`."""
        status, answer, _ = await self._client.dataverse(method, path, body, headers)
        if status >= HTTPStatus.BAD_REQUEST:
            raise StoryError(f"Dataverse refused {method} {path}: {answer}")
        return answer

    # What happens meanwhile.

    @asynccontextmanager
    async def unheard(self, *services: str) -> AsyncIterator[None]:
        """Whatever these services post meanwhile is lost."""
        async with self._posts(services, "lose"):
            yield

    @asynccontextmanager
    async def at_once(self) -> AsyncIterator[None]:
        """Whatever is posted meanwhile arrives afterwards, together."""
        async with self._posts(tuple(self._outboxes), "hold"):
            yield
        for outbox in self._outboxes.values():
            outbox.release()

    @asynccontextmanager
    async def _posts(self, services: Sequence[str], fate: str) -> AsyncIterator[None]:
        faults = self.up.simulators.cloud.faults
        rules = faults.add([{"service": service, "do": fate, "times": None} for service in services])
        try:
            yield
            for service in services:
                await self._outboxes[service].quiet()
        finally:
            for rule in rules:
                faults.remove(rule)

    @property
    def last_call(self) -> int:
        """The number of the latest call of anybody."""
        return self.up.simulators.cloud.recorder.last

    def work(self, after: int) -> list[Call]:
        """What the app has asked and written about events and bookings since, but for its regular rounds by timer."""
        return [
            call
            for call in self.calls(after)
            if not call.envelope
            and "delta" not in call.tags
            and ((call.service == "graph" and "/events" in call.path) or BOOKINGS in call.path)
        ]

    def requests(self, after: int) -> Counter[str]:
        """In how many requests to each service that was."""
        return Counter(
            service for service, _ in {(call.service, call.batch or call.number) for call in self.work(after)}
        )

    def calls(self, after: int) -> list[Call]:
        """The app's own calls since."""
        recorder = self.up.simulators.cloud.recorder
        return [call for call in recorder.after(after) if call.app == self.up.app.client_id]


def times(start: datetime) -> dict[str, object]:
    """When a visit is, in columns of Dataverse."""
    minutes = int(LENGTH.total_seconds()) // 60
    return {"starttime": _stamp(start), "endtime": _stamp(start + LENGTH), "duration": minutes}


def shown_times(event: Json) -> tuple[datetime, datetime]:
    """When an event begins and ends."""
    start, end = (datetime.fromisoformat(event[name]["dateTime"][:26]).replace(tzinfo=UTC) for name in ("start", "end"))
    return start, end


def when(start: datetime) -> str:
    """When a visit is, in words."""
    return f"{start:%a %H:%M} to {start + LENGTH:%H:%M}"


def _stamp(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"

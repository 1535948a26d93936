"""A burst of bookings over everybody, and what must stand in their calendars afterwards."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sandbox.client import Client
from sandbox.directory import known_id
from sandbox.http import Json
from sandbox.seed import PEOPLE
from sandbox.storage import GIVEN_UP
from sandbox.up import Up

BOOKINGS = "bookableresourcebookings"
CREATES = {"service": "graph", "method": "POST", "path": "*/users/*/events"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One booking as the planner knows it."""

    id: str
    name: str
    person: str
    start: datetime
    is_canceled: bool = False

    @property
    def event(self) -> tuple[str, str, str]:
        """What its event looks like: whose calendar, subject, start."""
        return self.person, self.name, f"{self.start:%Y-%m-%dT%H:%M}"


class Burst:
    """The planner's side of many bookings; `visits` is what is in Dynamics."""

    def __init__(self, up: Up, client: Client) -> None:
        self.visits: dict[str, Visit] = {}
        self._up = up
        self._client = client
        self._midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)

    async def book(self, count: int) -> None:
        for number in range(count):
            person = PEOPLE[number % len(PEOPLE)]
            start = self._midnight + timedelta(days=1 + number % 5, hours=8 + number % 9)
            visit = Visit(id="", name=f"Visit {number}", person=person, start=start)
            body = {**_columns(visit), "name": visit.name, "bookingtype": 1, **_status("Committed")}
            headers = {"Prefer": "return=representation"}
            status, made, _ = await self._client.dataverse("POST", BOOKINGS, body, headers)
            assert status == 201, made
            visit = replace(visit, id=made["bookableresourcebookingid"])
            self.visits[visit.id] = visit

    async def move(self, visit: Visit, by: timedelta) -> None:
        await self._save(replace(visit, start=visit.start + by))

    async def reassign(self, visit: Visit, person: str) -> None:
        await self._save(replace(visit, person=person))

    async def cancel(self, visit: Visit) -> None:
        await self._patch(visit, _status("Canceled"))
        self.visits[visit.id] = replace(visit, is_canceled=True)

    async def _save(self, visit: Visit) -> None:
        await self._patch(visit, _columns(visit))
        self.visits[visit.id] = visit

    async def _patch(self, visit: Visit, columns: Json) -> None:
        status, problem, _ = await self._client.dataverse(
            "PATCH", f"{BOOKINGS}({visit.id})", columns, {"If-Match": "*"}
        )
        assert status == 204, problem

    def created(self) -> int:
        """How many creates of events the app got an answer to."""
        calls = self._up.simulators.cloud.recorder.calls
        own = [call for call in calls if (call.app, call.service) == (self._up.app.client_id, "graph")]
        return len([call for call in own if call.method == "POST" and call.status == 201])

    async def check(self) -> None:
        """One event for each booking that is to have one, nothing else, and nothing was given up."""
        wanted = Counter(visit.event for visit in self.visits.values() if not visit.is_canceled)
        found = Counter([event for person in PEOPLE for event in await self._events(person)])
        assert wanted == found, f"missing: {wanted - found}, too many: {found - wanted}"
        assert await self._up.table.count(GIVEN_UP) == 0

    async def _events(self, person: str) -> list[tuple[str, str, str]]:
        address = f"{person.partition(' ')[0].lower()}@contoso.test"
        status, answer, _ = await self._client.graph(
            "GET",
            f"users/{address}/events?$select=subject,start&$top=100",
            headers={"Prefer": 'outlook.timezone="UTC"'},
        )
        assert status == 200, answer
        assert "@odata.nextLink" not in answer
        return [(person, event["subject"], event["start"]["dateTime"][:16]) for event in answer["value"]]


def _columns(visit: Visit) -> dict[str, Json]:
    end = visit.start + timedelta(minutes=45)
    return {
        "starttime": f"{visit.start:%Y-%m-%dT%H:%M:%SZ}",
        "endtime": f"{end:%Y-%m-%dT%H:%M:%SZ}",
        "duration": 45,
        "Resource@odata.bind": f"/bookableresources({known_id('bookableresource', visit.person)})",
    }


def _status(name: str) -> dict[str, Json]:
    return {"BookingStatus@odata.bind": f"/bookingstatuses({known_id('bookingstatus', name)})"}

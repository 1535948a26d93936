"""What people do at their desks: the planner in Dynamics, the technician in Outlook.

They use the services' real APIs, so their work is logged, posted and, if it has to be, refused as everybody's is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from urllib.parse import quote

from aiohttp import ClientError

from sandbox.client import Client
from sandbox.http import Json

BOOKINGS = "bookableresourcebookings"
FIRST_HOURS = (8, 10, 13, 15)
"""When the visits of a filled week begin."""
LENGTHS = (90, 120, 60, 150)
WORK = (
    *("Boiler service", "Lift inspection", "Replace pump", "Install charging point", "Repair door drive"),
    *("Calibrate scales", "Service cold room", "Exchange filter", "Annual safety check", "Network cabling"),
)
DAYS, SATURDAY, VISITS = 7, 5, 2
"""How many days are filled, the first day of the week on which nobody works, and most people's visits on others."""


class RefusedError(Exception):
    """A service did not do what a person wanted; the message says which and why."""


class Desk:
    """A person's hands."""

    def __init__(self, client: Client) -> None:
        """Act as `client`."""
        self._client = client

    async def book(self, columns: Json) -> None:
        """Make a booking; all columns of `read_booking` are needed. Raises `RefusedError`."""
        await self._dataverse("POST", BOOKINGS, {**columns, "bookingtype": 1})

    async def change_booking(self, booking: str, columns: Json) -> None:
        """Change columns of a booking. Raises `RefusedError`."""
        await self._dataverse("PATCH", f"{BOOKINGS}({booking})", columns, {"If-Match": "*"})

    async def delete_booking(self, booking: str) -> None:
        """Delete a booking. Raises `RefusedError`."""
        await self._dataverse("DELETE", f"{BOOKINGS}({booking})")

    async def fill(self, first: datetime, resources: Sequence[str], status: str) -> int:
        """Book visits for all `resources` in a week that begins with the day `first`; how many.

        It is one request, as a scheduling engine makes it. Who goes where when only looks like chance: it is the same
        each time. Raises `RefusedError`.
        """
        targets = []
        for person, resource in enumerate(resources):
            for day in (day for day in range(DAYS) if (first + timedelta(days=day)).weekday() < SATURDAY):
                for visit in range(VISITS - (person + day) % 3 // 2):
                    turn = person * 7 + day * 3 + visit
                    hour = FIRST_HOURS[visit * 2 + turn % 2]
                    start = first + timedelta(days=day, hours=hour)
                    columns = {
                        "title": WORK[turn % len(WORK)],
                        "resource": resource,
                        "status": status,
                        "start": start.isoformat(),
                        "end": (start + timedelta(minutes=LENGTHS[turn % len(LENGTHS)])).isoformat(),
                    }
                    kind = {"@odata.type": "Microsoft.Dynamics.CRM.bookableresourcebooking", "bookingtype": 1}
                    targets.append({**kind, **read_booking(columns)})
        await self._dataverse("POST", f"{BOOKINGS}/Microsoft.Dynamics.CRM.CreateMultiple", {"Targets": targets})
        return len(targets)

    async def make_event(self, mailbox: str, content: Json) -> None:
        """Enter an event into a person's calendar. Raises `RefusedError`."""
        await self._graph("POST", f"users/{quote(mailbox)}/events", content)

    async def change_event(self, mailbox: str, event: str, content: Json) -> None:
        """Change an event. Raises `RefusedError`."""
        await self._graph("PATCH", _event(mailbox, event), content)

    async def delete_event(self, mailbox: str, event: str) -> None:
        """Delete an event. Raises `RefusedError`."""
        await self._graph("DELETE", _event(mailbox, event))

    async def _dataverse(self, method: str, path: str, body: Json = None, headers: Json = None) -> None:
        try:
            status, answer, _ = await self._client.dataverse(method, path, body, headers)
        except (ClientError, OSError, ValueError) as error:
            raise _no_answer("Dynamics", error) from error
        _check("Dynamics", status, answer)

    async def _graph(self, method: str, path: str, body: Json = None) -> None:
        try:
            status, answer, _ = await self._client.graph(method, path, body, {"Prefer": 'IdType="ImmutableId"'})
        except (ClientError, OSError, ValueError) as error:
            raise _no_answer("Outlook", error) from error
        _check("Outlook", status, answer)


def read_booking(given: Mapping[str, Json]) -> dict[str, Json]:
    """What the page says about a booking, as columns of Dataverse. Raises `ValueError` naming what is wrong."""
    columns: dict[str, Json] = {}
    for name, value in given.items():
        match name, value:
            case "title", str():
                columns["name"] = value
            case "resource", str():
                columns["Resource@odata.bind"] = f"/bookableresources({quote(value, safe='')})"
            case "status", str():
                columns["BookingStatus@odata.bind"] = f"/bookingstatuses({quote(value, safe='')})"
            case "start" | "end", str():
                pass
            case _:
                raise _wrong(name)
    if times := _times(given):
        start, end = times
        columns |= {"starttime": f"{start:%Y-%m-%dT%H:%M:%SZ}", "endtime": f"{end:%Y-%m-%dT%H:%M:%SZ}"}
        columns["duration"] = round((end - start).total_seconds() / 60)
    return columns


def read_event(given: Mapping[str, Json]) -> dict[str, Json]:
    """What the page says about an event, as properties of Graph. Raises `ValueError` naming what is wrong."""
    content: dict[str, Json] = {}
    for name, value in given.items():
        match name, value:
            case "title", str():
                content["subject"] = value
            case "showAs", str():
                content["showAs"] = value
            case "start" | "end", str():
                pass
            case _:
                raise _wrong(name)
    if times := _times(given):
        for name, at in zip(("start", "end"), times, strict=True):
            content[name] = {"dateTime": f"{at:%Y-%m-%dT%H:%M:%S}", "timeZone": "UTC"}
    return content


def _wrong(name: str) -> ValueError:
    return ValueError(f"'{name}' is no field of this, or must be a string")


def _times(given: Mapping[str, Json]) -> tuple[datetime, datetime] | None:
    """Start and end, which only come together."""
    if "start" not in given and "end" not in given:
        return None
    try:
        start, end = (datetime.fromisoformat(given[name]) for name in ("start", "end"))
    except (KeyError, ValueError):
        raise ValueError("'start' and 'end' go together, as times such as 2026-03-02T09:00:00Z") from None
    if start.tzinfo is None or end.tzinfo is None:
        raise ValueError("'start' and 'end' need a zone, such as Z")
    if end <= start:
        raise ValueError("it has to end after it starts")
    return start.astimezone(UTC), end.astimezone(UTC)


def _event(mailbox: str, event: str) -> str:
    return f"users/{quote(mailbox)}/events/{quote(event, safe='')}"


def _no_answer(where: str, error: Exception) -> RefusedError:
    why = f"it said something that is no JSON ({error})" if isinstance(error, ValueError) else str(error)
    return RefusedError(f"{where} did not answer, so it is not known whether it was done: {why or 'no connection'}")


def _check(where: str, status: int, answer: Json) -> None:
    if status < HTTPStatus.BAD_REQUEST:
        return
    error = answer.get("error") if isinstance(answer, dict) else None
    said = error.get("message") if isinstance(error, dict) else None
    raise RefusedError(f"{where} refused: {said or 'without a word'} ({status})")

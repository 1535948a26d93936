"""Bookings businesses: what they offer, by whom, when, and the appointments that were made. Plain data; no HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from itertools import pairwise
from types import MappingProxyType

from sandbox.graph.times import instant_of, wall_time, write_wall
from sandbox.http import Json

WORKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday")
DAYS = (*WORKDAYS, "saturday", "sunday")


type Busy = tuple[datetime, datetime, str]
"""From when to when, and the id of the service that is the reason, if one is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How appointments may be made; that of a service counts more than that of its business."""

    slot: timedelta = timedelta(minutes=30)
    lead: timedelta = timedelta()
    advance: timedelta = timedelta(days=365)
    allow_staff_selection: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Something that can be booked."""

    id: str
    name: str
    duration: timedelta
    before: timedelta = timedelta()
    after: timedelta = timedelta()
    price: float = 0.0
    most_attendees: int = 1
    policy: Policy | None = None
    staff: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Staff:
    """Somebody who does it; `minds_calendar` says whether his own events make him busy."""

    id: str
    name: str
    address: str
    minds_calendar: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """Somebody for whom it is done."""

    id: str
    name: str
    address: str | None = None
    phones: tuple[Mapping[str, Json], ...] = ()
    addresses: tuple[Mapping[str, Json], ...] = ()
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Appointment:
    """One appointment: `details` are properties as they are written; `events` are the items in calendars, by staff."""

    id: str
    service: Service
    staff: tuple[str, ...]
    start: datetime
    end: datetime
    before: timedelta
    after: timedelta
    details: Mapping[str, Json]
    created_at: datetime
    changed_at: datetime
    events: Mapping[str, str] = MappingProxyType({})

    def blocks(self, begin: datetime, end: datetime) -> bool:
        """Whether it and its buffers leave no room for something from `begin` to `end`."""
        return self.start - self.before < end and self.end + self.after > begin


@dataclass(slots=True, kw_only=True)
class Business:
    """One business; its address is its id."""

    address: str
    name: str
    zone: str = "W. Europe Standard Time"
    opens: time = time(8)
    closes: time = time(18)
    policy: Policy = Policy()
    services: dict[str, Service] = field(default_factory=dict)
    staff: dict[str, Staff] = field(default_factory=dict)
    customers: dict[str, Customer] = field(default_factory=dict)
    appointments: dict[str, Appointment] = field(default_factory=dict)


def is_open(business: Business, begin: datetime, end: datetime) -> bool:
    """Whether a business works all the time between two wall clock times of its zone."""
    return (
        begin.date() == end.date()
        and DAYS[begin.weekday()] in WORKDAYS
        and business.opens <= begin.time()
        and end.time() <= business.closes
    )


def working_hours(business: Business, begin: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """When a business works between two instants, oldest first."""
    found, day = [], wall_time(begin, business.zone).date()
    while (opens := instant_of(datetime.combine(day, business.opens), business.zone)) < end:
        closes = instant_of(datetime.combine(day, business.closes), business.zone)
        if DAYS[day.weekday()] in WORKDAYS and closes > begin:
            found.append((max(opens, begin), min(closes, end)))
        day += timedelta(days=1)
    return found


def availability(
    business: Business, member: Staff, personal: list[Busy], begin: datetime, end: datetime
) -> list[dict[str, Json]]:
    """What a member of the staff does, as answers show it: oldest first, without gaps; `personal` is his own affair."""
    busy = personal + [
        (one.start - one.before, one.end + one.after, one.service.id)
        for one in business.appointments.values()
        if member.id in one.staff and one.blocks(begin, end)
    ]
    opened = working_hours(business, begin, end)
    spans = [(begin, end), *opened, *((first, last) for first, last, _ in busy)]
    cuts = sorted({edge for span in spans for edge in span if begin <= edge <= end})
    pieces: list[tuple[datetime, datetime, str, str]] = []
    for first, last in pairwise(cuts):
        reason = next((service for start, stop, service in busy if start < last and stop > first), None)
        works = any(start <= first and last <= stop for start, stop in opened)
        status = "busy" if reason is not None else "available" if works else "outOfOffice"
        joins = bool(pieces) and pieces[-1][2:] == (status, reason or "")
        pieces.append((pieces.pop()[0] if joins else first, last, status, reason or ""))
    return [
        {"status": status, "startDateTime": _utc(first), "endDateTime": _utc(last), "serviceId": service}
        for first, last, status, service in pieces
    ]


def _utc(at: datetime) -> Json:
    return write_wall(at.replace(tzinfo=None), "UTC")

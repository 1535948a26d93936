"""Recurrence: how a series is written, and on which days it falls.

Microsoft Graph docs, "recurrencePattern resource type", "recurrenceRange resource type", "Schedule repeating
appointments as recurring events in Outlook": members that a type does not need are ignored but must be valid, and
answers fill them; `startDate` is the day of the event's start; several days with an index are counted together. A day
of the month that a month does not have is its last one ([MS-OXOCAL] section 2.2.1.44.1). The code of the refusal of
what contradicts itself is unverified; a first day that the pattern does not have is refused as not modelled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import lru_cache
from itertools import takewhile
from typing import Any

from dateutil.rrule import DAILY, FR, MO, MONTHLY, SA, SU, TH, TU, WE, WEEKLY, YEARLY, rrule

from sandbox.graph.errors import failed_validation, not_modelled
from sandbox.graph.times import zone_of
from sandbox.graph.values import read_choice, read_date, read_integer, read_list, read_members, read_string
from sandbox.http import Json

TYPES = ("daily", "weekly", "absoluteMonthly", "relativeMonthly", "absoluteYearly", "relativeYearly")
RANGES = ("endDate", "noEnd", "numbered")
INDEXES = {"first": 1, "second": 2, "third": 3, "fourth": 4, "last": -1}
DAYS = {
    "sunday": SU,
    "monday": MO,
    "tuesday": TU,
    "wednesday": WE,
    "thursday": TH,
    "friday": FR,
    "saturday": SA,
}
FREQUENCIES = {"daily": DAILY, "weekly": WEEKLY, "Monthly": MONTHLY, "Yearly": YEARLY}
MOST_OCCURRENCES = 999
"""What people can ask for in Outlook; whether the service takes more is unverified."""
LONGEST_MONTH, SHORTEST_MONTH, MONTHS = 31, 28, 12
NO_DATE = "0001-01-01"
_PATTERN = frozenset({"type", "interval", "month", "dayOfMonth", "daysOfWeek", "firstDayOfWeek", "index"})
_RANGE = frozenset({"type", "startDate", "endDate", "recurrenceTimeZone", "numberOfOccurrences"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrence:
    """A pattern and its range; `first` and `last` are days in `zone`, and `count` is 0 unless the range is numbered."""

    pattern: str
    interval: int
    month: int
    day_of_month: int
    days_of_week: tuple[str, ...]
    first_day_of_week: str
    index: str
    range: str
    first: date
    last: date | None
    count: int
    zone: str

    def falls_on(self, day: date) -> bool:
        """Whether the pattern has this day."""
        return next(iter(self.days(day, day)), None) is not None

    def days(self, begin: date, end: date) -> list[date]:
        """The days from `begin` to `end`, both included."""
        found = _rule(self).between(_midnight(begin), _midnight(end), inc=True)
        return [at.date() for at in found]

    def all_days(self) -> Iterator[date]:
        """All days, one after the other; without an end there are very many."""
        return (at.date() for at in _rule(self))

    def days_before(self, day: date) -> list[date]:
        """The days before `day`, the nearest first."""
        return [at.date() for at in takewhile(lambda at: at < _midnight(day), _rule(self))][::-1]

    def day_after(self, day: date) -> date | None:
        """The first day after `day`."""
        found = _rule(self).after(_midnight(day))
        return None if found is None else found.date()


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time())


@lru_cache(maxsize=1024)
def _rule(recurrence: Recurrence) -> Any:
    """The days as a rule in the sense of RFC 5545, expanded as far as anybody looked."""
    frequency = next(value for name, value in FREQUENCIES.items() if recurrence.pattern.endswith(name))
    parts: dict[str, Json] = {}
    if recurrence.pattern == "weekly" or recurrence.pattern.startswith("relative"):
        parts["byweekday"] = [DAYS[day] for day in recurrence.days_of_week]
    if recurrence.pattern.startswith("relative"):
        parts["bysetpos"] = INDEXES[recurrence.index]
    if recurrence.pattern.startswith("absolute"):
        nearest = min(recurrence.day_of_month, SHORTEST_MONTH)
        parts |= {"bymonthday": range(nearest, recurrence.day_of_month + 1), "bysetpos": -1}
    if recurrence.pattern.endswith("Yearly"):
        parts["bymonth"] = recurrence.month
    return rrule(
        frequency,
        dtstart=_midnight(recurrence.first),
        interval=recurrence.interval,
        wkst=DAYS[recurrence.first_day_of_week],
        until=None if recurrence.last is None else _midnight(recurrence.last),
        count=recurrence.count or None,
        cache=True,
        **parts,
    )


def read_recurrence(name: str, value: Json) -> Recurrence:
    """A `patternedRecurrence` from a body, `zone` empty when it names none. Raises `GraphError`."""
    parts = read_members("microsoft.graph.patternedRecurrence", name, value, frozenset({"pattern", "range"}))
    pattern = read_members("microsoft.graph.recurrencePattern", "pattern", parts.get("pattern"), _PATTERN)
    span = read_members("microsoft.graph.recurrenceRange", "range", parts.get("range"), _RANGE)
    days = read_list("daysOfWeek", pattern.get("daysOfWeek", []))
    zone = read_string("recurrenceTimeZone", span.get("recurrenceTimeZone", ""))
    if zone:
        zone_of(zone)
    kind = read_choice("range/type", span.get("type"), RANGES)
    last = read_date("endDate", span.get("endDate", NO_DATE))
    count = _number(span, "numberOfOccurrences")
    if "startDate" not in span:
        raise failed_validation()
    recurrence = Recurrence(
        pattern=read_choice("pattern/type", pattern.get("type"), TYPES),
        interval=_number(pattern, "interval"),
        month=_number(pattern, "month", MONTHS),
        day_of_month=_number(pattern, "dayOfMonth", LONGEST_MONTH),
        days_of_week=tuple(dict.fromkeys(read_choice("daysOfWeek", day, tuple(DAYS)) for day in days)),
        first_day_of_week=read_choice("firstDayOfWeek", pattern.get("firstDayOfWeek", "sunday"), tuple(DAYS)),
        index=read_choice("index", pattern.get("index", "first"), tuple(INDEXES)),
        range=kind,
        first=read_date("startDate", span["startDate"]),
        last=last if kind == "endDate" else None,
        count=count if kind == "numbered" else 0,
        zone=zone,
    )
    _check(recurrence)
    return recurrence


def _number(members: Mapping[str, Json], name: str, most: int | None = None) -> int:
    number = read_integer(name, members.get(name, 0))
    if number < 0 or (most is not None and number > most):
        raise failed_validation()
    return number


def _check(recurrence: Recurrence) -> None:
    """Refuse a pattern or a range that lacks what its type needs."""
    kind = recurrence.pattern
    lacks = (
        not recurrence.interval
        or ((kind == "weekly" or kind.startswith("relative")) and not recurrence.days_of_week)
        or (kind.startswith("absolute") and not recurrence.day_of_month)
        or (kind.endswith("Yearly") and not recurrence.month)
        or (recurrence.range == "numbered" and not recurrence.count)
        or (recurrence.last is not None and recurrence.last < recurrence.first)
    )
    if lacks:
        raise failed_validation()
    if recurrence.count > MOST_OCCURRENCES:
        raise not_modelled(f"more than {MOST_OCCURRENCES} occurrences")
    if not recurrence.falls_on(recurrence.first):
        raise not_modelled("a recurrence whose range/startDate is not a day of its pattern")


def recurrence_json(recurrence: Recurrence) -> dict[str, Json]:
    """The recurrence as answers show it, with the members that nobody needs."""
    days = {"daysOfWeek": list(recurrence.days_of_week)} if recurrence.days_of_week else {}
    return {
        "pattern": {
            "type": recurrence.pattern,
            "interval": recurrence.interval,
            "month": recurrence.month,
            "dayOfMonth": recurrence.day_of_month,
            **days,
            "firstDayOfWeek": recurrence.first_day_of_week,
            "index": recurrence.index,
        },
        "range": {
            "type": recurrence.range,
            "startDate": recurrence.first.isoformat(),
            "endDate": NO_DATE if recurrence.last is None else recurrence.last.isoformat(),
            "recurrenceTimeZone": recurrence.zone,
            "numberOfOccurrences": recurrence.count,
        },
    }

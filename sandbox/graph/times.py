"""Times as Exchange reads and writes them: a wall clock time and the name of a zone.

Zone names may be Windows or IANA ones (Microsoft Graph docs, "dateTimeTimeZone resource type"). Inside, a time is an
instant; it goes back to a wall clock of the zone that the caller asks for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from tzlocal.windows_tz import win_tz

from sandbox.graph.errors import GraphError, invalid_request, not_modelled, unknown_property, zone_unknown
from sandbox.http import Json

_WALL_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?")
CUSTOM = "tzone://Microsoft/Custom"
"""What stands for a zone that somebody defined in desktop Outlook (Microsoft Graph docs, "event resource type")."""
_OUTLOOK = "tzone://microsoft/"


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant (aware, UTC) and the name of the zone in which it was given."""

    at: datetime
    zone: str

    @property
    def wall(self) -> datetime:
        """The wall clock time in its own zone, without a zone."""
        return wall_time(self.at, self.zone)


@cache
def zone_of(name: str) -> ZoneInfo:
    """The zone called `name`. Raises `GraphError` when neither Windows nor IANA calls one so."""
    if name.lower().startswith(_OUTLOOK):
        name = {"utc": "UTC"}.get(name.lower().removeprefix(_OUTLOOK), name)
    if name == CUSTOM:
        raise not_modelled(f"the time zone '{name}', which says nothing about its rules")
    iana = win_tz.get(name, name)
    if iana not in iana_names():
        raise zone_unknown(name)
    return ZoneInfo(iana)


@cache
def iana_names() -> frozenset[str]:
    """All names of the IANA database."""
    return frozenset(available_timezones())


def instant_of(wall: datetime, zone: str) -> datetime:
    """The instant at which clocks in `zone` show `wall`.

    An hour that comes twice is meant in standard time, and an hour that is skipped is counted in standard time, too
    (.NET docs, "TimeZoneInfo.ConvertTimeToUtc", for the first). Standard time has the smaller offset in both cases.
    """
    info = zone_of(zone)
    offsets = [wall.replace(tzinfo=info, fold=fold).utcoffset() or timedelta() for fold in (0, 1)]
    return (wall - min(offsets)).replace(tzinfo=UTC)


def wall_time(at: datetime, zone: str) -> datetime:
    """What clocks in `zone` show at the instant `at`."""
    return at.astimezone(zone_of(zone)).replace(tzinfo=None, fold=0)


def read_moment(value: Json, name: str) -> Moment:
    """A `dateTimeTimeZone` from a body. Raises `GraphError` for what is none."""
    if not isinstance(value, dict):
        raise invalid_request(f"The property '{name}' must be a dateTimeTimeZone.")
    for field in value:
        if field not in ("dateTime", "timeZone", "@odata.type"):
            raise unknown_property(field, "microsoft.graph.dateTimeTimeZone")
    zone, text = value.get("timeZone"), value.get("dateTime")
    if not isinstance(zone, str) or not zone:
        raise zone_unknown("")
    zone_of(zone)
    if not isinstance(text, str) or not _WALL_TIME.fullmatch(text):
        raise _not_a_time(text, name)
    try:
        given = datetime.fromisoformat(text)
        if given.tzinfo is None:
            return Moment(instant_of(given, zone), zone)
        at = given.astimezone(UTC)
        agrees = wall_time(at, zone) == given.replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise _not_a_time(text, name) from None
    if not agrees:
        # which of the two counts is not documented
        raise not_modelled(f"an offset in '{name}/dateTime' that contradicts '{name}/timeZone'")
    return Moment(at, zone)


def _not_a_time(text: Json, name: str) -> GraphError:
    return invalid_request(f"The value '{text}' of the property '{name}/dateTime' is not a valid date and time.")


def write_wall(wall: datetime, zone: str) -> Json:
    """A `dateTimeTimeZone` with the seven fractional digits of Exchange."""
    return {"dateTime": f"{wall:%Y-%m-%dT%H:%M:%S}.{wall.microsecond:06d}0", "timeZone": zone}


def write_instant(at: datetime) -> str:
    """A `DateTimeOffset` in UTC; zeros at the end of the fraction are left out."""
    fraction = f".{at.microsecond:06d}".rstrip("0").rstrip(".")
    return f"{at:%Y-%m-%dT%H:%M:%S}{fraction}Z"


def read_instant(text: str) -> datetime:
    """An ISO 8601 time, in UTC unless it has an offset. Raises `ValueError`."""
    if not _WALL_TIME.fullmatch(text) and not re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        raise ValueError(f"not a time: {text}")
    given = datetime.fromisoformat(text)
    return given.replace(tzinfo=UTC) if given.tzinfo is None else given.astimezone(UTC)

"""Events as they are stored: what their writers decide, and the items that hold it. Plain data; no HTTP.

A series is one item, its master; its occurrences are worked out from it, and what was changed or removed of them is
kept there (Microsoft Graph docs, "event resource type", "Schedule repeating appointments as recurring events in
Outlook"). Unverified: that ids of occurrences hold that of the series and the day, that an occurrence has the version
of its series, shows its extended properties and no `transactionId`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime, timedelta
from types import MappingProxyType

from sandbox.graph.bodies import Body
from sandbox.graph.recurrence import Recurrence
from sandbox.graph.times import Moment, instant_of, wall_time
from sandbox.http import Json

_SUFFIX, _DAY_BYTES = 8, 6

type Differences = Mapping[str, Json]
"""What is special about an exception: fields of its content by name."""


NOT_ANSWERED = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attendee:
    """Somebody, or a room, that is invited; `answered_at` goes with an answer."""

    address: str
    name: str
    type: str = "required"
    response: str = NOT_ANSWERED
    answered_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Everything about an event that its writer decides.

    `properties` are single-value extended properties by id, `extensions` are open extensions by name.
    """

    start: Moment
    end: Moment
    subject: str | None = None
    body: Body = field(default_factory=Body)
    categories: tuple[str, ...] = ()
    importance: str = "normal"
    sensitivity: str = "normal"
    show_as: str = "busy"
    is_all_day: bool = False
    is_cancelled: bool = False
    is_reminder_on: bool = True
    reminder_minutes: int = 15
    response_requested: bool = True
    allow_new_time_proposals: bool = True
    hide_attendees: bool = False
    locations: tuple[Mapping[str, Json], ...] = ()
    transaction_id: str | None = None
    attendees: tuple[Attendee, ...] = ()
    is_online: bool = False
    join_url: str | None = None
    recurrence: Recurrence | None = None
    properties: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    extensions: Mapping[str, Mapping[str, Json]] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(slots=True, kw_only=True)
class Event:
    """One item. It has two ids: `item_id` stays while it is in the mailbox, `folder_id` changes when it is moved.

    A series has `exceptions` and `cancelled` by the days of its pattern. An occurrence, which is nowhere stored, has
    its `master`, its `day` in the pattern and the instant at which it would begin if nobody had changed it.
    Somebody else's meeting has the name and the address of its `organizer`, and the `response` of the mailbox's owner.
    """

    item_id: str
    folder_id: str
    calendar_id: str
    ical_uid: str
    created_at: datetime
    modified_at: datetime
    change_key: str
    original_start_zone: str
    original_end_zone: str
    content: Content
    exceptions: Mapping[date, Differences] = field(default_factory=lambda: MappingProxyType({}))
    cancelled: frozenset[date] = frozenset()
    master: Event | None = None
    day: date = date.min
    original_start: datetime | None = None
    organizer: tuple[str, str] | None = None
    response: str = "organizer"
    responded_at: datetime | None = None

    @property
    def type(self) -> str:
        """What it is, in the words of the service."""
        if self.master is not None:
            return "exception" if self.day in self.master.exceptions else "occurrence"
        return "singleInstance" if self.content.recurrence is None else "seriesMaster"

    @property
    def etag(self) -> str:
        """The weak entity tag of the present version."""
        return f'W/"{self.change_key}"'

    def id_for(self, *, immutable: bool) -> str:
        """The id in the form that the caller prefers (Microsoft Graph docs, "Obtain immutable identifiers")."""
        return self.item_id if immutable else self.folder_id


def lies_in(content: Content, begin: datetime, end: datetime) -> bool:
    """Whether an event overlaps the window of a calendar view; what ends when the window begins is outside."""
    return content.start.at < end and (content.end.at > begin or content.start.at == begin)


def in_window(events: Iterable[Event], begin: datetime, end: datetime) -> list[Event]:
    """What a calendar view shows of `events`: occurrences and exceptions in the place of their series."""
    found: list[Event] = []
    for event in events:
        if event.content.recurrence is not None:
            found += occurrences(event, begin, end)
        elif lies_in(event.content, begin, end):
            found.append(event)
    return found


def occurrences(master: Event, begin: datetime, end: datetime) -> list[Event]:
    """The occurrences and exceptions of a series in a window, in the order of their days in the pattern."""
    content, recurrence = master.content, master.content.recurrence
    if recurrence is None:
        return []
    margin = content.end.at - content.start.at + timedelta(days=2)  # zones and summer time
    nearby = recurrence.days(_day(begin, -margin), _day(end, margin))
    days = sorted({*nearby, *master.exceptions} - master.cancelled)
    return [one for one in (_occurrence(master, day) for day in days) if lies_in(one.content, begin, end)]


def _day(at: datetime, shift: timedelta) -> date:
    try:
        return (at + shift).date()
    except OverflowError:  # at either end of time
        return at.date()


def occurrence(master: Event, day: date) -> Event | None:
    """The occurrence or exception on a day of the pattern, if it is there."""
    recurrence = master.content.recurrence
    if recurrence is None or day in master.cancelled or not recurrence.falls_on(day):
        return None
    return _occurrence(master, day)


def _occurrence(master: Event, day: date) -> Event:
    regular, suffix = _regular(master, day), _suffix(day)
    uid = master.ical_uid  # the day has a place of its own in it ([MS-OXOCAL] section 2.2.1.27)
    return replace(
        master,
        item_id=master.item_id + suffix,
        folder_id=master.folder_id + suffix,
        ical_uid=f"{uid[:32]}{day.year:04X}{day.month:02X}{day.day:02X}{uid[40:]}",
        content=replace(regular, **master.exceptions.get(day, {})),
        exceptions=MappingProxyType({}),
        cancelled=frozenset(),
        master=master,
        day=day,
        original_start=regular.start.at,
    )


def _regular(master: Event, day: date) -> Content:
    """What the series says about a day of its pattern: clocks in its zone show the same time on all of them."""
    content, recurrence = master.content, master.content.recurrence
    if recurrence is None:
        raise ValueError(f"{master.item_id} is no series")
    first, last = (wall_time(moment.at, recurrence.zone) for moment in (content.start, content.end))
    start = datetime.combine(day, first.time())
    return replace(
        content,
        start=Moment(instant_of(start, recurrence.zone), content.start.zone),
        end=Moment(instant_of(start + (last - first), recurrence.zone), content.end.zone),
        recurrence=None,
        transaction_id=None,
    )


def differences(one: Event, content: Content) -> Differences:
    """What an occurrence with this content has of its own. Raises `ValueError` for what is no occurrence."""
    if one.master is None:
        raise ValueError(f"{one.item_id} is no occurrence")
    regular = _regular(one.master, one.day)
    pairs = ((item.name, getattr(content, item.name), getattr(regular, item.name)) for item in fields(Content))
    return MappingProxyType({name: value for name, value, usual in pairs if value != usual})


def crosses_a_neighbour(one: Event, start: datetime) -> bool:
    """Whether an occurrence that begins at `start` comes to the day of the one before or after it, or past that.

    Microsoft Graph docs, "Update event": an occurrence cannot be moved to or before the day of the previous one, nor to
    or after the day of the following one.
    """
    master = one.master
    if master is None or (recurrence := master.content.recurrence) is None:
        return False
    wanted = wall_time(start, recurrence.zone).date()
    before = next((day for day in recurrence.days_before(one.day) if day not in master.cancelled), None)
    after = recurrence.day_after(one.day)
    while after is not None and after in master.cancelled:
        after = recurrence.day_after(after)

    def shown(day: date) -> date:
        return wall_time(_occurrence(master, day).content.start.at, recurrence.zone).date()

    return (before is not None and wanted <= shown(before)) or (after is not None and wanted >= shown(after))


def goes_beyond(event: Event, at: datetime) -> bool:
    """Whether an event, or the last occurrence of a series, ends after `at`."""
    recurrence = event.content.recurrence
    if recurrence is None:
        return event.content.end.at > at
    if recurrence.range == "noEnd":
        return True
    return any(_regular(event, day).end.at > at for day in recurrence.all_days())


def is_last_of_series(one: Event) -> bool:
    """Whether a series has no occurrence but this one."""
    master = one.master
    if master is None or (recurrence := master.content.recurrence) is None or recurrence.range == "noEnd":
        return False
    return all(day in master.cancelled or day == one.day for day in recurrence.all_days())


def _suffix(day: date) -> str:
    return base64.urlsafe_b64encode(day.toordinal().to_bytes(_DAY_BYTES)).decode()


def split_id(either_id: str) -> tuple[str, date] | None:
    """The id of the series and the day, if this can be the id of an occurrence."""
    series, suffix = either_id[:-_SUFFIX], either_id[-_SUFFIX:]
    try:
        return series, date.fromordinal(int.from_bytes(base64.urlsafe_b64decode(suffix)))
    except (ValueError, OverflowError):
        return None

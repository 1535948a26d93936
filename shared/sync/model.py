"""The words of this app as values: bookings, events, links, claims, marks.

A *booking* lives in Dataverse, an *event* in one *mailbox*. A *link* remembers which event shows which booking and the
*base*, what both sides last agreed on. A *claim* says which mailbox holds the booking's event and how many events the
booking has had (its *generation*). A *mark* says "booking B may have changed" and nothing more.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import NewType

BookingId = NewType("BookingId", str)
"""A `bookableresourcebooking` row's GUID, lower case."""
ResourceId = NewType("ResourceId", str)
"""A `bookableresource` row's GUID, lower case."""
MailboxId = NewType("MailboxId", str)
"""The Entra object id of a user or room, lower case; user principal names can change, this cannot."""
EventId = NewType("EventId", str)
"""An event's immutable id; case-sensitive."""
Shard = NewType("Shard", str)
"""A part of the work: two digits, or `UNROUTED`."""
Fingerprint = NewType("Fingerprint", str)
"""A short hash of one field's content."""

UNROUTED = Shard("unrouted")
"""The shard of marks whose mailbox is not known; it owns no mailbox."""

_TRANSACTIONS = uuid.UUID("b3f5c0de-5f0a-4b1e-8a54-6f6f0d2c9a11")


def shard_of(mailbox: MailboxId, shards: int) -> Shard:
    """The shard that owns `mailbox` among `shards` of them; the same in every process."""
    digest = hashlib.sha256(mailbox.encode()).digest()
    return Shard(f"{int.from_bytes(digest[:4]) % shards:02d}")


def all_shards(shards: int) -> tuple[Shard, ...]:
    """Every shard when there are `shards` with mailboxes, the one without included."""
    return (*(Shard(f"{number:02d}") for number in range(shards)), UNROUTED)


class StatusKind(StrEnum):
    """What a booking status means; its name is customer data and decides nothing."""

    PROPOSED = "proposed"
    COMMITTED = "committed"
    CANCELED = "canceled"


class ShowAs(StrEnum):
    """Free/busy of an event, in Graph's words."""

    FREE = "free"
    TENTATIVE = "tentative"
    BUSY = "busy"
    OUT_OF_OFFICE = "oof"
    WORKING_ELSEWHERE = "workingElsewhere"
    UNKNOWN = "unknown"


class Field(StrEnum):
    """The fields that both sides have in common; start and end are one field because they move together."""

    TIME = "time"
    SUBJECT = "subject"
    BODY = "body"
    SHOW_AS = "show_as"
    SENSITIVITY = "sensitivity"
    CATEGORY = "category"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A booking status: `detail` is its Field Service status in lower snake case (`in_progress`), if it has one."""

    id: str
    name: str
    kind: StatusKind
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A bookable resource; without a `mailbox`, `obstacle` says in words why there is none."""

    id: ResourceId
    name: str
    mailbox: MailboxId | None
    obstacle: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """One row as it is now. `version` is its row version; `columns` are the raw values that filters may ask for."""

    id: BookingId
    version: int
    name: str
    start: datetime
    end: datetime
    status: Status
    resource: Resource
    work_order: str = ""
    account: str = ""
    columns: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BookingChange:
    """What is to be written to a booking; what is not given stays. `status` is the id of a booking status."""

    start: datetime | None = None
    end: datetime | None = None
    name: str | None = None
    status: str | None = None

    def __post_init__(self) -> None:
        """Start and end belong together: the duration follows from both."""
        if (self.start is None) != (self.end is None):
            raise ValueError("a booking is given its start and its end together")


@dataclass(frozen=True, slots=True, kw_only=True)
class BookingRow:
    """A booking's own columns at one `version`, without what its lookups lead to: `status` is the status's id."""

    id: BookingId
    version: int
    name: str
    start: datetime
    end: datetime
    status: str
    resource: ResourceId


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a calendar shows of a booking, in one shape for both sides. Instants are aware and in UTC.

    `is_private`: with whom the calendar is shared sees no more of the event than when it is. `category` is the one that
    stands for the booking's status; what other categories an event has is not our affair.
    """

    start: datetime
    end: datetime
    subject: str
    body: str
    show_as: ShowAs
    is_private: bool = False
    category: str = ""

    def text_of(self, field: Field) -> str:
        """One field as text, equal if and only if the field is equal."""
        match field:
            case Field.TIME:
                return f"{self.start.isoformat()}/{self.end.isoformat()}"
            case Field.SUBJECT:
                return self.subject
            case Field.BODY:
                return self.body
            case Field.SHOW_AS:
                return self.show_as.value
            case Field.SENSITIVITY:
                return _PRIVATE if self.is_private else "normal"
            case Field.CATEGORY:
                return self.category

    def with_text(self, field: Field, text: str) -> Content:
        """The same with one field as `text_of` gave it. Raises `ValueError` for a text that it never gives."""
        match field:
            case Field.TIME:
                start, end = map(datetime.fromisoformat, text.split("/"))
                return replace(self, start=start, end=end)
            case Field.SUBJECT:
                return replace(self, subject=text)
            case Field.BODY:
                return replace(self, body=text)
            case Field.SHOW_AS:
                return replace(self, show_as=ShowAs(text))
            case Field.SENSITIVITY:
                return replace(self, is_private=text == _PRIVATE)
            case Field.CATEGORY:
                return replace(self, category=text)

    def fingerprints(self) -> dict[Field, Fingerprint]:
        """A short hash of every field: enough to see a change, useless to read personal data from."""
        return {field: fingerprint(self.text_of(field)) for field in Field}


def fingerprint(text: str) -> Fingerprint:
    """96 bits of SHA-256 of `text`: no accidental collision in any calendar's life."""
    return Fingerprint(hashlib.sha256(text.encode()).hexdigest()[:24])


_PRIVATE = "private"
PRIVATE = fingerprint(_PRIVATE)
"""What the sensitivity of an event is that is hidden."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What both sides last agreed on, each in its own words: a service may rewrite what it is given (HTML bodies).

    `booking` are the fingerprints of what the booking translated to; `event` those of what the calendar then held.
    """

    booking: Mapping[Field, Fingerprint]
    event: Mapping[Field, Fingerprint]


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """The identity of one event of ours, written into the event itself by the POST that creates it (R2)."""

    organization: str
    booking: BookingId
    generation: int

    @property
    def text(self) -> str:
        """The marker as it stands in the event."""
        return f"{self.prefix(self.organization, self.booking)}{self.generation}"

    @staticmethod
    def prefix(organization: str, booking: BookingId | None = None) -> str:
        """What the markers of all generations of a booking begin with, or those of all bookings."""
        return f"1.{organization}.{booking}." if booking is not None else f"1.{organization}."

    @classmethod
    def parse(cls, text: str) -> Marker | None:
        """Read a marker; `None` for anything that this app did not write."""
        match text.split("."):
            case ["1", organization, booking, generation] if generation.isascii() and generation.isdecimal():
                return cls(organization=organization, booking=BookingId(booking), generation=int(generation))
        return None

    def text_in(self, mailbox: MailboxId, event: EventId) -> str:
        """The marker as it stands in an event that existed before it: good in this event only, not in a copy (R9)."""
        return f"{self.text}.{uuid.uuid5(_TRANSACTIONS, f'{self.text}@{mailbox}/{event}').hex}"

    def transaction_id(self, mailbox: MailboxId) -> str:
        """The idempotency key of the create: the same for every repetition, another one in every mailbox (R2)."""
        return str(uuid.uuid5(_TRANSACTIONS, f"{self.text}@{mailbox}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event of ours as it is now. `is_meeting`: people are invited to it, or it is held online (R7).

    `read_at` is when it was asked for, if that was a reading: hints that were accepted until then are no news.
    `modified_at` is the service's word on when it changed last, `preview` the print of the beginning of its body.
    """

    id: EventId
    mailbox: MailboxId
    etag: str
    content: Content
    marker: Marker | None = None
    is_cancelled: bool = False
    is_all_day: bool = False
    is_series: bool = False
    is_meeting: bool = False
    read_at: datetime | None = None
    modified_at: datetime | None = None
    preview: Fingerprint | None = None

    @property
    def unsuitable(self) -> str:
        """Why no booking can take the event's times, in words; empty when one can."""
        if self.is_series:
            return "the event was made a series"
        if self.is_all_day:
            return "the event was made to last all day"
        if self.content.end <= self.content.start:
            return "the event was given no length"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a notification brought along of a plain event, as of one etag: when it is, and prints of all else.

    For `Field.BODY` it is the print of the beginning of the body: a notification never brings more of it.
    """

    etag: str
    modified_at: datetime
    start: datetime
    end: datetime
    prints: Mapping[Field, Fingerprint]


MOST_ETAGS = 4
"""How many earlier etags of an event a link remembers; hints of one change come late and more than once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The stored pair of a booking and its event: every event of ours that may exist has one in its mailbox's shard.

    It is saved as an intent (`event` is None) by the worker `noted_by` before the event is created, and confirmed with
    the event's id. Before its event is deleted it loses its `base`: nothing is known of the event from then on. `etag`
    is the event's, `etags` are some that it had before, and `read_at` is when it was last read; `modified_at` and
    `preview` are the event's own. `version` is the row version of the booking that the event shows. `predecessor` is
    the mailbox of the previous generation, which still has to be told to give up its event (R10). `row` is the stored
    row's own version.
    """

    booking: BookingId
    generation: int
    mailbox: MailboxId
    written_at: datetime
    noted_by: str = ""
    event: EventId | None = None
    etag: str = ""
    etags: tuple[str, ...] = ()
    is_meeting: bool = False
    read_at: datetime | None = None
    modified_at: datetime | None = None
    preview: Fingerprint | None = None
    version: int = 0
    base: Base | None = None
    start: datetime | None = None
    end: datetime | None = None
    predecessor: MailboxId | None = None
    row: str = ""

    def showing(self, event: Event) -> Link:
        """The link with what is known of its event by now."""
        return replace(
            self._as_of(event.etag),
            event=event.id,
            is_meeting=event.is_meeting,
            read_at=event.read_at or self.read_at,
            modified_at=event.modified_at,
            preview=event.preview,
            start=event.content.start,
            end=event.content.end,
        )

    def as_told(self, told: Told) -> Link:
        """The same, by what a notification brought along."""
        return replace(
            self._as_of(told.etag),
            is_meeting=False,
            modified_at=told.modified_at,
            start=told.start,
            end=told.end,
        )

    def _as_of(self, etag: str) -> Link:
        older = (self.etag, *self.etags) if self.etag and self.etag != etag else self.etags
        return replace(self, etag=etag, etags=older[:MOST_ETAGS])

    def is_older_than(self, told: Told) -> bool:
        """Whether a notification is news beyond doubt: both times are of the same event, by the same clock (R8)."""
        return self.modified_at is not None and self.modified_at < told.modified_at

    def has_seen(self, etag: str) -> bool:
        """Whether the event had that etag when or before it was last seen: then a hint of it is no news (R5)."""
        return etag == self.etag or etag in self.etags


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Which mailbox holds the booking's event, and the highest generation ever used (R2).

    It is taken before the event is created and outlives it as a tombstone (`retired_at`), so that no generation is used
    twice. `row` is the stored row's own version.
    """

    booking: BookingId
    generation: int
    mailbox: MailboxId
    claimed_at: datetime
    retired_at: datetime | None = None
    row: str = ""

    @property
    def is_live(self) -> bool:
        """Whether an event may exist under this claim."""
        return self.retired_at is None

    def stands_on(self, link: Link) -> bool:
        """Whether the event that it promises is the one of `link`."""
        return self.is_live and (self.generation, self.mailbox) == (link.generation, link.mailbox)


class Cause(StrEnum):
    """Why a booking is looked at. That a booking was `DELETED` is a proof, that an event was is only said (R3)."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"
    HANDED_OVER = "handed_over"
    EVENT_CHANGED = "event_changed"
    EVENT_DELETED = "event_deleted"
    RESTORED = "restored"


OF_EVENTS = frozenset({Cause.EVENT_CHANGED, Cause.EVENT_DELETED})
"""Causes that name an event; its booking is looked up when the mark is worked off."""
UNKNOWN = BookingId("")
"""The booking of a mark on an event before it was looked up, and of an event that is none of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A durable "booking B may have changed", or "event E in mailbox M may have changed".

    `posts` counts the accepted hints it stands for (R11). A deletion is proof that the row was deleted (R3). A
    hand-over names in `generation` the first generation that no longer lives in this shard (R10). `version` is the row
    version that the post spoke of. `mailbox`, `event` and `etag` belong to the causes `OF_EVENTS`, where `booking` may
    be `UNKNOWN`; `etag` is the event's when the hint named it, `told` what it brought along. With the cause
    `RESTORED` an administrator puts in force the `text` of a `field` that had lost (R6). `is_approved`: an
    administrator has approved what it leads to (R4). `key` is the stored row's key, empty before it is stored.
    """

    booking: BookingId
    cause: Cause
    accepted_at: datetime
    due_at: datetime
    posts: int = 1
    attempts: int = 0
    version: int | None = None
    generation: int = 0
    mailbox: MailboxId | None = None
    event: EventId | None = None
    etag: str = ""
    told: Told | None = None
    correlation: str = ""
    field: Field | None = None
    text: str = ""
    is_approved: bool = False
    key: str = ""

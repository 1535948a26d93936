"""What the engine needs of the outside. Implementations plug in from `shared.app`; tests plug in their twins.

Every method may raise `TransientError`, and `RefusedError` where a service can say no; what else it may raise is said
at the method.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from shared.sync.model import (
    Booking,
    BookingChange,
    BookingId,
    BookingRow,
    Cause,
    Claim,
    Content,
    Event,
    EventId,
    Field,
    Link,
    MailboxId,
    Mark,
    Marker,
    ResourceId,
    Shard,
)
from shared.sync.plan import Outcome, Reason


class Clock(Protocol):
    """Time as the app sees it; tests and simulations bring their own."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""


class BookingSide(Protocol):
    """Dataverse."""

    async def get_booking(self, booking: BookingId) -> Booking | None:
        """The row as it is now, `None` when there is none. Raises `RefusedError` in the wrong organisation (R14)."""

    async def update_booking(self, booking: BookingId, version: int, change: BookingChange, tag: str) -> BookingRow:
        """Write `change` if the row still has `version`; gives the row as it is then.

        The posts that follow from it carry `tag`, those of what business logic does beside it, too. Raises
        `PreconditionError` when the row has moved on (perhaps by this very write, of which the first answer was lost),
        `GoneError`, `RefusedError` when the platform, its business logic or the app's role does not allow it, and
        `OutcomeUnknownError` when it has happened and only the result is not known. What else is lost on the way is
        sent again, under the same version; so even when it ends as a `TransientError`, it may have happened.
        """

    async def canceled_status(self) -> str:
        """The id of the status that a booking gets when its event is deleted. Raises `RefusedError` without one."""

    async def mailboxes(self) -> Mapping[ResourceId, MailboxId]:
        """Every mailbox that may hold events of ours: those of the users behind resources, disabled ones included."""


class EventSide(Protocol):
    """Microsoft 365 calendars. Every method raises `MailboxGoneError` when the whole mailbox cannot be reached."""

    async def find_events(self, mailbox: MailboxId, prefix: str) -> Sequence[Event]:
        """The events in the mailbox's own calendar whose marker begins with `prefix`."""

    async def find_everywhere(self, mailbox: MailboxId, prefix: str) -> Sequence[Event]:
        """The same in all calendars of the mailbox, not only in its own one; some requests more."""

    async def get_event(self, mailbox: MailboxId, event: EventId) -> Event:
        """One event. Raises `GoneError`."""

    async def create_event(self, mailbox: MailboxId, marker: Marker, content: Content, until: datetime) -> Event:
        """Make an event that carries `marker` from its first moment, by `until` or never.

        Raises `NotSentError` when it could not leave early enough to be over by then (R2), `DuplicateError` when the
        service remembers this create, `OutcomeUnknownError` when it may have happened.
        """

    async def update_event(
        self, mailbox: MailboxId, event: EventId, etag: str, fields: frozenset[Field], content: Content
    ) -> Event:
        """Write `fields` of `content` if the event still has `etag`. Raises `PreconditionError`, `GoneError`."""

    async def cancel_event(self, mailbox: MailboxId, event: EventId) -> None:
        """Cancel a meeting: who was invited gets to know. One that is gone counts as canceled."""

    async def delete_event(self, mailbox: MailboxId, event: EventId, etag: str) -> None:
        """Delete the event if it still has `etag`; one that is gone counts as deleted. Raises `PreconditionError`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """What was seen, decided and done for one booking, when and why.

    `lost` are the values that lost a conflict, as text: they can be restored from here (R6).
    """

    booking: BookingId
    at: datetime
    reason: Reason
    outcome: Outcome
    posts: int
    attempts: int
    actions: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    generation: int = 0
    version: int = 0
    correlation: str = ""
    detail: str = ""
    lost: Mapping[Field, str] = field(default_factory=dict)


LATE = timedelta(minutes=2)
"""How long after an event went hints of it are taken for late ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What an entry of the journal keeps of values that lost, as text."""

    at: datetime
    reason: str
    lost: Mapping[Field, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the index says of an event of ours: its booking, the etags that its link has seen, when it was last read.

    `gone_at`: then the link was removed, because the event was gone or had to go.
    """

    booking: BookingId
    etags: frozenset[str]
    read_at: datetime | None = None
    gone_at: datetime | None = None

    def is_news(self, mark: Mark) -> bool:
        """Whether the mark may tell of something that the link does not know (R5).

        Whatever a hint tells of has happened before the hint was accepted, and a later reading has seen it. For a while
        after an event went there are hints of that.
        """
        if mark.cause is not Cause.EVENT_CHANGED:
            return self.gone_at is None
        is_late = self.gone_at is not None and mark.accepted_at <= self.gone_at + LATE
        return not is_late and mark.etag not in self.etags and not (self.read_at and mark.accepted_at <= self.read_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A time-limited right to work on a shard: for efficiency, never for safety. `row` is the stored row's version.

    `unsearched` are mailboxes of the shard that were left out when its links were restored (R2a).
    """

    shard: Shard
    holder: str
    until: datetime
    row: str
    unsearched: frozenset[MailboxId] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """What one reconciliation leaves in its shard, in one transaction (R11).

    `settled` are marks that end here, exactly the rows that were read; `deferred` stand for them later. `save` and
    `remove` are links. `entry` goes to the journal and, when its outcome says so, to the dead letters.
    """

    settled: tuple[Mark, ...]
    deferred: tuple[Mark, ...] = ()
    save: tuple[Link, ...] = ()
    remove: tuple[Link, ...] = ()
    entry: JournalEntry | None = None


class Store(Protocol):
    """Table Storage. Conditional writes raise `PreconditionError` when a row is not as it was read."""

    async def acquire(self, shard: Shard, holder: str, now: datetime) -> Lease | None:
        """The lease, or `None` when somebody has it: then he is told to look again before he stops.

        Raises `EpochMissingError` for a shard whose links have to be rebuilt first (R2a).
        """

    async def has_epoch(self, shard: Shard) -> bool:
        """Whether the links of the shard are known to be complete (R2a)."""

    async def release(self, lease: Lease) -> bool:
        """Give the lease back. True when somebody asked for another look meanwhile."""

    async def due_marks(self, shard: Shard, now: datetime, limit: int) -> Sequence[Mark]:
        """The oldest marks that are due, at most `limit`."""

    async def put_marks(self, shard: Shard, marks: Sequence[Mark]) -> None:
        """Add marks."""

    async def links(self, shard: Shard, booking: BookingId) -> tuple[Link, ...]:
        """The links of one booking in this shard."""

    async def known_events(self, shard: Shard, events: Collection[EventId]) -> Mapping[EventId, Known]:
        """Of those events, the ones that are or were linked in this shard."""

    async def save_intent(self, shard: Shard, link: Link, look: Mark) -> tuple[Link, Mark]:
        """Write the link of an event about to be created or deleted, and with it a mark that looks after it.

        Raises `PreconditionError` when its row is not as it was read (or absent), or when the table was emptied
        meanwhile (R2a).
        """

    async def claim(self, booking: BookingId) -> Claim | None:
        """The booking's claim."""

    async def save_claim(self, claim: Claim) -> Claim:
        """Write the claim if its row is as it was read (or still absent). Raises `PreconditionError`."""

    async def commit(self, shard: Shard, commit: Commit) -> None:
        """Everything of `commit`, or nothing. Raises `PreconditionError`."""

    async def remember_resources(self, resources: Mapping[ResourceId, MailboxId | None], now: datetime) -> None:
        """Keep where the resources' bookings go, for routing."""

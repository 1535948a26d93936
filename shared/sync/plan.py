"""What a decision is made of: actions, their reason, and how the posts that asked for it end. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from shared.sync.model import BookingId, Claim, Content, Event, Field, Link, MailboxId


class Outcome(StrEnum):
    """How an accepted post ends (R11)."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    SUPERSEDED = "superseded"
    SKIPPED = "skipped"
    FORWARDED = "forwarded"
    PARKED = "parked"
    QUARANTINED = "quarantined"
    DEAD_LETTER = "dead_letter"


class Reason(StrEnum):
    """Why a plan is what it is; one for each row of the decision table, and those of the engine's own."""

    UNDER_WAY = "under_way"
    HANDED_OVER = "handed_over"
    DELETED = "deleted"
    MISSING = "missing"
    CANCELED = "canceled"
    NO_MAILBOX = "no_mailbox"
    FILTERED_OUT = "filtered_out"
    ROUTED = "routed"
    OUT_OF_WINDOW = "out_of_window"
    REASSIGNED = "reassigned"
    EVENT_DELETED = "event_deleted"
    EVENT_MISSING = "event_missing"
    RESTORED = "restored"
    UNSUITABLE = "unsuitable"
    PUT_IN_FORCE = "put_in_force"
    CONFLICT = "conflict"
    WRITE_REFUSED = "write_refused"
    MOVED = "moved"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    FOUND = "found"
    CREATED = "created"
    # Of the engine's own: no decision was needed, or none could be carried out.
    ALREADY_SEEN = "already_seen"
    FOREIGN = "foreign"
    RESTORED_BY_PEOPLE = "restored_by_people"
    KEYS_USED_UP = "keys_used_up"
    MAILBOX_GONE = "mailbox_gone"
    DELETION_BUDGET = "deletion_budget"
    REFUSED = "refused"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateEvent:
    """Make the booking's event: note the intent, claim the generation, POST, tell the `predecessor` (R2, R10).

    `intent` is set when it was noted before; `replaces` is the link of an event that is proven gone.
    """

    mailbox: MailboxId
    generation: int
    content: Content
    intent: Link | None = None
    predecessor: MailboxId | None = None
    replaces: Link | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptEvent:
    """Link an event that exists already and look once more; `link` is the intent that it fulfils, if any."""

    event: Event
    generation: int
    link: Link | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateEvent:
    """Write the named fields if the event still has `etag`; with no fields only the link learns what was seen.

    `agreed` is what the booking says, where the event is given something else on purpose.
    """

    link: Link
    fields: frozenset[Field]
    content: Content
    etag: str
    agreed: Content | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateBooking:
    """Write what people did to the event into the booking, if that still has `version`."""

    booking: BookingId
    version: int
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelBooking:
    """Cancel the booking, whose event is gone, if it still has `version`."""

    booking: BookingId
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Learn:
    """Save the link with what was seen and written."""

    link: Link


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlink:
    """Remove the link of an event that is gone."""

    link: Link


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteEvent:
    """Delete a link and its event. An intent without an event id is looked up by its marker first."""

    link: Link


@dataclass(frozen=True, slots=True, kw_only=True)
class DropIntent:
    """Forget an intent that lost the claim; an event that it made is linked, and waits for its hand-over."""

    link: Link


@dataclass(frozen=True, slots=True, kw_only=True)
class RetireClaim:
    """Turn the claim into a tombstone: the booking has no event any more.

    Without a `claim` the tombstone is the first thing known of the booking: a worker that read the booking earlier and
    is about to create its event then fails to take the claim.
    """

    claim: Claim | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """Put the marks into the shard that owns `mailbox`."""

    mailbox: MailboxId


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Do nothing before `until`."""

    until: datetime


type Action = (
    CreateEvent
    | AdoptEvent
    | UpdateEvent
    | UpdateBooking
    | CancelBooking
    | Learn
    | Unlink
    | DeleteEvent
    | DropIntent
    | RetireClaim
    | Forward
    | Wait
)
"""What a plan may ask for. Each is safe to repeat after a crash between any two of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do, in this order, and why; `detail` says in words what a code cannot, `lost` what lost a conflict."""

    reason: Reason
    outcome: Outcome
    actions: tuple[Action, ...] = ()
    detail: str = ""
    lost: Mapping[Field, str] = field(default_factory=dict)

"""Bookings, links and snapshots for tests, with the least that each case has to say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from shared.sync.facts import Snapshot
from shared.sync.model import (
    Base,
    Booking,
    BookingId,
    Cause,
    Claim,
    Content,
    Event,
    EventId,
    Link,
    MailboxId,
    Mark,
    Marker,
    Resource,
    ResourceId,
    Shard,
    ShowAs,
    Status,
    StatusKind,
    shard_of,
)
from shared.sync.translate import Policy

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ORGANIZATION = "0a0a0a0a-0000-4000-8000-000000000001"
BOOKING = BookingId("b0000000-0000-4000-8000-000000000001")
SHARDS = 8


def mailbox_in(shard: Shard, skip: int = 0) -> MailboxId:
    """Some mailbox that `shard` owns; `skip` gives others of the same shard."""
    candidates = (MailboxId(f"aaaaaaaa-0000-4000-8000-{number:012d}") for number in range(10_000))
    return [name for name in candidates if shard_of(name, SHARDS) == shard][skip]


HERE = Shard("03")
ALICE = mailbox_in(HERE)
ADA = mailbox_in(HERE, skip=1)
"""Another mailbox of the same shard."""
BOB = mailbox_in(Shard("05"))
"""A mailbox of another shard."""

COMMITTED = Status(id="c1", name="Committed", kind=StatusKind.COMMITTED)
CANCELED = Status(id="c3", name="Canceled", kind=StatusKind.CANCELED)


def resource(mailbox: MailboxId | None, obstacle: str = "") -> Resource:
    """A resource with or without a calendar."""
    return Resource(id=ResourceId("r1"), name="Alice", mailbox=mailbox, obstacle=obstacle)


def booking(mailbox: MailboxId | None = ALICE, **changes: object) -> Booking:
    """A committed booking tomorrow."""
    made = Booking(
        id=BOOKING,
        version=100,
        name="Boiler service",
        start=NOW + timedelta(days=1),
        end=NOW + timedelta(days=1, hours=2),
        status=COMMITTED,
        resource=resource(mailbox, "" if mailbox else "the resource is a crew"),
        account="Fabrikam",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def everything(_: Booking) -> bool:
    """A filter that wants all."""
    return True


def policy(is_wanted: Callable[[Booking], bool] = everything) -> Policy:
    """Plain texts and a window of a week back and 180 days ahead."""
    return Policy(
        organization=ORGANIZATION,
        subject=lambda booking: booking.account or booking.name,
        body=lambda booking: f"<p>{booking.status.name}</p>",
        show_as={"committed": ShowAs.BUSY, "proposed": ShowAs.TENTATIVE},
        past=timedelta(days=7),
        future=timedelta(days=180),
        is_wanted=is_wanted,
    )


def content_of(row: Booking) -> Content:
    """What `policy()` makes of a booking."""
    return Content(
        start=row.start,
        end=row.end,
        subject=row.account or row.name,
        body=f"<p>{row.status.name}</p>",
        show_as=ShowAs.BUSY,
    )


def link(mailbox: MailboxId = ALICE, generation: int = 1, **changes: object) -> Link:
    """A confirmed link whose base is `booking()`."""
    prints = content_of(booking()).fingerprints()
    made = Link(
        booking=BOOKING,
        generation=generation,
        mailbox=mailbox,
        written_at=NOW - timedelta(hours=1),
        event=EventId(f"event-{generation}"),
        etag='W/"1"',
        version=100,
        base=Base(booking=prints, event=prints),
        row='W/"row"',
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def intent(mailbox: MailboxId = ALICE, generation: int = 1, **changes: object) -> Link:
    """A link whose event was not confirmed."""
    return link(mailbox, generation, **{"event": None, "etag": "", "version": 0, "base": None, **changes})


def claim(mailbox: MailboxId = ALICE, generation: int = 1, **changes: object) -> Claim:
    """A live claim."""
    made = Claim(booking=BOOKING, generation=generation, mailbox=mailbox, claimed_at=NOW, row='W/"claim"')
    return replace(made, **changes)  # type: ignore[arg-type]


def event(mailbox: MailboxId = ALICE, generation: int = 1, **changes: object) -> Event:
    """An event of ours as `booking()` wants it."""
    made = Event(
        id=EventId(f"event-{generation}"),
        mailbox=mailbox,
        etag='W/"2"',
        content=content_of(booking()),
        marker=Marker(organization=ORGANIZATION, booking=BOOKING, generation=generation),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def mark(cause: Cause = Cause.UPDATED, **changes: object) -> Mark:
    """A due mark."""
    return replace(Mark(booking=BOOKING, cause=cause, accepted_at=NOW, due_at=NOW), **changes)  # type: ignore[arg-type]


def hand_over(below: int) -> Mark:
    """The order to give up all generations before `below`."""
    return mark(Cause.HANDED_OVER, generation=below, posts=0)


def snapshot(row: Booking | None, *marks: Mark, **changes: object) -> Snapshot:
    """What shard `HERE` sees of `row`."""
    made = Snapshot(
        booking_id=BOOKING,
        shard=HERE,
        shards=SHARDS,
        now=NOW,
        marks=marks or (mark(),),
        booking=row,
    )
    return replace(made, **changes)  # type: ignore[arg-type]

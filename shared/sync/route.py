"""From hints to marks: what may have changed, stored in the shard that has to look at it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.sync.model import UNROUTED, BookingId, Cause, MailboxId, Mark, ResourceId, Shard, shard_of
from shared.sync.ports import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """That one booking may have changed. Hints are the unit of accounting (R11): each becomes one mark.

    `version` is the row version after the change and `resource` the booking's resource, as far as the hint tells.
    """

    booking: BookingId
    cause: Cause
    version: int | None = None
    resource: ResourceId | None = None
    correlation: str = ""


class RouteStore(Protocol):
    """What routing needs of the storage. Every method may raise `TransientError`."""

    async def put_marks(self, shard: Shard, marks: Sequence[Mark]) -> None:
        """Add marks."""

    async def mailbox_of_resource(self, resource: ResourceId, now: datetime) -> MailboxId | None:
        """Where the bookings of the resource go, if that was seen lately."""

    async def mailbox_of_booking(self, booking: BookingId) -> MailboxId | None:
        """The mailbox that holds the booking's event."""


class Router:
    """Stores hints as marks."""

    def __init__(self, *, store: RouteStore, clock: Clock, shards: int) -> None:
        """Take the ports; `shards` is how many parts the mailboxes are divided into."""
        self._store = store
        self._clock = clock
        self._shards = shards

    async def put(self, hints: Iterable[Hint]) -> frozenset[Shard]:
        """Store the hints, in one go for each shard, and name the shards to wake.

        Raises `TransientError` when a shard's could not be stored; those of other shards may be by then. So the hints
        must come again, and a hint that comes twice does no harm.
        """
        now = self._clock.now()
        marks: dict[Shard, list[Mark]] = {}
        for hint in hints:
            mark = Mark(
                booking=hint.booking,
                cause=hint.cause,
                accepted_at=now,
                due_at=now,
                version=hint.version,
                correlation=hint.correlation,
            )
            marks.setdefault(await self._shard(hint, now), []).append(mark)
        for shard, group in marks.items():
            await self._store.put_marks(shard, group)
        return frozenset(marks)

    async def _shard(self, hint: Hint, now: datetime) -> Shard:
        """The shard of the booking's mailbox, as far as it is known without asking a service."""
        mailbox = None
        if hint.resource is not None:
            mailbox = await self._store.mailbox_of_resource(hint.resource, now)
        if mailbox is None:
            mailbox = await self._store.mailbox_of_booking(hint.booking)
        return UNROUTED if mailbox is None else shard_of(mailbox, self._shards)

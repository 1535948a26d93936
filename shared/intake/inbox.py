"""From a post to durable marks in the right shard."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from shared.intake.dataverse import Post, read_post
from shared.sync.model import UNROUTED, BookingId, MailboxId, Mark, ResourceId, Shard, shard_of
from shared.sync.ports import Clock


class InboxStore(Protocol):
    """What the inbox needs of the storage. Every method may raise `TransientError`."""

    async def put_marks(self, shard: Shard, marks: Sequence[Mark]) -> None:
        """Add marks."""

    async def has_due_marks(self, shard: Shard, now: datetime) -> bool:
        """Whether any mark of the shard is due."""

    async def mailbox_of_resource(self, resource: ResourceId, now: datetime) -> MailboxId | None:
        """Where the bookings of the resource go, if that was seen lately."""

    async def mailbox_of_booking(self, booking: BookingId) -> MailboxId | None:
        """The mailbox that holds the booking's event."""


class Inbox:
    """Accepts posts."""

    def __init__(self, *, store: InboxStore, clock: Clock, organization: str, shards: int) -> None:
        """Take the ports; posts of any other `organization` are refused (R14)."""
        self._store = store
        self._clock = clock
        self._organization = organization
        self._shards = shards

    async def accept_dataverse(self, body: bytes, content_type: str) -> Shard:
        """Store what one post asks for and name the shard to wake.

        Raises `InvalidPostError` for what can never be accepted, `TransientError` when it could not be stored.
        """
        post = read_post(body, content_type, self._organization)
        now = self._clock.now()
        mark = Mark(
            booking=post.booking,
            cause=post.cause,
            accepted_at=now,
            due_at=now,
            version=post.version,
            correlation=post.correlation,
        )
        shard = await self._route(post, now)
        await self._store.put_marks(shard, (mark,))
        return shard

    async def idle_shards_with_work(self) -> list[Shard]:
        """The shards that have due marks; for the timer that makes up for lost wake-ups."""
        now = self._clock.now()
        shards = [Shard(f"{number:02d}") for number in range(self._shards)] + [UNROUTED]
        return [shard for shard in shards if await self._store.has_due_marks(shard, now)]

    async def _route(self, post: Post, now: datetime) -> Shard:
        """The shard of the booking's mailbox, as far as it is known without asking a service."""
        mailbox = None
        if post.resource is not None:
            mailbox = await self._store.mailbox_of_resource(post.resource, now)
        if mailbox is None:
            mailbox = await self._store.mailbox_of_booking(post.booking)
        return UNROUTED if mailbox is None else shard_of(mailbox, self._shards)

"""From a post to durable marks in the right shards."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from shared.intake.dataverse import read_post
from shared.sync.model import Shard, all_shards
from shared.sync.ports import Clock
from shared.sync.route import Router


class InboxStore(Protocol):
    """What the inbox itself needs of the storage. May raise `TransientError`."""

    async def has_due_marks(self, shard: Shard, now: datetime) -> bool:
        """Whether any mark of the shard is due."""

    async def replay(self, shard: Shard, now: datetime) -> int:
        """Turn the shard's dead letters back into marks and say how many there were."""


class Inbox:
    """Accepts posts."""

    def __init__(self, *, router: Router, store: InboxStore, clock: Clock, organization: str, shards: int) -> None:
        """Take the ports; posts of any other `organization` are refused (R14)."""
        self._router = router
        self._store = store
        self._clock = clock
        self._organization = organization
        self._shards = shards

    async def accept_post(self, body: bytes, content_type: str) -> list[Shard]:
        """Store what one post of Dataverse asks for and name the shards to wake.

        Raises `InvalidPostError` for what can never be accepted, `TransientError` when not all of it could be stored.
        """
        return sorted(await self._router.put(read_post(body, content_type, self._organization)))

    async def replay_dead_letters(self) -> tuple[int, list[Shard]]:
        """Try again what was parked or given up; gives how many that were, and the shards to wake."""
        now = self._clock.now()
        replayed = {shard: await self._store.replay(shard, now) for shard in all_shards(self._shards)}
        return sum(replayed.values()), [shard for shard, count in replayed.items() if count]

    async def idle_shards_with_work(self) -> list[Shard]:
        """The shards that have due marks; for the timer that makes up for lost wake-ups."""
        now = self._clock.now()
        return [shard for shard in all_shards(self._shards) if await self._store.has_due_marks(shard, now)]

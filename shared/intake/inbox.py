"""From a post to durable marks in the right shards."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from shared.intake.dataverse import read_post
from shared.sync.model import Shard, all_shards
from shared.sync.plan import Outcome
from shared.sync.ports import Clock
from shared.sync.route import Router


class InboxStore(Protocol):
    """What the inbox itself needs of the storage. May raise `TransientError`."""

    async def has_due_marks(self, shard: Shard, now: datetime) -> bool:
        """Whether any mark of the shard is due."""

    async def replay(self, shard: Shard, outcomes: Collection[Outcome], now: datetime) -> int:
        """Turn what ended so back into marks and say how much there was."""


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
        """Try again what was parked or given up; gives how much that was, and the shards to wake."""
        return await self._replay(Outcome.PARKED, Outcome.DEAD_LETTER)

    async def approve_quarantine(self) -> tuple[int, list[Shard]]:
        """Delete what the deletion budget held back (R4); gives how much that was, and the shards to wake."""
        return await self._replay(Outcome.QUARANTINED)

    async def _replay(self, *outcomes: Outcome) -> tuple[int, list[Shard]]:
        now = self._clock.now()
        replayed = {shard: await self._store.replay(shard, outcomes, now) for shard in all_shards(self._shards)}
        return sum(replayed.values()), [shard for shard, count in replayed.items() if count]

    async def idle_shards_with_work(self) -> list[Shard]:
        """The shards that have due marks; for the timer that makes up for lost wake-ups."""
        now = self._clock.now()
        return [shard for shard in all_shards(self._shards) if await self._store.has_due_marks(shard, now)]

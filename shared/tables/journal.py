"""The journal, read again. Implements `shared.sync.restore.RestoreStore` over `Tables`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from shared.sync.model import BookingId, Claim, Mark, Shard, all_shards
from shared.sync.ports import Loss
from shared.tables.rows import AFTER, loss_of
from shared.tables.store import TableStore
from shared.tables.tables import Tables


class TableJournal:
    """What the journal keeps of values that lost."""

    def __init__(self, tables: Tables, store: TableStore, shards: int, months: int) -> None:
        """`store` holds claims and marks; the journal goes back so many whole `months`."""
        self._tables = tables
        self._store = store
        self._shards = shards
        self._months = months

    async def losses(self, booking: BookingId, now: datetime) -> Sequence[Loss]:
        """What the journal keeps of values that lost, oldest first."""
        last = now.year * 12 + now.month - 1
        months = [f"{month // 12:04d}-{month % 12 + 1:02d}" for month in range(last - self._months, last + 1)]
        prefixes = [f"journal:{month}:{booking}:" for month in months]
        found = await asyncio.gather(
            *(
                self._tables.query(shard, prefix, prefix + AFTER)
                for shard in all_shards(self._shards)
                for prefix in prefixes
            )
        )
        losses = [loss for rows in found for row in rows if (loss := loss_of(row)) is not None]
        return sorted(losses, key=lambda loss: loss.at)

    async def claim(self, booking: BookingId) -> Claim | None:
        """The booking's claim."""
        return await self._store.claim(booking)

    async def put_marks(self, shard: Shard, marks: Sequence[Mark]) -> None:
        """Add marks."""
        await self._store.put_marks(shard, marks)

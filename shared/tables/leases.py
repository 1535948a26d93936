"""Leases: who works on a partition, until when. For efficiency only; what is done twice must do no harm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta

from shared.errors import PreconditionError
from shared.sync.model import MailboxId, Shard
from shared.sync.ports import Lease
from shared.tables.rows import AFTER, text_of_time, time_of
from shared.tables.tables import Delete, Insert, Replace, Stored, Tables, Value

LEASE_TIME = timedelta(seconds=40)
"""Longer than a drain's slice; a worker that dies or freezes is followed by another after this time."""
HEAD = "head:"
"""The rows that say how a partition stands; they are read together."""
LEASE = f"{HEAD}lease"
UNSEARCHED = f"{HEAD}unsearched:"
"""Followed by a mailbox that was left out when the shard's links were restored."""

type Heads = Mapping[str, Stored]
"""The head rows of a partition by their keys."""


class Leases:
    """The leases of all partitions."""

    def __init__(self, tables: Tables) -> None:
        """Keep them in `tables`."""
        self._tables = tables

    async def acquire(
        self, shard: Shard, holder: str, now: datetime, look: Callable[[Heads], None] = lambda _: None
    ) -> Lease | None:
        """The lease, or `None` when another holder has it: then he is told to look again before he stops.

        `look` sees the partition's head rows first, and may refuse by an error.
        """
        until = now + LEASE_TIME
        values: dict[str, Value] = {"holder": holder, "until": text_of_time(until), "again": False}
        while True:
            heads = {stored.row: stored for stored in await self._tables.query(shard, HEAD, HEAD + AFTER)}
            look(heads)
            stored = heads.get(LEASE)
            with suppress(PreconditionError):
                if stored is None:
                    [etag] = await self._tables.transact(shard, [Insert(LEASE, values)])
                elif time_of(stored.values["until"]) <= now:
                    [etag] = await self._tables.transact(shard, [Replace(LEASE, values, stored.etag)])
                else:
                    if not stored.values["again"]:
                        asked = {**stored.values, "again": True}
                        await self._tables.transact(shard, [Replace(LEASE, asked, stored.etag)])
                    return None
                left_out = [MailboxId(row.removeprefix(UNSEARCHED)) for row in heads if row.startswith(UNSEARCHED)]
                return Lease(shard=shard, holder=holder, until=until, row=etag, unsearched=frozenset(left_out))

    async def release(self, lease: Lease) -> bool:
        """Give the lease back; true when somebody asked for another look, or took the lease over."""
        try:
            await self._tables.transact(lease.shard, [Delete(LEASE, lease.row)])
        except PreconditionError:
            stored = await self._tables.get(lease.shard, LEASE)
            is_mine = stored is not None and stored.values["until"] == text_of_time(lease.until)
            if stored is not None and is_mine and stored.values["holder"] == lease.holder:
                with suppress(PreconditionError):
                    await self._tables.transact(lease.shard, [Delete(LEASE, stored.etag)])
            return True
        return False

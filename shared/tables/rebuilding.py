"""How far a rebuild has come, and what it restores. Implements `shared.sync.rebuild.RebuildStore` over `Tables`.

| partition | row | what |
| --- | --- | --- |
| `rebuild` | `head:lease` | who rebuilds |
| | `state` | when it began, and whether its second round runs |
| | `searched:{round}:{mailbox}` | a mailbox whose links are restored |
| shard | `head:rebuilding` | stands while links may be restored here, and is exchanged for `head:epoch` |
| | `head:unsearched:{mailbox}` | a mailbox that was left out |

A link is restored in one transaction with a write of `head:rebuilding`, so a worker that comes too late fails.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import batched

from shared.errors import PreconditionError
from shared.sync.model import Claim, Link, MailboxId, Mark, ResourceId, Shard, all_shards, shard_of
from shared.sync.ports import Lease
from shared.sync.rebuild import Progress
from shared.tables.leases import HEAD, UNSEARCHED, Leases
from shared.tables.rows import (
    AFTER,
    claim_of,
    claim_partition,
    claim_values,
    event_key,
    known_values,
    link_key,
    link_of,
    link_values,
    text_of_time,
    time_of,
)
from shared.tables.store import EPOCH, TableStore
from shared.tables.tables import MOST_OPERATIONS, Delete, Insert, Operation, Put, Replace, Stored, Tables, write_as_read

PARTITION = Shard("rebuild")
STATE = "state"
OPEN = f"{HEAD}rebuilding"


class TableRebuildStore:
    """The rows of a rebuild."""

    def __init__(self, tables: Tables, store: TableStore, shards: int) -> None:
        """`store` holds what else belongs to the shards."""
        self._tables = tables
        self._store = store
        self._shards = shards
        self._leases = Leases(tables)

    async def acquire_rebuild(self, holder: str, now: datetime) -> Lease | None:
        """The lease on the rebuild, or `None` when somebody has it."""
        return await self._leases.acquire(PARTITION, holder, now)

    async def release(self, lease: Lease) -> bool:
        """Give the lease back."""
        return await self._leases.release(lease)

    async def begin(self, now: datetime) -> Progress:
        """Open the shards without an epoch, unless that was done, and say how far an earlier call has come.

        The state is written before the epochs are read, and read after the shards were opened: so a worker that is
        overtaken by the end of the rebuild on its way through here finds that out.
        """
        with suppress(PreconditionError):
            await self._tables.transact(PARTITION, [Insert(STATE, {"began": text_of_time(now), "second": False})])
        shards = await self._store.without_epoch()
        if not shards:
            await self._tables.transact(PARTITION, [Delete(STATE)])
            raise PreconditionError("the rebuild was ended meanwhile")
        for shard in sorted(shards):
            await self._tables.transact(shard, [Put(OPEN, {})])
        state = await self._state()
        is_second = bool(state.values["second"])
        prefix = _searched(is_second=is_second)
        rows = await self._tables.query(PARTITION, prefix, prefix + AFTER)
        return Progress(
            shards=shards,
            began=time_of(state.values["began"]),
            is_second=is_second,
            searched=frozenset(MailboxId(row.row.removeprefix(prefix)) for row in rows),
        )

    async def restore(self, shard: Shard, links: Sequence[Link]) -> None:
        """Write links of an open shard."""
        puts = [Put(link_key(link), link_values(link)) for link in links]
        puts += [Put(event_key(link.event), known_values(link)) for link in links if link.event is not None]
        for some in batched(puts, MOST_OPERATIONS - 1, strict=False):
            await self._tables.transact(shard, [*some, Replace(OPEN, {})])

    async def note_searched(self, mailbox: MailboxId, *, is_second: bool) -> None:
        """Remember that a mailbox was searched."""
        await self._tables.transact(PARTITION, [Put(_searched(is_second=is_second) + mailbox, {})])

    async def begin_second_round(self) -> None:
        """From now on the second round counts."""
        state = await self._state()
        await self._tables.transact(PARTITION, [Replace(STATE, {**state.values, "second": True}, state.etag)])

    async def _state(self) -> Stored:
        state = await self._tables.get(PARTITION, STATE)
        if state is None:
            raise PreconditionError("the rebuild was ended meanwhile")
        return state

    async def all_links(self) -> AsyncIterator[Link]:
        """Every link of every shard."""
        for shard in all_shards(self._shards):
            for row in await self._tables.query(shard, "link:", f"link:{AFTER}"):
                yield link_of(row)

    async def save_claims(self, claims: Sequence[Claim]) -> None:
        """Write claims, except where there is one of the same or a higher generation already."""
        by_partition: dict[str, list[Claim]] = {}
        for claim in claims:
            by_partition.setdefault(claim_partition(claim.booking), []).append(claim)
        for partition, group in sorted(by_partition.items()):
            known = {row.row: claim_of(row) for row in await self._tables.query(partition, "", AFTER)}
            writes: list[Operation] = []
            for claim in group:
                there = known.get(claim.booking)
                if there is None or there.generation < claim.generation:
                    writes.append(write_as_read(claim.booking, claim_values(claim), there.row if there else ""))
            for first in range(0, len(writes), MOST_OPERATIONS):
                await self._tables.transact(partition, writes[first : first + MOST_OPERATIONS])

    async def put_marks(self, shard: Shard, marks: Sequence[Mark]) -> None:
        """Add marks."""
        await self._store.put_marks(shard, marks)

    async def remember_resources(self, resources: Mapping[ResourceId, MailboxId], now: datetime) -> None:
        """Keep where the resources' bookings go."""
        await self._store.remember_resources(resources, now)

    async def end(self, shards: Iterable[Shard], left_out: Iterable[MailboxId]) -> None:
        """Close the shards, each with its epoch, note which mailboxes were left out, and forget the progress."""
        for mailbox in left_out:
            shard = shard_of(mailbox, self._shards)
            await self._tables.transact(shard, [Put(UNSEARCHED + mailbox, {}), Replace(OPEN, {})])
        for shard in sorted(shards):
            await self._tables.transact(shard, [Delete(OPEN), Insert(EPOCH, {"shards": self._shards})])
        rows = await self._tables.query(PARTITION, "searched:", f"searched:{AFTER}")
        gone = [Delete(row) for row in (*(stored.row for stored in rows), STATE)]
        for first in range(0, len(gone), MOST_OPERATIONS):
            await self._tables.transact(PARTITION, gone[first : first + MOST_OPERATIONS])


def _searched(*, is_second: bool) -> str:
    return f"searched:{2 if is_second else 1}:"

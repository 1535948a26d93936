"""How far a sweep has come, and what it has found. Implements `shared.sync.sweep.SweepNotes` over `Tables`.

Partition `sweep`:

| row | what |
| --- | --- |
| `state` | the last sweep |
| `due` | when the next one begins by itself |
| `found:{began}:{mailbox}:{booking}` | a finding; ids and names of fields only |
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from itertools import batched

from shared.errors import PreconditionError
from shared.sync.compare import Drift
from shared.sync.model import UNKNOWN, BookingId, EventId, Field, Link, MailboxId, Shard, all_shards, shard_of
from shared.sync.sweep import COUNTED, Finding, Orders, Sweeping, Waiting
from shared.tables.leases import UNSEARCHED
from shared.tables.rows import (
    AFTER,
    event_key,
    known_values,
    link_key,
    link_of,
    link_values,
    mark_of,
    text_of_time,
    time_of,
)
from shared.tables.store import EPOCH
from shared.tables.tables import (
    MOST_OPERATIONS,
    Delete,
    Insert,
    Operation,
    Put,
    Replace,
    Stored,
    Tables,
    Value,
    write_as_read,
)

PARTITION = "sweep"
STATE = "state"
DUE = "due"
FOUND = "found:"
MOST_FINDINGS = 1000
"""How many findings of a sweep are kept; the others are counted."""


class TableSweep:
    """The rows of the sweep, and those of others as it needs them."""

    def __init__(self, tables: Tables, shards: int) -> None:
        """Into so many `shards` the mailboxes are divided."""
        self._tables = tables
        self._shards = shards

    # The sweep itself.

    async def sweeping(self) -> Sweeping | None:
        """The last sweep."""
        stored = await self._tables.get(PARTITION, STATE)
        if stored is None:
            return None
        values = stored.values
        return Sweeping(
            began=time_of(values["began"]),
            orders=Orders(repair=bool(values["repair"]), deleted=bool(values["deleted"])),
            position=int(values["position"]),
            after=str(values["after"]),
            ended=time_of(values["ended"]) if values["ended"] else None,
            row=stored.etag,
            **{name: int(values[name]) for name in COUNTED},
        )

    async def save_sweeping(self, sweeping: Sweeping) -> Sweeping:
        """Write it if its row is as it was read, or still absent. Raises `PreconditionError`."""
        values: dict[str, Value] = {
            "began": text_of_time(sweeping.began),
            "repair": sweeping.orders.repair,
            "deleted": sweeping.orders.deleted,
            "position": sweeping.position,
            "after": sweeping.after,
            "ended": text_of_time(sweeping.ended) if sweeping.ended is not None else "",
            **{name: getattr(sweeping, name) for name in COUNTED},
        }
        [etag] = await self._tables.transact(PARTITION, [write_as_read(STATE, values, sweeping.row)])
        return replace(sweeping, row=etag)

    async def findings(self, began: datetime) -> Sequence[Finding]:
        """What the sweep that began then has found, as far as there was room for it."""
        return [_finding(row) for row in await self._rows_of(began)]

    async def save_findings(self, began: datetime, findings: Sequence[Finding]) -> None:
        """Add findings."""
        room = MOST_FINDINGS - len(await self._rows_of(began)) if findings else 0
        for some in batched(findings[: max(room, 0)], MOST_OPERATIONS, strict=False):
            await self._tables.transact(PARTITION, [_put(began, one) for one in some])

    async def _rows_of(self, began: datetime) -> Sequence[Stored]:
        prefix = f"{FOUND}{text_of_time(began)}:"
        return await self._tables.query(PARTITION, prefix, prefix + AFTER)

    async def drop_findings(self) -> None:
        """Forget what earlier sweeps have found."""
        rows = await self._tables.query(PARTITION, FOUND, FOUND + AFTER)
        for some in batched(rows, MOST_OPERATIONS, strict=False):
            with suppress(PreconditionError):  # another host drops them, too
                await self._tables.transact(PARTITION, [Delete(row.row) for row in some])

    async def next_due(self, otherwise: datetime) -> datetime:
        """When the next sweep begins by itself; `otherwise` from now on, if that was never said."""
        stored = await self._tables.get(PARTITION, DUE)
        if stored is not None:
            return time_of(stored.values["at"])
        await self.save_next_due(otherwise)
        return otherwise

    async def save_next_due(self, due: datetime) -> None:
        """Say when the next sweep begins by itself."""
        await self._tables.transact(PARTITION, [Put(DUE, {"at": text_of_time(due)})])

    # What is stored of links and marks.

    async def links_of(self, shard: Shard) -> Sequence[Link]:
        """All links of a shard."""
        return [link_of(row) for row in await self._tables.query(shard, "link:", f"link:{AFTER}")]

    async def restore_link(self, shard: Shard, link: Link) -> None:
        """Write a link that must not exist, in a shard with an epoch. Raises `PreconditionError`."""
        operations: list[Operation] = [
            Insert(link_key(link), link_values(link)),
            Replace(EPOCH, {"shards": self._shards}),
        ]
        if link.event is not None:
            operations.append(Put(event_key(link.event), known_values(link)))
        await self._tables.transact(shard, operations)

    async def unsearched(self, shard: Shard) -> frozenset[MailboxId]:
        """The mailboxes of a shard that were left out when its links were restored."""
        rows = await self._tables.query(shard, UNSEARCHED, UNSEARCHED + AFTER)
        return frozenset(MailboxId(row.row.removeprefix(UNSEARCHED)) for row in rows)

    async def forget_unsearched(self, mailbox: MailboxId) -> None:
        """The mailbox was searched by now, and every event of ours there has its link."""
        with suppress(PreconditionError):  # another host was faster
            await self._tables.transact(shard_of(mailbox, self._shards), [Delete(UNSEARCHED + mailbox)])

    async def waiting(self) -> Waiting:
        """For which bookings and events marks wait, and which bookings were given up, in all shards."""
        bookings: set[BookingId] = set()
        events: set[EventId] = set()
        given_up: dict[BookingId, str] = {}
        for shard in all_shards(self._shards):
            for row in await self._tables.query(shard, "mark:", f"mark:{AFTER}"):
                mark = mark_of(row)
                bookings.add(mark.booking)
                events |= {mark.event} if mark.event is not None else set()
            for row in await self._tables.query(shard, "dead:", f"dead:{AFTER}"):
                reason = f"{row.values['outcome']}: {row.values['reason']}"
                given_up[BookingId(str(row.values["booking"]))] = reason
        return Waiting(frozenset(bookings - {UNKNOWN}), frozenset(events), given_up)


def _put(began: datetime, one: Finding) -> Put:
    row = f"{FOUND}{text_of_time(began)}:{one.mailbox}:{one.booking}"
    fields = ",".join(one.fields)
    return Put(row, {"drift": one.drift.value, "fields": fields, "known": one.known, "done": one.done})


def _finding(row: Stored) -> Finding:
    values = row.values
    _, _, mailbox, booking = row.row.split(":")
    fields = str(values["fields"])
    return Finding(
        drift=Drift(str(values["drift"])),
        mailbox=MailboxId(mailbox),
        booking=BookingId(booking),
        fields=tuple(Field(name) for name in fields.split(",")) if fields else (),
        known=str(values["known"]),
        done=str(values["done"]),
    )

"""Old rows and how they go. Implements `shared.sync.housekeeping.HousekeepingStore` over `Tables`.

Partition `housekeeping`, one row: how far the round has come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from shared.errors import PreconditionError
from shared.sync.housekeeping import Kind, Place, Round, Tidied
from shared.sync.model import Shard, all_shards
from shared.sync.plan import Outcome
from shared.tables.rows import AFTER, CLAIM_PARTITIONS, claim_of, text_of_time, time_of
from shared.tables.store import RESOURCES
from shared.tables.tables import MOST_OPERATIONS, Delete, Stored, Tables, Value, write_as_read

PARTITION = "housekeeping"
STATE = "round"
PAGE = 500
"""Rows that are looked at together."""

PREFIXES = {
    Kind.JOURNAL: "journal:",
    Kind.TOMBSTONE: "",
    Kind.GONE_EVENT: "event:",
    Kind.RESOURCE: "",
    Kind.DEAD_LETTER: "dead:",
}
IN_SHARDS = (Kind.JOURNAL, Kind.DEAD_LETTER, Kind.GONE_EVENT)
OLD: dict[Kind, Callable[[Stored, datetime], bool]] = {
    Kind.JOURNAL: lambda _row, _before: True,  # no other rows are read
    Kind.TOMBSTONE: lambda row, before: (claim_of(row).retired_at or before) < before,
    Kind.GONE_EVENT: lambda row, before: "gone" in row.values and time_of(row.values["gone"]) < before,
    Kind.RESOURCE: lambda row, before: time_of(row.values["expires"]) < before,
    Kind.DEAD_LETTER: lambda row, before: (
        row.values["outcome"] != Outcome.QUARANTINED and time_of(row.values["at"]) < before
    ),
}
"""What goes. A deletion that was held back never does: its event still stands, and nothing else remembers (R4)."""


class TableHousekeeping:
    """The old rows."""

    def __init__(self, tables: Tables, shards: int) -> None:
        """Keep house in `tables`, whose mailboxes are divided into so many `shards`."""
        self._tables = tables
        in_shards = [Place(kind, shard) for kind in IN_SHARDS for shard in all_shards(shards)]
        claims = [Place(Kind.TOMBSTONE, Shard(partition)) for partition in CLAIM_PARTITIONS]
        self._places = (*in_shards, *claims, Place(Kind.RESOURCE, Shard(RESOURCES)))

    def places(self) -> Sequence[Place]:
        """All places."""
        return self._places

    async def tidy(self, place: Place, after: str, before: datetime) -> Tidied:
        """Remove from one page of rows what is of a time before that, if it is still as it was read."""
        prefix = PREFIXES[place.kind]
        last = f"{prefix}{before:%Y-%m}" if place.kind is Kind.JOURNAL else prefix + AFTER
        # A blank sorts before every character of a key: what follows `after` begins here.
        rows = await self._tables.query(place.partition, f"{after} " if after else prefix, last, PAGE)
        old = [row for row in rows if OLD[place.kind](row, before)]
        for first in range(0, len(old), MOST_OPERATIONS):
            await self._remove(place.partition, old[first : first + MOST_OPERATIONS])
        return Tidied(removed=len(old), kept=len(rows) - len(old), last=rows[-1].row if len(rows) == PAGE else "")

    async def _remove(self, partition: str, rows: Sequence[Stored]) -> None:
        """All in one go, or one by one when some are not any more as they were read: those stay."""
        try:
            await self._tables.transact(partition, [Delete(row.row, row.etag) for row in rows])
        except PreconditionError:
            for row in rows:
                with suppress(PreconditionError):
                    await self._tables.transact(partition, [Delete(row.row, row.etag)])

    async def round(self) -> Round | None:
        """The last round."""
        stored = await self._tables.get(PARTITION, STATE)
        if stored is None:
            return None
        values = stored.values
        return Round(
            began=time_of(values["began"]),
            position=int(values["position"]),
            after=str(values["after"]),
            removed=int(values["removed"]),
            waiting=int(values["waiting"]),
            row=stored.etag,
        )

    async def save_round(self, done: Round) -> Round:
        """Write it if its row is as it was read, or still absent."""
        values: dict[str, Value] = {
            "began": text_of_time(done.began),
            "position": done.position,
            "after": done.after,
            "removed": done.removed,
            "waiting": done.waiting,
        }
        [etag] = await self._tables.transact(PARTITION, [write_as_read(STATE, values, done.row)])
        return replace(done, row=etag)

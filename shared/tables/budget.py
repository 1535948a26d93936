"""Which deletions were noted lately (R4). Implements `shared.sync.budget.BudgetStore` over `Tables`.

Partition `deletions`: one row for each link about to go, removed once it is too old to count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime

from shared.errors import PreconditionError
from shared.sync.model import Link, MailboxId, Shard
from shared.tables.rows import AFTER, text_of_time, time_of
from shared.tables.tables import MOST_OPERATIONS, Delete, Put, Tables

PARTITION = "deletions"


class TableBudget:
    """The notes."""

    def __init__(self, tables: Tables) -> None:
        """Keep them in `tables`."""
        self._tables = tables

    async def note_deletion(self, link: Link, now: datetime, since: datetime) -> Mapping[MailboxId, int]:
        """Note that `link` is about to go; gives how many of each mailbox were noted since then, this one included."""
        note = Put(_row(link), {"mailbox": link.mailbox, "at": text_of_time(now)})
        await self._tables.transact(PARTITION, [note])
        rows = await self._tables.query(PARTITION, "", AFTER)
        old = [Delete(row.row, row.etag) for row in rows if time_of(row.values["at"]) < since]
        if old:
            with suppress(PreconditionError):  # another worker tidies up, too
                await self._tables.transact(PARTITION, old[:MOST_OPERATIONS])
        return Counter(MailboxId(str(row.values["mailbox"])) for row in rows if time_of(row.values["at"]) >= since)

    async def forget_deletion(self, link: Link) -> None:
        """Take the note back."""
        with suppress(PreconditionError):
            await self._tables.transact(PARTITION, [Delete(_row(link))])

    async def count_links(self, shard: Shard, mailbox: MailboxId) -> int:
        """How many events of the mailbox are linked."""
        rows = await self._tables.query(shard, "link:", f"link:{AFTER}")
        return sum(row.values["mailbox"] == mailbox for row in rows)


def _row(link: Link) -> str:
    return f"{link.booking}:{link.generation:06d}"

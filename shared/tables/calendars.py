"""How far calendars have been read, and what is known of their events. Implements `shared.sync.recover.RecoveryStore`.

Partition `calendars`, one row for each mailbox.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from shared.sync.model import BookingId, EventId, MailboxId, Mark, Shard, shard_of
from shared.sync.ports import Known
from shared.sync.recover import Cursor, Window
from shared.tables.rows import AFTER, link_of, text_of_time, time_of
from shared.tables.store import TableStore
from shared.tables.tables import Stored, Tables, Value, write_as_read

PARTITION = "calendars"


class TableCalendars:
    """The cursors, and the links as recovery needs them."""

    def __init__(self, tables: Tables, store: TableStore, shards: int) -> None:
        """`store` holds links and marks."""
        self._tables = tables
        self._store = store
        self._shards = shards

    async def cursors(self) -> Mapping[MailboxId, Cursor]:
        """All cursors."""
        rows = await self._tables.query(PARTITION, "", AFTER)
        return {MailboxId(row.row): _cursor(row) for row in rows}

    async def save(self, cursor: Cursor) -> Cursor:
        """Write it if its row is as it was read, or still absent. Raises `PreconditionError`."""
        values: dict[str, Value] = {
            "link": cursor.link,
            "start": _text(cursor.window.start if cursor.window is not None else None),
            "end": _text(cursor.window.end if cursor.window is not None else None),
            "began": _text(cursor.began),
            "asked": _text(cursor.asked_at),
        }
        [etag] = await self._tables.transact(PARTITION, [write_as_read(cursor.mailbox, values, cursor.row)])
        return replace(cursor, row=etag)

    async def known_events(self, shard: Shard, events: Collection[EventId]) -> Mapping[EventId, Known]:
        """Of those events, the ones that are linked in this shard."""
        return await self._store.known_events(shard, events)

    async def linked_events(self, mailbox: MailboxId, window: Window, before: datetime) -> Mapping[EventId, BookingId]:
        """The events of the mailbox that touch the window, by links written before that time."""
        rows = await self._tables.query(shard_of(mailbox, self._shards), "link:", f"link:{AFTER}")
        links = [link_of(row) for row in rows if row.values["mailbox"] == mailbox]
        return {
            link.event: link.booking
            for link in links
            if link.event is not None and link.start is not None and link.end is not None
            if link.written_at < before and link.start < window.end and link.end > window.start
        }

    async def put_marks(self, shard: Shard, marks: Sequence[Mark]) -> None:
        """Add marks."""
        await self._store.put_marks(shard, marks)


def _text(time: datetime | None) -> str:
    return "" if time is None else text_of_time(time)


def _cursor(stored: Stored) -> Cursor:
    values = {name: str(value) for name, value in stored.values.items()}
    times = {name: time_of(values[name]) if values[name] else None for name in ("start", "end", "began", "asked")}
    start, end = times["start"], times["end"]
    return Cursor(
        mailbox=MailboxId(stored.row),
        window=Window(start=start, end=end) if start is not None and end is not None else None,
        began=times["began"],
        link=values["link"],
        asked_at=times["asked"],
        row=stored.etag,
    )

"""Where reading goes on. Implements `shared.sync.pull.Cursors` over `Tables`.

Partition `cursors`, one row for each tracked table and one for the window. A row of another format counts as none: then
everything is read again, which harms nothing.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from shared.sync.pull import Cursor
from shared.tables.tables import Stored, Tables, Value, write_as_read

PARTITION = "cursors"
FORMAT = 2


class TableCursors:
    """The cursors."""

    def __init__(self, tables: Tables) -> None:
        """Keep them in `tables`."""
        self._tables = tables

    async def read(self, name: str) -> Cursor:
        """The cursor; a new one when there is none or it has another format."""
        stored = await self._tables.get(PARTITION, name)
        if stored is None:
            return Cursor(name=name)
        return _cursor(stored) if stored.values.get("format") == FORMAT else Cursor(name=name, row=stored.etag)

    async def save(self, cursor: Cursor) -> Cursor:
        """Write it if its row is as it was read, or still absent. Raises `PreconditionError`."""
        values: dict[str, Value] = {
            "format": FORMAT,
            "link": cursor.link,
            "first": cursor.is_first,
            "pending": ",".join(cursor.pending),
            "search": cursor.search,
            "horizon": cursor.horizon.isoformat() if cursor.horizon is not None else "",
            "policy": cursor.policy,
        }
        [etag] = await self._tables.transact(PARTITION, [write_as_read(cursor.name, values, cursor.row)])
        return replace(cursor, row=etag)


def _cursor(stored: Stored) -> Cursor:
    values = stored.values
    pending, horizon = str(values["pending"]), str(values["horizon"])
    return Cursor(
        name=stored.row,
        link=str(values["link"]),
        is_first=bool(values["first"]),
        pending=tuple(pending.split(",")) if pending else (),
        search=str(values["search"]),
        horizon=datetime.fromisoformat(horizon) if horizon else None,
        policy=str(values["policy"]),
        row=stored.etag,
    )

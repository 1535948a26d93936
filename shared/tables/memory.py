"""The in-memory twin of Azure Tables, for simulations: the same conditions, the same refusals, no I/O."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from collections.abc import Sequence

from shared.errors import PreconditionError
from shared.tables.tables import Delete, Insert, Operation, Put, Replace, Stored, check


class MemoryTables:
    """Implements `Tables`. Every call yields to the loop once, as a real one does."""

    def __init__(self) -> None:
        """Start empty."""
        self._rows: dict[str, dict[str, Stored]] = {}
        self._keys: dict[str, list[str]] = {}
        self._writes = 0

    async def get(self, partition: str, row: str) -> Stored | None:
        """One row."""
        await asyncio.sleep(0)
        return self._rows.get(partition, {}).get(row)

    async def query(self, partition: str, first: str, last: str, limit: int | None = None) -> Sequence[Stored]:
        """The rows from `first` up to but not including `last`."""
        await asyncio.sleep(0)
        keys = self._keys.get(partition, [])
        found = keys[bisect_left(keys, first) : bisect_left(keys, last)][:limit]
        return [self._rows[partition][key] for key in found]

    async def transact(self, partition: str, operations: Sequence[Operation]) -> Sequence[str]:
        """All operations or none."""
        check(partition, operations)
        await asyncio.sleep(0)
        rows = self._rows.setdefault(partition, {})
        for operation in operations:
            _check_condition(rows.get(operation.row), operation)
        return [self._write(partition, operation) for operation in operations]

    def partitions(self) -> dict[str, list[Stored]]:
        """All rows, for whoever looks from outside."""
        return {
            partition: [rows[key] for key in self._keys.get(partition, ())] for partition, rows in self._rows.items()
        }

    def clear(self) -> None:
        """Forget everything, as if the table had been deleted."""
        self._rows.clear()
        self._keys.clear()

    def _write(self, partition: str, operation: Operation) -> str:
        rows, keys = self._rows[partition], self._keys.setdefault(partition, [])
        if isinstance(operation, Delete):
            del rows[operation.row]
            del keys[bisect_left(keys, operation.row)]
            return ""
        self._writes += 1
        if operation.row not in rows:
            insort(keys, operation.row)
        rows[operation.row] = Stored(operation.row, dict(operation.values), f'W/"{self._writes}"')
        return rows[operation.row].etag


def _check_condition(stored: Stored | None, operation: Operation) -> None:
    match operation:
        case Insert() if stored is not None:
            raise PreconditionError(f"row {operation.row!r} exists already")
        case Replace() | Delete() if stored is None:
            raise PreconditionError(f"row {operation.row!r} does not exist any more")
        case Replace(etag=str(etag)) | Delete(etag=str(etag)) if stored is not None and stored.etag != etag:
            raise PreconditionError(f"row {operation.row!r} was written by somebody else")
        case Insert() | Put() | Replace() | Delete():
            return

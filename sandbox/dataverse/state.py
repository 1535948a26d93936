"""The rows, their versions, and transactions over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from sandbox.dataverse import errors
from sandbox.dataverse.schema import Column, Reference, Schema, Table, Value

FIRST_VERSION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row at one version. A write makes a new one; columns without a value are absent or `None`."""

    table: Table
    id: str
    version: int
    values: Mapping[str, Value]

    @property
    def etag(self) -> str:
        """The row's version as entity tag (Microsoft docs, "Perform conditional operations")."""
        return f'W/"{self.version}"'

    @property
    def reference(self) -> Reference:
        """What a lookup to this row holds."""
        return Reference(self.table.name, self.id)

    @property
    def name(self) -> str | None:
        """The value of the table's primary name column."""
        name = self.values.get(self.table.name_column)
        return None if name is None else str(name)

    def get(self, column: str) -> Value:
        """The value of `column`, the key and the version included."""
        if column == self.table.key:
            return self.id
        if column == "versionnumber":
            return self.version
        return self.values.get(column)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """What is left of a deleted row, for change tracking."""

    version: int
    table: str
    id: str

    @property
    def reference(self) -> Reference:
        """What a lookup to the row held."""
        return Reference(self.table, self.id)


@dataclass(slots=True)
class Transaction:
    """The changes made since it began, and what to do once they stand."""

    changes: list[tuple[Row | None, Row | None]] = field(default_factory=list)
    afterwards: list[Callable[[], None]] = field(default_factory=list)


type Guard = Callable[[Table, str, Mapping[str, Value]], None]
"""Refuses a row, given its table, its id and its values, that must not be written."""


class State:
    """All rows of one environment, under one global version counter."""

    def __init__(self, schema: Schema) -> None:
        """Start with empty tables."""
        self.schema = schema
        self.guards: list[Guard] = []
        self._open: ContextVar[Transaction | None] = ContextVar("transaction", default=None)
        self.clear()

    def clear(self) -> None:
        """Forget all rows; versions begin again."""
        self.version = FIRST_VERSION
        self.deletions: list[Deletion] = []
        self._rows: dict[str, dict[str, Row]] = {name: {} for name in self.schema.tables}

    def find(self, reference: Reference) -> Row | None:
        """The row that `reference` names, if it exists."""
        return self._rows[reference.table].get(reference.id)

    def must_find(self, reference: Reference) -> Row:
        """The row that `reference` names. Refuses with 404 when there is none."""
        row = self.find(reference)
        if row is None:
            raise errors.not_found(reference.table, reference.id)
        return row

    def rows(self, table: str) -> list[Row]:
        """All rows of `table`, the oldest first."""
        return list(self._rows[table].values())

    def put(self, table: Table, row_id: str, values: Mapping[str, Value]) -> Row:
        """Write a row under a new version. A guard may refuse it."""
        for guard in self.guards:
            guard(table, row_id, values)
        self.version += 1
        row = Row(table=table, id=row_id, version=self.version, values=dict(values))
        self._change(self._rows[table.name].get(row_id), row)
        return row

    def remove(self, row: Row) -> None:
        """Delete a row and remember that it was there."""
        self.version += 1
        self.deletions.append(Deletion(version=self.version, table=row.table.name, id=row.id))
        self._change(row, None)

    def referring(self, row: Row) -> Iterator[tuple[Row, Column]]:
        """The rows whose lookups name `row`, with the lookup column."""
        for table, column in self.schema.referrers(row.table.name):
            for other in self.rows(table.name):
                if other.values.get(column.name) == row.reference:
                    yield other, column

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Everything written inside stands or falls together; one inside another is part of the outer one."""
        outer = self._open.get()
        if outer is not None:
            yield outer
            return
        own = Transaction()
        token = self._open.set(own)
        try:
            yield own
        except BaseException:
            self._undo(own)
            raise
        finally:
            self._open.reset(token)
        for act in own.afterwards:
            act()

    def _change(self, before: Row | None, after: Row | None) -> None:
        self._set(before, after)
        transaction = self._open.get()
        if transaction is not None:
            transaction.changes.append((before, after))

    def _set(self, before: Row | None, after: Row | None) -> None:
        row = after or before
        assert row is not None  # noqa: S101 - a change has at least one side
        if after is None:
            self._rows[row.table.name].pop(row.id, None)
        else:
            self._rows[row.table.name][row.id] = after

    def _undo(self, transaction: Transaction) -> None:
        for before, after in reversed(transaction.changes):
            row = after or before
            # A change set waits between its operations, so somebody else may have written the row since: theirs stays.
            if row is None or self.find(row.reference) is not after:
                continue
            self._set(after, before)
            if after is None:
                self.deletions = [
                    one for one in self.deletions if one.reference != row.reference or one.version < row.version
                ]

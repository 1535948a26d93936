"""The port: one table, partitions of ordered rows, etags, and transactions within one partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

MOST_OPERATIONS = 100
"""Operations in one transaction (Azure Tables, entity group transactions)."""
MOST_CHARACTERS = 32_768
"""Characters of one text value (Azure Tables data model: 64 KiB of UTF-16)."""
MOST_PROPERTIES = 252
"""Values of one row."""
FORBIDDEN_IN_KEYS = frozenset("/\\#?") | frozenset(map(chr, (*range(0x20), *range(0x7F, 0xA0))))
"""Characters that a key must not contain."""

type Value = str | int | bool
"""What a row may hold. Integers are 32-bit; larger ones are stored as text."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A row as read: `etag` changes with every write."""

    row: str
    values: Mapping[str, Value]
    etag: str


@dataclass(frozen=True, slots=True)
class Insert:
    """Add a row that must not exist."""

    row: str
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Put:
    """Write a row whether it exists or not."""

    row: str
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Replace:
    """Write a row that must exist; with an `etag`, as it was read."""

    row: str
    values: Mapping[str, Value]
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a row that must exist; with an `etag`, as it was read."""

    row: str
    etag: str | None = None


type Operation = Insert | Put | Replace | Delete


def write_as_read(row: str, values: Mapping[str, Value], etag: str) -> Operation:
    """Write a row that must still be as it was read: with that etag, or, without one, absent."""
    return Replace(row, values, etag) if etag else Insert(row, values)


class Tables(Protocol):
    """One table. Every method may raise `TransientError` when the storage does not answer."""

    async def get(self, partition: str, row: str) -> Stored | None:
        """One row."""

    async def query(self, partition: str, first: str, last: str, limit: int | None = None) -> Sequence[Stored]:
        """The rows of a partition from key `first` up to but not including `last`, in key order, at most `limit`."""

    async def transact(self, partition: str, operations: Sequence[Operation]) -> Sequence[str]:
        """All operations or none; gives the new etags, empty for deletions.

        Raises `PreconditionError` when a condition does not hold, `ValueError` for what no table can store: more than
        100 operations, two on one row, forbidden characters, values that are too large.
        """


def check(partition: str, operations: Sequence[Operation]) -> None:
    """Refuse what Azure refuses, before anything is sent: an emulator may be more lenient than the service."""
    if not 0 < len(operations) <= MOST_OPERATIONS:
        raise ValueError(f"a transaction has 1 to {MOST_OPERATIONS} operations, not {len(operations)}")
    keys = [operation.row for operation in operations]
    if len(set(keys)) != len(keys):
        raise ValueError("a transaction touches every row once")
    for key in (partition, *keys):
        if FORBIDDEN_IN_KEYS & set(key):
            raise ValueError(f"a key must not contain any of / \\ # ? or control characters: {key!r}")
    for operation in operations:
        if not isinstance(operation, Delete):
            _check_values(operation.row, operation.values)


def _check_values(row: str, values: Mapping[str, Value]) -> None:
    if len(values) > MOST_PROPERTIES:
        raise ValueError(f"row {row!r} has more than {MOST_PROPERTIES} values")
    for name, value in values.items():
        if isinstance(value, str) and len(value) > MOST_CHARACTERS:
            raise ValueError(f"{name!r} of row {row!r} has more than {MOST_CHARACTERS} characters")
        if isinstance(value, int) and not -(2**31) <= value < 2**31:
            raise ValueError(f"{name!r} of row {row!r} does not fit 32 bits: store it as text")

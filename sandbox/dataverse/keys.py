"""Alternate keys: columns by which a table's rows can be called instead of by their ids.

Microsoft docs, "Define alternate keys for a table", "Use an alternate key to reference a record". An index is built in
the background, and a key cannot be used before; rows that are alike make that fail. A row that lacks one of the values
is not compared. Unverified: that text is compared without regard to case, and the words for an address that names no
key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sandbox.cloud import Cloud
from sandbox.dataverse import errors, values
from sandbox.dataverse.schema import Column, Kind, Reference, Table, Value
from sandbox.dataverse.state import Row, State
from sandbox.dataverse.visits import Place
from sandbox.http import Json
from sandbox.settings import seconds

INDEX = "dataverse.key_index_seconds"
SETTINGS = {INDEX: seconds(0, "how long the index of a new alternate key is being built")}
MOST_KEYS, MOST_COLUMNS = 10, 16
_KINDS = frozenset({Kind.TEXT, Kind.INTEGER, Kind.DECIMAL, Kind.INSTANT, Kind.LOOKUP, Kind.CHOICE})
_PART = re.compile(r"(\w+)=('(?:[^']|'')*'|[^',]+)(?:,(?=.)|$)")
_SCHEMA_NAME = re.compile(r"[A-Za-z]\w*_\w+")

type Found = Mapping[str, Value]
"""The columns of a key with the values that an address gives them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One alternate key; `failed` when there were rows alike as it was defined, else of use from `active_at` on."""

    id: str
    schema_name: str
    columns: tuple[str, ...]
    active_at: datetime
    failed: bool


class Keys:
    """The alternate keys of one environment."""

    def __init__(self, cloud: Cloud, state: State) -> None:
        """Watch over the rows of `state`."""
        self._cloud = cloud
        self._state = state
        self._keys: dict[str, list[Key]] = {}
        cloud.settings.declare(SETTINGS)
        state.guards.append(self._check)

    def clear(self) -> None:
        """Forget all keys."""
        self._keys.clear()

    def of(self, table: str) -> list[Key]:
        """The keys of a table, the oldest first."""
        return self._keys.setdefault(table, [])

    def define(self, table: Table, schema_name: Json, columns: Json) -> Key:
        """Make a key of `columns`. Refuses what cannot be one."""
        known = self.of(table.name)
        if not isinstance(schema_name, str) or _SCHEMA_NAME.fullmatch(schema_name) is None:
            raise errors.invalid_argument("The SchemaName of a key begins with a customization prefix, as in new_Key.")
        if not isinstance(columns, list) or not 0 < len(columns) <= MOST_COLUMNS or len(set(columns)) < len(columns):
            raise errors.invalid_argument(f"A key has 1 to {MOST_COLUMNS} different KeyAttributes.")
        for name in columns:
            column = table.columns.get(name)
            if column is None or column.kind not in _KINDS or column.name == table.key or column.write_only:
                raise errors.invalid_argument(f"The column '{name}' of {table.name} cannot be part of a key.")
        if len(known) == MOST_KEYS or schema_name.lower() in {key.schema_name.lower() for key in known}:
            raise errors.invalid_argument(f"{table.name} has {MOST_KEYS} keys already, or one of this name.")
        ready = self._cloud.clock.now() + timedelta(seconds=self._cloud.settings[INDEX])
        parts = [_normal(row.values, columns) for row in self._state.rows(table.name)]
        values_of = [part for part in parts if part is not None]
        key = Key(
            id=self._cloud.new_id(),
            schema_name=schema_name,
            columns=tuple(columns),
            active_at=ready,
            failed=len(set(values_of)) < len(values_of),
        )
        known.append(key)
        return key

    def remove(self, table: Table, key_id: str) -> None:
        """Delete a key. Refuses with 404 when there is none."""
        left = [key for key in self.of(table.name) if key.id != key_id]
        if len(left) == len(self.of(table.name)):
            raise errors.refuse(404, errors.NOT_FOUND, f"EntityKey With Id = {key_id} Does Not Exist")
        self._keys[table.name] = left

    def status(self, key: Key) -> str:
        """How far the index of a key is."""
        if key.failed:
            return "Failed"
        return "Active" if key.active_at <= self._cloud.clock.now() else "Pending"

    def resolve(self, place: Place) -> Place:
        """`place` with the id of the row that its alternate key names, if there is such a row.

        Refuses keys that are not defined or not ready.
        """
        given = self.read(place.table, place.key)
        row = self.find(place.table, given)
        return replace(place, row_id=None if row is None else row.id, given=given)

    def read(self, table: Table, text: str) -> Found:
        """The values in the text of an alternate key. Refuses keys that are not defined or not ready."""
        parts = _PART.findall(text)
        names = [name for name, _ in parts]
        if not parts or ",".join(f"{name}={value}" for name, value in parts) != text or len(set(names)) < len(names):
            raise errors.query(f"Bad Request - Error in query syntax: '{text}'.")
        columns = {column.name: column for name in names if (column := table.of_property(name)) is not None}
        keys = [key for key in self.of(table.name) if set(key.columns) == set(columns)]
        if len(columns) < len(names) or not keys:  # tables are born with some, which are not modelled
            raise errors.not_modelled(f"the alternate key '{text}' of {table.set_name}")
        if not any(self.status(key) == "Active" for key in keys):
            message = f"The specified key attributes are not a defined key for the {table.name} entity"
            raise errors.query(message)
        literals = (literal for _, literal in parts)
        return {name: _literal(table, columns[name], literal) for name, literal in zip(columns, literals, strict=True)}

    def find(self, table: Table, given: Found) -> Row | None:
        """The row with these values."""
        wanted = _normal(given, given)
        return next((row for row in self._state.rows(table.name) if _normal(row.values, given) == wanted), None)

    def _check(self, table: Table, row_id: str, written: Mapping[str, Value]) -> None:
        """Refuse a row that is like another one."""
        for key in self._keys.get(table.name, ()):
            mine = _normal(written, key.columns)
            if mine is None or key.failed:
                continue
            for row in self._state.rows(table.name):
                if row.id != row_id and _normal(row.values, key.columns) == mine:
                    raise errors.key_violated(key.schema_name, key.columns)


def _normal(held: Mapping[str, Value], columns: Iterable[str]) -> tuple[Value, ...] | None:
    """The values of a key as they are compared, `None` when one is missing."""
    found = tuple(held.get(name) for name in columns)
    if any(value is None for value in found):
        return None
    return tuple(value.casefold() if isinstance(value, str) else value for value in found)


def _literal(table: Table, column: Column, text: str) -> Value:
    quoted = text.startswith("'")
    if quoted != (column.kind is Kind.TEXT):
        raise errors.query(f"The value {text} of '{column.name}' is not of its type.")
    if column.kind is Kind.TEXT:
        return text[1:-1].replace("''", "'")
    if column.kind is Kind.LOOKUP:
        row_id, targets = values.parse_guid(text), list(column.navigations.values())
        if row_id is None or len(targets) != 1:
            raise errors.not_modelled(f"the value {text} of '{column.name}' in an alternate key")
        return Reference(targets[0], row_id)
    if column.kind is Kind.INSTANT:
        return values.parse(table, column, text)
    try:
        return values.parse(table, column, float(text) if column.kind is Kind.DECIMAL else int(text))
    except ValueError:
        raise errors.query(f"The value {text} of '{column.name}' is not of its type.") from None

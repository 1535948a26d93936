"""Rows as JSON: selected columns, expanded rows, annotations."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase

from sandbox.dataverse.query import Expansion, Selection
from sandbox.dataverse.schema import Column, Reference
from sandbox.dataverse.state import Row, State
from sandbox.dataverse.tables import USER
from sandbox.dataverse.values import formatted, to_json
from sandbox.http import Json

FORMATTED_VALUE = "OData.Community.Display.V1.FormattedValue"
LOOKUP_LOGICAL_NAME = "Microsoft.Dynamics.CRM.lookuplogicalname"
NAVIGATION_PROPERTY = "Microsoft.Dynamics.CRM.associatednavigationproperty"
RECORD_COUNT = "Microsoft.Dynamics.CRM.totalrecordcount"
RECORD_COUNT_EXCEEDED = "Microsoft.Dynamics.CRM.totalrecordcountlimitexceeded"


@dataclass(frozen=True, slots=True)
class Annotations:
    """The annotations that `Prefer: odata.include-annotations` asks for: names, or patterns with a star."""

    patterns: tuple[str, ...] = ()

    @classmethod
    def of(cls, preference: str) -> Annotations:
        """Read the preference's value."""
        return cls(tuple(part.strip() for part in preference.split(",") if part.strip()))

    def want(self, name: str) -> bool:
        """Whether the annotation `name` was asked for."""
        return any(fnmatchcase(name, pattern) for pattern in self.patterns)


class Representation:
    """Writes rows the way one request wants them."""

    def __init__(self, state: State, annotations: Annotations) -> None:
        """Look referenced rows up in `state`."""
        self._state = state
        self._annotations = annotations

    def of(self, row: Row, selection: Selection) -> dict[str, Json]:
        """The row with its etag; the primary key comes along, selected or not."""
        body: dict[str, Json] = {"@odata.etag": row.etag}
        for column in self._columns(row, selection):
            self.put(body, row, column)
        body[row.table.key] = row.id
        if row.table is USER:
            body["ownerid"] = row.id  # a user is a principal, and every principal's key is ownerid
        for expansion in selection.expansions:
            body[expansion.navigation.name] = self._expanded(row, expansion)
        return body

    def put(self, body: dict[str, Json], row: Row, column: Column) -> None:
        """Write one column and its annotations into `body`."""
        value = row.get(column.name)
        reference = value if isinstance(value, Reference) else None
        referenced = self._state.find(reference) if reference else None
        text = formatted(column, value, referenced.name if referenced else None)
        notes = {FORMATTED_VALUE: text}
        if reference is not None:
            notes[NAVIGATION_PROPERTY] = _navigation_to(column, reference)
            notes[LOOKUP_LOGICAL_NAME] = reference.table
        for name, note in notes.items():
            if note is not None and self._annotations.want(name):
                body[f"{column.api_name}@{name}"] = note
        body[column.api_name] = to_json(value)

    def _columns(self, row: Row, selection: Selection) -> Collection[Column]:
        if selection.columns is not None:
            return selection.columns
        return [column for column in row.table.columns.values() if not column.write_only]

    def _expanded(self, row: Row, expansion: Expansion) -> Json:
        navigation, query = expansion.navigation, expansion.query
        if navigation.many:
            rows = query.rows(linked(self._state, row, navigation.column, navigation.table.name), self._state)
            return [self.of(other, query.selection) for other in rows[: query.top]]
        value = row.get(navigation.column.name)
        other = self._state.find(value) if isinstance(value, Reference) else None
        return None if other is None or other.table is not navigation.table else self.of(other, query.selection)


def linked(state: State, row: Row, column: Column, table: str) -> list[Row]:
    """The rows of `table` whose lookup `column` names `row`."""
    return [other for other in state.rows(table) if other.get(column.name) == row.reference]


def _navigation_to(column: Column, reference: Reference) -> str | None:
    return next((name for name, table in column.navigations.items() if table == reference.table), None)

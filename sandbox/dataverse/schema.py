"""What tables, columns and relationships are; `sandbox.dataverse.tables` says which exist."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum


@dataclass(frozen=True, slots=True)
class Reference:
    """The value of a lookup column."""

    table: str
    id: str


type Value = str | int | float | bool | datetime | Reference | None
"""A stored value: GUIDs are lower-case text, instants are aware, in UTC, and whole seconds."""


class Kind(Enum):
    """The type of a column and, as value, its type in the Web API."""

    GUID = "Edm.Guid", "UniqueidentifierType"
    TEXT = "Edm.String", "StringType"
    INTEGER = "Edm.Int32", "IntegerType"
    BIGINT = "Edm.Int64", "BigIntType"
    DECIMAL = "Edm.Decimal", "DecimalType"
    BOOLEAN = "Edm.Boolean", "BooleanType"
    INSTANT = "Edm.DateTimeOffset", "DateTimeType"
    CHOICE = "Edm.Int32", "PicklistType"
    LOOKUP = "Edm.Guid", "LookupType"

    @property
    def edm(self) -> str:
        """The OData type."""
        return self.value[0]


class OnDelete(StrEnum):
    """What happens to a row when the row that its lookup names is deleted."""

    RESTRICT = "restrict"
    REMOVE_LINK = "remove link"
    CASCADE = "cascade"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column. `required` is the platform's SystemRequired: needed on create, never null.

    A lookup has `navigations`, the exact names of its single-valued navigation properties with the table each leads to,
    and `collection`, the name of the collection-valued one on the other side.
    """

    name: str
    kind: Kind
    required: bool = False
    max_length: int = 0
    minimum: int | None = None
    options: Mapping[int, str] = field(default_factory=dict)
    default: Value = None
    read_only: bool = False
    write_only: bool = False
    navigations: Mapping[str, str] = field(default_factory=dict)
    collection: str = ""
    on_delete: OnDelete = OnDelete.REMOVE_LINK

    @property
    def api_name(self) -> str:
        """The name under which the Web API shows the column: a lookup's id is read-only as `_name_value`."""
        return f"_{self.name}_value" if self.kind is Kind.LOOKUP else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table. `states` maps each state to its status reasons, the first of which is its default."""

    name: str
    set_name: str
    schema_name: str
    name_column: str
    columns: Mapping[str, Column]
    states: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The primary key column."""
        return f"{self.name}id"

    def of_property(self, name: str) -> Column | None:
        """The column that the Web API calls `name`."""
        if name.startswith("_") and name.endswith("_value"):
            column = self.columns.get(name[1 : -len("_value")])
            return column if column is not None and column.kind is Kind.LOOKUP else None
        column = self.columns.get(name)
        return column if column is not None and column.kind is not Kind.LOOKUP else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Navigation:
    """A navigation property: leads to `table`, over the lookup `column` of this row or, if `many`, of those rows."""

    name: str
    table: Table
    column: Column
    many: bool


class Schema:
    """All tables, with the ways between them."""

    def __init__(self, tables: Iterable[Table]) -> None:
        """Index `tables` by logical name and by entity set name."""
        self.tables = {table.name: table for table in tables}
        self.sets = {table.set_name: table for table in self.tables.values()}
        self._navigations: dict[str, dict[str, Navigation]] = {name: {} for name in self.tables}
        for table in self.tables.values():
            for column in table.columns.values():
                self._connect(table, column)

    def _connect(self, table: Table, column: Column) -> None:
        for name, target in column.navigations.items():
            if target not in self.tables:
                continue  # the column reads as null; a binding to a table that is not modelled is refused
            there = self.tables[target]
            self._navigations[table.name][name] = Navigation(name=name, table=there, column=column, many=False)
            if column.collection:
                back = Navigation(name=column.collection, table=table, column=column, many=True)
                self._navigations[target][column.collection] = back

    def navigation(self, table: Table, name: str) -> Navigation | None:
        """The navigation property `name` of `table`; case matters."""
        return self._navigations[table.name].get(name)

    def referrers(self, target: str) -> list[tuple[Table, Column]]:
        """The lookup columns that may name rows of the table `target`."""
        return [
            (table, column)
            for table in self.tables.values()
            for column in table.columns.values()
            if target in column.navigations.values()
        ]

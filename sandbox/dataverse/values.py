"""Values on their way in and out: JSON to column value, column value to JSON and to formatted text.

Microsoft docs, "Web API types and operations" (types) and "Query data" (formatted values). That sub-seconds are dropped
on store is unverified.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from sandbox.dataverse import errors
from sandbox.dataverse.schema import Column, Kind, Reference, Table, Value
from sandbox.http import Json

LARGEST_INTEGER = 2_147_483_647
MINUTES_PER_HOUR = 60
MINUTES_PER_DAY = 24 * MINUTES_PER_HOUR


def parse(table: Table, column: Column, value: Json) -> Value:
    """The value that `value` of a request's body means for `column`. Refuses what does not fit."""
    if value is None:
        return None
    return _PARSERS[column.kind](table, column, value)


def parse_guid(value: Json) -> str | None:
    """A GUID in its canonical form, or `None` when `value` is none."""
    try:
        return str(uuid.UUID(value)) if isinstance(value, str) and len(value) == len(str(uuid.UUID(int=0))) else None
    except ValueError:
        return None


def parse_instant(text: str) -> datetime | None:
    """An `Edm.DateTimeOffset`, which has an offset always; `None` when `text` is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if found.tzinfo is None or "T" not in text.upper() else found.astimezone(UTC).replace(microsecond=0)


def to_json(value: Value) -> Json:
    """The value as the Web API writes it."""
    match value:
        case datetime():
            return f"{value:%Y-%m-%dT%H:%M:%SZ}"
        case Reference():
            return value.id
        case _:
            return value


def formatted(column: Column, value: Value, referenced: str | None) -> str | None:
    """The text for people, in US English and UTC; `referenced` is the name of the row that a lookup leads to."""
    match column.kind, value:
        case _, None:
            return None
        case Kind.LOOKUP, _:
            return referenced
        case Kind.CHOICE, int():
            return column.options.get(value)
        case Kind.BOOLEAN, _:
            return "Yes" if value else "No"
        case Kind.INSTANT, datetime():
            return f"{value.month}/{value.day}/{value.year} {value.hour % 12 or 12}:{value:%M %p}"
        case Kind.INTEGER, int() if column.name.endswith("duration"):
            return _duration(value)
        case ((Kind.INTEGER | Kind.BIGINT), int()):
            return f"{value:,}"
        case Kind.DECIMAL, float():
            return f"{value:,.2f}"
    return None


def _duration(minutes: int) -> str:
    """A duration column's text; whole units beyond the documented example are unverified."""
    for size, unit in ((MINUTES_PER_DAY, "day"), (MINUTES_PER_HOUR, "hour")):
        if minutes >= size:
            return f"{minutes / size:.4g} {unit}{'' if minutes == size else 's'}"
    return f"{minutes} minute{'' if minutes == 1 else 's'}"


def _text(table: Table, column: Column, value: Json) -> str:
    if not isinstance(value, str):
        raise _cannot_convert(table, column, value)
    if column.max_length and len(value) > column.max_length:
        raise errors.too_long(table.name, column.name, column.max_length)
    return value


def _integer(table: Table, column: Column, value: Json) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _cannot_convert(table, column, value)
    if column.minimum is not None and not column.minimum <= value <= LARGEST_INTEGER:
        raise errors.out_of_range(table.name, column.name, value, (f"{column.minimum} - {LARGEST_INTEGER}",))
    return value


def _choice(table: Table, column: Column, value: Json) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _cannot_convert(table, column, value)
    if value not in column.options:
        raise errors.out_of_range(table.name, column.name, value, column.options)
    return value


def _instant(table: Table, column: Column, value: Json) -> datetime:
    found = parse_instant(value) if isinstance(value, str) else None
    if found is None:
        raise _cannot_convert(table, column, value)
    return found


def _decimal(table: Table, column: Column, value: Json) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _cannot_convert(table, column, value)
    return float(value)


def _boolean(table: Table, column: Column, value: Json) -> bool:
    if not isinstance(value, bool):
        raise _cannot_convert(table, column, value)
    return value


def _guid(table: Table, column: Column, value: Json) -> str:
    found = parse_guid(value)
    if found is None:
        raise _cannot_convert(table, column, value)
    return found


_PARSERS: Mapping[Kind, Callable[[Table, Column, Json], Value]] = {
    Kind.GUID: _guid,
    Kind.LOOKUP: _guid,
    Kind.TEXT: _text,
    Kind.INTEGER: _integer,
    Kind.BIGINT: _integer,
    Kind.CHOICE: _choice,
    Kind.DECIMAL: _decimal,
    Kind.BOOLEAN: _boolean,
    Kind.INSTANT: _instant,
}


def _cannot_convert(table: Table, column: Column, value: Json) -> Exception:
    return errors.payload(
        table.set_name,
        f"Cannot convert the literal '{value}' of the property '{column.name}' to the expected type "
        f"'{column.kind.edm}'.",
    )

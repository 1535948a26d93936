"""Values in bodies: each is what its property takes, or the body is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, timedelta

from sandbox.graph.errors import GraphError, unknown_property, unreadable_body
from sandbox.http import Json

_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?")


def not_a(kind: str, name: str, value: Json) -> GraphError:
    """A value of another type than that of its property."""
    return unreadable_body(
        f"Cannot convert the value '{value}' of the property '{name}' to the expected type '{kind}'."
    )


def read_flag(name: str, value: Json) -> bool:
    """True or false. Raises `GraphError`."""
    if not isinstance(value, bool):
        raise not_a("Edm.Boolean", name, value)
    return value


def read_choice(name: str, value: Json, choices: tuple[str, ...]) -> str:
    """One of `choices`, whatever its case. Raises `GraphError`."""
    for choice in choices:
        if isinstance(value, str) and value.lower() == choice.lower():
            return choice
    raise not_a(" | ".join(choices), name, value)


def read_string(name: str, value: Json) -> str:
    """A text. Raises `GraphError`."""
    if not isinstance(value, str):
        raise not_a("Edm.String", name, value)
    return value


def read_integer(name: str, value: Json) -> int:
    """A whole number. Raises `GraphError`."""
    if type(value) is not int:
        raise not_a("Edm.Int32", name, value)
    return value


def read_number(name: str, value: Json) -> float:
    """A finite number. Raises `GraphError`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise not_a("Edm.Double", name, value)
    return float(value)


def read_date(name: str, value: Json) -> date:
    """A day. Raises `GraphError`."""
    try:
        return date.fromisoformat(read_string(name, value))
    except ValueError:
        raise not_a("Edm.Date", name, value) from None


def read_list(name: str, value: Json) -> list[Json]:
    """A list of anything. Raises `GraphError`."""
    if not isinstance(value, list):
        raise not_a("Collection", name, value)
    return value


def read_members(type_name: str, name: str, value: Json, known: frozenset[str]) -> Mapping[str, Json]:
    """The members of an object that say something; it has none but the `known` ones. Raises `GraphError`."""
    if not isinstance(value, dict):
        raise not_a(type_name, name, value)
    found = {member: item for member, item in value.items() if not member.endswith("@odata.type")}
    for member in found:
        if member not in known:
            raise unknown_property(member, type_name)
    return {member: item for member, item in found.items() if item is not None}


def read_parameters(action: str, value: Json, known: frozenset[str]) -> Mapping[str, Json]:
    """The parameters of an action, by their names in `known`. Raises `GraphError`.

    Their case does not matter: the docs begin them with a small letter, the metadata and Microsoft's clients often with
    a capital one.
    """
    names = {name.lower(): name for name in known}
    if isinstance(value, dict):
        given = {names.get(name.lower(), name): item for name, item in value.items()}
        if len(given) < len(value):
            raise unreadable_body(f"A parameter of '{action}' was given more than once.")
        value = given
    return read_members(action, "body", value, known)


def read_duration(name: str, value: Json) -> timedelta:
    """An ISO 8601 duration of days and less. Raises `GraphError`."""
    found = _DURATION.fullmatch(read_string(name, value))
    if found is None or not any(found.groups()):
        raise not_a("Edm.Duration", name, value)
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def write_duration(span: timedelta) -> str:
    """The same the other way round."""
    minutes, seconds = divmod(span.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = "".join(f"{number}{unit}" for number, unit in ((hours, "H"), (minutes, "M"), (seconds, "S")) if number)
    days = f"{span.days}D" if span.days else ""
    return f"P{days}T{parts}" if parts else f"P{days}" if days else "PT0S"

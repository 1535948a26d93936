"""Values in bodies: each is what its property takes, or the body is refused."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from sandbox.graph.errors import GraphError, unknown_property, unreadable_body
from sandbox.http import Json


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

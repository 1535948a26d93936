"""Request bodies: JSON becomes column values.

Microsoft docs, "Create a table row" and "Associate table rows": columns by logical name, lookups through
`<navigation property>@odata.bind`, case-sensitive. The exact wording of the refusals is unverified.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from sandbox.dataverse import errors, values
from sandbox.dataverse.schema import Kind, Reference, Schema, Table, Value
from sandbox.http import Json, Request

BIND = "@odata.bind"
_ENTITY = re.compile(r"(?:/?api/data/v9\.[0-2])?/?(\w+)\(([0-9A-Fa-f-]{36})\)")


def read_object(request: Request, about: str) -> dict[str, Json]:
    """The JSON object in the body of `request`."""
    kind = request.header("content-type").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise errors.refuse(415, "", f"The content type '{kind}' is not supported: send application/json.")
    try:
        body = request.json()
    except ValueError as wrong:
        raise errors.payload(about, "The body is no valid JSON.") from wrong
    if not isinstance(body, dict):
        raise errors.payload(about, "The body is no JSON object.")
    return body


def read_values(schema: Schema, table: Table, body: dict[str, Json]) -> dict[str, Value]:
    """The column values in `body`, in its order."""
    found: dict[str, Value] = {}
    for name, value in body.items():
        if name == "@odata.type":
            _check_type(table, value)
        elif name.endswith(BIND):
            column, bound = _binding(schema, table, name.removesuffix(BIND), value)
            found[column] = bound
        elif "@" in name:
            raise errors.not_modelled(f"the annotation '{name}' in a body")
        else:
            found[name] = _value(schema, table, name, value)
    return found


def read_entity(text: str) -> tuple[str, str] | None:
    """Entity set and id in `/set(id)`, relative or absolute; `None` when `text` has another form."""
    match = _ENTITY.fullmatch(urlsplit(text).path)
    row_id = values.parse_guid(match[2]) if match else None
    return (match[1], row_id) if match and row_id else None


def _check_type(table: Table, name: Json) -> None:
    if not isinstance(name, str) or name.lstrip("#") != f"Microsoft.Dynamics.CRM.{table.name}":
        raise errors.payload(table.set_name, f"The type '{name}' is not Microsoft.Dynamics.CRM.{table.name}.")


def _binding(schema: Schema, table: Table, name: str, value: Json) -> tuple[str, Value]:
    column, targets = _navigation(table, name)
    if value is None:
        return column, None
    entity = read_entity(value) if isinstance(value, str) else None
    if entity is None:
        raise errors.payload(table.set_name, f"Invalid URI '{value}' in '{name}{BIND}'.")
    target = schema.sets.get(entity[0])
    if target is None:
        raise errors.not_modelled(f"the entity set '{entity[0]}'")
    if target.name != targets:
        raise errors.payload(table.set_name, f"'{name}' does not lead to rows of '{target.name}'.")
    return column, Reference(target.name, entity[1])


def _navigation(table: Table, name: str) -> tuple[str, str]:
    """The lookup column that the navigation property `name` writes, and the table that it leads to."""
    for column in table.columns.values():
        if name in column.navigations:
            if column.read_only:
                raise errors.not_modelled(f"writing the column '{column.name}'")
            return column.name, column.navigations[name]
    raise errors.payload(
        table.set_name,
        f"An undeclared property '{name}' which only has property annotations in the payload but no property value was "
        "found in the payload. In OData, only declared navigation properties and declared named streams can be "
        "represented as properties without values.",
    )


def _value(schema: Schema, table: Table, name: str, value: Json) -> Value:
    if schema.navigation(table, name) is not None:
        raise errors.not_modelled(f"the navigation property '{name}' as a value (deep insert)")
    column = table.of_property(name)
    if column is None:
        raise errors.payload(
            table.set_name,
            f"Invalid property '{name}' was found in entity 'Microsoft.Dynamics.CRM.{table.name}'. The property "
            f"'{name}' does not exist on type 'Microsoft.Dynamics.CRM.{table.name}'. Make sure to only use property "
            "names that are defined by the type.",
        )
    if column.kind is Kind.LOOKUP:
        raise errors.payload(
            table.set_name,
            "CRM do not support direct update of Entity Reference properties, Use Navigation properties instead.",
        )
    if column.read_only:
        raise errors.not_modelled(f"writing the column '{name}'")
    return values.parse(table, column, value)

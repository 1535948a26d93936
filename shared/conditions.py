"""The administrator's conditions (SYNC_FILTER, SYNC_MASK): OData over the columns of a booking, compiled once.

`bookingtype eq 1 and not startswith(name, 'Internal')`. Columns are named as in the Web API; those of the work order
and of the resource are reached through their navigation property: `msdyn_workorder/msdyn_systemstatus eq 690970001`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from odata_query import ast
from odata_query.exceptions import ODataException
from odata_query.grammar import ODataLexer, ODataParser

from shared.errors import RefusedError, SettingsError

type Condition = Callable[[Mapping[str, object]], bool]

_COMPARE: Mapping[type, Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda left, right: left in right,
}
_TEXT: Mapping[str, Callable[[str, str], bool]] = {
    "contains": lambda text, part: part in text,
    "startswith": str.startswith,
    "endswith": str.endswith,
}
_EXAMPLE = "write an OData condition such as: bookingtype eq 1 and not startswith(name,'Internal')"


def compile_condition(setting: str, source: str) -> tuple[Condition, frozenset[str]]:
    """The condition and the columns it asks for (`name`, `msdyn_workorder/msdyn_name`).

    Raises `SettingsError` naming `setting` for what is no condition or goes beyond comparisons, `and`, `or`, `not`,
    `in`, `contains`, `startswith` and `endswith`. Text compares without case, as Dataverse does.
    """
    try:
        tree = ODataParser().parse(ODataLexer().tokenize(source))
    except ODataException as error:
        raise SettingsError(f"{setting} cannot be read: {error}; {_EXAMPLE}") from error
    if not isinstance(tree, ast.BoolOp | ast.UnaryOp | ast.Compare | ast.Call):
        raise SettingsError(f"{setting} is a value, not a condition; {_EXAMPLE}")
    columns: set[str] = set()
    try:
        evaluate = _build(setting, tree, columns)
    except RecursionError as error:
        raise SettingsError(f"{setting} has too many terms") from error
    return (lambda row: bool(evaluate(row))), frozenset(columns)


def _build(setting: str, node: Any, columns: set[str]) -> Callable[[Mapping[str, object]], Any]:
    match node:
        case ast.BoolOp(op=op, left=left, right=right):
            first, second = _build(setting, left, columns), _build(setting, right, columns)
            if isinstance(op, ast.And):
                return lambda row: first(row) and second(row)
            return lambda row: first(row) or second(row)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = _build(setting, operand, columns)
            return lambda row: not inner(row)
        case ast.Compare(comparator=comparator, left=left, right=right):
            first, second = _build(setting, left, columns), _build(setting, right, columns)
            compare = _COMPARE[type(comparator)]
            return lambda row: _compare(setting, compare, first(row), second(row))
        case ast.Call(func=ast.Identifier(name=name), args=[text, part]) if name in _TEXT:
            first, second = _build(setting, text, columns), _build(setting, part, columns)
            test = _TEXT[name]
            return lambda row: test(str(first(row) or ""), str(second(row) or ""))
        case ast.List(val=values):
            items = [_build(setting, value, columns) for value in values]
            return lambda row: [item(row) for item in items]
        case ast.Identifier() | ast.Attribute():
            path = _path(node)
            columns.add(path)
            return lambda row: _value(row.get(path))
        case ast.Null():
            return lambda _: None
        case ast.Integer() | ast.Float() | ast.Boolean() | ast.String() | ast.GUID() | ast.DateTime():
            literal = _value(node.val if isinstance(node, ast.String | ast.GUID) else node.py_val)
            return lambda _: literal
    raise SettingsError(f"{setting} uses {type(node).__name__}, which a condition cannot; {_EXAMPLE}")


def _compare(setting: str, compare: Callable[[Any, Any], bool], left: Any, right: Any) -> bool:
    if compare in (operator.lt, operator.le, operator.gt, operator.ge) and (left is None or right is None):
        return False
    try:
        return compare(left, right)
    except TypeError as error:
        # To answer "no" would take away the events of every booking that the administrator meant.
        kinds = f"{type(left).__name__} with {type(right).__name__}"
        raise RefusedError(f"{setting} compares {kinds} on this booking") from error


def _path(node: Any) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_path(node.owner)}/{node.attr}"
    return str(node.name)


def _value(value: object) -> object:
    """Text without case; instants as instants, however they were written."""
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    if isinstance(value, str):
        try:
            if value[:1].isdigit() and "T" in value:
                instant = datetime.fromisoformat(value)
                return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
            return value.casefold()
        except ValueError:
            return value.casefold()
    return value

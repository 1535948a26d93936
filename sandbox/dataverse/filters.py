"""`$filter`: the OData text becomes a predicate over rows.

Understood: comparisons of a property or of a property of a looked-up row with a literal, `and`, `or`, `not`,
`contains`, `startswith`, `endswith`, and the function `Microsoft.Dynamics.CRM.In`. Text compares without regard to
case, as the database's collation does (Microsoft docs, "Filter rows"). That `ne` and negated functions include rows
without a value is unverified. Everything else is refused with 501.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from odata_query import ast
from odata_query.exceptions import ODataException
from odata_query.grammar import ODataLexer, ODataParser

from sandbox.dataverse import errors, values
from sandbox.dataverse.schema import Column, Kind, Reference, Table, Value
from sandbox.dataverse.state import Row, State

type Predicate = Callable[[Row], bool]

_TEXT_OR_ALIAS = re.compile(r"'(?:[^']|'')*'|@\w+")
_IN = re.compile(r"Microsoft\.Dynamics\.CRM\.In\(PropertyName='(\w+)',\s*PropertyValues=\[([^\]]*)\]\)")
_OTHER_FUNCTION = re.compile(r"Microsoft\.Dynamics\.CRM\.(\w+)\(")
_QUOTED = re.compile(r"""'((?:[^']|'')*)'|"([^"]*)\"""")

_LITERALS: Mapping[Kind, tuple[type, ...]] = {
    Kind.GUID: (ast.GUID,),
    Kind.LOOKUP: (ast.GUID,),
    Kind.TEXT: (ast.String,),
    Kind.INTEGER: (ast.Integer,),
    Kind.BIGINT: (ast.Integer,),
    Kind.CHOICE: (ast.Integer,),
    Kind.DECIMAL: (ast.Integer, ast.Float),
    Kind.BOOLEAN: (ast.Boolean,),
    Kind.INSTANT: (ast.DateTime, ast.Date),
}
_ORDERINGS: Mapping[type, Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_TEXT_FUNCTIONS: Mapping[str, Callable[[str, str], bool]] = {
    "contains": lambda text, part: part in text,
    "startswith": str.startswith,
    "endswith": str.endswith,
}


@dataclass(frozen=True, slots=True)
class Path:
    """A property, reached over the lookups `way` from the table that the query is about."""

    way: tuple[Column, ...]
    column: Column

    def value(self, row: Row, state: State) -> Value:
        """The property's value, comparable: references as ids, text without its case."""
        current: Row | None = row
        for step in self.way:
            reference = current.get(step.name) if current is not None else None
            current = state.find(reference) if isinstance(reference, Reference) else None
        value = current.get(self.column.name) if current is not None else None
        return _comparable(value)


def find_path(table: Table, names: list[str], state: State) -> Path:
    """The path that `names` spell from `table`. Refuses an unknown name."""
    way: list[Column] = []
    for name in names[:-1]:
        navigation = state.schema.navigation(table, name)
        if navigation is None:
            raise errors.unknown_property(table.name, name)
        if navigation.many:
            raise errors.not_modelled(f"a path through the collection '{name}'")
        way.append(navigation.column)
        table = navigation.table
    column = table.of_property(names[-1])
    if column is None or column.write_only:
        raise errors.unknown_property(table.name, names[-1])
    return Path(tuple(way), column)


def put_aliases(text: str, aliases: Mapping[str, str], used: set[str]) -> str:
    """The expression with its parameter aliases replaced; notes in `used` which ones it names."""

    def put(match: re.Match[str]) -> str:
        found = match[0]
        if not found.startswith("@"):
            return found
        if found not in aliases:
            raise errors.query(f"The parameter alias '{found}' has no value.")
        used.add(found)
        return aliases[found]

    return _TEXT_OR_ALIAS.sub(put, text)


def parse(text: str, table: Table, state: State) -> Predicate:
    """The predicate that `text` spells for rows of `table`."""
    spelled = _IN.sub(lambda match: _spell_out(match, table), text)
    if other := _OTHER_FUNCTION.search(spelled):
        raise errors.not_modelled(f"the query function '{other[1]}'")
    try:
        tree = ODataParser().parse(ODataLexer().tokenize(spelled.strip()))
    except (ODataException, AttributeError) as wrong:
        raise errors.query(f"Syntax error in '{text}': {wrong}") from wrong
    if tree is None:
        raise errors.query(f"Syntax error in '{text}'.")
    return _Compiler(table, state).predicate(tree)


def _spell_out(match: re.Match[str], table: Table) -> str:
    """`In` as a chain of comparisons; its values are quoted whatever the type of the property."""
    column = table.of_property(match[1])
    if column is None:
        raise errors.unknown_property(table.name, match[1])
    quoted = [single if single or not double else double for single, double in _QUOTED.findall(match[2])]
    is_text = column.kind is Kind.TEXT
    literals = ["'" + one.replace("'", "''") + "'" if is_text else one for one in quoted]
    return "(" + " or ".join(f"{match[1]} eq {literal}" for literal in literals) + ")"


class _Compiler:
    def __init__(self, table: Table, state: State) -> None:
        self._table = table
        self._state = state

    def predicate(self, node: Any) -> Predicate:
        match node:
            case ast.BoolOp(op=ast.And(), left=left, right=right):
                first, second = self.predicate(left), self.predicate(right)
                return lambda row: first(row) and second(row)
            case ast.BoolOp(op=ast.Or(), left=left, right=right):
                first, second = self.predicate(left), self.predicate(right)
                return lambda row: first(row) or second(row)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self.predicate(operand)
                return lambda row: not inner(row)
            case ast.Compare(comparator=comparator, left=left, right=right):
                return self._compare(comparator, left, right)
            case ast.Call(func=ast.Identifier(name=name), args=[subject, ast.String(val=part)]) if (
                name in _TEXT_FUNCTIONS
            ):
                return self._text_function(_TEXT_FUNCTIONS[name], subject, part.casefold())
            case ast.Call(func=ast.Identifier(name=name)):
                raise errors.not_modelled(f"the query function '{name}' in this form")
        raise errors.not_modelled(f"the filter expression '{type(node).__name__}'")

    def _compare(self, comparator: Any, left: Any, right: Any) -> Predicate:
        path, wanted = self._path(left), None
        if isinstance(comparator, ast.In):
            raise errors.not_modelled("the operator 'in'; the function is Microsoft.Dynamics.CRM.In")
        if not isinstance(right, ast.Null):
            wanted = self._literal(path.column, right)
        state = self._state
        match comparator:
            case ast.Eq():
                return lambda row: path.value(row, state) == wanted
            case ast.NotEq():
                return lambda row: path.value(row, state) != wanted
        holds = _ORDERINGS[type(comparator)]

        def is_ordered(row: Row) -> bool:
            value = path.value(row, state)
            return value is not None and wanted is not None and holds(value, wanted)

        return is_ordered

    def _text_function(self, holds: Callable[[str, str], bool], subject: Any, part: str) -> Predicate:
        path, state = self._path(subject), self._state
        if path.column.kind is not Kind.TEXT:
            raise errors.query(f"The property '{path.column.api_name}' is no text.")

        def is_found(row: Row) -> bool:
            value = path.value(row, state)
            return isinstance(value, str) and holds(value, part)

        return is_found

    def _path(self, node: Any) -> Path:
        names: list[str] = []
        while isinstance(node, ast.Attribute):
            names.insert(0, node.attr)
            node = node.owner
        if not isinstance(node, ast.Identifier) or node.namespace:
            raise errors.not_modelled(f"a comparison whose left side is '{type(node).__name__}'")
        return find_path(self._table, [node.name, *names], self._state)

    def _literal(self, column: Column, node: Any) -> Value:
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            raise errors.not_modelled("a sign before an expression")
        if isinstance(node, ast.Identifier | ast.Attribute):
            raise errors.not_modelled("a comparison of two columns")
        if type(node) not in _LITERALS[column.kind]:
            raise errors.query(
                f"A binary operator with incompatible types was detected. The property '{column.api_name}' is of type "
                f"'{column.kind.edm}', the literal is a {type(node).__name__}."
            )
        if column.kind is Kind.INSTANT:
            found = values.parse_instant(node.val if isinstance(node, ast.DateTime) else f"{node.val}T00:00:00Z")
            if found is None:
                raise errors.query(f"'{node.val}' is no Edm.DateTimeOffset: it needs an offset.")
            return found
        value: Value = node.val.lower() if column.kind in (Kind.GUID, Kind.LOOKUP) else node.py_val
        return _comparable(value)


def _comparable(value: Value) -> str | int | float | bool | datetime | None:
    match value:
        case Reference():
            return value.id
        case str():
            return value.casefold()
        case _:
            return value

"""`$filter`: an OData expression becomes a predicate on items.

A type's `Fields` say what can be compared and how. Text is compared as Exchange and Entra ID compare it, without regard
to case; ids are exact. What the table does not have is refused when the expression is read, whether or not there are
items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, auto
from operator import eq, ge, gt, le, lt, ne
from typing import Any

from odata_query import ast
from odata_query.exceptions import FunctionCallException, ODataException
from odata_query.grammar import ODataLexer, ODataParser

from sandbox.graph.errors import GraphError, bad_request, not_modelled
from sandbox.graph.times import read_instant
from sandbox.http import Json

type Predicate = Callable[[Any], bool]
type Get = Callable[[Any], Json]


class Kind(Enum):
    """How a field is compared."""

    TEXT = auto()
    EXACT = auto()
    FLAG = auto()
    NUMBER = auto()
    INSTANT = auto()


@dataclass(frozen=True, slots=True)
class Field:
    """One comparable field; `normal` brings a literal into the form of the stored values."""

    kind: Kind
    get: Get
    normal: Callable[[str], str] | None = None


@dataclass(frozen=True, slots=True)
class Collection:
    """A field with many elements, for `any`; the key `""` of `fields` is the element itself."""

    get: Callable[[Any], Iterable[Any]]
    fields: Mapping[str, Field]


@dataclass(frozen=True, slots=True)
class Fields:
    """What `$filter` may name in a type, by path in lower case."""

    type_name: str
    single: Mapping[str, Field]
    many: Mapping[str, Collection] = field(default_factory=dict)
    comparators: frozenset[type] = frozenset({ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE})
    functions: frozenset[str] = frozenset({"contains", "startswith"})


_COMPARATORS: dict[type, Callable[[Any, Any], bool]] = {
    ast.Eq: eq,
    ast.NotEq: ne,
    ast.Lt: lt,
    ast.LtE: le,
    ast.Gt: gt,
    ast.GtE: ge,
}
_TEXT_FUNCTIONS: dict[str, Callable[[str, str], bool]] = {
    "contains": lambda text, part: part in text,
    "startswith": lambda text, part: text.startswith(part),
}


def read_filter(expression: str, fields: Fields) -> Predicate:
    """The predicate that `expression` stands for. Raises `GraphError`."""
    try:
        tree = ODataParser().parse(ODataLexer().tokenize(expression.strip()))
    except FunctionCallException as error:
        raise not_modelled(f"$filter: {error}") from None
    except ODataException as error:
        raise _invalid(str(error)) from None
    return _Reader(fields).boolean(tree)


def _invalid(why: str) -> GraphError:
    return bad_request(f"Invalid filter clause: {why}")


class _Reader:
    """Turns a syntax tree into closures, all names resolved."""

    def __init__(self, fields: Fields, variable: str = "") -> None:
        """`variable` is the name in front of paths inside `any`."""
        self._fields = fields
        self._variable = variable

    def boolean(self, node: Any) -> Predicate:
        """A node that stands for true or false."""
        match node:
            case ast.BoolOp(op=op, left=left, right=right):
                one, other = self.boolean(left), self.boolean(right)
                if isinstance(op, ast.And):
                    return lambda item: one(item) and other(item)
                return lambda item: one(item) or other(item)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self.boolean(operand)
                return lambda item: not inner(item)
            case ast.Compare(comparator=comparator, left=left, right=right):
                return self._comparison(comparator, left, right)
            case ast.Call(func=function, args=args):
                return self._function(function.name, args)
            case ast.CollectionLambda(owner=owner, operator=ast.Any(), lambda_=lambda_):
                return self._any(owner, lambda_)
            case ast.Identifier() | ast.Attribute():
                found = self._field(node)
                if found.kind is Kind.FLAG:
                    return lambda item: found.get(item) is True
        raise not_modelled(f"$filter with {type(node).__name__}")

    def _comparison(self, comparator: Any, left: Any, right: Any) -> Predicate:
        found = self._field(left)
        if type(comparator) not in self._fields.comparators:
            raise not_modelled(f"$filter with {type(comparator).__name__} on {self._fields.type_name}")
        compare = _COMPARATORS[type(comparator)]
        if isinstance(right, ast.Null):
            if compare not in (eq, ne):
                raise _invalid("null can only be compared by eq and ne.")
            return lambda item: compare(found.get(item), None)
        wanted = _literal(right, found)

        def holds(item: Any) -> bool:
            value = found.get(item)
            if value is None:
                return compare is ne
            return compare(_comparable(value, found.kind), wanted)

        return holds

    def _function(self, name: str, args: list[Any]) -> Predicate:
        if name.lower() not in self._fields.functions:
            raise not_modelled(f"$filter with {name}() on {self._fields.type_name}")
        test = _TEXT_FUNCTIONS[name.lower()]
        found = self._field(args[0])
        if found.kind is not Kind.TEXT or not isinstance(args[1], ast.String):
            raise _invalid(f"{name} compares a text property with a text.")
        part = args[1].val.casefold()
        return lambda item: test((found.get(item) or "").casefold(), part)

    def _any(self, owner: Any, lambda_: Any) -> Predicate:
        path = _path(owner)
        collection = self._fields.many.get("/".join(path).lower())
        if collection is None or self._variable:
            raise not_modelled(f"$filter with any on '{'/'.join(path)}'")
        if lambda_ is None:
            return lambda item: any(True for _ in collection.get(item))
        inner = _Reader(Fields(path[-1], collection.fields), lambda_.identifier.name).boolean(lambda_.expression)
        return lambda item: any(inner(element) for element in collection.get(item))

    def _field(self, node: Any) -> Field:
        path = _path(node)
        if self._variable:
            if path[0] != self._variable:
                raise not_modelled(f"$filter with '{'/'.join(path)}' inside any")
            path = path[1:]
        found = self._fields.single.get("/".join(path).lower())
        if found is None:
            raise not_modelled(f"$filter on '{'/'.join(path)}' of {self._fields.type_name}")
        return found


def _path(node: Any) -> list[str]:
    match node:
        case ast.Identifier(name=name):
            return [name]
        case ast.Attribute(owner=owner, attr=attr):
            return [*_path(owner), attr]
    raise not_modelled(f"$filter with {type(node).__name__} in the place of a property")


def _literal(node: Any, found: Field) -> Json:
    match node:
        case ast.String(val=text) if found.kind in (Kind.TEXT, Kind.EXACT):
            return _comparable(found.normal(text) if found.normal else text, found.kind)
        case ast.GUID(val=text) if found.kind is Kind.EXACT:
            return text.lower()
        case ast.String(val=text) | ast.DateTime(val=text) | ast.Date(val=text) if found.kind is Kind.INSTANT:
            try:
                return read_instant(text)
            except ValueError as error:
                raise _invalid(str(error)) from None
        case ast.Boolean(val=text) if found.kind is Kind.FLAG:
            return text.lower() == "true"
        case ast.Integer(val=text) if found.kind is Kind.NUMBER:
            return int(text)
    raise _invalid("A binary operator with incompatible types was detected.")


def _comparable(value: Json, kind: Kind) -> Json:
    if kind is Kind.TEXT:
        return value.casefold()
    if kind is Kind.INSTANT and isinstance(value, datetime):
        return value.astimezone(UTC)
    return value

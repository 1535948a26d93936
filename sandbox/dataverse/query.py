"""Query options: what of which rows is shown, in which order, and how much at a time.

Microsoft docs, "Query data using the Web API" and its pages on columns, joins, order and paging. An option that is not
understood is refused, never dropped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cmp_to_key
from urllib.parse import quote, unquote

from sandbox.dataverse import errors, filters
from sandbox.dataverse.filters import Path, Predicate
from sandbox.dataverse.schema import Column, Navigation, Table
from sandbox.dataverse.state import Row, State
from sandbox.dataverse.values import to_json
from sandbox.http import Json

LARGEST_PAGE = 5000
_TOKEN = re.compile(r'<cookie pagenumber="(\d+)" pagingcookie="([^"]*)" istracking="(True|False)" />')

type Options = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What of a row is shown: some columns (`None` = all), and other rows in their place."""

    columns: tuple[Column, ...] | None = None
    expansions: tuple[Expansion, ...] = ()

    @property
    def context(self) -> str:
        """The selection as `@odata.context` writes it."""
        names = [column.api_name for column in self.columns or ()]
        names += [f"{one.navigation.name}{one.query.selection.context or '()'}" for one in self.expansions]
        return f"({','.join(names)})" if names else ""

    @property
    def tables(self) -> Iterator[Table]:
        """The tables of the other rows, at every depth."""
        for one in self.expansions:
            yield one.navigation.table
            yield from one.query.selection.tables


@dataclass(frozen=True, slots=True)
class Order:
    """`$orderby`, made total by the row's id; a row without a value sorts first."""

    keys: tuple[tuple[Path, bool], ...]

    def position(self, row: Row, state: State) -> list[Json]:
        """Where `row` stands, as plain JSON so that a paging cookie can hold it."""
        return [*(_plain(path.value(row, state)) for path, _ in self.keys), row.id]

    def compare(self, one: list[Json], other: list[Json]) -> int:
        """Negative when the position `one` comes before `other`."""
        directions = [*(down for _, down in self.keys), False]
        for left, right, down in zip(one, other, directions, strict=True):
            if left != right:
                before = right is not None and (left is None or left < right)
                return 1 if before == down else -1
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """All query options of one collection."""

    selection: Selection
    predicate: Predicate | None = None
    order: Order = Order(())
    top: int | None = None
    count: bool = False

    def rows(self, rows: Collection[Row], state: State) -> list[Row]:
        """Those of `rows` that fit, in order, before any limit."""
        found = [row for row in rows if self.predicate is None or self.predicate(row)]
        if not self.order.keys:
            return sorted(found, key=lambda row: row.id)
        places = {row.id: self.order.position(row, state) for row in found}
        before = cmp_to_key(self.order.compare)
        return sorted(found, key=lambda row: before(places[row.id]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Expansion:
    """One `$expand` item."""

    navigation: Navigation
    query: Query


class Reader:
    """Reads the query options of one request."""

    def __init__(self, state: State, options: Options) -> None:
        """Separate the parameter aliases from the options proper."""
        self._state = state
        self._aliases = {name: value for name, value in options.items() if name.startswith("@")}
        self._used: set[str] = set()
        self._options = {name: value for name, value in options.items() if not name.startswith("@")}

    def read(self, table: Table, allowed: Collection[str]) -> Query:
        """The query on `table`. Refuses options that are not `allowed` here, and aliases that nothing names."""
        query = self._query(table, self._options, allowed)
        if unused := sorted(set(self._aliases) - self._used):
            raise errors.not_modelled(f"the query parameter '{unused[0]}', which no expression names")
        return query

    def _query(self, table: Table, options: Options, allowed: Collection[str]) -> Query:
        for name in options:
            if name not in allowed:
                raise errors.not_modelled(f"the query option '{name}' here")
        text = options.get("$filter")
        return Query(
            selection=Selection(
                columns=self._columns(table, options.get("$select")),
                expansions=tuple(self._expansion(table, item) for item in split(options.get("$expand", ""), ",")),
            ),
            predicate=None if text is None else self._predicate(table, text),
            order=self._order(table, options.get("$orderby", "")),
            top=_number("$top", options.get("$top")),
            count=_flag("$count", options.get("$count", "false")),
        )

    def _predicate(self, table: Table, text: str) -> Predicate:
        return filters.parse(filters.put_aliases(text, self._aliases, self._used), table, self._state)

    def _columns(self, table: Table, text: str | None) -> tuple[Column, ...] | None:
        if text is None:
            return None
        return tuple(self._column(table, name) for name in split(text, ","))

    def _column(self, table: Table, name: str) -> Column:
        if name == "*" or self._state.schema.navigation(table, name) is not None:
            raise errors.not_modelled(f"'{name}' in $select")
        column = table.of_property(name)
        if column is None or column.write_only:
            raise errors.unknown_property(table.name, name)
        return column

    def _expansion(self, table: Table, item: str) -> Expansion:
        name, bracket, rest = item.partition("(")
        navigation = self._state.schema.navigation(table, name.strip())
        if navigation is None:
            if "/" in name:
                raise errors.not_modelled(f"'{name}' in $expand")
            raise errors.unknown_property(table.name, name.strip())
        if bracket and not rest.endswith(")"):
            raise errors.query(f"Syntax error in $expand at '{item}'.")
        options: dict[str, str] = {}
        for option in split(rest[:-1], ";"):
            key, _, value = option.partition("=")
            options[key.strip()] = value.strip()
        allowed = ["$select", "$expand", *(["$filter", "$orderby", "$top"] if navigation.many else [])]
        return Expansion(navigation=navigation, query=self._query(navigation.table, options, allowed))

    def _order(self, table: Table, text: str) -> Order:
        keys: list[tuple[Path, bool]] = []
        for item in split(text, ","):
            name, _, direction = item.partition(" ")
            if direction.strip().lower() not in ("", "asc", "desc"):
                raise errors.query(f"Syntax error in $orderby at '{item}'.")
            path = filters.find_path(table, name.split("/"), self._state)
            keys.append((path, direction.strip().lower() == "desc"))
        return Order(tuple(keys))


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A part of a result and, unless it is the last, the token of the next part."""

    rows: list[Row]
    next_token: str | None


def page(query: Query, found: list[Row], state: State, size: int, token: str | None) -> Page:
    """The page of `found` that `token` asks for.

    The token holds the position of the last row shown, so rows that come or go between two pages shift nothing.
    """
    order, number = query.order, 1
    if token is not None:
        number, last = read_token(token)
        found = [row for row in found if order.compare(order.position(row, state), last) > 0]
    shown = found[:size]
    if len(found) <= size:
        return Page(rows=shown, next_token=None)
    return Page(rows=shown, next_token=write_token(number + 1, order.position(shown[-1], state)))


def write_token(number: int, position: list[Json], *, tracking: bool = False) -> str:
    """A `$skiptoken`: its outside follows Microsoft docs, "Page results"; clients must not look inside."""
    cookie = quote(quote(json.dumps(position)))
    return f'<cookie pagenumber="{number}" pagingcookie="{cookie}" istracking="{tracking}" />'


def read_token(token: str, *, tracking: bool = False) -> tuple[int, list[Json]]:
    """The page number and the position in a `$skiptoken`. Refuses one of another kind."""
    match = _TOKEN.fullmatch(token)
    try:
        if match is not None and match[3] == str(tracking):
            return int(match[1]), json.loads(unquote(unquote(match[2])))
    except ValueError:  # somebody wrote a cookie of their own
        pass
    raise errors.query("Malformed paging cookie in $skiptoken.")


def split(text: str, separator: str) -> list[str]:
    """The parts of `text` between separators that stand outside brackets and quotes."""
    parts, depth, quoted, start = [], 0, False, 0
    for place, char in enumerate(text):
        if char == "'":
            quoted = not quoted
        elif quoted:
            continue
        elif char in "()":
            depth += 1 if char == "(" else -1
        elif char == separator and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return [part.strip() for part in (*parts, text[start:]) if part.strip()]


def _plain(value: object) -> Json:
    return to_json(value) if isinstance(value, datetime) else value


def _number(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal():
        raise errors.query(f"Invalid value '{text}' for {name}: a whole number is expected.")
    return int(text)


def _flag(name: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise errors.query(f"Invalid value '{text}' for {name}: 'true' or 'false' is expected.")
    return text == "true"

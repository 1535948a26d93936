"""Query options: read once, every one of them obeyed or refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from sandbox.graph.errors import bad_request, not_modelled
from sandbox.graph.filters import Field, Fields, Get, Predicate, read_filter
from sandbox.graph.preferences import PAGE_SIZE
from sandbox.http import Json, Request

LARGEST_PAGE = 1000
CONDITIONS = ("if-match", "if-none-match")
_EXPAND = re.compile(r"(?P<name>\w+)\s*(?:\(\s*\$filter\s*=(?P<filter>(?:[^()']|'[^']*'|\([^()]*\))*)\))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The query options of one call.

    `select` is empty when everything is wanted; `expand` says which elements are wanted of the collection that is named
    with it, in lower case; `others` are the query parameters that the operation defines itself, by lower-case name.
    """

    select: tuple[str, ...] = ()
    expand: tuple[str, Predicate] | None = None
    matches: Predicate = lambda _item: True
    order: tuple[tuple[Get, bool], ...] = ()
    top: int
    skip: int = 0
    count: bool = False
    others: Mapping[str, str]

    def page_of[T](self, items: Sequence[T]) -> tuple[list[T], bool]:
        """The wanted items of this page, and whether there are more."""
        found = [item for item in items if self.matches(item)]
        for get, descending in reversed(self.order):
            found.sort(key=_sortable(get), reverse=descending)
        page = found[self.skip : self.skip + self.top]
        return page, len(found) > self.skip + self.top


def read_options(
    request: Request,
    allowed: frozenset[str],
    *,
    fields: Fields | None = None,
    expandable: Mapping[str, Mapping[str, Field]] = MappingProxyType({}),
    others: frozenset[str] = frozenset(),
    page: int = 10,
    largest_page: int = LARGEST_PAGE,
    paged_by_preference: bool = False,
    conditions: frozenset[str] = frozenset(),
) -> Options:
    """The options of `request`; one that is not `allowed` here is refused. Raises `GraphError`.

    So is a condition in a header that is not among the `conditions` which the operation honours.
    """
    if conditional := [name for name in CONDITIONS if request.header(name) and name not in conditions]:
        raise not_modelled(f"the header {conditional[0]} on {request.method} {request.path}")
    if PAGE_SIZE in request.prefer() and not paged_by_preference:
        raise not_modelled(f"Prefer: {PAGE_SIZE} on {request.path}")
    given: dict[str, str] = {}
    for name, value in request.query:
        key = name.lower()
        if key not in allowed and key not in others:
            raise not_modelled(f"query option '{name}' on {request.path}")
        if key in given:
            raise bad_request(
                f"Query option '{name}' was specified more than once, but it must be specified at most once."
            )
        given[key] = value
    fields = fields or Fields("", {})
    values: dict[str, Any] = {
        "top": _count(given, "$top", 1, largest_page, page),
        "skip": _count(given, "$skip", 0, None, 0),
        "count": _flag(given, "$count"),
        "others": {name: given[name] for name in others if name in given},
    }
    if "$select" in given:
        values["select"] = tuple(part.strip() for part in given["$select"].split(",") if part.strip())
    if "$expand" in given:
        values["expand"] = _expand(given["$expand"], expandable)
    if "$filter" in given:
        values["matches"] = read_filter(given["$filter"], fields)
    if "$orderby" in given:
        values["order"] = tuple(_order(part, fields) for part in given["$orderby"].split(","))
    return Options(**values)


def _count(given: Mapping[str, str], name: str, least: int, most: int | None, default: int) -> int:
    text = given.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or int(text) < least or (most is not None and int(text) > most):
        limits = f"at least {least}" if most is None else f"between {least} and {most}"
        raise bad_request(f"Invalid value '{text}' for {name} query option found. It must be a number {limits}.")
    return int(text)


def _flag(given: Mapping[str, str], name: str) -> bool:
    text = given.get(name, "false").lower()
    if text not in ("true", "false"):
        raise bad_request(f"Invalid value '{text}' for {name} query option found. It must be true or false.")
    return text == "true"


def _expand(text: str, expandable: Mapping[str, Mapping[str, Field]]) -> tuple[str, Predicate]:
    """One collection; whether the service takes two of them in one call is not documented."""
    found = _EXPAND.fullmatch(text.strip())
    name = found["name"].lower() if found is not None else ""
    # what can be filtered must be: whether the service gives all of it otherwise is not documented
    if found is None or name not in expandable or (found["filter"] is None and expandable[name]):
        raise not_modelled(f"$expand={text}")
    if found["filter"] is None:
        return name, lambda _element: True
    return name, read_filter(found["filter"], Fields(name, expandable[name]))


def _order(part: str, fields: Fields) -> tuple[Get, bool]:
    name, _, direction = part.strip().partition(" ")
    found = fields.single.get(name.lower())
    if found is None:
        raise not_modelled(f"$orderby={name}")
    if direction.strip().lower() not in ("", "asc", "desc"):
        raise bad_request(f"Syntax error in $orderby at '{part.strip()}'.")
    return found.get, direction.strip().lower() == "desc"


def _sortable(get: Get) -> Callable[[Any], Json]:
    def key(item: Any) -> Json:
        value = get(item)
        return (value is not None, value.casefold() if isinstance(value, str) else value)

    return key


def pick(written: dict[str, Json], select: Sequence[str], type_name: str) -> dict[str, Json]:
    """What `$select` leaves; the id always stays. Raises `GraphError` for a property that is not known."""
    if not select:
        return written
    names = {name.lower(): name for name in written}
    for name in select:
        if name.lower() not in names:
            raise not_modelled(f"$select={name} on {type_name}")
    wanted = {"id", *(names[name.lower()] for name in select)}
    return {name: value for name, value in written.items() if name in wanted}


def next_link(request: Request, **changed: str) -> str:
    """The URL of the next page: this call's with some query options changed."""
    query = {name.lower(): (name, value) for name, value in request.query}
    for name, value in changed.items():
        query[f"${name}"] = (f"${name}", value)
    parts = "&".join(f"{quote(name, safe='$')}={quote(value, safe='')}" for name, value in query.values())
    return f"{request.base}{request.path}?{parts}"


def read_offset(token: str | None) -> int:
    """Where the page of a `$skiptoken` begins. Raises `GraphError` for a token that was not given out."""
    if token is None:
        return 0
    word, _, number = token.partition("-")
    if word != "offset" or not number.isdigit():
        raise bad_request("The specified page token value has expired or is invalid.")
    return int(number)

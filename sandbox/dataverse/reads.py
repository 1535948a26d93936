"""Reading: one row, many rows, counts, single values, the way along a navigation property.

Microsoft docs, "Retrieve a table row", "Query data", "Page results", "Perform conditional operations".
"""

from __future__ import annotations

from urllib.parse import quote

from sandbox.dataverse import errors
from sandbox.dataverse.query import LARGEST_PAGE, page
from sandbox.dataverse.represent import RECORD_COUNT, RECORD_COUNT_EXCEEDED, linked
from sandbox.dataverse.schema import Navigation, Reference, Table
from sandbox.dataverse.state import Row, State
from sandbox.dataverse.values import to_json
from sandbox.dataverse.visits import Place, Visit
from sandbox.http import Json, Response

NO_CONTENT = Response(status=204, headers={"OData-Version": "4.0"})
_ONE = ("$select", "$expand")
_MANY = ("$select", "$expand", "$filter", "$orderby", "$top", "$count", "$skiptoken")


class Reads:
    """Answers GET."""

    def __init__(self, state: State) -> None:
        """Read from `state`."""
        self._state = state

    def answer(self, visit: Visit, place: Place) -> Response:
        """The answer to a GET of `place`."""
        visit.may_read(place.table)
        match place.row_id, place.rest:
            case None, ():
                return self._list(visit, place.table, self._state.rows(place.table.name))
            case None, ("$count",):
                query = visit.query(self._state, place.table, "$filter")
                count = len(query.rows(self._state.rows(place.table.name), self._state))
                return Response(status=200, headers={"Content-Type": "text/plain"}, body=str(count).encode())
            case str(row_id), ():
                return self._one(visit, self._state.must_find(Reference(place.table.name, row_id)))
            case str(row_id), (name,):
                row = self._state.must_find(Reference(place.table.name, row_id))
                navigation = self._state.schema.navigation(place.table, name)
                return self._value(visit, row, name) if navigation is None else self._follow(visit, row, navigation)
        raise errors.not_modelled(f"GET {visit.request.path}")

    def _one(self, visit: Visit, row: Row) -> Response:
        query = visit.query(self._state, row.table, *_ONE)
        condition, shaped = visit.condition("if-none-match"), query.selection.expansions
        if condition and condition != row.etag and not condition.startswith('W/"'):
            raise errors.not_modelled(f"If-None-Match: {condition} on GET")
        if condition == row.etag and not shaped and not visit.preferences.annotations.patterns:
            return Response(status=304, headers={"ETag": row.etag})
        context = visit.context(f"{row.table.set_name}{query.selection.context}/$entity")
        body = {"@odata.context": context, **visit.representation(self._state).of(row, query.selection)}
        return Response.of_json(200, body, {**errors.HEADERS, "ETag": row.etag, **visit.preferences.headers})

    def _list(self, visit: Visit, table: Table, rows: list[Row]) -> Response:
        query = visit.query(self._state, table, *_MANY)
        found = query.rows(rows, self._state)
        total, size = len(found), visit.preferences.page_size
        if size is None and query.top is not None:  # $top is ignored when a page size is asked for, too
            found = found[: query.top]
        shown = page(query, found, self._state, size or LARGEST_PAGE, visit.options.get("$skiptoken"))
        body: dict[str, Json] = {"@odata.context": visit.context(f"{table.set_name}{query.selection.context}")}
        if query.count:
            body["@odata.count"] = min(total, LARGEST_PAGE)
        for name, note in (
            (RECORD_COUNT, min(total, LARGEST_PAGE) if query.count else -1),
            (RECORD_COUNT_EXCEEDED, query.count and total > LARGEST_PAGE),
        ):
            if visit.preferences.annotations.want(name):
                body[f"@{name}"] = note
        representation = visit.representation(self._state)
        body["value"] = [representation.of(row, query.selection) for row in shown.rows]
        if shown.next_token is not None:
            body["@odata.nextLink"] = next_link(visit, shown.next_token)
        return Response.of_json(200, body, {**errors.HEADERS, **visit.preferences.headers})

    def _value(self, visit: Visit, row: Row, name: str) -> Response:
        visit.query(self._state, row.table)
        column = row.table.of_property(name)
        if column is None or column.write_only:
            raise errors.refuse(404, errors.QUERY, f"Resource not found for the segment '{name}'.")
        value = row.get(column.name)
        if value is None:
            return NO_CONTENT
        context = visit.context(f"{row.table.set_name}({row.id})/{name}")
        return Response.of_json(200, {"@odata.context": context, "value": to_json(value)}, errors.HEADERS)

    def _follow(self, visit: Visit, row: Row, navigation: Navigation) -> Response:
        visit.may_read(navigation.table)
        if navigation.many:
            rows = linked(self._state, row, navigation.column, navigation.table.name)
            return self._list(visit, navigation.table, rows)
        value = row.get(navigation.column.name)
        other = self._state.find(value) if isinstance(value, Reference) else None
        return NO_CONTENT if other is None else self._one(visit, other)


def next_link(visit: Visit, token: str) -> str:
    """The address of the next page: the same query with another position."""
    pairs = [(name, value) for name, value in visit.request.query if name != "$skiptoken"]
    query = "&".join(f"{quote(name, safe='$@')}={quote(value)}" for name, value in [*pairs, ("$skiptoken", token)])
    return f"{visit.request.base}{visit.request.path}?{query}"

"""Writing: create, update, upsert, delete, single values.

Microsoft docs, "Create a table row", "Update and delete table rows", "Upsert a table row", "Perform conditional
operations".
"""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.dataverse import errors, payload, values
from sandbox.dataverse.pipeline import Pipeline
from sandbox.dataverse.query import Selection
from sandbox.dataverse.reads import NO_CONTENT
from sandbox.dataverse.schema import Column, Kind, Reference, Table, Value
from sandbox.dataverse.state import Row, State
from sandbox.dataverse.visits import Place, Visit
from sandbox.http import Response


class Writes:
    """Answers POST, PATCH, PUT and DELETE of rows and values."""

    def __init__(self, state: State, pipeline: Pipeline) -> None:
        """Find rows in `state`, change them through `pipeline`."""
        self._state = state
        self._pipeline = pipeline

    def answer(self, visit: Visit, place: Place) -> Response:
        """The answer to a write at `place`."""
        match visit.request.method, place.row_id, place.rest:
            case "PATCH", None, () if place.key:
                return self._patch(visit, place)
            case "POST", None, () if not place.key:
                return self._create(visit, place.table)
            case "PATCH", str(), ():
                return self._patch(visit, place)
            case "DELETE", str(row_id), ():
                return self._delete(visit, Reference(place.table.name, row_id))
            case (("PUT" | "DELETE"), str(row_id), (name,)):
                row = self._state.must_find(Reference(place.table.name, row_id))
                return self._put_value(visit, row, name)
        raise errors.not_modelled(f"{visit.request.method} {visit.request.path}")

    def _create(self, visit: Visit, table: Table) -> Response:
        _refuse_conditions(visit, "if-match", "if-none-match")
        selection = visit.query(self._state, table, "$select", "$expand").selection
        row = self._pipeline.create(table, self._body(visit, table), visit.caller)
        return self._written(visit, row, selection, 201)

    def _patch(self, visit: Visit, place: Place) -> Response:
        """Write the row at `place`; if there is none, make it with the values of the key that names it."""
        table = place.table
        # Documented: $expand has no effect on the representation that a PATCH returns.
        columns = visit.query(self._state, table, "$select", "$expand").selection.columns
        body = self._body(visit, table)
        found = None if place.row_id is None else self._checked(visit, Reference(table.name, place.row_id))
        if found is None:
            row = self._pipeline.create(table, {**place.given, **body}, visit.caller, place.row_id)
        else:
            body = {name: value for name, value in body.items() if name not in place.given}
            row = self._pipeline.update(found, body, visit.caller)
        status = 201 if found is None else 200
        return self._written(visit, row, Selection(columns=columns), status, named=place.key)

    def _delete(self, visit: Visit, key: Reference) -> Response:
        _refuse_conditions(visit, "if-none-match")
        visit.query(self._state, self._state.schema.tables[key.table])
        row = self._checked(visit, key) or self._state.must_find(key)
        self._pipeline.delete(row, visit.caller)
        return NO_CONTENT

    def _put_value(self, visit: Visit, row: Row, name: str) -> Response:
        _refuse_conditions(visit, "if-match", "if-none-match")
        visit.query(self._state, row.table)
        column = row.table.of_property(name)
        if column is None:
            raise errors.refuse(404, errors.QUERY, f"Resource not found for the segment '{name}'.")
        if column.read_only or column.kind is Kind.LOOKUP:
            raise errors.not_modelled(f"writing the value '{name}'")
        self._pipeline.update(row, {column.name: self._new_value(visit, row.table, column)}, visit.caller)
        return NO_CONTENT

    def _new_value(self, visit: Visit, table: Table, column: Column) -> Value:
        if visit.request.method == "DELETE":
            return None
        body = payload.read_object(visit.request, table.set_name)
        if set(body) != {"value"}:
            raise errors.payload(table.set_name, 'A single value is written as {"value": ...}.')
        return values.parse(table, column, body["value"])

    def _body(self, visit: Visit, table: Table) -> Mapping[str, Value]:
        body = payload.read_object(visit.request, table.set_name)
        return payload.read_values(self._state.schema, table, body)

    def _checked(self, visit: Visit, key: Reference) -> Row | None:
        """The row at `key` if the call's conditions allow to touch it, `None` if they allow to make it."""
        row = self._state.find(key)
        wanted, unwanted = visit.condition("if-match"), visit.condition("if-none-match")
        if unwanted not in ("", "*"):
            raise errors.not_modelled(f"If-None-Match: {unwanted} on a write")
        if row is None and wanted:
            raise errors.not_found(key.table, key.id)
        if row is not None and unwanted == "*":
            raise errors.already_exists()
        if row is not None and wanted not in ("", "*", row.etag):
            raise errors.version_mismatch()
        return row

    def _written(self, visit: Visit, row: Row, selection: Selection, status: int, *, named: str = "") -> Response:
        address = visit.address(row.table, named or row.id)
        headers = {"OData-EntityId": address, "Location": address, **visit.preferences.headers}
        if not visit.preferences.representation:
            return Response(status=204, headers={"OData-Version": "4.0", **headers})
        context = visit.context(f"{row.table.set_name}{selection.context}/$entity")
        body = {"@odata.context": context, **visit.representation(self._state).of(row, selection)}
        return Response.of_json(status, body, {**errors.HEADERS, "ETag": row.etag, **headers})


def _refuse_conditions(visit: Visit, *names: str) -> None:
    for name in names:
        if visit.condition(name):
            raise errors.not_modelled(f"{name} on {visit.request.method}")

"""CreateMultiple, UpdateMultiple and UpsertMultiple: many rows of one table in one transaction.

Microsoft docs, "Use bulk operation messages": any failing row rolls all back, there are no entity tags, and the steps
registered for single rows fire for each row. DeleteMultiple does not exist on standard tables. UpsertMultiple sends no
message of its own; that it refuses to meet a row twice with these words is unverified.
"""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.dataverse import errors, payload
from sandbox.dataverse.keys import Found, Keys
from sandbox.dataverse.pipeline import Pipeline
from sandbox.dataverse.reads import NO_CONTENT
from sandbox.dataverse.schema import Reference, Table, Value
from sandbox.dataverse.state import State
from sandbox.dataverse.visits import Place, Visit, find_place
from sandbox.http import Json, Request, Response

NAMESPACE = "Microsoft.Dynamics.CRM."


class Bulk:
    """Answers the bulk actions, which are bound to an entity set."""

    def __init__(self, state: State, pipeline: Pipeline, keys: Keys) -> None:
        """Find rows in `state`, or by `keys`, change them through `pipeline`."""
        self._state = state
        self._keys = keys
        self._pipeline = pipeline

    def knows(self, place: Place) -> bool:
        """Whether `place` is an action on a set."""
        return place.row_id is None and not place.key and len(place.rest) == 1 and place.rest[0].startswith(NAMESPACE)

    def answer(self, visit: Visit, place: Place) -> Response:
        """The answer to the action at `place`."""
        visit.query(self._state, place.table)
        match place.rest[0].removeprefix(NAMESPACE):
            case "CreateMultiple":
                return self._create(visit, place.table)
            case "UpdateMultiple":
                return self._update(visit, place.table)
            case "UpsertMultiple":
                return self._upsert(visit, place.table)
            case "DeleteMultiple":
                raise errors.refuse(501, "", "DeleteMultiple has not yet been implemented.")
            case name:
                raise errors.not_modelled(f"the action '{name}'")

    def _create(self, visit: Visit, table: Table) -> Response:
        with self._pipeline.group() as group:
            rows = [
                self._pipeline.create(table, values, visit.caller, group=group)
                for values in self._targets(visit, table)
            ]
        context = visit.context(f"{NAMESPACE}CreateMultipleResponse")
        return Response.of_json(200, {"@odata.context": context, "Ids": [row.id for row in rows]}, errors.HEADERS)

    def _update(self, visit: Visit, table: Table) -> Response:
        with self._pipeline.group() as group:
            for values in self._targets(visit, table):
                row = self._state.must_find(_key(table, values, "UpdateMultiple"))
                self._pipeline.update(row, values, visit.caller, group=group)
        return NO_CONTENT

    def _upsert(self, visit: Visit, table: Table) -> Response:
        met: set[Reference] = set()
        with self._pipeline.group() as group:
            for values, given in self._named_targets(visit, table):
                named = self._find(table, given) if given else _key(table, values, "UpsertMultiple")
                if named in met:
                    raise errors.invalid_argument("An item with the same key has already been added.")
                row = self._state.find(named) if named else None
                if row is None:
                    row = self._pipeline.create(table, {**given, **values}, visit.caller, group=group)
                else:
                    changes = {name: value for name, value in values.items() if name not in given}
                    self._pipeline.update(row, changes, visit.caller, group=group)
                met.add(row.reference)
        return NO_CONTENT

    def _find(self, table: Table, given: Found) -> Reference | None:
        row = self._keys.find(table, given)
        return None if row is None else row.reference

    def _named_targets(self, visit: Visit, table: Table) -> list[tuple[dict[str, Value], Found]]:
        """The targets, each with the values of the alternate key that its `@odata.id` names it by."""
        found: list[tuple[dict[str, Value], Found]] = []
        for target in self._read(visit, table):
            given: Found = {}
            if "@odata.id" in target:
                place = find_place(self._state.schema, (str(target.pop("@odata.id")).rpartition("/")[2],))
                if place.table is not table or target.get(table.key, place.row_id) != place.row_id:
                    raise errors.payload(table.set_name, "The @odata.id of a target names another row than the target.")
                if place.key:
                    given = self._keys.read(table, place.key)
                elif place.row_id is not None:
                    target[table.key] = place.row_id
            found.append((payload.read_values(self._state.schema, table, target), given))
        return found

    def _targets(self, visit: Visit, table: Table) -> list[dict[str, Value]]:
        return [payload.read_values(self._state.schema, table, target) for target in self._read(visit, table)]

    def _read(self, visit: Visit, table: Table) -> list[dict[str, Json]]:
        body = payload.read_object(visit.request, table.set_name)
        targets = body.get("Targets")
        if set(body) != {"Targets"} or not isinstance(targets, list) or not targets:
            raise errors.payload(table.set_name, "The body of a bulk action is a non-empty list 'Targets'.")
        for target in targets:
            if not isinstance(target, dict) or "@odata.type" not in target:
                raise errors.payload(table.set_name, "Every target needs its @odata.type.")
        return targets


def rows_in(request: Request) -> int:
    """How many rows a request writes, for the time that it takes: the targets of a bulk action, one otherwise."""
    if f"/{NAMESPACE}" not in request.path:
        return 1
    try:
        return max(len(request.json()["Targets"]), 1)
    except (ValueError, TypeError, KeyError):
        return 1


def _key(table: Table, values: Mapping[str, Value], message: str) -> Reference:
    row_id = values.get(table.key)
    if not isinstance(row_id, str):
        raise errors.invalid_argument(f"Every target of {message} needs its {table.key}.")
    return Reference(table.name, row_id)

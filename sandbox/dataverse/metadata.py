"""Table definitions, as far as clients ask for them before they read or write: names, keys, and the options of choices.

Microsoft docs, "Query table definitions using the Web API"; and "Use change tracking to synchronize data with external
systems", whose switch is all that can be written: a definition is replaced by PUT, never PATCHed, and change tracking
cannot be turned off again. That a body with nothing but the changed property will do is unverified.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sandbox.dataverse import errors, payload
from sandbox.dataverse.changes import Tracking
from sandbox.dataverse.keys import Key, Keys
from sandbox.dataverse.privileges import CUSTOMIZE
from sandbox.dataverse.reads import NO_CONTENT
from sandbox.dataverse.schema import Column, Kind, Schema, Table
from sandbox.dataverse.visits import Visit
from sandbox.directory import known_id
from sandbox.http import Json, Response

SET = "EntityDefinitions"
KEYS = "Keys"
ENGLISH = 1033
PICKLISTS = "Microsoft.Dynamics.CRM.PicklistAttributeMetadata"
_ONE = re.compile(SET + r"\((?:LogicalName='(\w+)'|(?:MetadataId=)?([0-9A-Fa-f-]{36}))\)")
_COMPARISON = re.compile(r"\s*(\w+)\s+eq\s+(?:'(\w*)'|(true|false))\s*")
_WRITABLE = frozenset({"@odata.type", "MetadataId", "LogicalName", "ChangeTrackingEnabled", "HasChanged"})
_KEY = re.compile(r"Keys\(([0-9A-Fa-f-]{36})\)")
_OPTION_SET = re.compile(r"OptionSet(?:\(\$select=Options\))?")


class Metadata:
    """Answers GET of definitions, the PUT that turns change tracking on, and what is done about alternate keys."""

    def __init__(self, schema: Schema, tracking: Tracking, keys: Keys) -> None:
        """Describe `schema`; `tracking` knows which of its tables are tracked, `keys` by what rows may be called."""
        self._keys = keys
        self._tables = schema.tables
        self._tracking = tracking

    def knows(self, segments: tuple[str, ...]) -> bool:
        """Whether the path leads to definitions."""
        return segments[0] == SET or segments[0].startswith(f"{SET}(")

    def answer(self, visit: Visit, segments: tuple[str, ...]) -> Response:
        """The answer to a call of the path."""
        first, *rest = segments
        if visit.request.method == "PUT" and not rest:
            return self._put(visit, self._table(first))
        if visit.request.method == "PATCH" and not rest:
            raise errors.refuse(405, "", "Definitions are replaced by PUT; PATCH is not supported.")
        if rest and (rest[0] == KEYS or _KEY.fullmatch(rest[0])):
            return self._keys_of(visit, self._table(first), rest)
        if visit.request.method != "GET":
            raise errors.not_modelled(f"{visit.request.method} of definitions")
        if first == SET and not rest:
            return self._list(visit)
        table = self._table(first)
        if not rest:
            _allow(visit, "$select")
            return _json(visit, f"{SET}/$entity", _selected(visit, self._definition(table)))
        if rest == ["Attributes", PICKLISTS]:
            return self._picklists(visit, table)
        raise errors.not_modelled(f"the metadata at '{'/'.join(segments)}'")

    def _list(self, visit: Visit) -> Response:
        _allow(visit, "$select", "$filter")
        definitions = [self._definition(table) for table in self._tables.values()]
        if "$filter" in visit.options:
            match = _COMPARISON.fullmatch(visit.options["$filter"])
            if match is None or match[1] not in definitions[0]:
                raise errors.not_modelled(f"the filter '{visit.options['$filter']}' on definitions")
            wanted = match[2] if match[3] is None else match[3] == "true"
            definitions = [one for one in definitions if one[match[1]] == wanted]
        return _json(visit, SET, {"value": [_selected(visit, one) for one in definitions]})

    def _put(self, visit: Visit, table: Table) -> Response:
        visit.caller.need(CUSTOMIZE, "entity")
        _allow(visit)
        body = payload.read_object(visit.request, SET)
        if unknown := sorted(set(body) - _WRITABLE):
            raise errors.not_modelled(f"writing the property '{unknown[0]}' of a definition")
        if body.get("MetadataId", _metadata_id(table)) != _metadata_id(table):
            raise errors.invalid_argument("The MetadataId of the body is not the one of the address.")
        if body.get("ChangeTrackingEnabled") is True:
            self._tracking.turn_on(table)
        elif "ChangeTrackingEnabled" in body and self._tracking.is_on(table):
            raise errors.invalid_argument("Change tracking cannot be turned off.")
        return NO_CONTENT

    def _keys_of(self, visit: Visit, table: Table, rest: list[str]) -> Response:
        """List, define and delete alternate keys; a definition has more properties than are shown here."""
        one = _KEY.fullmatch(rest[0])
        match visit.request.method, one, rest[1:]:
            case "GET", None, []:
                _allow(visit, "$select")
                keys = [self._key(table, key) for key in self._keys.of(table.name)]
                shown = [_selected(visit, key) if "$select" in visit.options else key for key in keys]
                return _json(visit, f"{SET}('{table.name}')/{KEYS}", {"value": shown})
            case "POST", None, []:
                visit.caller.need(CUSTOMIZE, "entity")
                _allow(visit)
                body = payload.read_object(visit.request, SET)
                if unknown := sorted(set(body) - {"@odata.type", "SchemaName", "KeyAttributes", "DisplayName"}):
                    raise errors.not_modelled(f"writing the property '{unknown[0]}' of a key")
                key = self._keys.define(table, body.get("SchemaName"), body.get("KeyAttributes"))
                address = f"{visit.root}/{SET}({_metadata_id(table)})/{KEYS}({key.id})"
                return Response(status=204, headers={"OData-Version": "4.0", "OData-EntityId": address})
            case "DELETE", re.Match(), []:
                visit.caller.need(CUSTOMIZE, "entity")
                _allow(visit)
                self._keys.remove(table, one[1].lower())
                return NO_CONTENT
        raise errors.not_modelled(f"{visit.request.method} of the keys at '{'/'.join(rest)}'")

    def _key(self, table: Table, key: Key) -> dict[str, Json]:
        return {
            "MetadataId": key.id,
            "SchemaName": key.schema_name,
            "LogicalName": key.schema_name.lower(),
            "EntityLogicalName": table.name,
            "KeyAttributes": list(key.columns),
            "EntityKeyIndexStatus": self._keys.status(key),
        }

    def _table(self, segment: str) -> Table:
        match = _ONE.fullmatch(segment)
        if match is None:
            raise errors.not_modelled(f"the resource '{segment}'")
        for table in self._tables.values():
            if match[1] == table.name or (match[2] or "").lower() == _metadata_id(table):
                return table
        raise errors.refuse(
            404, errors.NOT_FOUND, f"Could not find an entity with the specified name or id in '{segment}'."
        )

    def _definition(self, table: Table) -> dict[str, Json]:
        return {
            "MetadataId": _metadata_id(table),
            "LogicalName": table.name,
            "SchemaName": table.schema_name,
            "EntitySetName": table.set_name,
            "LogicalCollectionName": table.set_name,
            "PrimaryIdAttribute": table.key,
            "PrimaryNameAttribute": table.name_column,
            "IsPrivate": False,
            "IsOptimisticConcurrencyEnabled": True,
            "ChangeTrackingEnabled": self._tracking.is_on(table),
            "CanChangeTrackingBeEnabled": {
                "Value": True,
                "CanBeChanged": True,
                "ManagedPropertyLogicalName": "canchangetrackingbeenabled",
            },
        }

    def _picklists(self, visit: Visit, table: Table) -> Response:
        _allow(visit, "$select", "$expand")
        expand = visit.options.get("$expand", "")
        if expand and _OPTION_SET.fullmatch(expand) is None:
            raise errors.not_modelled(f"'{expand}' in $expand of a definition")
        picklists: list[Json] = []
        for column in table.columns.values():
            if column.kind is Kind.CHOICE and column.name not in ("statecode", "statuscode"):
                names: dict[str, Json] = {"LogicalName": column.name, "SchemaName": column.name}
                shown = _selected(visit, names) | {"MetadataId": known_id("column", table.name, column.name)}
                picklists.append(shown | ({"OptionSet": {"Options": _options(column)}} if expand else {}))
        return _json(visit, f"{SET}('{table.name}')/Attributes/{PICKLISTS}", {"value": picklists})


def _options(column: Column) -> list[Json]:
    return [
        {"Value": value, "Label": {"LocalizedLabels": [label], "UserLocalizedLabel": label}}
        for value, text in column.options.items()
        for label in ({"Label": text, "LanguageCode": ENGLISH},)
    ]


def _selected(visit: Visit, properties: Mapping[str, Json]) -> dict[str, Json]:
    """The selected properties; the `MetadataId` comes along."""
    wanted = visit.options.get("$select")
    if wanted is None:
        raise errors.not_modelled("definitions without $select: they have far more properties than are here")
    names = [name.strip() for name in wanted.split(",")]
    for name in names:
        if name not in properties:
            raise errors.not_modelled(f"the property '{name}' of a definition")
    return {name: value for name, value in properties.items() if name in names or name == "MetadataId"}


def _allow(visit: Visit, *options: str) -> None:
    for name in visit.options:
        if name not in options:
            raise errors.not_modelled(f"the query option '{name}' on definitions")


def _metadata_id(table: Table) -> str:
    return known_id("table", table.name)


def _json(visit: Visit, context: str, body: dict[str, Json]) -> Response:
    return Response.of_json(200, {"@odata.context": visit.context(context), **body}, errors.HEADERS)

"""The body of a webhook post: a `RemoteExecutionContext` as JSON.

Shape: Microsoft docs, "Use Webhooks to create external handlers for server events", and the newer posts printed in the
Dynamics 365 Contact Center docs. That a Delete carries its target as an EntityReference follows from the SDK's
contract; where the `tag` shared variable sits is unverified, so both levels have it. SetState and Assign have the
parameters of the SDK's SetStateRequest and AssignRequest, the messages for many rows those of CreateMultipleRequest and
UpdateMultipleRequest; how a post shows an EntityCollection beyond its Entities, and the images of many rows, is
unverified: there are none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sandbox.dataverse.operations import MULTIPLE, NOBODY, Operation
from sandbox.dataverse.registration import BOTH_IMAGES, POST_IMAGE, PRE_IMAGE
from sandbox.dataverse.schema import Kind, Reference, Table, Value
from sandbox.dataverse.state import Row, State
from sandbox.http import Json

CONTRACTS = "http://schemas.microsoft.com/xrm/2011/Contracts"
MAIN_OPERATION, POST_OPERATION = 30, 40
STATE_PARAMETERS = {"State": "statecode", "Status": "statuscode"}
DROPPED_WHEN_TOO_LARGE = ("ParentContext", "InputParameters", "PreEntityImages", "PostEntityImages")


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """One step fired by one operation, in the system job `job_id`."""

    operation: Operation
    step: Row
    images: tuple[Row, ...]
    job_id: str
    organization_id: str
    organization_name: str


def execution_context(occasion: Occasion, state: State) -> dict[str, Json]:
    """The whole body, before any trimming."""
    operation = occasion.operation
    post_images = _images(occasion, state, POST_IMAGE, operation.after)
    if operation.after is not None:
        post_images.insert(0, {"key": "AsynchronousStepPrimaryName", "value": _primary_name(operation.after)})
    return {
        **_common(occasion),
        "InputParameters": _pairs(_input(operation, _target)),
        "OutputParameters": _pairs(_output(operation)),
        "ParentContext": _parent(occasion),
        "PostEntityImages": post_images,
        "PreEntityImages": _images(occasion, state, PRE_IMAGE, operation.before),
        "Stage": POST_OPERATION,
    }


def trimmed(body: Mapping[str, Json]) -> dict[str, Json]:
    """The body of a post that would be too large (Microsoft docs, "Use Webhooks": payload size)."""
    return {name: value for name, value in body.items() if name not in DROPPED_WHEN_TOO_LARGE}


def _parent(occasion: Occasion) -> dict[str, Json]:
    """The main operation's context, to which the post-operation stage belongs."""
    parameters = _input(occasion.operation, _submitted)
    if occasion.operation.message in {*MULTIPLE, *MULTIPLE.values()}:
        parameters["SuppressDuplicateDetection"] = False
    return {
        **_common(occasion),
        "InputParameters": _pairs(parameters),
        "OutputParameters": [],
        "ParentContext": None,
        "PostEntityImages": [],
        "PreEntityImages": [],
        "Stage": MAIN_OPERATION,
    }


def _common(occasion: Occasion) -> dict[str, Json]:
    operation, caller = occasion.operation, occasion.operation.caller
    unit = caller.user.get("businessunitid")
    variables: dict[str, Json] = {"IsAutoTransact": True, "AcceptLang": ""}
    if caller.tag is not None:
        variables["tag"] = caller.tag
    return {
        "BusinessUnitId": unit.id if isinstance(unit, Reference) else NOBODY,
        "CorrelationId": caller.correlation_id,
        "Depth": caller.depth,
        "InitiatingUserAgent": caller.agent,
        "InitiatingUserAzureActiveDirectoryObjectId": _object_id(caller.initiating),
        "InitiatingUserId": caller.initiating.id,
        "IsExecutingOffline": False,
        "IsInTransaction": False,
        "IsOfflinePlayback": False,
        "IsolationMode": 1,
        "MessageName": operation.message,
        "Mode": 1,
        "OperationCreatedOn": f"/Date({_milliseconds(operation.at)}+0000)/",
        "OperationId": occasion.job_id,
        "OrganizationId": occasion.organization_id,
        "OrganizationName": occasion.organization_name,
        "OwningExtension": {
            "Id": occasion.step.id,
            "KeyAttributes": [],
            "LogicalName": occasion.step.table.name,
            "Name": None,
            "RowVersion": None,
        },
        "PrimaryEntityId": operation.id,
        "PrimaryEntityName": operation.table.name,
        "RequestId": caller.request_id,
        "SecondaryEntityName": "none",
        "SharedVariables": _pairs(variables),
        "UserAzureActiveDirectoryObjectId": _object_id(caller.user),
        "UserId": caller.user.id,
    }


def _input(operation: Operation, shown: Callable[[Operation], Json]) -> dict[str, Json]:
    """The request's parameters; `shown` writes one target."""
    after = operation.after
    match operation.message:
        case "CreateMultiple" | "UpdateMultiple":
            return {"Targets": _collection(operation.table, [shown(one) for one in operation.targets])}
        case "SetState" if after is not None:
            return {
                "EntityMoniker": _reference(operation.table, operation.id),
                **{key: _value(operation.table, name, after.get(name), None) for key, name in STATE_PARAMETERS.items()},
            }
        case "Assign" if after is not None:
            owner = _value(operation.table, "ownerid", after.get("ownerid"), None)
            return {"Target": _reference(operation.table, operation.id), "Assignee": owner}
    return {"Target": shown(operation)}


def _output(operation: Operation) -> dict[str, Json]:
    match operation.message:
        case "Create":
            return {"id": operation.id}
        case "CreateMultiple":
            return {"Ids": [one.id for one in operation.targets]}
    return {}


def _target(operation: Operation) -> Json:
    """What the post-operation stage sees: the submitted columns and those that the platform set."""
    after = operation.after
    if after is None:
        return _reference(operation.table, operation.id)
    values = {name: after.get(name) for name in operation.submitted}
    values[operation.table.key] = operation.id
    if operation.message == "Create":
        values |= {name: after.get(name) for name in after.values if after.get(name) is not None}
    values |= {name: after.get(name) for name in ("modifiedon", "modifiedby", "modifiedonbehalfby")}
    return {"__type": f"Entity:{CONTRACTS}", **_entity(operation.table, operation.id, values, after.version)}


def _submitted(operation: Operation) -> Json:
    """What the main operation got: the submitted columns only."""
    if operation.after is None:
        return _reference(operation.table, operation.id)
    values = {**operation.submitted, operation.table.key: operation.id}
    return {"__type": f"Entity:{CONTRACTS}", **_entity(operation.table, operation.id, values, None)}


def _images(occasion: Occasion, state: State, kind: int, row: Row | None) -> list[Json]:
    if row is None:
        return []
    return [
        {"key": image.get("entityalias"), "value": _image(image, row, state)}
        for image in occasion.images
        if image.get("imagetype") in (kind, BOTH_IMAGES)
    ]


def _image(image: Row, row: Row, state: State) -> Json:
    """The row with the image's columns; columns without a value are left out, as retrieved entities do."""
    listed = str(image.get("attributes") or "")
    names: Iterable[str] = [name.strip() for name in listed.split(",")] if listed else row.table.columns
    values = {name: value for name in names if (value := row.get(name)) is not None}
    values.setdefault(row.table.key, row.id)
    return _entity(row.table, row.id, values, row.version, state)


def _collection(table: Table, entities: Iterable[dict[str, Json]]) -> Json:
    """An EntityCollection, whose entities do not name their type."""
    return {
        "__type": f"EntityCollection:{CONTRACTS}",
        "Entities": [{name: value for name, value in one.items() if name != "__type"} for one in entities],
        "EntityName": table.name,
        "MinActiveRowVersion": None,
        "MoreRecords": False,
        "PagingCookie": None,
        "TotalRecordCount": -1,
        "TotalRecordCountLimitExceeded": False,
    }


def _primary_name(row: Row) -> Json:
    column = row.table.name_column
    return _entity(row.table, row.id, {column: row.get(column), row.table.key: row.id}, None)


def _entity(
    table: Table, row_id: str, values: Mapping[str, Value], version: int | None, named: State | None = None
) -> dict[str, Json]:
    """An Entity; references carry the names of their rows when there is a state to look them up in."""
    return {
        "Attributes": [{"key": name, "value": _value(table, name, value, named)} for name, value in values.items()],
        "EntityState": None,
        "FormattedValues": [],
        "Id": row_id,
        "KeyAttributes": [],
        "LogicalName": table.name,
        "RelatedEntities": [],
        "RowVersion": None if version is None else str(version),
    }


def _value(table: Table, name: str, value: Value, named: State | None) -> Json:
    match value:
        case None:
            return None
        case Reference():
            row = named.find(value) if named else None
            return _reference_to(value, row.name if row else None)
        case datetime():
            return f"/Date({_milliseconds(value)})/"
        case int() if table.columns[name].kind is Kind.CHOICE:
            return {"__type": f"OptionSetValue:{CONTRACTS}", "Value": value}
        case _:
            return value


def _reference(table: Table, row_id: str) -> Json:
    return _reference_to(Reference(table.name, row_id), None)


def _reference_to(reference: Reference, name: str | None) -> Json:
    return {
        "__type": f"EntityReference:{CONTRACTS}",
        "Id": reference.id,
        "KeyAttributes": [],
        "LogicalName": reference.table,
        "Name": name,
        "RowVersion": None,
    }


def _pairs(values: Mapping[str, Json]) -> list[Json]:
    return [{"key": key, "value": value} for key, value in values.items()]


def _object_id(user: Row) -> str:
    return str(user.get("azureactivedirectoryobjectid") or NOBODY)


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)

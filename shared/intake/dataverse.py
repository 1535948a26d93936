"""What a Dataverse webhook post says (Microsoft docs, "Use WebHooks to create external handlers for server events").

A post is a hint about one booking, or about several when a bulk message brought them. Of its columns only the resource
is used, and only to find the way; what a booking is like is read. Which parameters a message has: Microsoft docs,
`CreateRequest`, `UpdateRequest`, `SetStateRequest`, `AssignRequest`, `UpsertRequest`, `RestoreRequest` and "Use bulk
operation messages".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from shared.errors import InvalidPostError
from shared.sync.model import BookingId, Cause, ResourceId
from shared.sync.route import Hint

MOST_BYTES = 1024 * 1024
"""Dataverse itself trims a post to 256 KB."""
MOST_ROWS = 1000
"""More than any bulk message that fits into 256 KB has."""
TABLE = "bookableresourcebooking"
KEY = "bookableresourcebookingid"

_ONE: Mapping[str, Cause] = {
    "Create": Cause.CREATED,
    "Update": Cause.UPDATED,
    "Delete": Cause.DELETED,
    "SetState": Cause.UPDATED,
    "SetStateDynamicEntity": Cause.UPDATED,
    "Assign": Cause.UPDATED,
    "Upsert": Cause.UPDATED,
    "Restore": Cause.UPDATED,
}
_MANY: Mapping[str, Cause] = {
    "CreateMultiple": Cause.CREATED,
    "UpdateMultiple": Cause.UPDATED,
    "UpsertMultiple": Cause.UPDATED,
    "DeleteMultiple": Cause.DELETED,
}
_TARGETS = ("Target", "EntityMoniker")
_GUID = re.compile(r"\{?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\}?")
_NOBODY = "00000000-0000-0000-0000-000000000000"


def read_post(body: bytes, content_type: str, organization: str) -> tuple[Hint, ...]:
    """The hints of a post, at least one. Raises `InvalidPostError` saying what is wrong, without quoting the post."""
    if len(body) > MOST_BYTES:
        raise InvalidPostError(413, f"The post has more than {MOST_BYTES} bytes.")
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise InvalidPostError(415, "The post must have the content type application/json.")
    try:
        context = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidPostError(400, "The post is not JSON.") from error
    if not isinstance(context, dict):
        raise InvalidPostError(400, "The post is not a JSON object.")
    found = _guid(context.get("OrganizationId"))
    if not found:
        raise InvalidPostError(400, "OrganizationId is missing or not a GUID.")
    if found != organization:
        raise InvalidPostError(403, "The post comes from another organisation than DATAVERSE_ORGANIZATION_ID names.")
    if context.get("PrimaryEntityName") != TABLE:
        raise InvalidPostError(422, f"Only posts about the table {TABLE} are accepted: correct the step's table.")
    try:
        return _read(context)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidPostError(400, "The post is not a RemoteExecutionContext.") from error


def _read(context: Mapping[str, Any]) -> tuple[Hint, ...]:
    message = context.get("MessageName")
    if not isinstance(message, str) or message not in {**_ONE, **_MANY}:
        known = ", ".join((*_ONE, *_MANY))
        raise InvalidPostError(422, f"Only the messages {known} are accepted: correct the step's message.")
    if message in _ONE:
        return (_one(context, _ONE[message]),)
    return _many(context, _MANY[message])


def _one(context: Mapping[str, Any], cause: Cause) -> Hint:
    """A message about one row. A post that was too large has no parameters and no images any more, only the id."""
    parameters = _by_key(context.get("InputParameters"))
    targets = [parameters[name] for name in _TARGETS if isinstance(parameters.get(name), dict)]
    after = [row for row in _by_key(context.get("PostEntityImages")).values() if isinstance(row, dict)]
    before = [row for row in _by_key(context.get("PreEntityImages")).values() if isinstance(row, dict)]
    booking = next(filter(None, (_id(context.get("PrimaryEntityId")), *map(_row_id, targets))), "")
    if not booking:
        raise InvalidPostError(400, "PrimaryEntityId is missing, and the target has no id.")
    return Hint(
        booking=BookingId(booking),
        cause=cause,
        version=_version([*after, *targets] if cause is Cause.CREATED else after),
        resource=_resource([*after, *targets, *before]),
        correlation=_guid(context.get("CorrelationId")),
    )


def _many(context: Mapping[str, Any], cause: Cause) -> tuple[Hint, ...]:
    """A bulk message. `PrimaryEntityId` says nothing; rows that were just created may have their ids in `Ids`."""
    collection = _by_key(context.get("InputParameters")).get("Targets")
    rows: list[Any] = (collection.get("Entities") if isinstance(collection, dict) else collection) or []
    made = _by_key(context.get("OutputParameters")).get("Ids") or [] if cause is Cause.CREATED else []
    if max(len(rows), len(made)) > MOST_ROWS:
        raise InvalidPostError(413, f"The post speaks of more than {MOST_ROWS} rows.")
    ids = [_row_id(row) for row in rows] or [""] * len(made)
    if len(made) == len(ids):
        ids = [known or _id(other) for known, other in zip(ids, made, strict=True)]
    if not ids or "" in ids:
        raise InvalidPostError(422, "The post names no rows, or not all of them; change tracking finds what it missed.")
    correlation = _guid(context.get("CorrelationId"))
    return tuple(
        Hint(
            booking=BookingId(booking),
            cause=cause,
            version=_version(rows[place : place + 1]) if cause is Cause.CREATED else None,
            resource=_resource(rows[place : place + 1]),
            correlation=correlation,
        )
        for place, booking in enumerate(ids)
    )


def _guid(value: Any) -> str:
    """A GUID in lower case and without braces; empty for anything else."""
    match = _GUID.fullmatch(value.lower()) if isinstance(value, str) else None
    return match[1] if match is not None else ""


def _id(value: Any) -> str:
    """A row's id; empty when there is none. Raises `InvalidPostError` for what is neither."""
    found = _guid(value)
    if value is not None and not found:
        raise InvalidPostError(400, "The id of a row is not a GUID.")
    return "" if found == _NOBODY else found


def _row_id(row: Mapping[str, Any]) -> str:
    """The id of an Entity or EntityReference; a new row has it among its columns at the latest."""
    return _id(row.get("Id")) or _id(_by_key(row.get("Attributes")).get(KEY))


def _by_key(pairs: Any) -> dict[str, Any]:
    """A key/value array as a dict; absent and null count as empty."""
    return {pair["key"]: pair["value"] for pair in pairs or ()}


def _version(rows: Sequence[Mapping[str, Any]]) -> int | None:
    """The highest row version of rows as they are after the change.

    Only images and created rows are: the target of an update may carry the version that its author expected to find
    (Microsoft docs, "Optimistic concurrency"), and taking that for the new one would lose the change.
    """
    versions = [row["RowVersion"] for row in rows if row.get("RowVersion")]
    if not all(isinstance(version, str) and version.isascii() and version.isdecimal() for version in versions):
        raise ValueError("a row version is not a number")
    return max(map(int, versions), default=None)


def _resource(rows: Sequence[Mapping[str, Any]]) -> ResourceId | None:
    """The booking's resource in the first of `rows` that has one."""
    for row in rows:
        reference = _by_key(row.get("Attributes")).get("resource")
        if isinstance(reference, dict) and (found := _guid(reference.get("Id"))):
            return ResourceId(found)
    return None

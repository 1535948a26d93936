"""What a Dataverse webhook post says (Microsoft docs, "Use WebHooks to create external handlers for server events").

A post is a hint. Of its columns only the resource is used, and only to find the way; what a booking is like is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.errors import InvalidPostError
from shared.sync.model import BookingId, Cause, ResourceId

MOST_BYTES = 1024 * 1024
"""Dataverse itself trims a post to 256 KB."""
TABLE = "bookableresourcebooking"
CAUSES: Mapping[str, Cause] = {"Create": Cause.CREATED, "Update": Cause.UPDATED, "Delete": Cause.DELETED}
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """What is used of a post. `version` is the row version after the change, `resource` the one after or before it."""

    booking: BookingId
    cause: Cause
    version: int | None = None
    resource: ResourceId | None = None
    correlation: str = ""


def read_post(body: bytes, content_type: str, organization: str) -> Post:
    """Read a post. Raises `InvalidPostError` saying what is wrong, without quoting the post."""
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
    if _guid(context, "OrganizationId") != organization:
        raise InvalidPostError(403, "The post comes from another organisation than DATAVERSE_ORGANIZATION_ID names.")
    if context.get("PrimaryEntityName") != TABLE:
        raise InvalidPostError(422, f"Only posts about the table {TABLE} are accepted: correct the step's table.")
    cause = CAUSES.get(str(context.get("MessageName")))
    if cause is None:
        raise InvalidPostError(422, f"Only the messages {', '.join(CAUSES)} are accepted: correct the step's message.")
    try:
        return Post(
            booking=BookingId(_guid(context, "PrimaryEntityId")),
            cause=cause,
            version=_version(context),
            resource=_resource(context),
            correlation=_correlation(context),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidPostError(400, "The post is not a RemoteExecutionContext.") from error


def _guid(context: Mapping[str, Any], name: str) -> str:
    value = str(context.get(name) or "").strip("{}").lower()
    if not _GUID.fullmatch(value):
        raise InvalidPostError(400, f"{name} is missing or not a GUID.")
    return value


def _correlation(context: Mapping[str, Any]) -> str:
    """For the journal and the log only, so anything but a GUID is left out."""
    value = str(context.get("CorrelationId") or "").lower()
    return value if _GUID.fullmatch(value) else ""


def _by_key(pairs: Any) -> dict[str, Any]:
    """A key/value array as a dict; absent and null count as empty."""
    return {pair["key"]: pair["value"] for pair in pairs or ()}


def _entities(context: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rows in the post, the most recent state first: post-images, target, pre-images."""
    found = [
        *_by_key(context.get("PostEntityImages")).values(),
        _by_key(context.get("InputParameters")).get("Target"),
        *_by_key(context.get("PreEntityImages")).values(),
    ]
    return [entity for entity in found if isinstance(entity, dict)]


def _version(context: Mapping[str, Any]) -> int | None:
    """The row version after a create or an update; a pre-image's version says nothing about it."""
    after = [
        *_by_key(context.get("PostEntityImages")).values(),
        _by_key(context.get("InputParameters")).get("Target"),
    ]
    versions = [int(entity["RowVersion"]) for entity in after if isinstance(entity, dict) and entity.get("RowVersion")]
    return max(versions, default=None)


def _resource(context: Mapping[str, Any]) -> ResourceId | None:
    for entity in _entities(context):
        reference = _by_key(entity.get("Attributes")).get("resource")
        if isinstance(reference, dict) and _GUID.fullmatch(str(reference.get("Id", "")).lower()):
            return ResourceId(reference["Id"].lower())
    return None

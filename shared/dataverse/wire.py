"""Bookings in the Web API's JSON (Microsoft docs, "bookableresourcebooking table reference" and its neighbours)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from shared.errors import RefusedError
from shared.sync.model import (
    Booking,
    BookingChange,
    BookingId,
    BookingRow,
    MailboxId,
    Resource,
    ResourceId,
    Status,
    StatusKind,
)

ENTITY_SET = "bookableresourcebookings"
COLUMNS = (
    "bookableresourcebookingid",
    "name",
    "starttime",
    "endtime",
    "statecode",
    "versionnumber",
    "_resource_value",
    "_bookingstatus_value",
    "_msdyn_workorder_value",
)
EXPANDED: Mapping[str, tuple[tuple[str, ...], str]] = {
    "Resource": (
        ("bookableresourceid", "name", "resourcetype"),
        "UserId($select=azureactivedirectoryobjectid,isdisabled)",
    ),
    "BookingStatus": (("bookingstatusid", "name", "status", "msdyn_fieldservicestatus"), ""),
    "msdyn_workorder": (("msdyn_name",), "msdyn_serviceaccount($select=name)"),
}
"""What is read together with a booking, in one request: columns and nested navigation of each lookup."""

STATUS_KINDS: Mapping[int, StatusKind] = {
    1: StatusKind.PROPOSED,
    2: StatusKind.COMMITTED,
    3: StatusKind.CANCELED,
}
"""`bookingstatus.status`."""
FIELD_SERVICE_STATUSES: Mapping[int, str] = {
    690970000: "scheduled",
    690970001: "traveling",
    690970002: "on_break",
    690970003: "in_progress",
    690970004: "completed",
    690970005: "canceled",
}
"""`bookingstatus.msdyn_fieldservicestatus`."""
RESOURCE_TYPES: Mapping[int, str] = {
    1: "generic",
    2: "contact",
    3: "user",
    4: "equipment",
    5: "account",
    6: "crew",
    7: "facility",
    8: "pool",
}
"""`bookableresource.resourcetype`."""


def query_of(extra: frozenset[str] = frozenset()) -> dict[str, str]:
    """`$select` and `$expand` of a booking; `extra` are the columns that the administrator's filter asks for.

    Raises `ValueError` naming a column behind a navigation property that is not read.
    """
    columns = list(COLUMNS) + sorted(column for column in extra if "/" not in column and column not in COLUMNS)
    expand: list[str] = []
    for navigation, (own, nested) in EXPANDED.items():
        asked = sorted(column.split("/", 1)[1] for column in extra if column.startswith(f"{navigation}/"))
        select = ",".join(dict.fromkeys((*own, *asked)))
        expand.append(f"{navigation}($select={select}{';$expand=' + nested if nested else ''})")
    unknown = sorted(column for column in extra if "/" in column and column.split("/", 1)[0] not in EXPANDED)
    if unknown:
        raise ValueError(f"columns of {', '.join(EXPANDED)} can be used, not {', '.join(unknown)}")
    return {"$select": ",".join(columns), "$expand": ",".join(expand)}


def booking_of(row: Mapping[str, Any], mailboxes: Mapping[ResourceId, MailboxId]) -> Booking:
    """One row of an answer; `mailboxes` are those of resources that do not have them by themselves.

    Raises `RefusedError` naming the column that cannot be read.
    """
    try:
        work_order = row.get("msdyn_workorder") or {}
        return Booking(
            id=BookingId(row["bookableresourcebookingid"].lower()),
            version=int(row["versionnumber"]),
            name=row.get("name") or "",
            start=_instant(row["starttime"]),
            end=_instant(row["endtime"]),
            status=status_of(row["BookingStatus"]),
            resource=_resource(row["Resource"], mailboxes),
            work_order=work_order.get("msdyn_name") or "",
            account=(work_order.get("msdyn_serviceaccount") or {}).get("name") or "",
            columns=_flat(row),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RefusedError(f"the booking has a column that cannot be read: {error}") from error


def columns_of(change: BookingChange) -> dict[str, Any]:
    """The body of an update: what changes and nothing else, for equal values would be saved and posted, too.

    Whether Dataverse derives the duration from start and end is not documented, so all three go together.
    """
    body: dict[str, Any] = {}
    if change.start is not None and change.end is not None:
        body["starttime"], body["endtime"] = (f"{instant:%Y-%m-%dT%H:%M:%SZ}" for instant in (change.start, change.end))
        body["duration"] = round((change.end - change.start).total_seconds() / 60)
    if change.name is not None:
        body["name"] = change.name
    if change.status is not None:
        body["BookingStatus@odata.bind"] = f"/bookingstatuses({change.status})"
    return body


def row_of(row: Mapping[str, Any]) -> BookingRow:
    """The answer to an update, which holds no expanded rows. Raises `ValueError` when it is no such row."""
    try:
        return BookingRow(
            id=BookingId(row["bookableresourcebookingid"].lower()),
            version=int(row["versionnumber"]),
            name=row.get("name") or "",
            start=_instant(row["starttime"]),
            end=_instant(row["endtime"]),
            status=row["_bookingstatus_value"].lower(),
            resource=ResourceId(row["_resource_value"].lower()),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a booking: {error}") from error


def status_of(row: Mapping[str, Any]) -> Status:
    """A booking status. Raises `KeyError` for a row that is none."""
    detail = row.get("msdyn_fieldservicestatus")
    kind = STATUS_KINDS[row["status"]]
    if FIELD_SERVICE_STATUSES.get(detail or 0) == "canceled":
        kind = StatusKind.CANCELED
    return Status(
        id=row["bookingstatusid"].lower(),
        name=row.get("name") or "",
        kind=kind,
        detail=FIELD_SERVICE_STATUSES.get(detail) if detail is not None else None,
    )


def _resource(row: Mapping[str, Any], mailboxes: Mapping[ResourceId, MailboxId]) -> Resource:
    """A resource. What the administrator says of its mailbox counts, whatever kind it is and whoever stands behind."""
    resource = ResourceId(row["bookableresourceid"].lower())
    kind = RESOURCE_TYPES.get(row["resourcetype"], str(row["resourcetype"]))
    user = row.get("UserId") or {}
    mailbox = mailboxes.get(resource) or user.get("azureactivedirectoryobjectid")
    obstacle = ""
    if resource in mailboxes:
        pass
    elif kind != "user":
        obstacle = f"the resource is of type {kind}: only users have a calendar, and SYNC_MAILBOXES names none for it"
    elif user.get("isdisabled"):
        obstacle = "the resource's user is disabled in Dynamics 365"
    elif not mailbox:
        obstacle = "the resource's user has no Entra object id, so no calendar"
    return Resource(
        id=resource,
        name=row.get("name") or "",
        mailbox=MailboxId(mailbox.lower()) if mailbox and not obstacle else None,
        obstacle=obstacle,
    )


def _instant(value: str) -> datetime:
    """The Web API gives UTC with a `Z`, whatever the user's zone is."""
    instant = datetime.fromisoformat(value)
    if instant.tzinfo is None:
        raise ValueError(f"an instant without a zone: {value}")
    return instant.astimezone(UTC)


def _flat(row: Mapping[str, Any]) -> dict[str, object]:
    """Columns by name, those of expanded rows as `Navigation/column`."""
    flat: dict[str, object] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}/{inner}": deep for inner, deep in value.items() if not isinstance(deep, Mapping)}
        elif "@" not in name:
            flat[name] = value
    return flat

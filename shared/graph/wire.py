"""Events in Graph's JSON (Microsoft Graph docs, "event resource type").

Requests and answers are in UTC: every call asks for it with `Prefer: outlook.timezone`, and writes name it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from shared.errors import RefusedError
from shared.sync.model import Content, Event, EventId, Field, MailboxId, Marker, ShowAs

MARKER_PROPERTY = "String {6c1f0f7e-3f0b-4f57-9f0d-52b9c7b1a3de} Name BookingSync"
"""The one extended property that holds the marker. Each new name uses up a named property of the mailbox for good
(Microsoft Graph docs, "Outlook extended properties overview"): never change it."""

EXPAND_MARKER = f"singleValueExtendedProperties($filter=id eq '{MARKER_PROPERTY}')"
SELECT = "id,subject,body,start,end,showAs,sensitivity,isCancelled,transactionId"

PRIVATE = "private"


def new_event(content: Content, marker: Marker, mailbox: MailboxId, category: str) -> dict[str, Any]:
    """The body of a create; marker and idempotency key stand in it from the first moment (R2)."""
    return {
        **changes(frozenset(Field), content),
        **({"categories": [category]} if category else {}),
        "transactionId": marker.transaction_id(mailbox),
        "singleValueExtendedProperties": [{"id": MARKER_PROPERTY, "value": marker.text}],
    }


def changes(fields: frozenset[Field], content: Content) -> dict[str, Any]:
    """The body of an update: the named fields and no others."""
    body: dict[str, Any] = {}
    if Field.SUBJECT in fields:
        body["subject"] = content.subject
    if Field.BODY in fields:
        body["body"] = {"contentType": "html", "content": content.body}
    if Field.TIME in fields:
        body["start"], body["end"] = _written(content.start), _written(content.end)
    if Field.SHOW_AS in fields:
        body["showAs"] = content.show_as.value
    if Field.SENSITIVITY in fields:
        body["sensitivity"] = PRIVATE if content.is_private else "normal"
    return body


def event_of(mailbox: MailboxId, value: dict[str, Any]) -> Event:
    """One event of an answer. Raises `RefusedError` when it is no event in UTC."""
    try:
        return Event(
            id=EventId(value["id"]),
            mailbox=mailbox,
            etag=value["@odata.etag"],
            content=Content(
                start=_read(value["start"]),
                end=_read(value["end"]),
                subject=value.get("subject") or "",
                body=(value.get("body") or {}).get("content") or "",
                show_as=ShowAs(value["showAs"]),
                is_private=value.get("sensitivity") == PRIVATE,
            ),
            marker=_own_marker(mailbox, value),
            is_cancelled=bool(value.get("isCancelled")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RefusedError(f"Graph answered with an event that cannot be read: {type(error).__name__}") from error


def _written(instant: datetime) -> dict[str, str]:
    return {"dateTime": f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}", "timeZone": "UTC"}


def _read(value: dict[str, str]) -> datetime:
    """`dateTime` has seven fractional digits, one more than Python reads."""
    if value["timeZone"] != "UTC":
        raise ValueError("not in UTC")
    return datetime.fromisoformat(value["dateTime"][:26]).replace(tzinfo=UTC)


def _own_marker(mailbox: MailboxId, value: dict[str, Any]) -> Marker | None:
    """The marker, unless the event is a person's copy: a copy lacks the `transactionId` of its marker (R9)."""
    for item in value.get("singleValueExtendedProperties") or ():
        if item.get("id", "").lower() == MARKER_PROPERTY.lower():
            marker = Marker.parse(item.get("value") or "")
            created_by = str(value.get("transactionId") or "").lower()
            return marker if marker is not None and created_by == marker.transaction_id(mailbox) else None
    return None

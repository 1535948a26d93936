"""Events in Graph's JSON (Microsoft Graph docs, "event resource type").

Answers are in UTC: every call asks for it with `Prefer: outlook.timezone`. Writes name the zone of their times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shared.errors import RefusedError
from shared.sync.model import Content, Event, EventId, Field, MailboxId, Marker, ShowAs, Told, fingerprint
from shared.zones import UTC_ZONE, Zone

MARKER_PROPERTY = "String {6c1f0f7e-3f0b-4f57-9f0d-52b9c7b1a3de} Name BookingSync"
"""The one extended property that holds the marker. Each new name uses up a named property of the mailbox for good
(Microsoft Graph docs, "Outlook extended properties overview"): never change it."""

EXPAND_MARKER = f"singleValueExtendedProperties($filter=id eq '{MARKER_PROPERTY}')"
SELECT = (
    "id,subject,body,start,end,showAs,sensitivity,categories,isCancelled,transactionId,"
    "isAllDay,type,attendees,isOnlineMeeting,lastModifiedDateTime,bodyPreview"
)
TOLD = "id,subject,start,end,showAs,sensitivity,categories,isCancelled," + SELECT[SELECT.index("isAllDay") :]
"""What of an event a notification brings along, where that is wanted; Graph allows no body in it."""
SINGLE = "singleInstance"
"""The type of an event that does not repeat."""

PRIVATE = "private"


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How this installation writes its events.

    New ones get `category`, if it is not empty. `of_status` are the categories that stand for a booking's status: an
    event has at most one of them. Times are written in `zone`.
    """

    category: str = ""
    of_status: frozenset[str] = frozenset()
    zone: Zone = UTC_ZONE


def new_event(content: Content, marker: Marker, mailbox: MailboxId, style: Style) -> dict[str, Any]:
    """The body of a create; marker and idempotency key stand in it from the first moment (R2)."""
    return {
        **changes(frozenset(Field), content, style, [style.category] if style.category else []),
        "transactionId": marker.transaction_id(mailbox),
        "singleValueExtendedProperties": [{"id": MARKER_PROPERTY, "value": marker.text}],
    }


def changes(fields: frozenset[Field], content: Content, style: Style, categories: Sequence[str] = ()) -> dict[str, Any]:
    """The body of an update: the named fields and no others. `categories` are those that the event has by now."""
    body: dict[str, Any] = {}
    if Field.SUBJECT in fields:
        body["subject"] = content.subject
    if Field.BODY in fields:
        body["body"] = {"contentType": "html", "content": content.body}
    if Field.TIME in fields:
        body["start"], body["end"] = _times(content, style.zone)
        body["isAllDay"] = False
    if Field.SHOW_AS in fields:
        body["showAs"] = content.show_as.value
    if Field.SENSITIVITY in fields:
        body["sensitivity"] = PRIVATE if content.is_private else "normal"
    if Field.CATEGORY in fields:
        others = [name for name in categories if name not in style.of_status]
        body["categories"] = [*others, content.category] if content.category else others
    return body


def event_of(mailbox: MailboxId, value: dict[str, Any], style: Style) -> Event:
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
                category=",".join(sorted(style.of_status.intersection(value.get("categories") or ()))),
            ),
            marker=_own_marker(mailbox, value),
            is_cancelled=bool(value.get("isCancelled")),
            is_all_day=bool(value.get("isAllDay")),
            is_series=(value.get("type") or SINGLE) != SINGLE,
            is_meeting=bool(value.get("attendees") or value.get("isOnlineMeeting")),
            modified_at=_instant(value.get("lastModifiedDateTime")),
            preview=fingerprint(value["bodyPreview"]) if value.get("bodyPreview") is not None else None,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RefusedError(f"Graph answered with an event that cannot be read: {type(error).__name__}") from error


def told_of(mailbox: MailboxId, value: dict[str, Any], etag: str, style: Style) -> Told | None:
    """What a notification says of an event; `None` when it says too little, or when the event is not a plain one."""
    try:
        event = event_of(mailbox, {**value, "@odata.etag": etag}, style)
    except RefusedError:
        return None
    is_plain = not (event.is_cancelled or event.is_meeting or event.unsuitable)
    if not is_plain or event.modified_at is None or event.preview is None:
        return None
    content = event.content
    return Told(
        etag=etag,
        modified_at=event.modified_at,
        start=content.start,
        end=content.end,
        prints={**content.fingerprints(), Field.BODY: event.preview},
    )


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def _times(content: Content, zone: Zone) -> list[dict[str, str]]:
    """Start and end on the clocks of `zone`; in UTC when one of them lies in an hour that comes twice there."""
    instants = (content.start, content.end)
    walls = [wall for instant in instants if (wall := zone.wall(instant)) is not None]
    if len(walls) < len(instants):
        return _times(content, UTC_ZONE)
    return [{"dateTime": f"{wall:%Y-%m-%dT%H:%M:%S.%f}", "timeZone": zone.name} for wall in walls]


def _read(value: dict[str, str]) -> datetime:
    """`dateTime` has seven fractional digits, one more than Python reads."""
    if value["timeZone"] != "UTC":
        raise ValueError("not in UTC")
    return datetime.fromisoformat(value["dateTime"][:26]).replace(tzinfo=UTC)


def marking(event: Event, marker: Marker) -> dict[str, Any]:
    """The body of an update that gives a marker to an event which existed before it."""
    return {
        "singleValueExtendedProperties": [{"id": MARKER_PROPERTY, "value": marker.text_in(event.mailbox, event.id)}]
    }


def _own_marker(mailbox: MailboxId, value: dict[str, Any]) -> Marker | None:
    """The marker, unless the event is a person's copy (R9).

    A copy lacks the `transactionId` of its marker; in an event that was adopted, the marker names the event's own id.
    """
    for item in value.get("singleValueExtendedProperties") or ():
        if item.get("id", "").lower() == MARKER_PROPERTY.lower():
            text = item.get("value") or ""
            if (marker := Marker.parse(text)) is not None:
                created_by = str(value.get("transactionId") or "").lower()
                return marker if created_by == marker.transaction_id(mailbox) else None
            marker = Marker.parse(text.rpartition(".")[0])
            return marker if marker is not None and text == marker.text_in(mailbox, EventId(value["id"])) else None
    return None

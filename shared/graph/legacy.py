"""Events of an older program over Graph. Implements `shared.sync.adopt.LegacySide`.

The program left the booking's id in an *open extension*, a named bundle of data in the event (Microsoft Graph docs,
"openTypeExtension resource type"). Events can be found by the name of such an extension, and by nothing that is in it
("Get open extension").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from shared.errors import RefusedError
from shared.graph.events import GraphEvents
from shared.graph.wire import SELECT, Style, event_of, marking
from shared.sync.adopt import Legacy
from shared.sync.model import BookingId, Event, MailboxId, Marker

SELECT_MORE = f"{SELECT},createdDateTime,type,isAllDay,isOnlineMeeting,isOrganizer,attendees"
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class GraphLegacy:
    """The events of an older program."""

    def __init__(self, events: GraphEvents, style: Style, extension: str, name: str) -> None:
        """They have a booking's id in the property `name` of their open extension `extension`."""
        self._events = events
        self._style = style
        self._extension = extension
        self._name = name

    async def find_legacy(self, mailbox: MailboxId) -> Sequence[Legacy]:
        """The events with the extension and a booking's id in it, over all calendars of the mailbox."""
        query = {
            "$filter": f"Extensions/any(f:f/id eq '{self._extension}')",
            "$expand": f"Extensions($filter=id eq '{self._extension}')",
            "$select": SELECT_MORE,
            "$top": "50",
        }
        found = [self._legacy_of(mailbox, value) for value in await self._events.search(mailbox, query)]
        return [one for one in found if one is not None]

    async def mark_event(self, event: Event, marker: Marker) -> Event:
        """Write a marker into an event that is still as it was read."""
        return replace(await self._events.write(event, marking(event, marker)), marker=marker)

    def _legacy_of(self, mailbox: MailboxId, value: dict[str, Any]) -> Legacy | None:
        event = event_of(mailbox, value, self._style)
        try:
            found = [data.get(self._name) for data in value.get("extensions") or ()]
            booking = next((str(text).strip("{}").lower() for text in found if text), "")
            is_meeting = value["isOnlineMeeting"] or value["attendees"] or not value["isOrganizer"]
            is_plain = value["type"] == "singleInstance" and not (value["isAllDay"] or event.is_cancelled or is_meeting)
            created_at = datetime.fromisoformat(value["createdDateTime"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RefusedError(f"Graph answered with an event that cannot be read: {type(error).__name__}") from error
        if not _GUID.fullmatch(booking):
            return None
        return Legacy(event=event, booking=BookingId(booking), created_at=created_at, is_plain=is_plain)

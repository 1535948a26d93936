"""Changes of calendars over Graph. Implements `shared.sync.recover.CalendarFeed`.

Microsoft Graph docs, "event: delta" and "Get incremental changes to events in a calendar view": no query option but the
window is taken, links are followed to the letter, and what was deleted or left the window is reported as removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from shared.errors import BookingSyncError, CursorExpiredError, UnavailableError
from shared.graph.events import PREFER, calendar_error
from shared.http import Caller, HttpResponse, error_codes, without_host
from shared.sync.model import EventId, MailboxId
from shared.sync.recover import Item, Page, Window

PAGE = 200
"""Events of a page."""
HEADERS = {"Prefer": f"{PREFER}, odata.maxpagesize={PAGE}"}
LONGEST_LINK = 30_000
"""Characters; what can be stored, and about what a GET can carry."""
EXPIRED = frozenset({"syncstatenotfound", "syncstateinvalid", "resyncrequired"})
"""Codes of a token that is not known any more, whatever the status; services spell codes in more than one case."""


class GraphChanges:
    """The changes of a tenant's calendars."""

    def __init__(self, caller: Caller) -> None:
        """Ask by `caller`."""
        self._caller = caller

    async def changes(self, mailbox: MailboxId, window: Window, link: str) -> Page:
        """A page of changes; without a link the first one of everything in the window."""
        query = urlencode({"startDateTime": _time(window.start), "endDateTime": _time(window.end)})
        path = link or f"/v1.0/users/{quote(mailbox, safe='')}/calendarView/delta?{query}"
        refine = _expired if link else calendar_error
        answer = await self._caller.call("GET", path, headers=HEADERS, refine=refine, lane=mailbox)
        body = answer.json()
        try:
            page = Page(
                items=tuple(_item(value) for value in body["value"]),
                next_link=without_host(body.get("@odata.nextLink", "")),
                delta_link=without_host(body.get("@odata.deltaLink", "")),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UnavailableError("Graph answered without a list of changes") from error
        if bool(page.next_link) == bool(page.delta_link) or len(page.next_link + page.delta_link) > LONGEST_LINK:
            raise UnavailableError("Graph answered without a link that leads on")
        return page


def _item(value: Mapping[str, Any]) -> Item:
    """One event; an occurrence comes with little more than its id and its etag."""
    if "@removed" in value:
        return Item(event=EventId(value["id"]), is_removed=True)
    created = value.get("createdDateTime")
    return Item(
        event=EventId(value["id"]),
        etag=value.get("@odata.etag") or "",
        created_at=datetime.fromisoformat(created).astimezone(UTC) if created else None,
    )


def _expired(response: HttpResponse, said: str) -> BookingSyncError | None:
    codes = {code.lower() for code in error_codes(response)}
    if response.status == HTTPStatus.GONE or codes & EXPIRED:
        return CursorExpiredError(said)
    return calendar_error(response, said)


def _time(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"

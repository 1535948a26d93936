"""Calendar events over Graph. Implements `shared.sync.ports.EventSide`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from shared.errors import (
    BookingSyncError,
    DuplicateError,
    GoneError,
    MailboxGoneError,
    OutcomeUnknownError,
    RefusedError,
    UnavailableError,
)
from shared.graph.wire import EXPAND_MARKER, MARKER_PROPERTY, SELECT, Style, changes, event_of, new_event
from shared.http import PATIENCE, Caller, HttpResponse, Patience, error_codes, without_host
from shared.sync.model import Content, Event, EventId, Field, MailboxId, Marker
from shared.sync.ports import Clock
from shared.zones import UTC_ZONE

PREFER = 'outlook.timezone="UTC", IdType="ImmutableId"'
"""Sent with every request: the immutable id is the one that survives a move to another calendar."""

CREATE_ANSWER = timedelta(seconds=12)
"""How long the answer to a create is waited for."""
CREATE_MARGIN = timedelta(seconds=5)
"""A create that was given up here is over at Graph, too, after this time."""

SOON = timedelta(hours=2)
"""An event that starts within this time, or has begun, is written with urgency."""

_NO_MAILBOX = frozenset(
    {
        "mailboxnotenabledforrestapi",
        "mailboxnotsupportedforrestapi",
        "errorinvaliduser",
        "request_resourcenotfound",
        "resourcenotfound",
    }
)
"""Codes of a 404 that is about the mailbox, not the event; services spell codes in more than one case."""


class GraphEvents:
    """The calendars of a tenant."""

    def __init__(self, caller: Caller, *, style: Style, clock: Clock) -> None:
        """Events are written in `style`."""
        self._caller = caller
        self._style = style
        self._clock = clock

    async def find_events(self, mailbox: MailboxId, prefix: str) -> Sequence[Event]:
        """The events in the mailbox's own calendar whose marker begins with `prefix`."""
        return await self._find(mailbox, _events(mailbox), prefix)

    async def find_everywhere(self, mailbox: MailboxId, prefix: str) -> Sequence[Event]:
        """The same in all its calendars, one after the other."""
        path = f"/v1.0/users/{quote(mailbox, safe='')}/calendars"
        found: list[Event] = []
        for calendar in await self._pages(mailbox, f"{path}?$select=id&$top=50"):
            found += await self._find(mailbox, f"{path}/{quote(calendar['id'], safe='')}/events", prefix)
        return found

    async def _find(self, mailbox: MailboxId, path: str, prefix: str) -> Sequence[Event]:
        # Only the app's own text stands in the quotes: organisation and booking ids are GUIDs.
        condition = (
            f"singleValueExtendedProperties/Any(ep: ep/id eq '{MARKER_PROPERTY}' and startswith(ep/value,'{prefix}'))"
        )
        query = {"$filter": condition, "$expand": EXPAND_MARKER, "$select": SELECT, "$top": "50"}
        pages = await self._pages(mailbox, f"{path}?{urlencode(query, quote_via=quote)}")
        return [event_of(mailbox, value, self._style) for value in pages]

    async def search(self, mailbox: MailboxId, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """All events that are found."""
        return await self._pages(mailbox, f"{_events(mailbox)}?{urlencode(query, quote_via=quote)}")

    async def _pages(self, mailbox: MailboxId, path: str) -> list[dict[str, Any]]:
        """All that a list holds, page by page."""
        found: list[dict[str, Any]] = []
        while path:
            page = await self._call("GET", mailbox, path)
            body = page.json()
            if not isinstance(body, dict) or "value" not in body:
                # Taken for "no events", this could double one.
                raise UnavailableError("Graph answered a search without a list")
            found += body["value"]
            path = without_host(body.get("@odata.nextLink", ""))
        return found

    async def get_event(self, mailbox: MailboxId, event: EventId) -> Event:
        """One event with its marker."""
        query = urlencode({"$expand": EXPAND_MARKER, "$select": SELECT}, quote_via=quote)
        return self._event_of(mailbox, await self._call("GET", mailbox, f"{_event(mailbox, event)}?{query}"))

    async def create_event(self, mailbox: MailboxId, marker: Marker, content: Content, until: datetime) -> Event:
        """Make an event in the mailbox's default calendar.

        It leaves so early that it is over by `until`, or never: then nothing can appear any more, and from an event's
        absence others may conclude that there is none.

        A lost answer is not repeated here although there is an idempotency key: how long the service remembers it is
        not documented, so the one who asked has to look for the marker first (R2).
        """
        body = new_event(content, marker, mailbox, self._style)
        latest = until - CREATE_MARGIN - CREATE_ANSWER
        patience = Patience(answer=CREATE_ANSWER, total=latest - self._clock.now())
        answer = await self._call(
            "POST", mailbox, _events(mailbox), body, patience=patience, is_urgent=self._is_soon(content)
        )
        # The answer does not echo extended properties (Graph docs, "Create singleValueLegacyExtendedProperty").
        return replace(await self._on_time(self._event_of(mailbox, answer), content), marker=marker)

    async def update_event(
        self, mailbox: MailboxId, event: EventId, etag: str, fields: frozenset[Field], content: Content
    ) -> Event:
        """Write `fields` if the event still has `etag`; a category is exchanged among those that the event has."""
        is_urgent = self._is_soon(content)
        categories = await self._categories(mailbox, event, is_urgent=is_urgent) if Field.CATEGORY in fields else ()
        body = changes(fields, content, self._style, categories)
        answer = await self._call("PATCH", mailbox, _event(mailbox, event), body, etag, is_urgent=is_urgent)
        updated = self._event_of(mailbox, answer)
        return await self._on_time(updated, content) if Field.TIME in fields else updated

    async def _categories(self, mailbox: MailboxId, event: EventId, *, is_urgent: bool) -> Sequence[str]:
        path = f"{_event(mailbox, event)}?$select=categories"
        answer = await self._call("GET", mailbox, path, is_urgent=is_urgent)
        return tuple(self._body(answer).get("categories") or ())

    async def _on_time(self, event: Event, content: Content) -> Event:
        """The event with the times that were meant: Exchange may know other rules of the zone than this machine."""
        is_on_time = (event.content.start, event.content.end) == (content.start, content.end)
        if is_on_time or self._style.zone == UTC_ZONE:
            return event
        body = changes(frozenset({Field.TIME}), content, replace(self._style, zone=UTC_ZONE))
        path, is_urgent = _event(event.mailbox, event.id), self._is_soon(content)
        answer = await self._call("PATCH", event.mailbox, path, body, event.etag, is_urgent=is_urgent)
        return self._event_of(event.mailbox, answer)

    async def write(self, event: Event, body: dict[str, Any]) -> Event:
        """Write what stands in `body` if the event is still as it was read. Raises `PreconditionError`, `GoneError`."""
        path = _event(event.mailbox, event.id)
        return self._event_of(event.mailbox, await self._call("PATCH", event.mailbox, path, body, event.etag))

    async def cancel_event(self, mailbox: MailboxId, event: EventId) -> None:
        """Cancel a meeting; what cannot be cancelled, because nobody was invited, is deleted."""
        try:
            await self._call("POST", mailbox, f"{_event(mailbox, event)}/cancel", {})
        except GoneError:
            return
        except RefusedError:
            await self.delete_event(mailbox, event, "*")

    async def delete_event(self, mailbox: MailboxId, event: EventId, etag: str) -> None:
        """Delete the event if it still has `etag`; one that is gone counts as deleted."""
        try:
            answer = await self._call("DELETE", mailbox, _event(mailbox, event), None, etag)
        except GoneError:
            return
        if answer.status != HTTPStatus.NO_CONTENT:
            # A gateway's page may say 200; taken for Graph's own answer, the event would stay for good.
            raise UnavailableError(f"Graph answered a deletion with {answer.status}")

    def _is_soon(self, content: Content) -> bool:
        """Whether somebody may be on the way to it."""
        now = self._clock.now()
        return content.start - now < SOON and content.end > now

    async def _call(
        self,
        method: str,
        mailbox: MailboxId,
        path: str,
        body: dict[str, Any] | None = None,
        etag: str = "",
        *,
        patience: Patience = PATIENCE,
        is_urgent: bool = False,
    ) -> HttpResponse:
        headers = {"Prefer": PREFER, **({"If-Match": etag} if etag else {})}
        return await self._caller.call(
            method,
            path,
            headers=headers,
            body=body,
            repeatable=bool(etag),
            patience=patience,
            refine=calendar_error,
            lane=mailbox,
            is_urgent=is_urgent,
        )

    def _event_of(self, mailbox: MailboxId, response: HttpResponse) -> Event:
        return event_of(mailbox, self._body(response), self._style)

    @staticmethod
    def _body(response: HttpResponse) -> dict[str, Any]:
        body = response.json()
        if not isinstance(body, dict):
            # The status says success: whatever was asked for has happened, only what it led to is not known.
            raise OutcomeUnknownError("Graph answered without an event")
        return body


def calendar_error(response: HttpResponse, said: str) -> BookingSyncError | None:
    """What Graph's own codes say more exactly than the status does."""
    codes = {code.lower() for code in error_codes(response)}
    if "errorduplicatetransactionid" in codes:
        existing = response.json()["error"].get("@event.existingEventId")
        return DuplicateError(said, existing=existing)
    if response.status == HTTPStatus.NOT_FOUND:
        if codes & _NO_MAILBOX:
            return MailboxGoneError(said)
        # Only Graph's own word counts (R3): a gateway's page with this status says nothing about the event.
        return GoneError(said) if "erroritemnotfound" in codes else UnavailableError(said)
    return None


def _events(mailbox: MailboxId) -> str:
    return f"/v1.0/users/{quote(mailbox, safe='')}/events"


def _event(mailbox: MailboxId, event: EventId) -> str:
    return f"{_events(mailbox)}/{quote(event, safe='')}"

"""Change tracking of a calendar view: everything in a window once, then only what has changed since.

Microsoft Graph docs, "event: delta", "Get incremental changes to events in a calendar view", "Use delta query to track
changes in Microsoft Graph data": the window is in the token; no query options; `@removed` stands for what was deleted
and for everything outside the window that was added, changed or deleted; an item may come more than once, and changes
that were seen already may be replayed. Extended properties never come. Tokens of Outlook have no fixed lifetime.

Observed live: a first page without items, `Preference-Applied: odata.track-changes`, `transactionId` shown even when
there is none, and the wording of the refusals. Unverified: the sizes of pages, that a change made while pages are read
comes on a later page of the round and again in the next round, that a deleted event is reported to a client that never
saw it, and that a token belongs to one mailbox. A series comes with all of its occurrences in the window, whichever of
them was changed: itself first, with the times of the first occurrence, then occurrences bare and exceptions whole. Of
an occurrence that is gone nothing is said, as was seen once (unverified today).

Only the default calendar can be tracked: for other calendars, and for all events without a window, the docs have change
tracking in beta only.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Self
from urllib.parse import quote
from uuid import UUID

from sandbox.cloud import Cloud
from sandbox.directory import Directory
from sandbox.graph.errors import (
    calendar_access_denied,
    delta_token_invalid,
    not_modelled,
    options_untracked,
    resync_required,
    sync_state_not_found,
)
from sandbox.graph.events import Event, in_window
from sandbox.graph.finding import WINDOW, find_mailbox, read_window
from sandbox.graph.odata import LARGEST_PAGE, Options, read_options
from sandbox.graph.operations import CALENDAR_READ, CALENDAR_READ_BASIC, Context, needs
from sandbox.graph.reading import event_json
from sandbox.graph.state import ChangeKind, Mailbox, State
from sandbox.graph.times import write_instant
from sandbox.http import Json, Request, Response, Route
from sandbox.settings import Setting, flag, seconds

EXPIRE_CURSOR = "expire_cursor"
"""A fault: the state of the call's token is gone. Its `code` may be `resyncRequired`, its `status` another one."""
LIFETIME, DELAY, EMPTY_PAGE = "graph.delta_lifetime", "graph.delta_delay", "graph.delta_empty_page"
SETTINGS = {
    LIFETIME: Setting(
        default=None,
        accepts=lambda value: value is None or (type(value) in (int, float) and value > 0),
        values="null or a number of seconds",
        meaning="how long a token of calendarView/delta is good: null = forever",
    ),
    DELAY: seconds(0, "how long calendarView/delta does not know a change yet"),
    EMPTY_PAGE: flag(default=False, meaning="whether a full round of calendarView/delta begins with an empty page"),
}
PAGE = 10
UNSUPPORTED = frozenset({"$orderby", "$filter", "$select", "$expand", "$search"})
DELTA_TOKEN, SKIP_TOKEN = "$deltatoken", "$skiptoken"
EVENT_TYPE = "#microsoft.graph.event"
OF_AN_OCCURRENCE = frozenset({"@odata.etag", "id", "seriesMasterId", "type", "start", "end"})
TRACKED = "odata.track-changes"

type Row = tuple[Event, bool]
"""An event, and whether it is `@removed`."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LAYOUT = struct.Struct(">??16sqqqIII")
_CHECKSUM = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far a client has come in the history of a mailbox, as its token says.

    The round began when the history ended at the entry `start`, and tells what changed after the entry `seen`; it is
    `full` when it also tells what was there before. `resumes` tells the token of a page from that of a finished round;
    of the entry after `seen`, `told` items were on pages already.
    """

    full: bool
    resumes: bool
    mailbox: str
    begin: datetime
    end: datetime
    issued: datetime
    start: int
    seen: int
    told: int = 0

    @classmethod
    def of(cls, token: str) -> Self | None:
        """Read a token; `None` for one that nobody here gave out."""
        try:
            content = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except ValueError:
            return None
        content, sealed = content[:-_CHECKSUM], content[-_CHECKSUM:]
        if len(content) != _LAYOUT.size or checksum(content) != sealed:
            return None
        full, resumes, mailbox, begin, end, issued, start, seen, told = _LAYOUT.unpack(content)
        return cls(
            full=full,
            resumes=resumes,
            mailbox=str(UUID(bytes=mailbox)),
            begin=_EPOCH + begin * _MICROSECOND,
            end=_EPOCH + end * _MICROSECOND,
            issued=_EPOCH + issued * _MICROSECOND,
            start=start,
            seen=seen,
            told=told,
        )

    @property
    def token(self) -> str:
        """The token: opaque to clients, and safe in a URL as it is."""
        times = ((at - _EPOCH) // _MICROSECOND for at in (self.begin, self.end, self.issued))
        mailbox = UUID(self.mailbox).bytes
        content = _LAYOUT.pack(self.full, self.resumes, mailbox, *times, self.start, self.seen, self.told)
        return base64.urlsafe_b64encode(content + checksum(content)).decode().rstrip("=")


class Delta:
    """Answers `calendarView/delta`."""

    def __init__(self, cloud: Cloud, directory: Directory, state: State) -> None:
        """Read from `state`; the settings and the fault `expire_cursor` are declared to `cloud`."""
        self._cloud = cloud
        self._directory = directory
        self._state = state
        cloud.settings.declare(SETTINGS)
        cloud.faults.declare(EXPIRE_CURSOR)

    def routes(self) -> list[Route]:
        """The function, in both spellings of its name; without a window it is refused."""
        tracked = needs(CALENDAR_READ | CALENDAR_READ_BASIC, calendar_access_denied(), self._changes)
        unbounded = ("/events", "/calendar/events", "/calendars/{calendar}/events")
        return [
            route
            for name in ("delta", "delta()")
            for route in (
                Route("GET", f"/users/{{user}}/calendarView/{name}", tracked),
                *(Route("GET", f"/users/{{user}}{path}/{name}", _refuse) for path in unbounded),
            )
        ]

    async def _changes(self, context: Context, user: str) -> Response:
        if any(name.lower() in UNSUPPORTED for name, _ in context.request.query):
            raise options_untracked()
        mailbox = find_mailbox(self._directory, self._state, user)
        position = self._position(context, mailbox)
        rows = [(number, row) for number, items in self._entries(context, mailbox, position) for row in items]
        if rows and rows[0][0] == position.seen + 1:
            rows = rows[position.told :]
        size = min(context.wishes.page_size or PAGE, LARGEST_PAGE)
        if position.full and not position.resumes and self._cloud.settings[EMPTY_PAGE]:
            page, is_last = [], False
        else:
            page, is_last = rows[:size], len(rows) <= size
        body: dict[str, Json] = {
            "@odata.context": context.metadata("Collection(event)"),
            "value": [_item(context, mailbox, row) for _, row in page],
        }
        if is_last:
            done = replace(position, full=False, resumes=False, issued=context.at, seen=position.start, told=0)
            body["@odata.deltaLink"] = _link(context.request, DELTA_TOKEN, done.token)
        else:
            seen, told = _reached(position, page, rows[len(page) :])
            left = replace(position, resumes=True, issued=context.at, seen=seen, told=told)
            body["@odata.nextLink"] = _link(context.request, SKIP_TOKEN, left.token)
        applied = ", ".join(filter(None, (TRACKED, context.wishes.applied)))
        return replace(context, wishes=replace(context.wishes, applied=applied)).answer(200, body)

    def _position(self, context: Context, mailbox: Mailbox) -> Position:
        """Where the call begins to read. Raises `GraphError` for a token that is none, or no more."""
        options = read_options(
            context.request, frozenset(), others=WINDOW | {DELTA_TOKEN, SKIP_TOKEN}, paged_by_preference=True
        )
        tokens = [(name, options.others[name]) for name in (DELTA_TOKEN, SKIP_TOKEN) if options.others.get(name)]
        if not tokens:
            return self._beginning(context, mailbox, options)
        if len(options.others) > 1:
            raise not_modelled(f"query options beside '{tokens[0][0]}'")
        name, token = tokens[0]
        position = Position.of(token)
        if position is None or position.resumes != (name == SKIP_TOKEN) or position.mailbox != mailbox.account.id:
            raise delta_token_invalid(name)
        self._check_alive(context, mailbox, position)
        context.call.tags["delta"] = "page" if position.resumes else "changes"
        return position if position.resumes else replace(position, start=self._visible(context, mailbox))

    def _beginning(self, context: Context, mailbox: Mailbox, options: Options) -> Position:
        begin, end = read_window(options)
        context.call.tags["delta"] = "full"
        return Position(
            full=True,
            resumes=False,
            mailbox=mailbox.account.id,
            begin=begin,
            end=end,
            issued=context.at,
            start=self._visible(context, mailbox),
            seen=0,
        )

    def _check_alive(self, context: Context, mailbox: Mailbox, position: Position) -> None:
        lifetime, highest = self._cloud.settings[LIFETIME], len(mailbox.changes)
        rule = self._cloud.faults.take(context.call, EXPIRE_CURSOR)
        if rule is not None:
            context.call.fault = EXPIRE_CURSOR
            if rule.code == "resyncRequired":
                raise resync_required(_window_link(context.request, position))
        is_old = lifetime is not None and context.at - position.issued >= timedelta(seconds=lifetime)
        if rule is not None or is_old or max(position.start, position.seen) > highest:
            status = rule.status if rule is not None else None
            raise sync_state_not_found(position.start, highest, status or HTTPStatus.GONE)

    def _visible(self, context: Context, mailbox: Mailbox) -> int:
        """The number of the newest change that is known yet."""
        until = context.at - timedelta(seconds=self._cloud.settings[DELAY])
        return bisect_right(mailbox.changes, until, key=lambda change: change.at)

    def _entries(self, context: Context, mailbox: Mailbox, position: Position) -> Iterator[tuple[int, list[Row]]]:
        """What to tell of every item that has changed since the client saw it, by the number of its newest change."""
        calendar = mailbox.default_calendar.id
        unseen = mailbox.changes[position.seen : self._visible(context, mailbox)]
        newest = {change.event.item_id: change for change in unseen}
        for change in sorted(newest.values(), key=lambda change: change.number):
            event = change.event
            is_elsewhere = event.calendar_id != calendar
            if is_elsewhere:  # what was moved away is gone by the id that it had here
                known = (
                    one.event
                    for one in reversed(mailbox.changes[: change.number])
                    if one.event.item_id == event.item_id
                )
                was_here = next((one for one in known if one.calendar_id == calendar), None)
                if was_here is None:
                    continue
                event = was_here
            is_gone = is_elsewhere or change.kind is ChangeKind.DELETED
            there = [] if is_gone else in_window([event], position.begin, position.end)
            if there and event.content.recurrence is not None:
                there.insert(0, event)
            # a full round begins with what is there; what leaves while it is read is news
            if there or not position.full or change.number > position.start:
                yield change.number, [(one, False) for one in there] or [(event, True)]


def _reached(position: Position, page: list[tuple[int, Row]], left: list[tuple[int, Row]]) -> tuple[int, int]:
    """The last entry that a client knows after a page, and how much it knows of the next one in what is `left`."""
    if not page:
        return position.seen, position.told
    following = left[0][0]
    if page[-1][0] != following:
        return page[-1][0], 0
    before = position.told if following == position.seen + 1 else 0
    return following - 1, before + sum(number == following for number, _ in page)


def _item(context: Context, mailbox: Mailbox, row: Row) -> dict[str, Json]:
    event, is_removed = row
    if is_removed:
        shown_id = event.id_for(immutable=context.wishes.immutable_ids)
        return {"@odata.type": EVENT_TYPE, "id": shown_id, "@removed": {"reason": "deleted"}}
    written = event_json(event, mailbox.account, context.wishes, basics_only=context.sees_basics_only)
    if event.type == "occurrence":
        written = {name: value for name, value in written.items() if name in OF_AN_OCCURRENCE}
        return {"@odata.type": EVENT_TYPE, **written}
    return {"@odata.type": EVENT_TYPE, "transactionId": None, **written}


def _link(request: Request, name: str, token: str) -> str:
    return f"{request.base}{request.path}?{name}={token}"


def _window_link(request: Request, position: Position) -> str:
    """The URL of a full round in the same window."""
    begin, end = (quote(write_instant(at), safe="") for at in (position.begin, position.end))
    return _link(request, f"startDateTime={begin}&endDateTime={end}&{DELTA_TOKEN}", "")


def checksum(content: bytes) -> bytes:
    """Tells a token from here from one made up or cut off."""
    return hashlib.sha256(content).digest()[:_CHECKSUM]


async def _refuse(context: Context, **_values: str) -> Response:
    raise not_modelled(f"{context.request.path} (change tracking without a window)")

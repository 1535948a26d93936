"""The operations on events, in a mailbox and in its calendars."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from urllib.parse import quote

from sandbox.cloud import Cloud
from sandbox.directory import Directory
from sandbox.graph.errors import (
    calendar_access_denied,
    duplicate_transaction,
    id_malformed,
    item_not_found,
    not_modelled,
    not_organizer,
    occurrence_crosses,
    stale_change_key,
)
from sandbox.graph.events import (
    Content,
    Event,
    crosses_a_neighbour,
    in_window,
    is_last_of_series,
    occurrence,
    occurrences,
)
from sandbox.graph.extending import Extensions
from sandbox.graph.finding import WINDOW, find_calendar, find_mailbox, read_window
from sandbox.graph.meetings import Meetings
from sandbox.graph.odata import Options, next_link, read_options
from sandbox.graph.online import settle_meeting
from sandbox.graph.operations import CALENDAR_READ, CALENDAR_READ_BASIC, CALENDAR_WRITE, Context, key, needs
from sandbox.graph.reading import (
    CANCELLED,
    EVENT_FIELDS,
    EXCEPTIONS,
    EXPANDABLE,
    cancelled_occurrences,
    event_json,
    expanded,
    selected,
)
from sandbox.graph.state import Mailbox, State, is_item_id
from sandbox.graph.times import CUSTOM
from sandbox.graph.values import read_parameters
from sandbox.graph.writing import changed_content, new_content, read_object
from sandbox.http import Handler, Json, Response, Route
from sandbox.settings import Setting, flag

_OF_ONE = frozenset({"$select", "$expand"})
_OF_MANY = frozenset({"$select", "$expand", "$filter", "$orderby", "$top", "$skip"})
_IF_MATCH = frozenset({"if-match"})

SETTINGS = {
    "graph.transaction_memory": Setting(
        default=None,
        accepts=lambda value: value is None or (type(value) in (int, float) and value >= 0),
        values="null or a number of seconds",
        meaning="how long a mailbox knows a used transactionId: null = forever, 0 = not at all",
    ),
    "graph.duplicate_status": Setting(
        default=400,
        accepts=lambda value: type(value) is int and value in (400, 409),
        values="400 or 409",
        meaning="the status of ErrorDuplicateTransactionId",
    ),
    "graph.duplicate_names_event": flag(
        default=True, meaning="whether ErrorDuplicateTransactionId carries @event.existingEventId"
    ),
    "graph.custom_zones": flag(
        default=False, meaning=f"whether new events are said to be written in {CUSTOM}, as old ones of desktop Outlook"
    ),
    "graph.deleted_events_readable": flag(
        default=False, meaning="whether GET by immutable id finds an event in Deleted Items"
    ),
}
TOUCH = "touch"
"""A fault: the service changes the item once more right after the write, so that the answer's etag is stale."""


class Events:
    """The operations on events."""

    def __init__(self, cloud: Cloud, directory: Directory, state: State, meetings: Meetings) -> None:
        """Work on `state`; the settings and the fault `touch` are declared to `cloud`."""
        self._cloud = cloud
        self._directory = directory
        self._state = state
        self._meetings = meetings
        cloud.settings.declare(SETTINGS)
        cloud.faults.declare(TOUCH)

    def routes(self) -> list[Route]:
        """The operations with the permissions that they need."""
        denied = calendar_access_denied()

        def reads(handler: Handler) -> Handler:
            return needs(CALENDAR_READ | CALENDAR_READ_BASIC, denied, handler)

        def writes(handler: Handler) -> Handler:
            return needs(CALENDAR_WRITE, denied, handler)

        operations = [
            ("GET", "/events", reads(self._list)),
            ("POST", "/events", writes(self._create)),
            ("GET", "/calendarView", reads(self._view)),
            ("GET", "/events/{event}", reads(self._get)),
            ("GET", "/events/{event}/instances", reads(self._instances)),
            ("PATCH", "/events/{event}", writes(self._update)),
            ("DELETE", "/events/{event}", writes(self._delete)),
            ("POST", "/events/{event}/cancel", writes(self._cancel)),
            ("POST", "/events/{event}/permanentDelete", writes(self._delete_for_good)),
            *self._meetings.operations(self._find, writes),
            *Extensions(self._state, self._find).operations(partial(needs, CALENDAR_READ, denied), writes),
        ]
        return [
            *(Route(method, "/users/{user}" + path, handler) for method, path, handler in operations),
            *(
                Route(method, "/users/{user}/calendar" + path, partial(handler, calendar=""))
                for method, path, handler in operations
            ),
            *(
                Route(method, "/users/{user}/calendars/{calendar}" + path, handler)
                for method, path, handler in operations
            ),
        ]

    # In the operations `calendar` is the id of one, "" for the default one, and None where the path names none.

    async def _list(self, context: Context, user: str, calendar: str | None = None) -> Response:
        options = read_options(context.request, _OF_MANY, fields=EVENT_FIELDS, expandable=EXPANDABLE)
        mailbox = self._mailbox(user)
        events = mailbox.events_of(find_calendar(mailbox, calendar))
        return self._page(context, mailbox, options, events, _path(user, calendar, "events"))

    async def _view(self, context: Context, user: str, calendar: str | None = None) -> Response:
        options = read_options(context.request, _OF_MANY, fields=EVENT_FIELDS, expandable=EXPANDABLE, others=WINDOW)
        mailbox = self._mailbox(user)
        begin, end = read_window(options)
        events = in_window(mailbox.events_of(find_calendar(mailbox, calendar)), begin, end)
        return self._page(context, mailbox, options, events, _path(user, calendar, "calendarView"))

    async def _instances(self, context: Context, user: str, event: str, calendar: str | None = None) -> Response:
        options = read_options(context.request, _OF_MANY, fields=EVENT_FIELDS, expandable=EXPANDABLE, others=WINDOW)
        mailbox, found = self._find(user, event, calendar)
        if found.content.recurrence is None:
            raise not_modelled("the instances of what is no series")
        path = (*_path(user, calendar, key("events", event)), "instances")
        return self._page(context, mailbox, options, occurrences(found, *read_window(options)), path)

    def _page(
        self, context: Context, mailbox: Mailbox, options: Options, events: Iterable[Event], path: tuple[str, ...]
    ) -> Response:
        page, more = options.page_of(list(events))
        body: dict[str, Json] = {
            "@odata.context": context.metadata(*path, select=options.select),
            "value": [_written(context, mailbox, event, options) for event in page],
        }
        if more:
            body["@odata.nextLink"] = next_link(context.request, skip=str(options.skip + options.top))
        return context.answer(200, body)

    async def _get(self, context: Context, user: str, event: str, calendar: str | None = None) -> Response:
        options = read_options(context.request, _OF_ONE, expandable={**EXPANDABLE, EXCEPTIONS.lower(): {}})
        mailbox = self._mailbox(user)
        readable = self._cloud.settings["graph.deleted_events_readable"]
        found = self._event(mailbox, event, calendar, among_deleted=readable)
        path = _path(user, calendar, "events")
        return self._answer(context, mailbox, found, options, path=path, of_series=found.type == "seriesMaster")

    async def _create(self, context: Context, user: str, calendar: str | None = None) -> Response:
        options = read_options(context.request, _OF_ONE, expandable=EXPANDABLE)
        mailbox = self._mailbox(user)
        where = find_calendar(mailbox, calendar)
        content = new_content(read_object(context.request))
        self._refuse_duplicate(context, mailbox, content.transaction_id)
        content = settle_meeting(content, self._state.new_item_id)
        zone = CUSTOM if self._cloud.settings["graph.custom_zones"] else None
        created = self._state.create(mailbox, where, content, context.at, original_zone=zone)
        path = _path(user, calendar, "events")
        if content.extensions and options.expand is None:
            options = replace(options, expand=("extensions", lambda _: True))  # only they come without being asked for
        answer = self._answer(context, mailbox, created, options, path=path, status=HTTPStatus.CREATED)
        self._maybe_touch(context, mailbox, created)
        shown_id = created.id_for(immutable=context.wishes.immutable_ids)
        location = f"{context.root}/users/{quote(user)}/events/{quote(shown_id, safe='')}"
        return replace(answer, headers={**answer.headers, "Location": location})

    async def _update(self, context: Context, user: str, event: str, calendar: str | None = None) -> Response:
        options = read_options(context.request, _OF_ONE, expandable=EXPANDABLE, conditions=_IF_MATCH)
        mailbox = self._mailbox(user)
        found = self._event(mailbox, event, calendar)
        content = changed_content(found.content, read_object(context.request))
        _check_occurrence(found, content)
        _check_version(context, found)
        content = settle_meeting(content, self._state.new_item_id)
        found = self._state.update(mailbox, found, content, context.at)
        answer = self._answer(context, mailbox, found, options, path=_path(user, calendar, "events"))
        self._maybe_touch(context, mailbox, found)
        return answer

    async def _delete(self, context: Context, user: str, event: str, calendar: str | None = None) -> Response:
        read_options(context.request, frozenset(), conditions=_IF_MATCH)
        mailbox = self._mailbox(user)
        found = self._event(mailbox, event, calendar)
        _check_version(context, found)
        _check_rest(found)
        self._state.delete(mailbox, found, context.at)
        return Response(status=HTTPStatus.NO_CONTENT)

    async def _delete_for_good(self, context: Context, user: str, event: str, calendar: str | None = None) -> Response:
        """The item goes past Deleted Items (Graph docs, "event: permanentDelete")."""
        read_options(context.request, frozenset())
        mailbox, found = self._find(user, event, calendar)
        if found.master is not None:
            raise not_modelled("permanentDelete of an occurrence")
        self._state.delete(mailbox, found, context.at)
        del mailbox.deleted[found.item_id]
        return Response(status=HTTPStatus.NO_CONTENT)

    async def _cancel(self, context: Context, user: str, event: str, calendar: str | None = None) -> Response:
        """The organizer calls the meeting off; the item goes to Deleted Items (Graph docs, "event: cancel")."""
        read_options(context.request, frozenset())
        mailbox = self._mailbox(user)
        found = self._event(mailbox, event, calendar)
        read_parameters("cancel", read_object(context.request) if context.request.body else {}, frozenset({"comment"}))
        if found.organizer is not None:
            raise not_organizer()
        _check_rest(found)
        found.content = replace(found.content, is_cancelled=True)
        self._state.delete(mailbox, found, context.at)
        return Response(status=HTTPStatus.ACCEPTED)

    def _find(self, user: str, event: str, calendar: str | None) -> tuple[Mailbox, Event]:
        mailbox = self._mailbox(user)
        return mailbox, self._event(mailbox, event, calendar)

    def _mailbox(self, user: str) -> Mailbox:
        return find_mailbox(self._directory, self._state, user)

    def _event(self, mailbox: Mailbox, event: str, calendar: str | None, *, among_deleted: bool = False) -> Event:
        """The event with this id in either form: ids tell by themselves which form they have."""
        if not is_item_id(event):
            raise id_malformed()
        found = mailbox.find(event, among_deleted=among_deleted)
        if found is None or (calendar is not None and found.calendar_id != find_calendar(mailbox, calendar).id):
            raise item_not_found()
        return found

    def _answer(
        self,
        context: Context,
        mailbox: Mailbox,
        event: Event,
        options: Options,
        *,
        path: tuple[str, ...],
        status: int = HTTPStatus.OK,
        of_series: bool = False,
    ) -> Response:
        metadata = context.metadata(*path, select=options.select, entity=True)
        body = {"@odata.context": metadata, **_written(context, mailbox, event, options, of_series=of_series)}
        return context.answer(status, body, ETag=event.etag)

    def _refuse_duplicate(self, context: Context, mailbox: Mailbox, transaction_id: str | None) -> None:
        settings = self._cloud.settings
        if transaction_id is None:
            return
        used_by = self._state.remembered(mailbox, transaction_id, context.at, settings["graph.transaction_memory"])
        if used_by is None:
            return
        existing = mailbox.events.get(used_by) or mailbox.deleted[used_by]
        shown_id = existing.id_for(immutable=context.wishes.immutable_ids)
        raise duplicate_transaction(
            settings["graph.duplicate_status"], shown_id if settings["graph.duplicate_names_event"] else None
        )

    def _maybe_touch(self, context: Context, mailbox: Mailbox, event: Event) -> None:
        if self._cloud.faults.take(context.call, TOUCH):
            context.call.fault = TOUCH
            self._state.update(mailbox, event, event.content, context.at)


def _written(
    context: Context, mailbox: Mailbox, event: Event, options: Options, *, of_series: bool = False
) -> dict[str, Json]:
    """The event as the caller wants and may see it; `of_series` is a series about which it is asked by its id."""

    def shown(one: Event) -> dict[str, Json]:
        return event_json(one, mailbox.account, context.wishes, basics_only=context.sees_basics_only)

    written, series = shown(event), dict[str, Json]()
    if of_series and CANCELLED in options.select:
        series[CANCELLED] = cancelled_occurrences(event, written["id"])
    if options.expand is not None and options.expand[0] == EXCEPTIONS.lower():
        series[EXCEPTIONS] = [shown(one) for one in map(partial(occurrence, event), sorted(event.exceptions)) if one]
    if options.select:
        written = selected({**written, **series}, options.select)
    written |= series
    if options.expand is not None and EXCEPTIONS not in series:
        if context.sees_basics_only:
            raise calendar_access_denied()
        written |= expanded(event, *options.expand)
    return written


def _path(user: str, calendar: str | None, collection: str) -> tuple[str, ...]:
    if calendar is None:
        return (key("users", user), collection)
    return (key("users", user), key("calendars", calendar) if calendar else "calendar", collection)


def _check_version(context: Context, event: Event) -> None:
    """Honour `If-Match`: entity tags are compared weakly. Raises `GraphError` when none of them fits."""
    header = context.request.header("if-match")
    if not header or header.strip() == "*":
        return
    given = {tag.strip().removeprefix("W/") for tag in header.split(",")}
    if event.etag.removeprefix("W/") not in given:
        raise stale_change_key()


def _check_occurrence(event: Event, content: Content) -> None:
    """Refuse what an occurrence cannot become. Raises `GraphError`."""
    if event.master is None:
        return
    if content.recurrence is not None:
        raise not_modelled("a recurrence for an occurrence")
    if content.attendees != event.content.attendees and content.start.at == event.content.start.at:
        raise not_modelled("other attendees for an occurrence than for its series")
    if content.start.at != event.content.start.at and crosses_a_neighbour(event, content.start.at):
        raise occurrence_crosses()


def _check_rest(event: Event) -> None:
    """Refuse to leave a series without any occurrence: what becomes of it is not documented. Raises `GraphError`."""
    if is_last_of_series(event):
        raise not_modelled("taking away the last occurrence of a series")

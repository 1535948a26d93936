"""The calendars of a mailbox."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus

from sandbox.directory import Directory
from sandbox.graph.errors import GraphError, calendar_access_denied
from sandbox.graph.filters import Field, Fields, Kind
from sandbox.graph.finding import find_calendar, find_mailbox
from sandbox.graph.odata import next_link, pick, read_options
from sandbox.graph.operations import CALENDAR_READ, CALENDAR_READ_BASIC, CALENDAR_WRITE, Context, key, needs
from sandbox.graph.state import Calendar, Mailbox, State
from sandbox.graph.values import read_members, read_string
from sandbox.graph.writing import read_object
from sandbox.http import Json, Response, Route

_OF_MANY = frozenset({"$select", "$filter", "$top", "$skip"})
_CALENDAR = "microsoft.graph.calendar"
_CALENDAR_FIELDS = Fields(_CALENDAR, {"name": Field(Kind.TEXT, lambda calendar: calendar.name)})


class Calendars:
    """The operations on calendars."""

    def __init__(self, directory: Directory, state: State) -> None:
        """Show the mailboxes of `state`."""
        self._directory = directory
        self._state = state

    def routes(self) -> list[Route]:
        """The operations with the permissions that they need."""
        denied = calendar_access_denied()
        reads, path = partial(needs, CALENDAR_READ | CALENDAR_READ_BASIC, denied), "/users/{user}/calendars"
        return [
            Route("GET", "/users/{user}/calendar", reads(partial(self._get, calendar=""))),
            Route("GET", path, reads(self._list)),
            Route("POST", path, needs(CALENDAR_WRITE, denied, self._create)),
            Route("GET", f"{path}/{{calendar}}", reads(self._get)),
        ]

    async def _get(self, context: Context, user: str, calendar: str) -> Response:
        options = read_options(context.request, frozenset({"$select"}))
        mailbox = find_mailbox(self._directory, self._state, user)
        found = find_calendar(mailbox, calendar)
        path = (key("users", user), "calendar") if calendar == "" else (key("users", user), "calendars")
        metadata = context.metadata(*path, select=options.select, entity=True)
        shown = pick(_calendar_json(mailbox, found), options.select, _CALENDAR)
        return context.answer(200, {"@odata.context": metadata, **shown})

    async def _list(self, context: Context, user: str) -> Response:
        options = read_options(context.request, _OF_MANY, fields=_CALENDAR_FIELDS)
        mailbox = find_mailbox(self._directory, self._state, user)
        page, more = options.page_of(list(mailbox.calendars.values()))
        shown = [pick(_calendar_json(mailbox, calendar), options.select, _CALENDAR) for calendar in page]
        metadata = context.metadata(key("users", user), "calendars", select=options.select)
        body: dict[str, Json] = {"@odata.context": metadata, "value": shown}
        if more:
            body["@odata.nextLink"] = next_link(context.request, skip=str(options.skip + options.top))
        return context.answer(200, body)

    async def _create(self, context: Context, user: str) -> Response:
        """Names are unique (Graph docs, "Create calendar"; the code of the refusal was observed)."""
        read_options(context.request, frozenset())
        mailbox = find_mailbox(self._directory, self._state, user)
        body = read_members(_CALENDAR, "body", read_object(context.request), frozenset({"name"}))
        name = read_string("name", body.get("name"))
        if any(calendar.name.lower() == name.lower() for calendar in mailbox.calendars.values()):
            raise GraphError(
                HTTPStatus.CONFLICT, "ErrorFolderExists", "A folder with the specified name already exists."
            )
        metadata = context.metadata(key("users", user), "calendars", entity=True)
        made = _calendar_json(mailbox, self._state.create_calendar(mailbox, name))
        return context.answer(HTTPStatus.CREATED, {"@odata.context": metadata, **made})


def _calendar_json(mailbox: Mailbox, calendar: Calendar) -> dict[str, Json]:
    return {
        "id": calendar.id,
        "name": calendar.name,
        "color": "auto",
        "hexColor": "",
        "isDefaultCalendar": calendar.is_default,
        "changeKey": calendar.id[-24:],
        "canShare": True,
        "canViewPrivateItems": True,
        "canEdit": True,
        "allowedOnlineMeetingProviders": ["teamsForBusiness"],
        "defaultOnlineMeetingProvider": "teamsForBusiness",
        "isTallyingResponses": True,
        "isRemovable": not calendar.is_default,
        "owner": {"name": mailbox.account.name, "address": mailbox.account.address},
    }

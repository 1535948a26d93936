"""What every operation of Graph is given, and who may call it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import wraps
from urllib.parse import quote

from sandbox.directory import Directory
from sandbox.entra.tokens import Claims
from sandbox.graph.errors import CONTENT_TYPE, GraphError, policy_denied
from sandbox.graph.preferences import Preferences
from sandbox.http import Handler, Json, Request, Response, Route
from sandbox.recorder import Call

VERSION = "/v1.0"

CALENDAR_READ_BASIC = frozenset({"Calendars.ReadBasic", "Calendars.ReadBasic.All"})
CALENDAR_READ = frozenset({"Calendars.Read", "Calendars.ReadWrite"})
CALENDAR_WRITE = frozenset({"Calendars.ReadWrite"})
SETTINGS_READ = frozenset({"MailboxSettings.Read", "MailboxSettings.ReadWrite"})
PLACE_READ = frozenset({"Place.Read.All", "Place.ReadWrite.All"})
MAIL_READ_BASIC = frozenset({"Mail.ReadBasic", "Mail.ReadBasic.All"})
MAIL_WRITE = frozenset({"Mail.ReadWrite"})
MAIL_READ = MAIL_WRITE | {"Mail.Read"}
MAIL_SEND = frozenset({"Mail.Send"})
BOOKINGS_WRITE = frozenset({"Bookings.ReadWrite.All", "Bookings.Manage.All"})
BOOKINGS_READ = BOOKINGS_WRITE | {"Bookings.Read.All"}
APPOINTMENTS_WRITE = BOOKINGS_WRITE | {"BookingsAppointment.ReadWrite.All"}
APPOINTMENTS_READ = BOOKINGS_READ | APPOINTMENTS_WRITE
USER_READ_BASIC = frozenset({"User.ReadBasic.All"})
USER_READ = frozenset({"User.Read.All", "User.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"})
USER_WRITE = frozenset({"User.ReadWrite.All", "Directory.ReadWrite.All"})


@dataclass(frozen=True, slots=True)
class Context:
    """One call: what was asked, by whom, when, and how the answer is to be written."""

    request: Request
    call: Call
    caller: Claims
    wishes: Preferences
    at: datetime

    @property
    def root(self) -> str:
        """The URL of the version root that the caller used."""
        return self.request.base + VERSION

    @property
    def sees_basics_only(self) -> bool:
        """Whether the caller may read calendars, but not bodies and extensions."""
        return not CALENDAR_READ & self.caller.roles

    def metadata(self, *path: str, select: Sequence[str] = (), entity: bool = False) -> str:
        """The `@odata.context` of an answer; `path` are the parts below the root, keys as `users('id')`."""
        chosen = f"({','.join(select)})" if select else ""
        return f"{self.root}/$metadata#{'/'.join(path)}{chosen}{'/$entity' if entity else ''}"

    def answer(self, status: int, body: dict[str, Json], **headers: str) -> Response:
        """An answer with a body; names in `headers` are written with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.wishes.applied:
            named["Preference-Applied"] = self.wishes.applied
        return Response.of_json(status, body, {"Content-Type": CONTENT_TYPE, **named})


def key(collection: str, value: str) -> str:
    """One part of a context URL, such as `users('id')`."""
    return f"{collection}('{quote(value, safe='')}')"


def within_policy(directory: Directory, route: Route) -> Route:
    """`route`, for applications only that no access policy keeps away from the mailbox of `{user}`.

    Exchange Online docs, "Limiting application permissions to specific Exchange Online mailboxes".
    """

    @wraps(route.handler)
    async def checked(context: Context, **values: str) -> Response:
        application = directory.applications.get(context.caller.client_id)
        if application is not None and (scope := application.mailboxes) is not None:
            account = directory.find(values["user"])
            if account is not None and account.address not in scope:
                raise policy_denied()
        return await route.handler(context, **values)

    return replace(route, handler=checked)


def needs(roles: frozenset[str], denied: GraphError, handler: Handler) -> Handler:
    """`handler`, for applications that were granted one of `roles` only; the others get `denied`."""

    @wraps(handler)
    async def checked(context: Context, **values: str) -> Response:
        if not roles & context.caller.roles:
            raise denied
        return await handler(context, **values)

    return checked

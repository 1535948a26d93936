"""One good call of every operation of Graph: what it takes, and which application permissions are enough for it.

Permissions: Microsoft Graph docs, "Microsoft Graph permissions reference".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from sandbox.directory import Account, Directory, RoomList, known_id
from sandbox.graph.businesses import Appointment, Business, Customer, Service, Staff
from sandbox.graph.routes import BATCH, Graph
from sandbox.http import Json, Route
from tests.sandbox.apps import ALICE, BOB, ROOM, App, an_event
from tests.sandbox.test_graph_series import a_series

CALENDAR_READ = {"Calendars.ReadBasic", "Calendars.ReadBasic.All", "Calendars.Read", "Calendars.ReadWrite"}
EXTENSION_READ = {"Calendars.Read", "Calendars.ReadWrite"}
CALENDAR_WRITE = {"Calendars.ReadWrite"}
DIRECTORY_WRITE = {"User.ReadWrite.All", "Directory.ReadWrite.All"}
DIRECTORY_READ = {"User.Read.All", "Directory.Read.All"} | DIRECTORY_WRITE
PEOPLE_READ = {"User.ReadBasic.All"} | DIRECTORY_READ
SETTINGS_READ = {"MailboxSettings.Read", "MailboxSettings.ReadWrite"}
PLACE_READ = {"Place.Read.All", "Place.ReadWrite.All"}
BOOKINGS_WRITE = {"Bookings.ReadWrite.All", "Bookings.Manage.All"}
BOOKINGS_READ = {"Bookings.Read.All"} | BOOKINGS_WRITE
APPOINTMENTS_WRITE = {"BookingsAppointment.ReadWrite.All"} | BOOKINGS_WRITE
APPOINTMENTS = BOOKINGS_READ | APPOINTMENTS_WRITE
MAIL_READ = {"Mail.ReadBasic", "Mail.ReadBasic.All", "Mail.Read", "Mail.ReadWrite"}
ALL = MAIL_READ | {"Mail.Send"} | CALENDAR_READ | PEOPLE_READ | SETTINGS_READ | PLACE_READ | APPOINTMENTS
DIRECTORY = "Authorization_RequestDenied"
EXCHANGE = "ErrorAccessDenied"
WINDOW = {"startDateTime": "2026-03-01T00:00:00Z", "endDateTime": "2026-03-08T00:00:00Z"}
WHEN = {"dateTime": "2026-03-02T09:00:00", "timeZone": "UTC"}
LATER = {"dateTime": "2026-03-02T17:00:00", "timeZone": "UTC"}
OLD, NEW = {"extensionName": "Com.Contoso.Old"}, {"extensionName": "Com.Contoso.New"}
HEADQUARTERS = "headquarters@contoso.test"
SHOP, BOILER, MEMBER = "shop@contoso.test", known_id("service"), known_id("staff")
AN_APPOINTMENT = {
    "serviceId": BOILER,
    "staffMemberIds": [MEMBER],
    "startDateTime": WHEN,
    "endDateTime": {"dateTime": "2026-03-02T10:00:00", "timeZone": "UTC"},
}
ANSWERS = ("/accept", "/tentativelyAccept", "/decline")
UNBOUNDED = ("/events/delta", "/events/delta()")
"""Refused, whatever the permissions."""


@dataclass(frozen=True, slots=True)
class Specimen:
    """A good call: its body and its query; `roles` are enough one by one, an application without them is `denied`."""

    roles: set[str]
    body: Json = None
    query: Mapping[str, str] = field(default_factory=dict)
    denied: str = EXCHANGE


_ITEMS = {
    ("GET", "/events"): Specimen(CALENDAR_READ),
    ("POST", "/events"): Specimen(CALENDAR_WRITE, an_event()),
    ("GET", "/calendarView"): Specimen(CALENDAR_READ, query=WINDOW),
    ("GET", "/events/{event}"): Specimen(CALENDAR_READ),
    ("PATCH", "/events/{event}"): Specimen(CALENDAR_WRITE, {"subject": "Moved"}),
    ("DELETE", "/events/{event}"): Specimen(CALENDAR_WRITE),
    ("GET", "/events/{event}/instances"): Specimen(CALENDAR_READ, query=WINDOW),
    ("POST", "/events/{event}/cancel"): Specimen(CALENDAR_WRITE, {"comment": "Sorry"}),
    ("POST", "/events/{event}/accept"): Specimen(CALENDAR_WRITE, {"comment": "Fine"}),
    ("POST", "/events/{event}/tentativelyAccept"): Specimen(CALENDAR_WRITE, {"comment": "Maybe"}),
    ("POST", "/events/{event}/decline"): Specimen(CALENDAR_WRITE, {"comment": "Sorry"}),
    ("POST", "/events/{event}/permanentDelete"): Specimen(CALENDAR_WRITE),
    ("POST", "/events/{event}/extensions"): Specimen(CALENDAR_WRITE, NEW),
    ("GET", "/events/{event}/extensions/{extension}"): Specimen(EXTENSION_READ),
    ("PATCH", "/events/{event}/extensions/{extension}"): Specimen(CALENDAR_WRITE, OLD),
    ("DELETE", "/events/{event}/extensions/{extension}"): Specimen(CALENDAR_WRITE),
}
"""Below a mailbox, and below one of its calendars."""
_LETTER = {"subject": "Hello", "toRecipients": [{"emailAddress": {"address": ALICE}}]}
_LETTERS = {
    ("GET", "/messages"): Specimen(MAIL_READ),
    ("GET", "/messages/{message}"): Specimen(MAIL_READ),
    ("PATCH", "/messages/{message}"): Specimen({"Mail.ReadWrite"}, {"isRead": True}),
    ("DELETE", "/messages/{message}"): Specimen({"Mail.ReadWrite"}),
    ("POST", "/messages/{message}/move"): Specimen({"Mail.ReadWrite"}, {"destinationId": "deleteditems"}),
}
"""Below a mailbox, and below one of its folders."""
A_USER: dict[str, Json] = {
    "accountEnabled": True,
    "displayName": "New",
    "mailNickname": "new",
    "userPrincipalName": "new@contoso.test",
    "passwordProfile": {"password": "not kept"},
}
_ZONES = "/users/{user}/outlook/supportedTimeZones"
_SCHEDULES = {"schedules": [BOB], "startTime": WHEN, "endTime": LATER}
SPECIMENS: dict[tuple[str, str], Specimen] = {
    **{
        (method, f"/users/{{user}}{calendar}{path}"): specimen
        for calendar in ("", "/calendar", "/calendars/{calendar}")
        for (method, path), specimen in _ITEMS.items()
    },
    **{
        (method, f"/users/{{user}}{folder}{path}"): specimen
        for folder in ("", "/mailFolders/{folder}")
        for (method, path), specimen in _LETTERS.items()
    },
    ("GET", "/users/{user}/mailFolders/{folder}"): Specimen(MAIL_READ),
    ("GET", "/users/{user}/mailFolders/{folder}/messages/delta"): Specimen(MAIL_READ),
    ("GET", "/users/{user}/mailFolders/{folder}/messages/delta()"): Specimen(MAIL_READ),
    ("POST", "/users/{user}/sendMail"): Specimen({"Mail.Send"}, {"message": _LETTER}),
    ("GET", "/users/{user}/calendarView/delta"): Specimen(CALENDAR_READ, query=WINDOW),
    ("GET", "/users/{user}/calendarView/delta()"): Specimen(CALENDAR_READ, query=WINDOW),
    ("GET", "/users/{user}/calendar"): Specimen(CALENDAR_READ),
    ("GET", "/users/{user}/calendars"): Specimen(CALENDAR_READ),
    ("POST", "/users/{user}/calendars"): Specimen(CALENDAR_WRITE, {"name": "Rota"}),
    ("GET", "/users/{user}/calendars/{calendar}"): Specimen(CALENDAR_READ),
    ("POST", "/users/{user}/calendar/getSchedule"): Specimen(CALENDAR_READ, _SCHEDULES),
    ("GET", "/users/{user}/mailboxSettings"): Specimen(SETTINGS_READ),
    ("GET", "/users/{user}/mailboxSettings/{name}"): Specimen(SETTINGS_READ),
    **{
        ("GET", _ZONES + standard): Specimen(DIRECTORY_READ, denied=DIRECTORY)
        for standard in (
            *("", "()", "(TimeZoneStandard=microsoft.graph.timeZoneStandard'Windows')"),
            "(TimeZoneStandard=microsoft.graph.timeZoneStandard'Iana')",
        )
    },
    ("POST", "/users/{user}/translateExchangeIds"): Specimen(
        DIRECTORY_READ,
        {"inputIds": ["A"], "sourceIdType": "restId", "targetIdType": "restImmutableEntryId"},
        {},
        DIRECTORY,
    ),
    ("GET", "/users"): Specimen(PEOPLE_READ, denied=DIRECTORY),
    ("POST", "/users"): Specimen(DIRECTORY_WRITE, A_USER, denied=DIRECTORY),
    ("GET", "/users/delta"): Specimen(DIRECTORY_READ, denied=DIRECTORY),
    ("GET", "/users/delta()"): Specimen(DIRECTORY_READ, denied=DIRECTORY),
    ("GET", "/users/{user}"): Specimen(PEOPLE_READ, denied=DIRECTORY),
    ("PATCH", "/users/{user}"): Specimen(DIRECTORY_WRITE, {"jobTitle": "Fitter"}, denied=DIRECTORY),
    ("DELETE", "/users/{user}"): Specimen(DIRECTORY_WRITE, denied=DIRECTORY),
    ("GET", "/places/{place}"): Specimen(PLACE_READ),
    ("GET", "/solutions/bookingBusinesses"): Specimen(BOOKINGS_READ, query={"query": "Field"}),
    **{
        (method, f"/solutions/bookingBusinesses/{{business}}{path}"): specimen
        for (method, path), specimen in {
            ("GET", ""): Specimen(APPOINTMENTS),
            ("GET", "/services"): Specimen(APPOINTMENTS),
            ("GET", "/services/{service}"): Specimen(APPOINTMENTS),
            ("GET", "/staffMembers"): Specimen(APPOINTMENTS),
            ("GET", "/staffMembers/{member}"): Specimen(APPOINTMENTS),
            ("GET", "/customers"): Specimen(BOOKINGS_READ),
            ("GET", "/customers/{customer}"): Specimen(BOOKINGS_READ),
            ("POST", "/customers"): Specimen(APPOINTMENTS_WRITE, {"displayName": "Proseware"}),
            ("GET", "/appointments"): Specimen(APPOINTMENTS),
            ("POST", "/appointments"): Specimen(APPOINTMENTS_WRITE, AN_APPOINTMENT),
            ("GET", "/appointments/{appointment}"): Specimen(APPOINTMENTS),
            ("PATCH", "/appointments/{appointment}"): Specimen(APPOINTMENTS_WRITE, {"customerName": "Proseware"}),
            ("DELETE", "/appointments/{appointment}"): Specimen(APPOINTMENTS_WRITE),
            ("POST", "/appointments/{appointment}/cancel"): Specimen(BOOKINGS_WRITE, {"cancellationMessage": "Sorry"}),
            ("GET", "/calendarView"): Specimen(
                BOOKINGS_READ, query={"start": "2026-03-01T00:00:00Z", "end": "2026-03-08T00:00:00Z"}
            ),
            ("POST", "/getStaffAvailability"): Specimen(
                BOOKINGS_READ, {"staffIds": [MEMBER], "startDateTime": WHEN, "endDateTime": LATER}
            ),
        }.items()
    },
    **{
        ("GET", f"/places/{path}"): Specimen(PLACE_READ)
        for namespace in ("microsoft.graph", "graph")
        for path in (f"{namespace}.room", f"{namespace}.roomlist", f"{{place}}/{namespace}.roomlist/rooms")
    },
}


def operations(graph: Graph) -> Iterator[tuple[Route, Specimen]]:
    """Every operation that has permissions of its own, and a good call of it."""
    for route in graph.operations:
        if not route.template.startswith((BATCH, "/subscriptions")) and not route.template.endswith(UNBOUNDED):
            yield route, SPECIMENS[route.method, route.template]


def a_business() -> Business:
    """A business with one service, Alice to do it, a customer, and an appointment on Wednesday afternoon."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    boiler = Service(id=BOILER, name="Boiler service", duration=timedelta(hours=1), staff=(MEMBER,))
    appointment = Appointment(
        id="AAMkAppointment",
        service=boiler,
        staff=(MEMBER,),
        start=datetime(2026, 3, 4, 13, tzinfo=UTC),
        end=datetime(2026, 3, 4, 14, tzinfo=UTC),
        before=timedelta(),
        after=timedelta(),
        details={"customers": []},
        created_at=at,
        changed_at=at,
    )
    return Business(
        address=SHOP,
        name="Contoso Field Service",
        services={BOILER: boiler},
        staff={MEMBER: Staff(id=MEMBER, name="Alice Adams", address=ALICE)},
        customers={known_id("customer"): Customer(id=known_id("customer"), name="Proseware", created_at=at)},
        appointments={appointment.id: appointment},
    )


async def path_of(route: Route, graph: Graph, app: App, directory: Directory) -> str:
    """The path of a good call; what it needs is there afterwards, whatever calls were made before."""
    people = {address: known_id("user", address) for address in (ALICE, BOB)}
    for address, account_id in people.items():
        directory.add(Account(id=account_id, name="Somebody", address=address))
    if (new := directory.find(A_USER["userPrincipalName"])) is not None:
        directory.remove(new.id)
    directory.room_lists["list"] = RoomList(id="list", name="All", address=HEADQUARTERS, rooms=(ROOM,))
    calendars = graph.state.mailbox(directory.accounts[people[ALICE]]).calendars
    for extra in [calendar.id for calendar in calendars.values() if not calendar.is_default]:
        del calendars[extra]
    graph.businesses[SHOP] = a_business()
    if "message" in route.template:
        everything = App(app.cloud, app.tokens, directory.register(replace(app.application, graph_roles=tuple(ALL))))
        sent = await everything.call("POST", f"/users/{BOB}/sendMail", {"message": _LETTER})
        assert sent.status == 202, sent.body
    letters = graph.letters(ALICE)
    event = await a_series(app, extensions=[OLD])
    if route.template.endswith(ANSWERS):
        await app.create(BOB, subject="Invitation", attendees=[{"emailAddress": {"address": ALICE}}])
        event = (await app.list(f"/users/{ALICE}/events", filter="subject eq 'Invitation'"))[0]
    values = {
        "{folder}": "inbox",
        "{message}": next((one.item_id for one in letters.of("inbox")), ""),
        "{business}": SHOP,
        "{service}": BOILER,
        "{member}": MEMBER,
        "{customer}": known_id("customer"),
        "{appointment}": "AAMkAppointment",
        "{user}": ALICE,
        "{calendar}": next(iter(calendars)),
        "{event}": event["id"],
        "{extension}": OLD["extensionName"],
        "{name}": "timeZone",
        "{place}": HEADQUARTERS,
    }
    path = route.template
    for name, value in values.items():
        path = path.replace(name, value)
    return path

"""Microsoft Bookings: businesses, what they offer and by whom, customers, appointments.

Microsoft Graph docs, "bookingBusiness resource type" and the operations there: the id of a business is its address;
businesses are listed by id and name only, 500 at most and on one page; an update and a cancellation answer 204 without
a body; a window is called `start` and `end`; there is neither change tracking nor a notification. Unverified: the codes
of refusals, that a cancelled appointment is in no list any more, that its own lead time holds for a cancellation, that
deleting answers 204, and everything about the events in the calendars of the staff.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from http import HTTPStatus
from types import MappingProxyType
from urllib.parse import quote

from sandbox.cloud import Cloud
from sandbox.directory import Directory
from sandbox.graph.appointments import appointment_json, check_lead, check_rules, read_appointment
from sandbox.graph.business_json import business_json, customer_json, service_json, staff_json
from sandbox.graph.businesses import Appointment, Business, Busy, Customer, Staff, availability
from sandbox.graph.errors import (
    calendar_access_denied,
    invalid_parameter,
    item_not_found,
    not_modelled,
    resource_not_found,
)
from sandbox.graph.events import Content, in_window
from sandbox.graph.locations import read_address
from sandbox.graph.odata import read_options
from sandbox.graph.operations import (
    APPOINTMENTS_READ,
    APPOINTMENTS_WRITE,
    BOOKINGS_READ,
    BOOKINGS_WRITE,
    Context,
    needs,
)
from sandbox.graph.state import State
from sandbox.graph.times import Moment, read_instant, read_moment
from sandbox.graph.values import read_choice, read_list, read_members, read_parameters, read_string
from sandbox.graph.writing import read_object
from sandbox.http import Json, Response, Route
from sandbox.settings import flag

RULES, CANCEL, EVENTS = "graph.bookings_rules", "graph.bookings_cancel", "graph.bookings_events"
SETTINGS = {
    RULES: flag(
        default=True, meaning="whether Bookings holds applications to hours, lead times, lengths and double bookings"
    ),
    CANCEL: flag(default=True, meaning="whether an application may cancel appointments; an older page denies it"),
    EVENTS: flag(default=True, meaning="whether appointments are events in the calendars of their staff"),
}
MOST_BUSINESSES = 500
ROOT = "/solutions/bookingBusinesses"
_FREE = frozenset({"free", "workingElsewhere", "unknown"})
_CUSTOMER_MEMBERS = frozenset({"displayName", "emailAddress", "phones", "addresses"})
_PHONE = frozenset({"type", "number", "region", "language"})
PHONES = ("home", "business", "mobile", "other", "assistant", "homeFax", "businessFax", "otherFax", "pager", "radio")


class Bookings:
    """The operations on businesses; `businesses` is by address."""

    def __init__(self, cloud: Cloud, directory: Directory, state: State) -> None:
        """Appointments go to the mailboxes of `state`; the settings are declared to `cloud`."""
        self._cloud = cloud
        self._directory = directory
        self._state = state
        self.businesses: dict[str, Business] = {}
        cloud.settings.declare(SETTINGS)

    def routes(self) -> list[Route]:
        """The operations with the permissions that they need."""
        denied = calendar_access_denied()
        reads, writes = partial(needs, APPOINTMENTS_READ, denied), partial(needs, APPOINTMENTS_WRITE, denied)
        reads_all, cancels = partial(needs, BOOKINGS_READ, denied), partial(needs, BOOKINGS_WRITE, denied)
        one = f"{ROOT}/{{business}}"
        appointments, customers = f"{one}/appointments", f"{one}/customers"
        return [
            Route("GET", ROOT, reads_all(self._list)),
            Route("GET", one, reads(self._get)),
            Route("GET", f"{one}/services", reads(self._services)),
            Route("GET", f"{one}/services/{{service}}", reads(self._service)),
            Route("GET", f"{one}/staffMembers", reads(self._staff)),
            Route("GET", f"{one}/staffMembers/{{member}}", reads(self._member)),
            Route("GET", customers, reads_all(self._customers)),
            Route("POST", customers, writes(self._create_customer)),
            Route("GET", f"{customers}/{{customer}}", reads_all(self._customer)),
            Route("GET", appointments, reads(self._appointments)),
            Route("POST", appointments, writes(self._create)),
            Route("GET", f"{appointments}/{{appointment}}", reads(self._appointment)),
            Route("PATCH", f"{appointments}/{{appointment}}", writes(self._update)),
            Route("DELETE", f"{appointments}/{{appointment}}", writes(self._delete)),
            Route("POST", f"{appointments}/{{appointment}}/cancel", cancels(self._cancel)),
            Route("GET", f"{one}/calendarView", reads_all(self._view)),
            Route("POST", f"{one}/getStaffAvailability", reads_all(self._availability)),
        ]

    async def _list(self, context: Context) -> Response:
        options = read_options(context.request, frozenset(), others=frozenset({"query"}))
        wanted = options.others.get("query", "").lower()
        found = [one for one in self.businesses.values() if wanted in one.name.lower() or wanted in one.address.lower()]
        value = [{"id": one.address, "displayName": one.name} for one in found[:MOST_BUSINESSES]]
        return context.answer(200, {"@odata.context": _metadata(context), "value": value})

    async def _get(self, context: Context, business: str) -> Response:
        found = self._begin(context, business)
        return context.answer(200, {"@odata.context": f"{_metadata(context)}/$entity", **business_json(found)})

    async def _services(self, context: Context, business: str) -> Response:
        found = self._begin(context, business)
        return _many(context, found, "services", map(service_json, found.services.values()))

    async def _service(self, context: Context, business: str, service: str) -> Response:
        found = self._begin(context, business)
        return _one(context, found, "services", service_json(_known(found.services, service)))

    async def _staff(self, context: Context, business: str) -> Response:
        found = self._begin(context, business)
        return _many(context, found, "staffMembers", (staff_json(found, one) for one in found.staff.values()))

    async def _member(self, context: Context, business: str, member: str) -> Response:
        found = self._begin(context, business)
        return _one(context, found, "staffMembers", staff_json(found, _known(found.staff, member)))

    async def _customers(self, context: Context, business: str) -> Response:
        found = self._begin(context, business)
        return _many(context, found, "customers", map(customer_json, found.customers.values()))

    async def _customer(self, context: Context, business: str, customer: str) -> Response:
        found = self._begin(context, business)
        return _one(context, found, "customers", customer_json(_known(found.customers, customer)))

    async def _create_customer(self, context: Context, business: str) -> Response:
        found = self._begin(context, business)
        kind = "microsoft.graph.bookingCustomer"
        body = read_members(kind, "body", read_object(context.request), _CUSTOMER_MEMBERS)
        phones, addresses = (
            tuple(read(name, one) for one in read_list(name, body.get(name, [])))
            for name, read in (("phones", _phone), ("addresses", read_address))
        )
        made = Customer(
            id=self._cloud.new_id(),
            name=read_string("displayName", body.get("displayName")),
            address=body.get("emailAddress") and read_string("emailAddress", body["emailAddress"]),
            phones=phones,
            addresses=addresses,
            created_at=context.at,
        )
        found.customers[made.id] = made
        return _one(context, found, "customers", customer_json(made), status=HTTPStatus.CREATED)

    async def _appointments(self, context: Context, business: str) -> Response:
        found = self._begin(context, business)
        return _many(context, found, "appointments", _listed(found.appointments.values()))

    async def _view(self, context: Context, business: str) -> Response:
        found = self._business(context, business)
        options = read_options(context.request, frozenset(), others=frozenset({"start", "end"}))
        bounds = []
        for name in ("start", "end"):
            try:
                bounds.append(read_instant(options.others.get(name, "").replace(" ", "+")))
            except ValueError:
                raise invalid_parameter(f"The value of parameter '{name}' is missing or invalid.") from None
        there = (one for one in found.appointments.values() if one.start < bounds[1] and one.end > bounds[0])
        return _many(context, found, "calendarView", _listed(there))

    async def _appointment(self, context: Context, business: str, appointment: str) -> Response:
        found = self._begin(context, business)
        return _one(context, found, "appointments", appointment_json(_item(found, appointment), by_id=True))

    async def _create(self, context: Context, business: str) -> Response:
        found = self._begin(context, business)
        wanted = read_appointment(found, read_object(context.request), None, self._state.new_item_id(), context.at)
        self._check(found, wanted, context.at)
        made = self._save(found, wanted, context.at)
        return _one(context, found, "appointments", appointment_json(made, by_id=True), status=HTTPStatus.CREATED)

    async def _update(self, context: Context, business: str, appointment: str) -> Response:
        found = self._begin(context, business)
        before = _item(found, appointment)
        wanted = read_appointment(found, read_object(context.request), before, "", context.at)
        self._check(found, wanted, context.at)
        self._save(found, wanted, context.at)
        return Response(status=HTTPStatus.NO_CONTENT)

    async def _delete(self, context: Context, business: str, appointment: str) -> Response:
        found = self._begin(context, business)
        self._remove(found, _item(found, appointment), context.at)
        return Response(status=HTTPStatus.NO_CONTENT)

    async def _cancel(self, context: Context, business: str, appointment: str) -> Response:
        if not self._cloud.settings[CANCEL]:
            raise calendar_access_denied()
        found = self._begin(context, business)
        gone = _item(found, appointment)
        body = read_parameters("cancel", read_object(context.request), frozenset({"cancellationMessage"}))
        read_string("cancellationMessage", body.get("cancellationMessage", ""))
        if self._cloud.settings[RULES]:
            check_lead(gone.service.policy or found.policy, gone, context.at)
        self._remove(found, gone, context.at)
        return Response(status=HTTPStatus.NO_CONTENT)

    async def _availability(self, context: Context, business: str) -> Response:
        """The page calls the list `staffAvailabilityItem`, the metadata a plain collection: that is what comes here."""
        found = self._begin(context, business)
        known = frozenset({"staffIds", "startDateTime", "endDateTime"})
        body = read_parameters("getStaffAvailability", read_object(context.request), known)
        begin, end = (read_moment(body.get(name), name).at for name in ("startDateTime", "endDateTime"))
        if end <= begin:
            raise invalid_parameter("The value of 'endDateTime' must be after 'startDateTime'.")
        members = [
            _known(found.staff, read_string("staffIds", one)) for one in read_list("staffIds", body.get("staffIds"))
        ]
        value = [
            {
                "staffId": one.id,
                "availabilityItems": availability(found, one, self._personal(found, one, begin, end), begin, end),
            }
            for one in members
        ]
        metadata = context.metadata("Collection(microsoft.graph.staffAvailabilityItem)")
        return context.answer(200, {"@odata.context": metadata, "value": value})

    def _begin(self, context: Context, business: str) -> Business:
        read_options(context.request, frozenset())
        return self._business(context, business)

    def _business(self, context: Context, business: str) -> Business:
        if context.wishes.zone != "UTC":
            raise not_modelled("another time zone than UTC in Bookings")
        found = self.businesses.get(business.lower())
        if found is None:
            raise resource_not_found(f"business '{business}'")
        return found

    def _check(self, business: Business, wanted: Appointment, at: datetime) -> None:
        if self._cloud.settings[RULES]:
            check_rules(business, wanted, at)

    def _save(self, business: Business, wanted: Appointment, at: datetime) -> Appointment:
        """Enter an appointment, and tell the calendars of those who have or had it."""
        events = dict[str, str]()
        for member in dict.fromkeys((*wanted.events, *wanted.staff)):
            account = self._directory.find(business.staff[member].address)
            if account is None or not account.has_mailbox:
                continue
            mailbox = self._state.mailbox(account)
            event = mailbox.events.get(wanted.events.get(member, ""))
            if member not in wanted.staff:
                if event is not None:
                    self._state.delete(mailbox, event, at)
            elif event is not None:
                self._state.update(mailbox, event, _content(wanted, event.content), at)
                events[member] = event.item_id
            elif member not in wanted.events and self._cloud.settings[EVENTS]:
                organizer = (business.name, business.address)
                calendar, content = mailbox.default_calendar, _content(wanted, None)
                made = self._state.create(mailbox, calendar, content, at, organizer=organizer, response="accepted")
                events[member] = made.item_id
        saved = replace(wanted, events=MappingProxyType(events))
        business.appointments[saved.id] = saved
        return saved

    def _personal(self, business: Business, member: Staff, begin: datetime, end: datetime) -> list[Busy]:
        """When somebody's own events make him busy."""
        account = self._directory.find(member.address)
        if not member.minds_calendar or account is None or not account.has_mailbox:
            return []
        mailbox = self._state.mailbox(account)
        own = {one.events.get(member.id) for one in business.appointments.values()}
        return [
            (event.content.start.at, event.content.end.at, "")
            for event in in_window(mailbox.events_of(mailbox.default_calendar), begin, end)
            if event.item_id not in own and event.content.show_as not in _FREE and not event.content.is_cancelled
        ]

    def _remove(self, business: Business, gone: Appointment, at: datetime) -> None:
        self._save(business, replace(gone, staff=()), at)
        del business.appointments[gone.id]


def _phone(name: str, value: Json) -> Json:
    members = read_members("microsoft.graph.phone", name, value, _PHONE)
    return {
        part: read_choice(part, text, PHONES) if part == "type" else read_string(part, text)
        for part, text in members.items()
    }


def _content(wanted: Appointment, before: Content | None) -> Content:
    """An appointment as an event."""
    start, end = Moment(wanted.start, "UTC"), Moment(wanted.end, "UTC")
    subject = wanted.details.get("serviceName", wanted.service.name)
    kept = before or Content(start=start, end=end)
    return replace(kept, start=start, end=end, subject=subject)


def _known[T](found: Mapping[str, T], item_id: str) -> T:
    if item_id.lower() not in found:
        raise item_not_found()
    return found[item_id.lower()]


def _item(business: Business, appointment: str) -> Appointment:
    if appointment not in business.appointments:
        raise item_not_found()
    return business.appointments[appointment]


def _listed(appointments: Iterable[Appointment]) -> Iterable[dict[str, Json]]:
    return (appointment_json(one, by_id=False) for one in appointments)


def _metadata(context: Context) -> str:
    return f"{context.root}/solutions/$metadata#bookingBusinesses"


def _many(context: Context, business: Business, name: str, written: Iterable[dict[str, Json]]) -> Response:
    metadata = f"{_metadata(context)}('{quote(business.address, safe='')}')/{name}"
    return context.answer(200, {"@odata.context": metadata, "value": list(written)})


def _one(
    context: Context, business: Business, name: str, written: dict[str, Json], *, status: int = HTTPStatus.OK
) -> Response:
    metadata = f"{_metadata(context)}('{quote(business.address, safe='')}')/{name}/$entity"
    return context.answer(status, {"@odata.context": metadata, **written})

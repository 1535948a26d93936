"""Appointments: JSON becomes an appointment or is refused, and the other way round.

Microsoft Graph docs, "bookingAppointment resource type", "Create bookingAppointment", "Business rules for Microsoft
Bookings": an application names the staff, keeps to business hours, lead time, the longest time ahead and the length of
the service, and does not double-book. Customers of a service for several must exist; others are silently left out.
Observed live: 400 "Invalid Staff", and a 500 without words for a second appointment at the same time. Unverified: the
wording and the codes of everything else; that the number of those who come is counted here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from types import MappingProxyType

from sandbox.graph.businesses import Appointment, Business, Policy, Service, is_open
from sandbox.graph.errors import GraphError, bad_request, failed_validation, not_modelled, unknown_property
from sandbox.graph.locations import read_location
from sandbox.graph.times import read_moment, wall_time, write_instant, write_wall
from sandbox.graph.values import (
    read_choice,
    read_duration,
    read_flag,
    read_integer,
    read_list,
    read_members,
    read_number,
    read_string,
    write_duration,
)
from sandbox.http import Json

TYPE = "microsoft.graph.bookingAppointment"
CUSTOMER = "microsoft.graph.bookingCustomerInformation"
NOBODY = "00000000-0000-0000-0000-000000000000"
BY_ID_ONLY = ("reminders", "serviceNotes")
"""Not in lists."""
PRICES = ("undefined", "fixedPrice", "startingAt", "hourly", "free", "priceVaries", "callUs", "notSet")
_CUSTOMER = frozenset(
    {"customerId", "name", "emailAddress", "phone", "notes", "location", "timeZone", "customQuestionAnswers"}
)
_REMINDER = frozenset({"message", "offset", "recipients"})
type Details = dict[str, Json]


def _reminders(name: str, value: Json) -> Json:
    written = []
    for item in read_list(name, value):
        members = read_members("microsoft.graph.bookingReminder", name, item, _REMINDER)
        written.append(
            {
                "offset": write_duration(read_duration("offset", members.get("offset"))),
                "recipients": read_choice(
                    "recipients", members.get("recipients"), ("allAttendees", "staff", "customer")
                ),
                "message": read_string("message", members.get("message")),
            }
        )
    return written


def _customers(name: str, value: Json) -> Json:
    found = []
    for item in read_list(name, value):
        one: dict[str, Json] = {}
        for member, inner in read_members(CUSTOMER, name, item, _CUSTOMER).items():
            if member == "customQuestionAnswers":
                if inner != []:
                    raise not_modelled("answers to questions in an appointment")
                one[member] = []
            else:
                one[member] = dict(read_location(member, inner)) if member == "location" else read_string(member, inner)
        found.append(one)
    return found


def _location(name: str, value: Json) -> Json:
    return dict(read_location(name, value))


_DETAILS: dict[str, Callable[[str, Json], Json]] = {
    **dict.fromkeys(("customerTimeZone", "customerName", "customerEmailAddress", "customerPhone"), read_string),
    **dict.fromkeys(("customerNotes", "serviceName", "serviceNotes", "additionalInformation"), read_string),
    "appointmentLabel": read_string,
    **dict.fromkeys(("smsNotificationsEnabled", "isLocationOnline", "optOutOfCustomerEmail"), read_flag),
    "isCustomerAllowedToManageBooking": read_flag,
    "price": read_number,
    "priceType": lambda name, value: read_choice(name, value, PRICES),
    "serviceLocation": _location,
    "maximumAttendeesCount": read_integer,
    "reminders": _reminders,
    "customers": _customers,
}
_OWN = frozenset({"startDateTime", "endDateTime", "preBuffer", "postBuffer", "serviceId", "staffMemberIds"})
_COUNTED = "filledAttendeesCount"
_READ_ONLY = frozenset({"id", "duration", "createdDateTime", "lastUpdatedDateTime", "selfServiceAppointmentId"}) | {
    "joinWebUrl",
    "anonymousJoinWebUrl",
}


def read_appointment(
    business: Business, body: Mapping[str, Json], before: Appointment | None, new_id: str, at: datetime
) -> Appointment:
    """The appointment that a POST asks for, or what becomes of `before` by a PATCH. Raises `GraphError`."""
    written = {name: value for name, value in body.items() if "@" not in name}
    given = {name: value for name, value in written.items() if value is not None}
    details: Details = dict(before.details) if before is not None else {}
    for name, value in written.items():
        if name in _DETAILS:
            details.pop(name, None)
            details |= {name: _DETAILS[name](name, value)} if value is not None else {}
        elif value is None and name in _OWN and before is not None:
            raise not_modelled(f"taking '{name}' from an appointment")
        elif value is not None and name in _READ_ONLY:
            raise not_modelled(f"the read-only property '{name}' of an appointment in a body")
        elif name not in {*_OWN, *_READ_ONLY, _COUNTED}:
            raise unknown_property(name, TYPE)
    service = _service(business, given, before)
    staff = _staff(business, given, before)
    start, end = (_time(given, name, before) for name in ("startDateTime", "endDateTime"))
    if end <= start:
        raise failed_validation()
    details["customers"] = _known_customers(business, details)
    if given.get(_COUNTED, len(details["customers"])) != len(details["customers"]):
        raise not_modelled(f"a number of '{_COUNTED}' that is not that of its customers")
    usual = (before.before, before.after) if before is not None else (service.before, service.after)
    buffers = [
        read_duration(name, given[name]) if name in given else span
        for name, span in zip(("preBuffer", "postBuffer"), usual, strict=True)
    ]
    return Appointment(
        id=before.id if before is not None else new_id,
        service=service,
        staff=staff,
        start=start,
        end=end,
        before=buffers[0],
        after=buffers[1],
        details=MappingProxyType(details),
        created_at=before.created_at if before is not None else at,
        changed_at=at,
        events=before.events if before is not None else MappingProxyType({}),
    )


def _time(given: Mapping[str, Json], name: str, before: Appointment | None) -> datetime:
    if name in given:
        return read_moment(given[name], name).at
    if before is None:
        raise failed_validation()
    return before.start if name == "startDateTime" else before.end


def _service(business: Business, given: Mapping[str, Json], before: Appointment | None) -> Service:
    if "serviceId" not in given and before is not None:
        return before.service
    service = business.services.get(read_string("serviceId", given.get("serviceId", "")).lower())
    if service is None:
        raise bad_request("Invalid Service")
    return service


def _staff(business: Business, given: Mapping[str, Json], before: Appointment | None) -> tuple[str, ...]:
    if "staffMemberIds" not in given and before is not None:
        return before.staff
    ids = read_list("staffMemberIds", given.get("staffMemberIds", []))
    found = tuple(dict.fromkeys(read_string("staffMemberIds", one).lower() for one in ids))
    if not found or not set(found) <= business.staff.keys():
        raise bad_request("Invalid Staff")
    return found


def _known_customers(business: Business, details: Details) -> Json:
    customers: list[Json] = details.get("customers", [])
    if details.get("maximumAttendeesCount", 1) > 1:
        customers = [one for one in customers if one.get("customerId") in business.customers]
    return [one if "customerId" in one else {**one, "customerId": NOBODY} for one in customers]


def check_rules(business: Business, wanted: Appointment, at: datetime) -> None:
    """Hold an application to the rules of the business. Raises `GraphError`."""
    policy = wanted.service.policy or business.policy
    broken = {
        "staff cannot be selected": not policy.allow_staff_selection,
        "it does not last as long as its service": wanted.end - wanted.start != wanted.service.duration,
        "it is outside of business hours": not is_open(
            business, *(wall_time(moment, business.zone) for moment in (wanted.start, wanted.end))
        ),
        "it is too far ahead": wanted.start - at > policy.advance,
    }
    for why, is_broken in broken.items():
        if is_broken:
            raise bad_request(f"The appointment is not allowed: {why}.")
    check_lead(policy, wanted, at)
    others = [
        one for one in business.appointments.values() if one.id != wanted.id and set(one.staff) & set(wanted.staff)
    ]
    if any(one.blocks(wanted.start - wanted.before, wanted.end + wanted.after) for one in others):
        raise GraphError(HTTPStatus.INTERNAL_SERVER_ERROR, "UnknownError", "")


def check_lead(policy: Policy, wanted: Appointment, at: datetime) -> None:
    """Refuse what comes too late, cancelling too. Raises `GraphError`."""
    if wanted.start - at < policy.lead:
        raise bad_request("The appointment is not allowed: it is too soon.")


def appointment_json(appointment: Appointment, *, by_id: bool) -> dict[str, Json]:
    """The appointment as answers show it; lists show less than what is asked for by its id."""
    details, service = appointment.details, appointment.service
    written: dict[str, Json] = {
        "id": appointment.id,
        "selfServiceAppointmentId": NOBODY,
        "additionalInformation": details.get("additionalInformation"),
        "isLocationOnline": details.get("isLocationOnline", False),
        "joinWebUrl": None,
        "smsNotificationsEnabled": details.get("smsNotificationsEnabled", False),
        "isCustomerAllowedToManageBooking": details.get("isCustomerAllowedToManageBooking"),
        "createdDateTime": write_instant(appointment.created_at),
        "lastUpdatedDateTime": write_instant(appointment.changed_at),
        "appointmentLabel": details.get("appointmentLabel"),
        "customerName": details.get("customerName"),
        "customerEmailAddress": details.get("customerEmailAddress"),
        "customerPhone": details.get("customerPhone"),
        "customerNotes": details.get("customerNotes"),
        "customerTimeZone": details.get("customerTimeZone"),
        "serviceId": service.id,
        "serviceName": details.get("serviceName", service.name),
        "duration": write_duration(appointment.end - appointment.start),
        "preBuffer": write_duration(appointment.before),
        "postBuffer": write_duration(appointment.after),
        "priceType": details.get("priceType", "fixedPrice" if service.price else "notSet"),
        "price": details.get("price", service.price),
        "serviceNotes": details.get("serviceNotes"),
        "optOutOfCustomerEmail": details.get("optOutOfCustomerEmail", False),
        "anonymousJoinWebUrl": None,
        "staffMemberIds": list(appointment.staff),
        "startDateTime": _instant(appointment.start),
        "endDateTime": _instant(appointment.end),
        "serviceLocation": details.get("serviceLocation"),
        "reminders": details.get("reminders", []),
        "maximumAttendeesCount": details.get("maximumAttendeesCount", service.most_attendees),
        "filledAttendeesCount": len(details["customers"]),
        "customers": [{"@odata.type": f"#{CUSTOMER}", **one} for one in details["customers"]],
    }
    return written if by_id else {name: value for name, value in written.items() if name not in BY_ID_ONLY}


def _instant(at: datetime) -> Json:
    """Times of appointments end in a `Z`, other than those of events."""
    written = write_wall(at.replace(tzinfo=None), "UTC")
    return {**written, "dateTime": written["dateTime"] + "Z"}

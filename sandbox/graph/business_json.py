"""Businesses as answers: what they offer, by whom, for whom (Microsoft Graph docs, "bookingBusiness resource type")."""

from __future__ import annotations

from sandbox.graph.businesses import DAYS, WORKDAYS, Business, Customer, Policy, Service, Staff
from sandbox.graph.times import write_instant
from sandbox.graph.values import write_duration
from sandbox.http import Json


def _hours(business: Business) -> list[Json]:
    slot = {
        "startTime": f"{business.opens:%H:%M:%S}.0000000",
        "endTime": f"{business.closes:%H:%M:%S}.0000000",
    }
    return [{"day": day, "timeSlots": [slot] if day in WORKDAYS else []} for day in DAYS]


def _policy_json(policy: Policy) -> Json:
    return {
        "timeSlotInterval": write_duration(policy.slot),
        "minimumLeadTime": write_duration(policy.lead),
        "maximumAdvance": write_duration(policy.advance),
        "sendConfirmationsToOwner": True,
        "allowStaffSelection": policy.allow_staff_selection,
    }


def business_json(business: Business) -> dict[str, Json]:
    """A business."""
    return {
        "id": business.address,
        "displayName": business.name,
        "businessType": "",
        "phone": "",
        "email": business.address,
        "webSiteUrl": "",
        "defaultCurrencyIso": "EUR",
        "isPublished": False,
        "publicUrl": None,
        "languageTag": "en-US",
        "address": None,
        "businessHours": _hours(business),
        "schedulingPolicy": _policy_json(business.policy),
    }


def service_json(service: Service) -> dict[str, Json]:
    """A service."""
    return {
        "id": service.id,
        "displayName": service.name,
        "defaultDuration": write_duration(service.duration),
        "defaultLocation": None,
        "defaultPrice": service.price,
        "defaultPriceType": "fixedPrice" if service.price else "notSet",
        "defaultReminders": [],
        "description": "",
        "languageTag": "en-US",
        "isHiddenFromCustomers": False,
        "isLocationOnline": False,
        "isAnonymousJoinEnabled": False,
        "smsNotificationsEnabled": False,
        "maximumAttendeesCount": service.most_attendees,
        "notes": "",
        "preBuffer": write_duration(service.before),
        "postBuffer": write_duration(service.after),
        "staffMemberIds": list(service.staff),
        "webUrl": None,
        "schedulingPolicy": _policy_json(service.policy) if service.policy is not None else None,
    }


def staff_json(business: Business, one: Staff) -> dict[str, Json]:
    """A member of the staff."""
    return {
        "@odata.type": "#microsoft.graph.bookingStaffMember",
        "id": one.id,
        "displayName": one.name,
        "emailAddress": one.address,
        "availabilityIsAffectedByPersonalCalendar": one.minds_calendar,
        "role": "guest",
        "timeZone": business.zone,
        "useBusinessHours": True,
        "isEmailNotificationEnabled": False,
        "membershipStatus": "active",
        "workingHours": _hours(business),
    }


def customer_json(one: Customer) -> dict[str, Json]:
    """A customer."""
    return {
        "@odata.type": "#microsoft.graph.bookingCustomer",
        "id": one.id,
        "displayName": one.name,
        "emailAddress": one.address,
        "addresses": [dict(address) for address in one.addresses],
        "phones": [dict(phone) for phone in one.phones],
        "createdDateTime": write_instant(one.created_at),
        "lastUpdatedDateTime": write_instant(one.created_at),
    }

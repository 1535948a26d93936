"""Notifications with resource data: the selected properties of the event, for the subscriber's eyes only.

Microsoft Graph docs, "Change notifications for Outlook resources in Microsoft Graph": the resource names the properties
by `$select`; `body`, `$top`, `$skip`, `$orderby` and `$expand` of anything but extended properties are not allowed; the
data are written with the types of their properties, as in the sample there. Unverified: the wording of refusals, that
the data of a deleted event are left out, and how deep types are written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sandbox.directory import Account
from sandbox.graph.encryption import Recipient
from sandbox.graph.errors import invalid_subscription
from sandbox.graph.events import Content, Event
from sandbox.graph.filters import Predicate
from sandbox.graph.odata import read_options
from sandbox.graph.preferences import Preferences
from sandbox.graph.reading import PROPERTY_FIELDS, event_json, expanded, selected
from sandbox.graph.times import Moment
from sandbox.http import Json, Request

LONGEST_NAME = 128
EXTENDED = "singleValueExtendedProperties"
FORBIDDEN_OPTIONS = frozenset({"$top", "$skip", "$orderby"})
FORBIDDEN_PROPERTIES = frozenset({"body", "uniquebody"})
OBJECTS: Mapping[str, str] = {
    **dict.fromkeys(("start", "end"), "#microsoft.graph.dateTimeTimeZone"),
    "address": "#microsoft.graph.physicalAddress",
    "coordinates": "#microsoft.graph.outlookGeoCoordinates",
    "emailAddress": "#microsoft.graph.emailAddress",
    "location": "#microsoft.graph.location",
    "recurrence": "#microsoft.graph.patternedRecurrence",
    "organizer": "#microsoft.graph.recipient",
    "responseStatus": "#microsoft.graph.responseStatus",
}
VALUES: Mapping[str, str] = {
    **dict.fromkeys(("createdDateTime", "lastModifiedDateTime"), "#DateTimeOffset"),
    "attendees": "#Collection(microsoft.graph.attendee)",
    "categories": "#Collection(String)",
    "importance": "#microsoft.graph.importance",
    "locations": "#Collection(microsoft.graph.location)",
    "onlineMeetingProvider": "#microsoft.graph.onlineMeetingProviderType",
    "sensitivity": "#microsoft.graph.sensitivity",
    "showAs": "#microsoft.graph.freeBusyStatus",
    "type": "#microsoft.graph.eventType",
    EXTENDED: "#Collection(microsoft.graph.singleValueLegacyExtendedProperty)",
}
"""Types of properties that JSON does not show by itself."""

_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_NOBODY = Account(id="", name="", address="")
_SAMPLE = Event(
    item_id="",
    folder_id="",
    calendar_id="",
    ical_uid="",
    created_at=_LONG_AGO,
    modified_at=_LONG_AGO,
    change_key="",
    original_start_zone="UTC",
    original_end_zone="UTC",
    content=Content(start=Moment(_LONG_AGO, "UTC"), end=Moment(_LONG_AGO, "UTC")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rich:
    """Which data a subscriber gets, and how only it can read them."""

    select: tuple[str, ...]
    expand: tuple[str, Predicate] | None
    recipient: Recipient

    def content(self, event: Event, account: Account, *, immutable_ids: bool) -> bytes:
        """The data as the subscriber will read them."""
        wishes = Preferences(immutable_ids=immutable_ids)
        everything = event_json(event, account, wishes, basics_only=False)
        asked = {name.lower() for name in self.select}
        shown = {name: value for name, value in selected(everything, self.select).items() if name.lower() in asked}
        if self.expand is not None:
            shown |= expanded(event, *self.expand)
        return json.dumps(_typed(shown), ensure_ascii=False).encode()


def read_rich(resource: str, body: Mapping[str, Json]) -> Rich:
    """What a subscription with resource data asks for. Raises `GraphError` for what it may not or cannot."""
    request = Request.of("GET", "/" + resource.lstrip("/"))
    for name, _ in request.query:
        if name.lower() in FORBIDDEN_OPTIONS:
            raise invalid_subscription(f"The query option '{name}' is not allowed in a resource with its data.")
    expandable = {EXTENDED.lower(): PROPERTY_FIELDS}
    options = read_options(request, frozenset({"$select", "$expand"}), expandable=expandable)
    if not options.select:
        raise invalid_subscription("The resource must name the properties by $select to include its data.")
    if forbidden := sorted(name for name in options.select if name.lower() in FORBIDDEN_PROPERTIES):
        raise invalid_subscription(f"The property '{forbidden[0]}' cannot be included in notifications.")
    selected(event_json(_SAMPLE, _NOBODY, Preferences(), basics_only=False), options.select)
    return Rich(select=options.select, expand=options.expand, recipient=read_recipient(body))


def read_recipient(body: Mapping[str, Json]) -> Recipient:
    """The certificate in a body. Raises `GraphError`."""
    text, name = body.get("encryptionCertificate"), body.get("encryptionCertificateId")
    if not isinstance(text, str) or not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
        raise invalid_subscription(
            "Resource data take an encryptionCertificate and an encryptionCertificateId of at most 128 characters."
        )
    try:
        return Recipient.of(text, name)
    except ValueError as wrong:
        raise invalid_subscription(f"The property 'encryptionCertificate' cannot be used: {wrong}.") from None


def _typed(values: Mapping[str, Json]) -> dict[str, Json]:
    """The same with the types that JSON does not show: inside of objects, before everything else."""
    typed: dict[str, Json] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            typed[name] = {**({"@odata.type": OBJECTS[name]} if name in OBJECTS else {}), **_typed(value)}
            continue
        if name in VALUES:
            typed[f"{name}@odata.type"] = VALUES[name]
        items = value if isinstance(value, list) else ()
        typed[name] = [_typed(one) if isinstance(one, dict) else one for one in items] if items else value
    return typed

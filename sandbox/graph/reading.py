"""Events as answers: the JSON of an event, and what `$select`, `$filter` and `$orderby` may name in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from urllib.parse import quote

from sandbox.directory import Account
from sandbox.graph.errors import bad_request, not_modelled
from sandbox.graph.events import Attendee, Content, Event
from sandbox.graph.extensions import EXTENSION_FIELDS, extension_json
from sandbox.graph.filters import Collection, Field, Fields, Kind, Predicate
from sandbox.graph.online import meeting_json
from sandbox.graph.preferences import Preferences
from sandbox.graph.recurrence import recurrence_json
from sandbox.graph.times import Moment, write_instant, write_wall
from sandbox.graph.writing import EVENT, property_id
from sandbox.http import Json

HIDDEN_FROM_BASIC = ("body", "bodyPreview")
"""What `Calendars.ReadBasic` does not show (Microsoft Graph docs, "Microsoft Graph permissions reference")."""

WEB_LINK = "https://outlook.office365.com/owa/?itemid={}&exvsurl=1&path=/calendar/item"
NEVER = "0001-01-01T00:00:00Z"
_NO_PLACE = {"displayName": "", "locationType": "default", "uniqueIdType": "unknown", "address": {}, "coordinates": {}}
_NOT_MODELLED = frozenset({"attachments", "calendar", "extensions", "instances"}) | {
    "multiValueExtendedProperties",
    "singleValueExtendedProperties",
}
CANCELLED, EXCEPTIONS = "cancelledOccurrences", "exceptionOccurrences"
"""What a series tells of its occurrences, when it is asked for by its id and by these names."""


def event_json(event: Event, account: Account, wishes: Preferences, *, basics_only: bool) -> dict[str, Json]:
    """The event, properties in the order of the live service; `basics_only` for readers who may see no more."""
    content = event.content
    shown_id = event.id_for(immutable=wishes.immutable_ids)
    name, address = event.organizer or (account.name, account.address)
    written: dict[str, Json] = {
        "@odata.etag": event.etag,
        "id": shown_id,
        "createdDateTime": write_instant(event.created_at),
        "lastModifiedDateTime": write_instant(event.modified_at),
        "changeKey": event.change_key,
        "categories": list(content.categories),
        "originalStartTimeZone": event.original_start_zone,
        "originalEndTimeZone": event.original_end_zone,
        "iCalUId": event.ical_uid,
        "reminderMinutesBeforeStart": content.reminder_minutes,
        "isReminderOn": content.is_reminder_on,
        "hasAttachments": False,
        "hideAttendees": content.hide_attendees,
        "subject": content.subject,
        "bodyPreview": content.body.preview,
        "importance": content.importance,
        "sensitivity": content.sensitivity,
        "isAllDay": content.is_all_day,
        "isCancelled": content.is_cancelled,
        "isDraft": False,
        "isOrganizer": event.organizer is None,
        "responseRequested": content.response_requested,
        "seriesMasterId": None if event.master is None else event.master.id_for(immutable=wishes.immutable_ids),
        "transactionId": content.transaction_id,
        "showAs": content.show_as,
        "type": event.type,
        "webLink": WEB_LINK.format(quote(shown_id, safe="")),
        "onlineMeetingUrl": None,
        **meeting_json(content),
        "allowNewTimeProposals": content.allow_new_time_proposals,
        "responseStatus": _status(event.response, event.responded_at),
        "body": _body(content, wishes),
        "start": time_json(content.start, content, wishes),
        "end": time_json(content.end, content, wishes),
        "location": _location(content.locations),
        "locations": [_one_of_locations(place) for place in content.locations],
        "recurrence": None if content.recurrence is None else recurrence_json(content.recurrence),
        "attendees": [_attendee(one) for one in content.attendees],
        "organizer": {"emailAddress": {"name": name, "address": address}},
    }
    if event.original_start is not None:
        written["originalStart"] = write_instant(event.original_start)
    if content.transaction_id is None:
        del written["transactionId"]  # shown only if an application has set it
    if basics_only:
        written = {name: value for name, value in written.items() if name not in HIDDEN_FROM_BASIC}
    return written


def selected(written: dict[str, Json], select: Sequence[str]) -> dict[str, Json]:
    """What `$select` leaves of an event; id and etag always stay. Raises `GraphError` for an unknown property."""
    if not select:
        return written
    names = {name.lower(): name for name in (*written, "transactionId", "originalStart", *HIDDEN_FROM_BASIC)}
    wanted = {"@odata.etag", "id"}
    for name in select:
        if (name in (*_NOT_MODELLED, CANCELLED, EXCEPTIONS) and name not in written) or "/" in name:
            raise not_modelled(f"$select={name}")
        if name.lower() not in names:
            raise bad_request(f"Could not find a property named '{name}' on type '{EVENT}'.")
        wanted.add(names[name.lower()])
    return {name: value for name, value in written.items() if name in wanted}


def expanded(event: Event, name: str, wanted: Predicate) -> dict[str, Json]:
    """The extended properties or extensions that `$expand` asks for; the member is missing when the event has none."""
    if name == "extensions":
        extensions = [extension_json(pair) for pair in event.content.extensions.items() if wanted(pair)]
        return {"extensions": extensions} if extensions else {}
    found = [{"id": pair[0], "value": pair[1]} for pair in event.content.properties.items() if wanted(pair)]
    return {"singleValueExtendedProperties": found} if found else {}


def _attendee(one: Attendee) -> Json:
    return {
        "type": one.type,
        "status": _status(one.response, one.answered_at),
        "emailAddress": {"name": one.name, "address": one.address},
    }


def _status(response: str, at: datetime | None) -> Json:
    return {"response": response, "time": NEVER if at is None else write_instant(at)}


def cancelled_occurrences(event: Event, shown_id: str) -> list[Json]:
    """The ids by which a series calls what was cancelled of it."""
    return [f"OID.{shown_id}.{day.isoformat()}" for day in sorted(event.cancelled)]


def _body(content: Content, wishes: Preferences) -> Json:
    if wishes.text_bodies:
        return {"contentType": "text", "content": content.body.text}
    return {"contentType": "html", "content": content.body.html}


def time_json(moment: Moment, content: Content, wishes: Preferences) -> Json:
    """A time of an event. An all-day event lies on its days in every zone; everything else is converted."""
    wall = moment.wall if content.is_all_day else Moment(moment.at, wishes.zone).wall
    return write_wall(wall, wishes.zone)


def _location(places: Sequence[Mapping[str, Json]]) -> Json:
    if not places:
        return _NO_PLACE
    name = "; ".join(place.get("displayName", "") for place in places)
    defaults = {"displayName": name, "locationType": "default", "uniqueId": name, "uniqueIdType": "private"}
    return {**defaults, **(places[0] if len(places) == 1 else {})}


def _one_of_locations(place: Mapping[str, Json]) -> Json:
    return {"displayName": "", "locationType": "default", "uniqueIdType": "unknown", **place}


def _categories(event: Event) -> Iterator[str]:
    return iter(event.content.categories)


PROPERTY_FIELDS: dict[str, Field] = {
    "id": Field(Kind.EXACT, lambda pair: pair[0], property_id),
    "value": Field(Kind.TEXT, lambda pair: pair[1]),
}

EXPANDABLE = {"singlevalueextendedproperties": PROPERTY_FIELDS, "extensions": EXTENSION_FIELDS}
"""What `$expand` may name, and what its filter may."""

EVENT_FIELDS = Fields(
    EVENT,
    {
        "subject": Field(Kind.TEXT, lambda event: event.content.subject),
        "start/datetime": Field(Kind.INSTANT, lambda event: event.content.start.at),
        "end/datetime": Field(Kind.INSTANT, lambda event: event.content.end.at),
        "createddatetime": Field(Kind.INSTANT, lambda event: event.created_at),
        "lastmodifieddatetime": Field(Kind.INSTANT, lambda event: event.modified_at),
        "importance": Field(Kind.TEXT, lambda event: event.content.importance),
        "sensitivity": Field(Kind.TEXT, lambda event: event.content.sensitivity),
        "showas": Field(Kind.TEXT, lambda event: event.content.show_as),
        "type": Field(Kind.TEXT, lambda event: event.type),
        "icaluid": Field(Kind.EXACT, lambda event: event.ical_uid),
        "isallday": Field(Kind.FLAG, lambda event: event.content.is_all_day),
        "iscancelled": Field(Kind.FLAG, lambda event: event.content.is_cancelled),
        "isorganizer": Field(Kind.FLAG, lambda event: event.organizer is None),
        "isonlinemeeting": Field(Kind.FLAG, lambda event: event.content.is_online),
        "isreminderon": Field(Kind.FLAG, lambda event: event.content.is_reminder_on),
        "reminderminutesbeforestart": Field(Kind.NUMBER, lambda event: event.content.reminder_minutes),
    },
    {
        "singlevalueextendedproperties": Collection(lambda event: event.content.properties.items(), PROPERTY_FIELDS),
        "extensions": Collection(lambda event: event.content.extensions.items(), EXTENSION_FIELDS),
        "categories": Collection(_categories, {"": Field(Kind.TEXT, lambda category: category)}),
    },
)

"""Bodies of POST and PATCH: JSON becomes the content of an event, or is refused.

Properties and their rules: Microsoft Graph docs, "event resource type", "Create event", "Update event". A property that
the type does not have is refused as the service does; one that the sandbox does not model is refused with 501, unless
it says nothing (no attachments).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import time
from types import MappingProxyType

from sandbox.graph.bodies import Body, read_html, read_text
from sandbox.graph.errors import failed_validation, invalid_request, not_modelled, unknown_property, unreadable_body
from sandbox.graph.events import NOT_ANSWERED, Attendee, Content
from sandbox.graph.extensions import read_extensions
from sandbox.graph.locations import read_location
from sandbox.graph.recurrence import read_recurrence
from sandbox.graph.times import read_moment, wall_time
from sandbox.graph.values import not_a, read_choice, read_flag, read_integer, read_list, read_members, read_string
from sandbox.http import Json, Request

EVENT = "microsoft.graph.event"
PROVIDERS = ("unknown", "skypeForBusiness", "skypeForConsumer", "teamsForBusiness")
LONGEST_SUBJECT, MOST_ATTENDEES = 255, 500

_SAYS_NOTHING: dict[str, tuple[Json, ...]] = {
    "onlineMeeting": (),
    "onlineMeetingUrl": (),
    "attachments": ([],),
    "extensions": ([],),
    "multiValueExtendedProperties": ([],),
    "isDraft": (False,),
}
READ_ONLY = frozenset(
    {
        "id",
        "createdDateTime",
        "lastModifiedDateTime",
        "changeKey",
        "bodyPreview",
        "iCalUId",
        "hasAttachments",
        "isCancelled",
        "isOrganizer",
        "originalStart",
        "originalStartTimeZone",
        "originalEndTimeZone",
        "organizer",
        "responseStatus",
        "seriesMasterId",
        "type",
        "webLink",
        "calendar",
        "cancelledOccurrences",
        "exceptionOccurrences",
        "instances",
    }
)
_PROPERTY_ID = re.compile(
    r"(?P<type>\w+) (?:\{(?P<guid>[0-9a-f-]{36})\} (?P<by>Name|Id) (?P<name>.+)|0x[0-9a-f]+)", re.IGNORECASE
)

type Changes = dict[str, Json]
type Reader = Callable[[str, Json], Changes]


def read_object(request: Request) -> dict[str, Json]:
    """The body of a write as a JSON object. Raises `GraphError`."""
    if "json" not in request.header("content-type").lower():
        raise invalid_request(
            "Write requests (excluding DELETE) must contain the Content-Type header declaration of a JSON body."
        )
    try:
        value = request.json()
    except ValueError:
        raise unreadable_body("The request body is not valid JSON.") from None
    if not isinstance(value, dict):
        raise unreadable_body("The request body must be a JSON object.")
    return value


def new_content(body: Mapping[str, Json]) -> Content:
    """The content that a POST asks for. Raises `GraphError`."""
    changes = _changes({name: value for name, value in body.items() if name != "extensions"})
    if "start" not in changes or "end" not in changes:
        raise failed_validation()
    properties = changes.pop("properties", {})
    extensions = read_extensions(body.get("extensions") or [])
    content = Content(**changes, properties=MappingProxyType(properties), extensions=extensions)
    return _checked(content, is_new_series=content.recurrence is not None)


def changed_content(content: Content, body: Mapping[str, Json]) -> Content:
    """The content after a PATCH: what `body` does not name stays. Raises `GraphError`."""
    changes = _changes(body)
    if changes.get("transaction_id", content.transaction_id) != content.transaction_id:
        raise not_modelled("changing 'transactionId', which the service does not allow")
    if content.is_online and not changes.get("is_online", True):
        raise not_modelled("taking the online meeting from an event")
    if content.recurrence is not None and changes.get("recurrence", content.recurrence) is None:
        raise not_modelled("taking the recurrence from a series")
    if "properties" in changes:
        changes["properties"] = MappingProxyType({**content.properties, **changes["properties"]})
    changed = replace(content, **changes)
    if "attendees" in changes or (changed.start.at, changed.end.at) != (content.start.at, content.end.at):
        changed = replace(changed, attendees=_with_answers(content, changed))
    return _checked(changed, is_new_series=bool(changes.get("recurrence")))


def _with_answers(before: Content, after: Content) -> tuple[Attendee, ...]:
    """Who is invited has answered as before; for another time nobody has."""
    moved = (before.start.at, before.end.at) != (after.start.at, after.end.at)
    known = {} if moved else {one.address.lower(): one for one in before.attendees}
    nobody = Attendee(address="", name="")
    found = []
    for one in after.attendees:
        answer = known.get(one.address.lower(), nobody)
        found.append(replace(one, response=answer.response, answered_at=answer.answered_at))
    return tuple(found)


def _changes(body: Mapping[str, Json]) -> Changes:
    changes: Changes = {}
    # `location` replaces all `locations`, whichever stands first in the body
    for name, value in sorted(body.items(), key=lambda item: item[0] == "location"):
        if name.startswith("@odata."):
            continue
        if name in _SAYS_NOTHING:
            if value is not None and value not in _SAYS_NOTHING[name]:
                raise not_modelled(f"event property '{name}'")
        elif name in READ_ONLY:
            raise not_modelled(f"the read-only event property '{name}' in a body")
        elif name in _READERS:
            changes |= _READERS[name](name, value)
        else:
            raise unknown_property(name, EVENT)
    if changes.pop("provider", "unknown") not in ("unknown", "teamsForBusiness") and changes.get("is_online"):
        raise not_modelled("online meetings but those of Teams")
    return changes


def _checked(content: Content, *, is_new_series: bool) -> Content:
    """`content` unless its times contradict each other or its recurrence; its zone is that of its start if not said."""
    start, end = content.start, content.end
    if end.at < start.at:
        raise failed_validation()
    if content.is_all_day:
        at_midnight = start.wall.time() == end.wall.time() == time()
        if not at_midnight or start.zone != end.zone or start.at == end.at:
            raise failed_validation()
    if (recurrence := content.recurrence) is None:
        return content
    recurrence = replace(recurrence, zone=recurrence.zone or start.zone)
    if content.is_all_day and recurrence.zone != start.zone:
        raise not_modelled("an all-day series with a zone other than that of its start")
    if wall_time(start.at, recurrence.zone).date() != recurrence.first:
        if is_new_series:
            raise failed_validation()
        raise not_modelled("moving a series to another day without its recurrence")
    return replace(content, recurrence=recurrence)


def _flag(field: str) -> Reader:
    return lambda name, value: {field: read_flag(name, value)}


def _choice(field: str, *choices: str) -> Reader:
    return lambda name, value: {field: read_choice(name, value, choices)}


def _subject(name: str, value: Json) -> Changes:
    """Exchange cuts a long subject and marks the cut (observed: nylas/exchangelib#68)."""
    if value is None:
        return {"subject": None}
    text = read_string(name, value)
    return {"subject": text if len(text) <= LONGEST_SUBJECT else text[: LONGEST_SUBJECT - 3] + "..."}


def _attendees(name: str, value: Json) -> Changes:
    """Whom the organizer invites; how they answer is not his to say."""
    found = {}
    for item in read_list(name, value):
        members = read_members("microsoft.graph.attendee", name, item, frozenset({"type", "emailAddress", "status"}))
        status = members.get("status", {})
        if isinstance(status, dict) and status.get("response", NOT_ANSWERED) != NOT_ANSWERED:
            raise not_modelled("the answer of an attendee in the organizer's body")
        mail = read_members(
            "microsoft.graph.emailAddress", "emailAddress", members.get("emailAddress"), frozenset({"name", "address"})
        )
        address = read_string("address", mail.get("address"))
        kind = read_choice("type", members.get("type", "required"), ("required", "optional", "resource"))
        found[address.lower()] = Attendee(
            address=address, name=read_string("name", mail.get("name", address)), type=kind
        )
    if len(found) > MOST_ATTENDEES:
        raise invalid_request(f"An event cannot have more than {MOST_ATTENDEES} attendees.")
    return {"attendees": tuple(found.values())}


def _online(name: str, value: Json) -> Changes:
    """O365 sends a string, and lives with the real service."""
    if isinstance(value, str) and value.lower() in ("true", "false"):
        value = value.lower() == "true"
    return {} if value is None else {"is_online": read_flag(name, value)}


def _provider(name: str, value: Json) -> Changes:
    """Without an online meeting a provider means nothing; O365 always names one."""
    return {} if value is None else {"provider": read_choice(name, value, PROVIDERS)}


def _minutes(name: str, value: Json) -> Changes:
    return {"reminder_minutes": read_integer(name, value)}


def _categories(name: str, value: Json) -> Changes:
    return {"categories": tuple(read_string(name, item) for item in read_list(name, value))}


def _transaction_id(name: str, value: Json) -> Changes:
    return {"transaction_id": None if value is None else read_string(name, value)}


def read_body(name: str, value: Json) -> Body:
    """An `itemBody`. Raises `GraphError`."""
    if value is None:
        return Body()
    if not isinstance(value, dict):
        raise not_a("microsoft.graph.itemBody", name, value)
    for key in value:
        if key not in ("contentType", "content", "@odata.type"):
            raise unknown_property(key, "microsoft.graph.itemBody")
    kind = read_choice("contentType", value.get("contentType", "text"), ("text", "html"))
    content = read_string("content", value.get("content") or "")
    return read_html(content) if kind == "html" else read_text(content)


def _location(name: str, value: Json) -> Changes:
    found = {} if value is None else read_location(name, value)
    return {"locations": (found,) if found.get("displayName") else ()}


def _locations(name: str, value: Json) -> Changes:
    return {"locations": tuple(read_location(name, item) for item in read_list(name, value))}


def _properties(name: str, value: Json) -> Changes:
    found: dict[str, str] = {}
    for item in read_list(name, value):
        if not isinstance(item, dict) or set(item) - {"id", "value", "@odata.type"}:
            raise not_a("microsoft.graph.singleValueLegacyExtendedProperty", name, item)
        identity, value = property_id(read_string("id", item.get("id"))), item.get("value")
        found[identity] = _PROPERTY_VALUES[identity.partition(" ")[0]](value)
    return {"properties": found}


def _boolean_value(value: Json) -> str:
    return read_choice("value", str(value) if isinstance(value, bool) else value, ("true", "false"))


def _integer_value(value: Json) -> str:
    text = read_string("value", str(value) if type(value) is int else value)
    if not re.fullmatch(r"-?\d+", text):
        raise not_a("Integer", "value", value)
    return text


_PROPERTY_VALUES: dict[str, Callable[[Json], str]] = {
    "String": lambda value: read_string("value", value),
    "Boolean": _boolean_value,
    "Integer": _integer_value,
}


def property_id(text: str) -> str:
    """The stored form of an extended property's id: the GUID in lower case, a name as it is. Raises `GraphError`."""
    found = _PROPERTY_ID.fullmatch(text)
    if found is None:
        raise invalid_request(
            "PropertyId values may only be in one of the following formats: 'MapiPropertyType namespaceGuid Name "
            "propertyName', 'MapiPropertyType namespaceGuid Id propertyId' or 'MapiPropertyType propertyTag'."
        )
    kind = found["type"].capitalize()
    if kind not in _PROPERTY_VALUES or found["guid"] is None:
        raise not_modelled(f"the extended property '{text}'; known are {', '.join(_PROPERTY_VALUES)} with a GUID")
    return f"{kind} {{{found['guid'].lower()}}} {found['by'].capitalize()} {found['name']}"


_READERS: dict[str, Reader] = {
    "subject": _subject,
    "body": lambda name, value: {"body": read_body(name, value)},
    "start": lambda name, value: {"start": read_moment(value, name)},
    "end": lambda name, value: {"end": read_moment(value, name)},
    "location": _location,
    "locations": _locations,
    "categories": _categories,
    "attendees": _attendees,
    "isOnlineMeeting": _online,
    "onlineMeetingProvider": _provider,
    "importance": _choice("importance", "low", "normal", "high"),
    "sensitivity": _choice("sensitivity", "normal", "personal", "private", "confidential"),
    "showAs": _choice("show_as", "free", "tentative", "busy", "oof", "workingElsewhere", "unknown"),
    "isAllDay": _flag("is_all_day"),
    "isReminderOn": _flag("is_reminder_on"),
    "reminderMinutesBeforeStart": _minutes,
    "responseRequested": _flag("response_requested"),
    "allowNewTimeProposals": _flag("allow_new_time_proposals"),
    "hideAttendees": _flag("hide_attendees"),
    "transactionId": _transaction_id,
    "recurrence": lambda name, value: {"recurrence": None if value is None else read_recurrence(name, value)},
    "singleValueExtendedProperties": _properties,
}

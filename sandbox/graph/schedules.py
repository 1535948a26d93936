"""`getSchedule`: when people and rooms are free, from what stands in their calendars.

Microsoft Graph docs, "calendar: getSchedule", "Get free/busy schedule of Outlook calendar users and resources": 20
schedules at most, slots of 5 to 1440 minutes; what nobody has is an error inside of a successful answer; private items
show no subject. Unverified: the code of refusals, that all items of a default calendar count but cancelled ones, how
the status of a slot is chosen when items overlap, and the longest period, which is a setting.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sandbox.cloud import Cloud
from sandbox.directory import Directory
from sandbox.graph.errors import calendar_access_denied, invalid_parameter
from sandbox.graph.events import Event, in_window
from sandbox.graph.finding import find_mailbox
from sandbox.graph.mailboxes import working_hours
from sandbox.graph.odata import read_options
from sandbox.graph.operations import CALENDAR_READ, CALENDAR_READ_BASIC, Context, needs
from sandbox.graph.reading import time_json
from sandbox.graph.state import State
from sandbox.graph.times import read_moment
from sandbox.graph.values import read_integer, read_list, read_parameters, read_string
from sandbox.graph.writing import read_object
from sandbox.http import Json, Response, Route
from sandbox.settings import count

LONGEST = "graph.schedule_days"
SETTINGS = {LONGEST: count(42, "the longest period of getSchedule in days; newer pages are said to allow 62")}
MOST_SCHEDULES, MOST_ITEMS = 20, 1000
SHORTEST_SLOT, USUAL_SLOT, LONGEST_SLOT = 5, 30, 1440
DIGITS = {"free": "0", "tentative": "1", "busy": "2", "oof": "3", "workingElsewhere": "4", "unknown": "0"}
_BY_WEIGHT = ("unknown", "free", "workingElsewhere", "tentative", "busy", "oof")
_OPEN = frozenset({"normal", "personal"})
_MEMBERS = frozenset({"schedules", "startTime", "endTime", "availabilityViewInterval"})


class Schedules:
    """Answers `getSchedule`."""

    def __init__(self, cloud: Cloud, directory: Directory, state: State) -> None:
        """Look into the mailboxes of `state`; the setting is declared to `cloud`."""
        self._cloud = cloud
        self._directory = directory
        self._state = state
        cloud.settings.declare(SETTINGS)

    def routes(self) -> list[Route]:
        """The function with the permissions that it needs."""
        asked = needs(CALENDAR_READ | CALENDAR_READ_BASIC, calendar_access_denied(), self._get)
        return [Route("POST", "/users/{user}/calendar/getSchedule", asked)]

    async def _get(self, context: Context, user: str) -> Response:
        read_options(context.request, frozenset())
        find_mailbox(self._directory, self._state, user)
        body = read_parameters("getSchedule", read_object(context.request), _MEMBERS)
        names = [read_string("schedules", name) for name in read_list("schedules", body.get("schedules"))]
        begin, end = (read_moment(body.get(name), name).at for name in ("startTime", "endTime"))
        minutes = read_integer("availabilityViewInterval", body.get("availabilityViewInterval", USUAL_SLOT))
        if not 1 <= len(names) <= MOST_SCHEDULES:
            raise invalid_parameter(f"The number of schedules must be between 1 and {MOST_SCHEDULES}.")
        if not SHORTEST_SLOT <= minutes <= LONGEST_SLOT:
            raise invalid_parameter("The value of parameter 'availabilityViewInterval' must be between 5 and 1440.")
        if not timedelta() < end - begin <= timedelta(days=self._cloud.settings[LONGEST]):
            raise invalid_parameter(
                "The requested time duration specified for FreeBusyViewOptions.TimeWindow is invalid."
            )
        value = [self._schedule(context, name, begin, end, timedelta(minutes=minutes)) for name in names]
        metadata = context.metadata("Collection(microsoft.graph.scheduleInformation)")
        return context.answer(200, {"@odata.context": metadata, "value": value})

    def _schedule(self, context: Context, name: str, begin: datetime, end: datetime, slot: timedelta) -> Json:
        account = self._directory.find(name)
        if account is None or not account.has_mailbox:
            why = f"Unable to resolve e-mail address {name} to an Active Directory object."
            return {"scheduleId": name, "error": {"message": why, "responseCode": "ErrorMailRecipientNotFound"}}
        mailbox = self._state.mailbox(account)
        there = in_window(mailbox.events_of(mailbox.default_calendar), begin, end)
        events = sorted(
            (event for event in there if not event.content.is_cancelled), key=lambda event: event.content.start.at
        )
        if len(events) > MOST_ITEMS:
            return {"scheduleId": name, "error": {"message": "Too many calendar entries.", "responseCode": "5006"}}
        return {
            "scheduleId": name,
            "availabilityView": _view(events, begin, end, slot),
            "scheduleItems": [_item(context, event) for event in events],
            "workingHours": working_hours(account),
        }


def _view(events: list[Event], begin: datetime, end: datetime, slot: timedelta) -> str:
    """One digit for every slot: the weightiest status in it."""
    digits = []
    while begin < end:
        over = [one.content for one in events if one.content.start.at < begin + slot and one.content.end.at > begin]
        digits.append(DIGITS[max((content.show_as for content in over), key=_BY_WEIGHT.index, default="free")])
        begin += slot
    return "".join(digits)


def _item(context: Context, event: Event) -> dict[str, Json]:
    content = event.content
    shown: dict[str, Json] = {"isPrivate": content.sensitivity not in _OPEN, "status": content.show_as}
    if not shown["isPrivate"]:
        place = "; ".join(place.get("displayName", "") for place in content.locations)
        shown |= {"subject": content.subject, "location": place}
    return {
        **shown,
        "start": time_json(content.start, content, context.wishes),
        "end": time_json(content.end, content, context.wishes),
    }

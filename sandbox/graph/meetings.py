"""Meetings: the copies of an event in the calendars of those who are invited, and their answers.

Microsoft Graph docs, "Create event", "event: accept", "event: decline", "event: tentativelyAccept", "Schedule repeating
appointments"; Exchange docs, "Set-CalendarProcessing", defaults: a room accepts when it is free in its booking window,
else it declines; its copy has the organizer's name as subject, no body and is not private; cancelled meetings stay. All
copies have the original's `iCalUId`. A copy knows nothing of extended properties and of the answers of others.

Unverified: that copies of people stay when a meeting is cancelled, too, that a moved meeting is answered anew, what a
declined one leaves, and the wording of refusals. Everything happens as soon as the call is answered, in the real
service within minutes. A room takes a series as a whole and does not look at it again when one occurrence is moved. One
occurrence can be neither answered nor have attendees of its own; nobody gets mail.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial, wraps
from http import HTTPStatus
from types import MappingProxyType

from sandbox.cloud import Cloud
from sandbox.directory import Account, Directory
from sandbox.graph.bodies import Body
from sandbox.graph.errors import invalid_request, not_modelled
from sandbox.graph.events import NOT_ANSWERED, Attendee, Content, Differences, Event, goes_beyond, in_window
from sandbox.graph.odata import read_options
from sandbox.graph.operations import Context
from sandbox.graph.state import Change, ChangeKind, Mailbox, State
from sandbox.graph.values import read_flag, read_parameters, read_string
from sandbox.graph.writing import read_object
from sandbox.http import Handler, Response, Route
from sandbox.settings import count

WINDOW = "graph.room_window_days"
SETTINGS = {WINDOW: count(180, "how many days ahead a room accepts meetings")}
ACCEPTED, TENTATIVE, DECLINED = "accepted", "tentativelyAccepted", "declined"
WAITING = "notResponded"
SHOWN_AS = {ACCEPTED: "busy", TENTATIVE: "tentative", WAITING: "tentative"}
CANCELLED = "Canceled: "
_TIMES = frozenset({"start", "end", "is_all_day"})
_TOLD = _TIMES | {"subject", "body", "locations", "importance", "sensitivity"}
_FREE = frozenset({"free", "workingElsewhere", "unknown"})
_MEMBERS = frozenset({"comment", "sendResponse", "proposedNewTime"})

type Find = Callable[[str, str, str | None], tuple[Mailbox, Event]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Invitation:
    """One attendee `one` of the meeting `event`, with his mailbox and the copy in it."""

    organizer: Account
    event: Event
    one: Attendee
    box: Mailbox
    copy: Event | None


class Meetings:
    """Keeps the copies of meetings, and takes the answers of people; rooms answer by themselves."""

    def __init__(self, cloud: Cloud, directory: Directory, state: State) -> None:
        """Hear of all changes in `state`; the setting is declared to `cloud`."""
        self._settings = cloud.settings
        self._directory = directory
        self._state = state
        self._copies: dict[str, dict[str, str]] = {}
        self._waiting: deque[tuple[Mailbox, Change]] = deque()
        cloud.settings.declare(SETTINGS)

    def operations(self, find: Find, writes: Callable[[Handler], Handler]) -> list[tuple[str, str, Handler]]:
        """Methods and paths below a mailbox or a calendar; `find` gives the event of a user."""
        return [
            ("POST", f"/events/{{event}}/{name}", writes(partial(self._answer, find, response)))
            for name, response in (("accept", ACCEPTED), ("tentativelyAccept", TENTATIVE), ("decline", DECLINED))
        ]

    def reset(self) -> None:
        """Forget all meetings."""
        self._copies.clear()
        self._waiting.clear()

    def hear(self, mailbox: Mailbox, change: Change) -> None:
        """An item has changed: what follows from that is done when the call has been answered."""
        event = change.event
        if event.organizer is None and (event.content.attendees or event.ical_uid in self._copies):
            self._waiting.append((mailbox, change))

    def settled(self, route: Route) -> Route:
        """`route`, after which copies are what they must be: whoever wrote sees his own event as it was before."""

        @wraps(route.handler)
        async def served(context: Context, **values: str) -> Response:
            answer = await route.handler(context, **values)
            while self._waiting:
                self._follow(*self._waiting.popleft())
            return answer

        return replace(route, handler=served)

    def _follow(self, mailbox: Mailbox, change: Change) -> None:
        """Have the copies of a meeting as its original is now."""
        event = change.event
        copies = self._copies.setdefault(event.ical_uid, {})
        ended = change.kind is ChangeKind.DELETED or event.content.is_cancelled
        invited = () if ended else event.content.attendees
        accounts = [self._directory.find(one.address) for one in invited]
        for account_id in copies.keys() - {account.id for account in accounts if account is not None}:
            self._call_off(account_id, copies[account_id], change.at)
        answers = list(invited)
        for place, (one, account) in enumerate(zip(invited, accounts, strict=True)):
            if account is None or not account.has_mailbox or account.id == mailbox.account.id:
                continue
            box = self._state.mailbox(account)
            copy = box.events.get(copies.get(account.id, ""))
            invitation = _Invitation(organizer=mailbox.account, event=event, one=one, box=box, copy=copy)
            if account.is_room:
                answers[place] = self._answer_for_room(invitation, change.at)
            elif copy is not None or (one.response == NOT_ANSWERED and account.id not in copies):
                self._keep(invitation, change.at)
        live = mailbox.events.get(event.item_id)
        if live is not None and tuple(answers) != live.content.attendees:
            self._state.update(mailbox, live, replace(live.content, attendees=tuple(answers)), change.at)

    def _answer_for_room(self, invitation: _Invitation, at: datetime) -> Attendee:
        one = invitation.one
        if one.response == NOT_ANSWERED:
            response = ACCEPTED if self._is_free(invitation, at) else DECLINED
            one = replace(one, response=response, answered_at=at)
        if one.response == ACCEPTED:
            self._keep(replace(invitation, one=one), at)
        elif invitation.copy is not None:
            self._state.delete(invitation.box, invitation.copy, at)
        return one

    def _is_free(self, invitation: _Invitation, at: datetime) -> bool:
        """Whether a room can take all of it: a series that goes on beyond its window it cannot."""
        box, event, copy = invitation.box, invitation.event, invitation.copy
        horizon = at + timedelta(days=self._settings[WINDOW])
        if goes_beyond(event, horizon):
            return False
        others = [one for one in box.events_of(box.default_calendar) if copy is None or one.item_id != copy.item_id]
        return not any(
            not other.content.is_cancelled and other.content.show_as not in _FREE
            for one in in_window([event], min(at, event.content.start.at), horizon)
            for other in in_window(others, one.content.start.at, one.content.end.at)
        )

    def _keep(self, invitation: _Invitation, at: datetime) -> None:
        """Have a copy as it must be; who is asked anew has not answered yet."""
        event, one, box, copy = invitation.event, invitation.one, invitation.box, invitation.copy
        response = one.response if one.response != NOT_ANSWERED else WAITING
        wanted, special = _copy_of(invitation, SHOWN_AS[response]), _specials_of(invitation)
        if copy is None:
            copy = self._state.create(
                box,
                box.default_calendar,
                wanted,
                at,
                organizer=(invitation.organizer.name, invitation.organizer.address),
                response=response,
                ical_uid=event.ical_uid,
            )
            self._copies[event.ical_uid][box.account.id] = copy.item_id
        if copy.response == response and not box.account.is_room:
            wanted = replace(wanted, show_as=copy.content.show_as)
        known = (copy.content, copy.exceptions, copy.cancelled, copy.response)
        if known != (wanted, special, event.cancelled, response):
            copy.response, copy.responded_at = response, one.answered_at
            copy.exceptions, copy.cancelled = special, event.cancelled
            self._state.update(box, copy, wanted, at)

    def _call_off(self, account_id: str, item_id: str, at: datetime) -> None:
        account = self._directory.accounts.get(account_id)
        if account is None:
            return
        box = self._state.mailbox(account)
        copy = box.events.get(item_id)
        if copy is not None and not copy.content.is_cancelled:
            subject = f"{CANCELLED}{copy.content.subject or ''}"
            cancelled = replace(copy.content, is_cancelled=True, subject=subject, show_as="free")
            self._state.update(box, copy, cancelled, at)

    async def _answer(  # noqa: PLR0917 - the first two are bound
        self, find: Find, response: str, context: Context, user: str, event: str, calendar: str | None = None
    ) -> Response:
        read_options(context.request, frozenset())
        mailbox, copy = find(user, event, calendar)
        body = read_parameters("answer", read_object(context.request), _MEMBERS) if context.request.body else {}
        read_string("comment", body.get("comment", ""))
        sends = read_flag("sendResponse", body.get("sendResponse", True))
        if copy.master is not None:
            raise not_modelled("the answer to one occurrence")
        if copy.organizer is None:
            raise invalid_request(
                "Your request can't be completed. "
                "You can't respond to this meeting because you're the meeting organizer."
            )
        if "proposedNewTime" in body:
            if response == ACCEPTED or not sends or not copy.content.allow_new_time_proposals:
                raise invalid_request("A new time cannot be proposed.")
            raise not_modelled("the proposal of a new time")
        copy.response, copy.responded_at = response, context.at
        if response == DECLINED:
            self._state.delete(mailbox, copy, context.at)
        else:
            content = replace(copy.content, show_as=SHOWN_AS[response])
            self._state.update(mailbox, copy, content, context.at)
        if sends:
            if response == DECLINED:  # for another time he is asked anew
                self._copies.get(copy.ical_uid, {}).pop(mailbox.account.id, None)
            self._tell_organizer(mailbox.account, copy, response, context.at)
        return Response(status=HTTPStatus.ACCEPTED)

    def _tell_organizer(self, attendee: Account, copy: Event, response: str, at: datetime) -> None:
        organizer = self._directory.find(copy.organizer[1]) if copy.organizer is not None else None
        if organizer is None:
            return
        box = self._state.mailbox(organizer)
        original = next((one for one in box.events.values() if one.ical_uid == copy.ical_uid), None)
        if original is None:
            return
        answered = tuple(
            replace(one, response=response, answered_at=at) if one.address.lower() == attendee.address.lower() else one
            for one in original.content.attendees
        )
        self._state.update(box, original, replace(original.content, attendees=answered), at)


def _specials_of(invitation: _Invitation) -> Mapping[date, Differences]:
    """What of the exceptions of a series concerns a copy of it."""
    told = _TIMES if invitation.box.account.is_room else _TOLD
    return {
        day: MappingProxyType({name: value for name, value in special.items() if name in told})
        for day, special in invitation.event.exceptions.items()
    }


def _copy_of(invitation: _Invitation, shown_as: str) -> Content:
    """What a meeting is in the calendar of somebody who is invited; his own categories and reminder stay."""
    content, owner, copy = invitation.event.content, invitation.box.account, invitation.copy
    asked = tuple(replace(one, response=NOT_ANSWERED, answered_at=None) for one in content.attendees)
    if content.hide_attendees:
        asked = tuple(one for one in asked if one.address.lower() == owner.address.lower())
    own = copy.content if copy is not None else replace(content, categories=())
    wanted = replace(
        content,
        attendees=asked,
        show_as=shown_as,
        transaction_id=None,
        properties=own.properties if copy is not None else MappingProxyType({}),
        extensions=own.extensions if copy is not None else MappingProxyType({}),
        categories=own.categories,
        is_reminder_on=own.is_reminder_on,
        reminder_minutes=own.reminder_minutes,
    )
    if owner.is_room:
        return replace(wanted, subject=invitation.organizer.name, body=Body(), sensitivity="normal")
    return wanted

"""What a week looks like on both sides, and where they differ: read from the services' state, so nothing is logged.

An event belongs to the booking whose id stands behind the organization's in one of its extended properties; that is all
the page knows of the app. It judges times and places; which words an event shows, settings of the app decide.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from sandbox.dataverse.routes import ORGANIZATION_ID, Dataverse
from sandbox.dataverse.schema import Reference
from sandbox.dataverse.state import Row
from sandbox.dataverse.tables import BOOKING, BOOKING_STATUS, RESOURCE
from sandbox.directory import Account, Directory
from sandbox.graph.events import Content, Event, in_window, lies_in
from sandbox.graph.routes import Graph
from sandbox.http import Json

_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
STATUS_KINDS = {1: "proposed", 2: "committed", 3: "canceled"}


@dataclass(frozen=True, slots=True)
class Shown:
    """An event, whose calendar it is in, and the id of the booking it belongs to, if it belongs to one."""

    owner: Account
    event: Event
    booking: str | None

    @property
    def content(self) -> Content:
        """What the event says."""
        return self.event.content


class Board:
    """Looks at Dynamics and at Outlook."""

    def __init__(self, directory: Directory, dataverse: Dataverse, graph: Graph) -> None:
        """Look at these."""
        self._directory = directory
        self._rows = dataverse.state
        self._mailboxes = graph.state

    def between(self, begin: datetime, end: datetime) -> Json:
        """Everything that overlaps the time from `begin` to `end`, with its counterparts, wherever these are."""
        in_time, elsewhere = [], []
        for account in self._directory.accounts.values():
            if account.has_mailbox:
                events = list(self._mailboxes.mailbox(account).events_of())
                others = (one for one in events if not one.content.recurrence and not lies_in(one.content, begin, end))
                in_time += [_shown(account, event) for event in in_window(events, begin, end)]
                elsewhere += [_shown(account, event) for event in others]
        named = {shown.booking for shown in in_time}
        bookings = [row for row in self._rows.rows(BOOKING.name) if row.id in named or _overlaps(row, begin, end)]
        seen = {row.id for row in bookings}
        counterparts: dict[str | None, list[Shown]] = defaultdict(list)
        for shown in (*in_time, *elsewhere):
            if shown.booking in seen:
                counterparts[shown.booking].append(shown)
        alone = [shown for shown in in_time if shown.booking not in seen]
        return {
            "resources": self._resources(),
            "statuses": [
                {"id": row.id, "name": row.name, "kind": STATUS_KINDS[cast("int", row.get("status"))]}
                for row in self._rows.rows(BOOKING_STATUS.name)
            ],
            "bookings": [self._booking(row, counterparts[row.id]) for row in bookings],
            "events": [_event(shown) for shown in [*(one for some in counterparts.values() for one in some), *alone]],
        }

    def account_of(self, resource: Row) -> Account | None:
        """The account behind a resource: that of its user, or the room with its address."""
        user = self._row(resource.get("userid"))
        if user is not None:
            return self._directory.accounts.get(str(user.get("azureactivedirectoryobjectid")))
        address = resource.get("msdyn_primaryemail")
        return self._directory.find(address) if isinstance(address, str) else None

    def _resources(self) -> list[Json]:
        shown = []
        for row in self._rows.rows(RESOURCE.name):
            account = self.account_of(row)
            kind = "thing" if account is None else "room" if account.is_room else "person"
            mailbox = account.id if account is not None and account.has_mailbox else None
            shown.append({"id": row.id, "name": row.name or "", "kind": kind, "mailbox": mailbox})
        return sorted(shown, key=lambda one: (("person", "room", "thing").index(one["kind"]), one["name"]))

    def _booking(self, row: Row, events: list[Shown]) -> Json:
        status, resource, order = (
            self._row(row.get(name)) for name in ("bookingstatus", "resource", "msdyn_workorder")
        )
        customer = self._row(order.get("msdyn_serviceaccount")) if order is not None else None
        start, end = _times(row)
        kind = STATUS_KINDS[cast("int", status.get("status"))] if status is not None else ""
        account = self.account_of(resource) if resource is not None else None
        return {
            "id": row.id,
            "version": row.version,
            "resource": resource.id if resource is not None else None,
            "title": row.name or "",
            "start": _stamp(start),
            "end": _stamp(end),
            "status": status.id if status is not None else None,
            "kind": kind,
            "order": order.name if order is not None else None,
            "customer": customer.name if customer is not None else None,
            "events": [shown.event.item_id for shown in events],
            **judged(start, end, account, events, is_canceled=kind == "canceled"),
        }

    def _row(self, value: object) -> Row | None:
        return self._rows.find(value) if isinstance(value, Reference) else None


def booking_of(properties: Iterable[str]) -> str | None:
    """The id of the booking of this organization that an event's extended properties name."""
    for value in properties:
        match _GUID.findall(value.lower()):
            case [organization, booking, *_] if organization == ORGANIZATION_ID:
                return str(booking)
    return None


def _shown(owner: Account, event: Event) -> Shown:
    return Shown(owner, event, booking_of(event.content.properties.values()))


def judged(
    start: datetime, end: datetime, account: Account | None, events: list[Shown], *, is_canceled: bool
) -> Mapping[str, Json]:
    """Whether a booking and its events say the same: `state` and, in words, what differs.

    `state` is "same", "differs", "missing" (it should be in a calendar and is not) or "alone" (none is expected: it is
    canceled, or of no person with a mailbox).
    """
    live = [shown for shown in events if not shown.content.is_cancelled]
    if is_canceled:
        words = ["canceled in Dynamics, still in Outlook"] if any(one.content.show_as != "free" for one in live) else []
        return {"state": "differs" if words else "alone", "words": words}
    if not live:
        if account is None or account.is_room or not account.has_mailbox:
            return {"state": "alone", "words": []}
        return {"state": "missing", "words": ["not in Outlook"]}
    words = ["in Outlook more than once"] if len(live) > 1 else []
    for shown in live:
        if account is None or shown.owner.id != account.id:
            words.append(f"in {shown.owner.name}'s calendar")
        if shown.content.is_all_day:
            words.append("all day in Outlook")
        else:
            words += _difference(start, end, shown.content)
    return {"state": "differs" if words else "same", "words": words}


def _difference(start: datetime, end: datetime, content: Content) -> list[str]:
    shift, growth = content.start.at - start, (content.end.at - content.start.at) - (end - start)
    words = [f"{_length(shift)} {'later' if shift > timedelta() else 'earlier'} in Outlook"] if shift else []
    return words + (
        [f"{_length(growth)} {'longer' if growth > timedelta() else 'shorter'} in Outlook"] if growth else []
    )


def _length(span: timedelta) -> str:
    """A length of time in words, its direction left out."""
    days, minutes = divmod(round(abs(span).total_seconds() / 60), 24 * 60)
    parts = ((days, "d"), (minutes // 60, "h"), (minutes % 60, "min"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "moments"


def _overlaps(row: Row, begin: datetime, end: datetime) -> bool:
    starts, ends = _times(row)
    return starts < end and (ends > begin or starts == begin)


def _times(row: Row) -> tuple[datetime, datetime]:
    return cast("datetime", row.get("starttime")), cast("datetime", row.get("endtime"))


def _event(shown: Shown) -> Json:
    content = shown.content
    return {
        "id": shown.event.item_id,
        "version": shown.event.change_key,
        "mailbox": shown.owner.id,
        "title": content.subject or "",
        # an all-day event lies on its days in every zone
        "start": _stamp(content.start.wall if content.is_all_day else content.start.at),
        "end": _stamp(content.end.wall if content.is_all_day else content.end.at),
        "allDay": content.is_all_day,
        "showAs": content.show_as,
        "cancelled": content.is_cancelled,
        "private": content.sensitivity == "private",
        "booking": shown.booking,
    }


def _stamp(instant: datetime) -> str:
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"

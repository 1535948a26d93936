"""The rules as the simulation checks them: at every change of a calendar, and when everything has come to rest.

What the calendars should show is worked out here once more, from the rows of Dataverse alone, so that a mistake in the
app's own translation or decisions cannot hide itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sandbox.dataverse.schema import Reference
from sandbox.dataverse.state import Row
from sandbox.graph.bodies import read_html
from sandbox.graph.events import Event
from sandbox.graph.state import Change, ChangeKind, Mailbox
from shared.graph.wire import MARKER_PROPERTY
from shared.tables.leases import UNSEARCHED
from tests.simulation.stage import A_PERSON, Stage, author
from tests.simulation.world import DATAVERSE

USER, CANCELED, FIELD_SERVICE_CANCELED = 3, 3, 690970005
PAST, FUTURE = timedelta(days=7), timedelta(days=180)
PROPOSED = 1

type Shown = tuple[str, datetime, datetime, str, str]
"""Subject, start, end, free/busy and body."""


@dataclass(slots=True)
class Item:
    """What happened to one event."""

    mailbox: str
    marker: str
    is_ours: bool
    is_live: bool = True

    @property
    def booking(self) -> str:
        """The booking that the marker names."""
        return self.marker.split(".")[2] if self.marker.count(".") == 3 else ""


@dataclass(slots=True)
class Rules:
    """The judge of one run.

    `may_lose` has every booking that ever was, with the reason why an event of it may be deleted: empty while it has
    had a place in a calendar since it was last found in order. `moved` has the time to which people have moved an event
    since then, `planned` the bookings with which anything else has happened.
    """

    stage: Stage
    violations: list[str] = field(default_factory=list)
    items: dict[str, Item] = field(default_factory=dict)
    may_lose: dict[str, str] = field(default_factory=dict)
    moved: dict[str, datetime] = field(default_factory=dict)
    planned: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Listen to every calendar and to Dataverse."""
        self.stage.graph.state.listeners.append(self.on_change)
        self.stage.on_save = self.note_bookings

    # Whenever something changes.

    def on_change(self, mailbox: Mailbox, change: Change) -> None:
        """Somebody changed a calendar."""
        event, by_app = change.event, author.get() != A_PERSON
        item = self.items.get(event.item_id)
        if item is None:
            marker = event.content.properties.get(MARKER_PROPERTY, "")
            item = self.items[event.item_id] = Item(mailbox.account.id, marker, is_ours=by_app)
        elif by_app and not item.is_ours:
            self.violations.append(f"R9: the app {change.kind} an event that a person made: {event.content.subject}")
        if change.kind is ChangeKind.DELETED:
            item.is_live = False
            self._deleted(item, by_app=by_app)

    def _deleted(self, item: Item, *, by_app: bool) -> None:
        """R3 and R10: while a booking lives where it is, none of its events goes before another one stands."""
        why = self.may_lose.get(item.booking)
        if why is None or not item.is_ours:
            return
        if not by_app:
            self.may_lose[item.booking] = why or "a person deleted its event"
            return
        others = any(other.is_live and other.is_ours and other.booking == item.booking for other in self.items.values())
        if not (others or why):
            self.violations.append(f"R3, R10: {item.marker} was deleted and left its booking without an event")

    def move(self, booking: str, start: datetime) -> None:
        """A person has moved the event of a booking."""
        self.moved[booking] = start

    def plan(self, *bookings: str) -> None:
        """Something else happens to bookings, or to their events."""
        self.planned.update(bookings)

    def note_bookings(self) -> None:
        """Somebody may have changed something in Dataverse: see whether it takes a booking its event."""
        rows = {row.id: row for row in self.stage.dataverse.state.rows("bookableresourcebooking")}
        for booking in rows.keys() - self.may_lose.keys():
            self.may_lose[booking] = ""
        for booking, why in self.may_lose.items():
            row = rows.get(booking)
            self.may_lose[booking] = why or ("deleted" if row is None else self.obstacle(row))

    # What should be there.

    def _row(self, row: Row, column: str) -> Row | None:
        reference = row.get(column)
        return self.stage.dataverse.state.find(reference) if isinstance(reference, Reference) else None

    def obstacle(self, row: Row) -> str:
        """Why the booking should have no event; empty when it should."""
        status, resource = self._row(row, "bookingstatus"), self._row(row, "resource")
        if status is None or resource is None:
            return "incomplete"
        if status.get("status") == CANCELED or status.get("msdyn_fieldservicestatus") == FIELD_SERVICE_CANCELED:
            return "canceled"
        user = self._row(resource, "userid")
        if resource.get("resourcetype") != USER or user is None or user.get("isdisabled"):
            return "no mailbox"
        if self.stage.config.is_filtered and status.name == "Proposed":
            return "filtered out"
        return ""

    def mailbox(self, row: Row) -> str:
        """In whose calendar the event should stand."""
        resource = self._row(row, "resource")
        user = self._row(resource, "userid") if resource is not None else None
        return str(user.get("azureactivedirectoryobjectid")) if user is not None else ""

    def is_in_window(self, row: Row) -> bool:
        """Whether the booking is near enough to get an event."""
        start, end, now = row.get("starttime"), row.get("endtime"), self.stage.clock.now()
        assert isinstance(start, datetime)
        assert isinstance(end, datetime)
        return end >= now - PAST and start <= now + FUTURE

    def wanted(self, row: Row) -> Shown:
        """What the event should show."""
        status, order = self._row(row, "bookingstatus"), self._row(row, "msdyn_workorder")
        customer = self._row(order, "msdyn_serviceaccount") if order is not None else None
        assert status is not None
        start, end = row.get("starttime"), row.get("endtime")
        assert isinstance(start, datetime)
        assert isinstance(end, datetime)
        subject = (customer.name if customer is not None else None) or row.name or ""
        link = f"{DATAVERSE}/main.aspx?pagetype=entityrecord&amp;etn=bookableresourcebooking&amp;id={row.id}"
        work = f" &middot; {order.name}" if order is not None else ""
        body = f'<p>{status.name}{work}</p><p><a href="{link}">Open the booking in Dynamics 365</a></p>'
        show_as = "tentative" if status.get("status") == PROPOSED else "busy"
        return subject, start, end, show_as, read_html(body).html

    # When everything is at rest.

    def check_at_rest(self) -> None:
        """R1, R2, R11, and that the storage agrees with the calendars."""
        rows = {row.id: row for row in self.stage.dataverse.state.rows("bookableresourcebooking")}
        events = self._events()
        for booking in self.may_lose:
            row, mine = rows.get(booking), events.pop(booking, [])
            fault = self._fault(booking, row, mine)
            faults = [fault] if fault else [f"R2: {said}" for said in self._storage_faults(booking, mine)]
            why = self._excuse(booking, row, [item.mailbox for item, _ in mine]) if faults else ""
            self.stage.seen[f"excused: {why}"] += bool(why)
            if not faults:
                self.may_lose[booking] = "deleted" if row is None else self.obstacle(row)
            elif not why:
                self.violations += [f"{said} (booking {booking})" for said in faults]
        self.violations += [f"R2: an event of ours for an unknown booking {booking}" for booking in events]
        self.moved.clear()
        self.planned.clear()
        self._check_posts()
        self._check_dead_letters()

    def _events(self) -> dict[str, list[tuple[Item, Event]]]:
        """The live events that the app made, by booking."""
        found: dict[str, list[tuple[Item, Event]]] = {}
        for account in self.stage.directory.accounts.values():
            for event in self.stage.graph.state.mailbox(account).events_of() if account.has_mailbox else ():
                item = self.items[event.item_id]
                if item.is_ours:
                    found.setdefault(item.booking, []).append((item, event))
        return found

    def _fault(self, booking: str, row: Row | None, mine: list[tuple[Item, Event]]) -> str:
        """What is wrong about the events of one booking; empty when nothing is."""
        obstacle = "deleted" if row is None else self.obstacle(row)
        if row is None or obstacle:
            return f"R1: {len(mine)} events of a booking that is {obstacle}" if mine else ""
        if len(mine) > 1:
            return f"R2: {len(mine)} events of one booking"
        if not mine:
            return "R1: a booking without its event" if self.is_in_window(row) else ""
        [(item, event)] = mine
        if item.mailbox != self.mailbox(row):
            return "R1: an event in the wrong calendar"
        wanted, there = self.wanted(row), shown(event)
        if there != wanted:
            return f"R1: the event shows {differences(there, wanted)}"
        meant = self.moved.get(booking, there[1])
        kept = any(meant.isoformat() in str(entry["lost"]) for entry in self.stage.rows("journal"))
        if booking not in self.planned and there[1] != meant and not kept:
            return f"R1: people moved the event to {meant}, nobody else did anything, and it is at {there[1]}"
        return ""

    def _excuse(self, booking: str, row: Row | None, mailboxes: list[str]) -> str:
        """Why the app may leave a booking as it is: what it says about it itself, or what nobody could tell it."""
        for entry in self.stage.rows("dead"):
            if entry["booking"] == booking:
                return f"{entry['outcome']} {entry['reason']}"
        noted = {row.row for rows in self.stage.tables.partitions().values() for row in rows}
        if any(f"{UNSEARCHED}{mailbox}" in noted for mailbox in mailboxes):
            return "its mailbox is noted as not yet searched"
        if row is None and booking not in self.stage.tables.proven_deleted:
            seen = self.stage.seen
            return "its deletion was never told" if seen["fault dataverse expire_cursor"] or seen["step wipe"] else ""
        return ""

    def _storage_faults(self, booking: str, mine: list[tuple[Item, Event]]) -> Iterator[str]:
        """How links and claim differ from what stands in the calendars."""
        links = [link for link in self.stage.rows("link") if link["booking"] == booking]
        there = Counter((item.mailbox, event.item_id) for item, event in mine)
        linked = Counter((str(link["mailbox"]), str(link.get("event"))) for link in links)
        for mailbox, event in linked - there:
            yield f"a link to an event that is not there: {mailbox} {event}"
        for _mailbox, event in there - linked:
            yield f"an event without a link: {event}"
        claim = self._claim(booking)
        if claim is None:
            if mine:
                yield "an event without a claim"
        elif (not claim.get("retired")) != bool(links):
            yield f"a claim that is {'retired' if claim.get('retired') else 'live'} with {len(links)} links"
        elif links and (claim["mailbox"], claim["generation"]) != (links[-1]["mailbox"], links[-1]["generation"]):
            yield f"a claim of generation {claim['generation']} and a link of generation {links[-1]['generation']}"

    def _claim(self, booking: str) -> Mapping[str, object] | None:
        rows = self.stage.tables.partitions().get(f"claim-{booking[0]}", [])
        return next((row.values for row in rows if row.row == booking), None)

    def _check_posts(self) -> None:
        """R11: what was accepted has ended, as the journal tells."""
        ledger = self.stage.tables
        waiting = sum(posts for _, posts in ledger.waiting.values())
        if ledger.accepted != ledger.ended + waiting:
            self.violations.append(f"R11: {ledger.accepted} posts accepted, {ledger.ended} ended, {waiting} wait")
        self.violations += [f"R11: {complaint}" for complaint in ledger.complaints]
        ledger.complaints.clear()

    def _check_dead_letters(self) -> None:
        """R11: once nothing fails any more, nothing is given up but what has no mailbox, or people have to decide."""
        for entry in self.stage.rows("dead"):
            if entry["reason"] not in ("mailbox_gone", "conflict", "unsuitable", "event_missing"):
                self.violations.append(f"R11: given up for no good reason: {entry['reason']} {entry['detail']}")


def shown(event: Event) -> Shown:
    """What an event shows, of what the app writes."""
    content = event.content
    return content.subject or "", content.start.at, content.end.at, content.show_as, content.body.html


def differences(there: Shown, wanted: Shown) -> str:
    """The fields that differ, in words."""
    names = ("subject", "start", "end", "show_as", "body")
    return ", ".join(
        f"{name} {one!r} instead of {other!r}"
        for name, one, other in zip(names, there, wanted, strict=True)
        if one != other
    )

"""The mailboxes: calendars, events, and what changed in which order. Plain data; no HTTP.

What happens to an occurrence happens to its series, which is the item. Unverified: that notifications and change
tracking name the series then.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from uuid import UUID

from sandbox.directory import Account
from sandbox.graph.events import Content, Event, differences, occurrence, split_id

FIRST_DAY_OF_WINDOWS = datetime.fromisoformat("1601-01-01T00:00:00Z")


@dataclass(frozen=True, slots=True)
class Calendar:
    """One calendar of a mailbox."""

    id: str
    name: str
    is_default: bool = True


class ChangeKind(StrEnum):
    """What happened to an item, in the words of change notifications."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One entry of a mailbox's history: `event` as it was right after the change, or at its end.

    Numbers count up from 1 without gaps.
    """

    number: int
    kind: ChangeKind
    at: datetime
    event: Event


@dataclass(slots=True, kw_only=True)
class Mailbox:
    """One mailbox. `events` and `deleted` (the folder Deleted Items) are keyed by `item_id`."""

    account: Account
    calendars: dict[str, Calendar]
    events: dict[str, Event] = field(default_factory=dict)
    deleted: dict[str, Event] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    by_folder_id: dict[str, str] = field(default_factory=dict)
    transactions: dict[str, tuple[str, datetime]] = field(default_factory=dict)

    @property
    def default_calendar(self) -> Calendar:
        """The calendar that `/calendar` and `/events` mean."""
        return next(calendar for calendar in self.calendars.values() if calendar.is_default)

    def events_of(self, calendar: Calendar | None = None) -> Iterator[Event]:
        """The live events, of one calendar or of all, oldest first."""
        return (event for event in self.events.values() if calendar is None or event.calendar_id == calendar.id)

    def find(self, either_id: str, *, among_deleted: bool = False) -> Event | None:
        """The live event with this id in either form; on request also a deleted one, by its immutable id only."""
        item_id = self.by_folder_id.get(either_id, either_id)
        if (event := self.events.get(item_id)) is not None:
            return event
        if (parts := split_id(either_id)) is not None:
            series = self.events.get(self.by_folder_id.get(parts[0], parts[0]))
            if series is not None:
                return occurrence(series, parts[1])
        return self.deleted.get(either_id) if among_deleted else None


type Listener = Callable[[Mailbox, Change], None]


class State:
    """All mailboxes. A listener hears of every change after it has been made."""

    def __init__(self, chance: random.Random) -> None:
        """Draw ids from `chance`."""
        self._chance = chance
        self._mailboxes: dict[str, Mailbox] = {}
        self.listeners: list[Listener] = []

    def mailbox(self, account: Account) -> Mailbox:
        """The mailbox of `account`; it comes into being, with its calendar, when somebody first looks."""
        found = self._mailboxes.get(account.id)
        if found is None:
            calendar = Calendar(
                _id_of("AAMkA", b"the calendar of every mailbox: " + UUID(account.id).bytes), "Calendar"
            )
            found = Mailbox(account=account, calendars={calendar.id: calendar})
            self._mailboxes[account.id] = found
        found.account = account
        return found

    def create_calendar(self, mailbox: Mailbox, name: str) -> Calendar:
        """Add a calendar beside the default one."""
        calendar = Calendar(self.new_item_id(), name, is_default=False)
        mailbox.calendars[calendar.id] = calendar
        return calendar

    def create(
        self,
        mailbox: Mailbox,
        calendar: Calendar,
        content: Content,
        at: datetime,
        *,
        original_zone: str | None = None,
        organizer: tuple[str, str] | None = None,
        response: str = "organizer",
        ical_uid: str | None = None,
    ) -> Event:
        """Put a new event into `calendar`; `original_zone` stands for the zones in which it is said to be written.

        A copy of a meeting has the `ical_uid` of its original.
        """
        event = Event(
            item_id=self._new_id("AAkAL", 62),
            folder_id=self._new_id("AAMkA", 98),
            calendar_id=calendar.id,
            ical_uid=ical_uid or self._new_ical_uid(at),
            created_at=at,
            modified_at=at,
            change_key="",
            original_start_zone=original_zone or content.start.zone,
            original_end_zone=original_zone or content.end.zone,
            content=content,
            organizer=organizer,
            response=response,
        )
        mailbox.events[event.item_id] = event
        mailbox.by_folder_id[event.folder_id] = event.item_id
        if content.transaction_id is not None:
            mailbox.transactions[content.transaction_id] = (event.item_id, at)
        self._note(mailbox, ChangeKind.CREATED, event, at)
        return event

    def update(self, mailbox: Mailbox, event: Event, content: Content, at: datetime) -> Event:
        """Give `event` a new content; answers it as it is then. A touch by the service is an update with the same one.

        An occurrence becomes an exception. A series with another pattern or other times has no exceptions any more.
        """
        if event.master is not None:
            master = event.master
            master.exceptions = MappingProxyType({**master.exceptions, event.day: differences(event, content)})
            self._note(mailbox, ChangeKind.UPDATED, master, at)
            return occurrence(master, event.day) or event
        old, event.content = event.content, content
        if (old.start.at, old.end.at, old.recurrence) != (content.start.at, content.end.at, content.recurrence):
            event.exceptions, event.cancelled = MappingProxyType({}), frozenset()
        self._note(mailbox, ChangeKind.UPDATED, event, at)
        return event

    def delete(self, mailbox: Mailbox, event: Event, at: datetime) -> None:
        """Move `event` to Deleted Items: its immutable id stays, its other id is gone. An occurrence is just gone."""
        if event.master is not None:
            master = event.master
            kept = {day: special for day, special in master.exceptions.items() if day != event.day}
            master.exceptions, master.cancelled = MappingProxyType(kept), master.cancelled | {event.day}
            self._note(mailbox, ChangeKind.UPDATED, master, at)
            return
        del mailbox.events[event.item_id]
        del mailbox.by_folder_id[event.folder_id]
        gone, event.folder_id = event.folder_id, self._new_id("AAMkA", 98)
        mailbox.deleted[event.item_id] = event
        self._note(mailbox, ChangeKind.DELETED, event, at, known_as=gone)

    def move(self, mailbox: Mailbox, event: Event, calendar: Calendar, at: datetime) -> None:
        """Put `event` into another calendar of the mailbox: its immutable id stays, its other id is another one."""
        gone, event.calendar_id = event.folder_id, calendar.id
        del mailbox.by_folder_id[gone]
        self._name_anew(mailbox, event)
        self._note(mailbox, ChangeKind.UPDATED, event, at)

    def restore(self, mailbox: Mailbox, event: Event, at: datetime) -> None:
        """Take `event` out of Deleted Items, back to where it was."""
        del mailbox.deleted[event.item_id]
        mailbox.events[event.item_id] = event
        self._name_anew(mailbox, event)
        self._note(mailbox, ChangeKind.CREATED, event, at)

    def _name_anew(self, mailbox: Mailbox, event: Event) -> None:
        event.folder_id = self.new_item_id()
        mailbox.by_folder_id[event.folder_id] = event.item_id

    def new_item_id(self, prefix: str = "AAMkA") -> str:
        """The id of something in a mailbox that is no event here."""
        return self._new_id(prefix, 98)

    def new_key(self) -> str:
        """The change key of such a thing."""
        return base64.b64encode(self._chance.randbytes(22)).decode()

    def clear(self) -> None:
        """Forget all mailboxes; listeners stay."""
        self._mailboxes.clear()

    def remembered(self, mailbox: Mailbox, transaction_id: str, at: datetime, memory: float | None) -> str | None:
        """The item id of the event that used `transaction_id` in the last `memory` seconds (`None` = ever)."""
        item_id, used_at = mailbox.transactions.get(transaction_id, ("", at))
        if not item_id or (memory is not None and at - used_at >= timedelta(seconds=memory)):
            return None
        return item_id

    def _note(
        self, mailbox: Mailbox, kind: ChangeKind, event: Event, at: datetime, *, known_as: str | None = None
    ) -> None:
        """Enter a change; `known_as` is the folder id by which clients know the item, if it has another one now."""
        number = len(mailbox.changes) + 1
        event.modified_at = at
        # the mailbox and its change number, laid out like the change keys of the real service
        key = UUID(mailbox.account.id).bytes + number.to_bytes(6)
        event.change_key = base64.b64encode(key).decode()
        shown = replace(event, folder_id=known_as or event.folder_id)
        change = Change(number=number, kind=kind, at=at, event=shown)
        mailbox.changes.append(change)
        for listener in self.listeners:
            listener(mailbox, change)

    def _new_id(self, prefix: str, size: int) -> str:
        return _id_of(prefix, self._chance.randbytes(size))

    def _new_ical_uid(self, at: datetime) -> str:
        """A Global Object ID, with the time of creation and a GUID in it ([MS-OXOCAL] section 2.2.1.27)."""
        ticks = (at - FIRST_DAY_OF_WINDOWS) // timedelta(microseconds=1) * 10
        stamp = ticks.to_bytes(8, "little") + bytes(8) + (16).to_bytes(4, "little") + self._chance.randbytes(16)
        return "040000008200E00074C5B7101A82E00800000000" + stamp.hex().upper()


def _id_of(prefix: str, content: bytes) -> str:
    """An id in Exchange's alphabet; its length is a multiple of four, as that of everything in base 64."""
    text = prefix + base64.urlsafe_b64encode(content).decode().rstrip("=")
    return text + "=" * (-len(text) % 4)


def is_item_id(text: str) -> bool:
    """Whether `text` has the form of an id in either form."""
    if len(text) < 40 or not text.startswith(("AAMkA", "AAkAL")):  # noqa: PLR2004 - shorter ones do not occur
        return False
    try:
        base64.b64decode(text, altchars=b"-_", validate=True)
    except ValueError:
        return False
    return True

"""The backstop for lost notifications: ask every calendar what has changed, by timer, and mark it.

Notifications are at most once. calendarView/delta is not: every mailbox has a *cursor*, and a round asks for everything
since. Only events of ours are marked, and only when the link does not know their etag already: so echoes and people's
own appointments cost nothing but the question. An item that is reported as removed may only have left the window: its
mark is a reason to find out, no proof (R3).

A cursor holds for a window. When its time has come, or when it has expired, the calendar is read from the start; then
events of ours that should stand in the window and were not shown are marked, too.

Nothing here writes to a calendar or to Dataverse. Marks are stored before the cursor moves on, and that under its etag,
so a crash repeats one page at most, and of two hosts the slower one stops.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from shared.errors import BookingSyncError, CursorExpiredError, MailboxGoneError, PreconditionError
from shared.sync.model import UNKNOWN, BookingId, Cause, EventId, MailboxId, Mark, Shard, shard_of
from shared.sync.ports import BookingSide, Clock, Known

SLICE = timedelta(seconds=60)
"""How long a round works; the next one begins with the mailboxes that were not reached."""
PARALLEL = 40
"""How many mailboxes are asked at once: the client puts twenty into one request."""
LIFE = timedelta(days=28)
"""When a window is given up for a new one; mailbox by mailbox, within `SPREAD` after it."""
SPREAD = timedelta(days=3)
LONGEST = timedelta(days=330)
"""A window is never longer; what Graph takes is not documented, so it stays below a year."""
YOUNG = timedelta(minutes=5)
"""An unknown event younger than this may be one of ours whose link is still on its way."""
CREATION = timedelta(seconds=30)
"""After this it is looked at again."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An event as a page tells of it; one that was removed, perhaps only from the window, has neither etag nor date."""

    event: EventId
    etag: str = ""
    created_at: datetime | None = None
    is_removed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A part of an answer: `next_link` leads to its next part, `delta_link` on the last part to what comes later."""

    items: tuple[Item, ...]
    next_link: str = ""
    delta_link: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The times for which a cursor holds."""

    start: datetime
    end: datetime


class CalendarFeed(Protocol):
    """Calendars. Links are opaque; one that is not taken back raises `CursorExpiredError`."""

    async def changes(self, mailbox: MailboxId, window: Window, link: str) -> Page:
        """A page of changes; without a link the first one of everything in the window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """How far a calendar has been read: everything that `window` held when it `began`, and its changes up to `link`.

    `row` is the stored row's own version.
    """

    mailbox: MailboxId
    window: Window | None = None
    began: datetime | None = None
    link: str = ""
    asked_at: datetime | None = None
    row: str = ""


class RecoveryStore(Protocol):
    """Table Storage."""

    async def cursors(self) -> Mapping[MailboxId, Cursor]:
        """All cursors."""

    async def save(self, cursor: Cursor) -> Cursor:
        """Write it if its row is as it was read. Raises `PreconditionError`."""

    async def known_events(self, shard: Shard, events: Collection[EventId]) -> Mapping[EventId, Known]:
        """Of those events, the ones that are linked in this shard."""

    async def linked_events(self, mailbox: MailboxId, window: Window, before: datetime) -> Mapping[EventId, BookingId]:
        """The events of the mailbox that touch the window, by links written before that time."""

    async def put_marks(self, shard: Shard, marks: Sequence[Mark]) -> None:
        """Add marks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """That notifications of a mailbox may have been missed; `row` is the stored row's own version."""

    mailbox: MailboxId
    row: str


class Notes(Protocol):
    """Table Storage, as far as notifications go."""

    async def recoveries(self) -> Sequence[Noted]:
        """The mailboxes that need a round."""

    async def recovered(self, noted: Noted) -> None:
        """The round is done, unless the need for one was noted once more since it was read."""


@dataclass(slots=True)
class Tally:
    """What a round has come to."""

    asked: int = 0
    failed: int = 0
    marked: int = 0
    late: int = 0
    wake: set[Shard] = field(default_factory=set)


class Recovery:
    """Asks calendars for changes. Any number of them may run on one storage."""

    def __init__(
        self,
        *,
        bookings: BookingSide,
        feed: CalendarFeed,
        store: RecoveryStore,
        notes: Notes,
        clock: Clock,
        shards: int,
        past: timedelta,
        future: timedelta,
    ) -> None:
        """Take the ports; bookings from `past` before to `future` after the present get events."""
        self._bookings = bookings
        self._feed = feed
        self._store = store
        self._notes = notes
        self._clock = clock
        self._shards = shards
        self._past = past
        self._future = future

    async def round(self) -> frozenset[Shard]:
        """Ask every mailbox, those first that were noted, then the longest not asked; gives the shards to wake."""
        end = self._clock.now() + SLICE
        mailboxes = frozenset((await self._bookings.mailboxes()).values())
        notes = {note.mailbox: note for note in await self._notes.recoveries()}
        cursors = await self._store.cursors()
        gate, tally = asyncio.Semaphore(PARALLEL), Tally()

        def turn(mailbox: MailboxId) -> tuple[bool, str, MailboxId]:
            cursor = cursors.get(mailbox)
            asked_at = cursor.asked_at.isoformat() if cursor is not None and cursor.asked_at else ""
            return mailbox not in notes, asked_at, mailbox

        async def one(mailbox: MailboxId) -> None:
            async with gate:
                if self._clock.now() >= end:
                    tally.late += 1
                elif await self._ask(cursors.get(mailbox) or Cursor(mailbox=mailbox), tally) and mailbox in notes:
                    await self._notes.recovered(notes[mailbox])

        async with asyncio.TaskGroup() as tasks:
            for mailbox in sorted(mailboxes, key=turn):
                tasks.create_task(one(mailbox))
        log.info(
            "%d calendars asked for changes, %d could not be, %d wait; %d marks",
            tally.asked,
            tally.failed,
            tally.late,
            tally.marked,
        )
        return frozenset(tally.wake)

    async def _ask(self, cursor: Cursor, tally: Tally) -> bool:
        """Go on with one mailbox; whether all was read. What fails is left for the next round."""
        try:
            await self._read(cursor, tally)
        except PreconditionError:
            log.info("another host asks mailbox %s", cursor.mailbox)
        except MailboxGoneError as error:
            log.info("mailbox %s does not exist: %s", cursor.mailbox, error)
        except BookingSyncError as error:
            tally.failed += 1
            log.warning("mailbox %s cannot be asked for changes: %s %s", cursor.mailbox, error, error.next_step)
        else:
            tally.asked += 1
            return True
        return False

    async def _read(self, cursor: Cursor, tally: Tally) -> None:
        """All changes of one mailbox; from the start without a cursor that holds.

        A calendar is read from the start in one go, because what was shown has to be remembered until the end.
        """
        if self._is_over(cursor):
            cursor = replace(cursor, window=None, began=None, link="")
        if cursor.window is not None and cursor.link:
            try:
                await self._pages(cursor, cursor.window, tally, None)
            except CursorExpiredError as error:
                log.warning("mailbox %s is read from the start: %s", cursor.mailbox, error)
            else:
                return
        now = self._clock.now()
        window = self._window(now)
        shown: set[EventId] = set()
        fresh = Cursor(mailbox=cursor.mailbox, window=window, began=now, row=cursor.row)
        await self._pages(fresh, window, tally, shown)

    async def _pages(self, cursor: Cursor, window: Window, tally: Tally, shown: set[EventId] | None) -> None:
        """Page by page to the end; `shown` gathers what a reading from the start shows, which moves the cursor last."""
        page = await self._feed.changes(cursor.mailbox, window, cursor.link)
        await self._mark(cursor.mailbox, page.items, tally)
        while page.next_link:
            if shown is None:
                cursor = await self._store.save(replace(cursor, link=page.next_link))
            else:
                shown |= {item.event for item in page.items}
            page = await self._feed.changes(cursor.mailbox, window, page.next_link)
            await self._mark(cursor.mailbox, page.items, tally)
        if shown is not None:
            await self._mark_absent(cursor, window, shown | {item.event for item in page.items}, tally)
        await self._store.save(replace(cursor, link=page.delta_link, asked_at=self._clock.now()))

    async def _mark(self, mailbox: MailboxId, items: Iterable[Item], tally: Tally) -> None:
        """Mark the events of ours that are not as their links know them, and young ones that may become ours."""
        newest = {item.event: item for item in items}
        if not newest:
            return
        shard, now = shard_of(mailbox, self._shards), self._clock.now()
        known = await self._store.known_events(shard, newest.keys())
        marks: list[Mark] = []
        for event, item in newest.items():
            there = known.get(event)
            if there is not None:
                hint = _hint(there.booking, mailbox, item, now, now)
                marks += [hint] if there.is_news(hint) else []
            elif item.created_at is not None and item.created_at > now - YOUNG:
                marks.append(_hint(UNKNOWN, mailbox, item, now, now + CREATION))
        await self._put(shard, marks, tally)

    async def _mark_absent(self, cursor: Cursor, window: Window, shown: set[EventId], tally: Tally) -> None:
        """Absence proves nothing (R3): it is a reason to ask for the event by its id."""
        began = cursor.began or self._clock.now()
        linked = await self._store.linked_events(cursor.mailbox, window, began)
        now = self._clock.now()
        marks = [
            _hint(booking, cursor.mailbox, Item(event=event, is_removed=True), now, now)
            for event, booking in linked.items()
            if event not in shown
        ]
        await self._put(shard_of(cursor.mailbox, self._shards), marks, tally)

    async def _put(self, shard: Shard, marks: Sequence[Mark], tally: Tally) -> None:
        if marks:
            await self._store.put_marks(shard, marks)
            tally.marked += len(marks)
            tally.wake.add(shard)

    def _window(self, now: datetime) -> Window:
        """What gets events now and until the window is given up."""
        start = now - self._past
        return Window(start=start, end=min(now + self._future + LIFE + SPREAD, start + LONGEST))

    def _is_over(self, cursor: Cursor) -> bool:
        """Whether the window is too old; not for all mailboxes in one day."""
        if cursor.began is None:
            return False
        digest = hashlib.sha256(cursor.mailbox.encode()).digest()
        return self._clock.now() - cursor.began > LIFE + SPREAD * (digest[0] / 256)


def _hint(booking: BookingId, mailbox: MailboxId, item: Item, now: datetime, due_at: datetime) -> Mark:
    return Mark(
        booking=booking,
        cause=Cause.EVENT_DELETED if item.is_removed else Cause.EVENT_CHANGED,
        mailbox=mailbox,
        event=item.event,
        etag=item.etag,
        accepted_at=now,
        due_at=due_at,
    )

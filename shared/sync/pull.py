"""The backstop for lost posts: ask Dataverse what has changed, by timer, and mark it.

Webhooks are at most once. Change tracking is not: every tracked table has a *cursor*, and a round asks for everything
since. A changed booking is marked with its row version, so one that a post has brought already costs no read; a deleted
one is marked with the proof of its deletion (R3). A change to a status, a resource, a work order, an account or a user
marks the bookings in the policy window that show it. Whenever some table had to be read from the start, at installation
or after its cursor expired, or the administrator has changed what calendars show, the whole window is marked; from then
on, day by day, what enters it.

Nothing here writes to a calendar. The cursor is saved after the marks of each page, so a crash repeats one page at
most, and under its etag, so that of two hosts the slower one stops.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol

from shared.errors import BookingSyncError, CursorExpiredError, PreconditionError
from shared.sync.model import BookingId, Cause, ResourceId, Shard
from shared.sync.ports import Clock
from shared.sync.route import Hint, Router

SLICE = timedelta(seconds=60)
"""How long a round works; the next one goes on where it stopped."""
LONGEST = timedelta(seconds=120)
"""After this not even the one page that each of them gets is asked for: the services are not well."""
STEP = timedelta(days=1)
"""The window is looked at again when it has moved on by so much."""
MOST_PENDING = 800
"""How many changed rows wait in a cursor for the search for their bookings; its row holds no more."""
TOGETHER = 50
"""For how many of them one search asks, so that its address stays short."""
EVER = datetime(1900, 1, 1, tzinfo=UTC)
"""Before any booking."""
WINDOW = "window"

log = logging.getLogger(__name__)


class Table(StrEnum):
    """The tables whose changes concern a calendar, by logical name."""

    BOOKING = "bookableresourcebooking"
    STATUS = "bookingstatus"
    RESOURCE = "bookableresource"
    WORK_ORDER = "msdyn_workorder"
    ACCOUNT = "account"
    USER = "systemuser"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a page. `version` and `resource` are known of bookings that exist."""

    id: str
    version: int | None = None
    resource: ResourceId | None = None
    is_deleted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A part of an answer: `next_link` leads to its next part, `delta_link` on the last part to what comes later."""

    rows: tuple[Row, ...]
    next_link: str = ""
    delta_link: str = ""


class ChangeFeed(Protocol):
    """Dataverse. Links are opaque; one that is not taken back raises `CursorExpiredError`."""

    async def changes(self, table: Table, link: str, *, is_first: bool) -> Page:
        """A page of changes; without a link the first one of all rows. `is_first`: it belongs to such a round."""

    async def bookings(self, link: str) -> Page:
        """A page of bookings, from a link that the methods below gave or that a page did."""

    def showing(self, table: Table, ids: Sequence[str], *, ending_from: datetime, starting_until: datetime) -> str:
        """The link to the bookings that show one of these rows of `table`, within the times."""

    def between(self, starting_after: datetime, starting_until: datetime, *, ending_from: datetime) -> str:
        """The link to the bookings within the times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """How far a table, or the window, has been read; with nothing but a name, not at all.

    `link` leads on in the changes, or in the search of the window; `is_first` while a table is read from the start.
    `pending` are changed rows whose bookings have yet to be marked, `search` leads on in the search for the first of
    them. `horizon` is the start up to which the window was searched, and `policy` the one it was searched under. `row`
    is the stored row's own version.
    """

    name: str
    link: str = ""
    is_first: bool = True
    pending: tuple[str, ...] = ()
    search: str = ""
    horizon: datetime | None = None
    policy: str = ""
    row: str = ""


class Cursors(Protocol):
    """Table Storage."""

    async def read(self, name: str) -> Cursor:
        """The cursor; a new one when there is none or it has another format."""

    async def save(self, cursor: Cursor) -> Cursor:
        """Write it if its row is as it was read. Raises `PreconditionError`."""


class Pull:
    """Asks for changes. Any number of them may run on one storage."""

    def __init__(
        self,
        *,
        feed: ChangeFeed,
        cursors: Cursors,
        router: Router,
        clock: Clock,
        past: timedelta,
        future: timedelta,
        policy: str,
    ) -> None:
        """Take the ports; the window reaches from `past` before to `future` after the present.

        `policy` is a text that changes when that does what the administrator decided.
        """
        self._feed = feed
        self._cursors = cursors
        self._router = router
        self._clock = clock
        self._past = past
        self._future = future
        self._policy = policy
        self._turns = deque([*Table, WINDOW])

    async def round(self) -> frozenset[Shard]:
        """Go on with every table and with the window, for about a slice; gives the shards to wake.

        What fails is left for the next round and holds up nothing else.
        """
        wake: set[Shard] = set()
        began = self._clock.now()
        for name in tuple(self._turns):
            if self._clock.now() >= began + LONGEST:
                break
            self._turns.rotate(-1)  # whoever gets no turn now is the first one next time
            try:
                await self._go_on(name, began + SLICE, wake)
            except PreconditionError:
                log.info("another host pulls %s", name)
            except BookingSyncError as error:
                log.warning("%s cannot be pulled: %s %s", name, error, error.next_step)
        return frozenset(wake)

    async def _go_on(self, name: str, end: datetime, wake: set[Shard]) -> None:
        """All that is new of one table or of the window, page by page; at least one page, however late it is."""
        cursor, is_done = await self._cursors.read(name), False
        while not is_done:
            if name == WINDOW:
                cursor, is_done = await self._window(cursor, wake)
            elif cursor.pending:
                cursor = await self._search(Table(name), cursor, wake)
            else:
                cursor, is_done = await self._page(Table(name), cursor, wake)
            is_done = is_done or self._clock.now() >= end

    async def _page(self, table: Table, cursor: Cursor, wake: set[Shard]) -> tuple[Cursor, bool]:
        """One page of changes; gives the cursor after it, and whether there is no more to do."""
        try:
            page = await self._feed.changes(table, cursor.link, is_first=cursor.is_first)
        except CursorExpiredError as error:
            log.warning("%s is read from the start: %s", table, error)
            return await self._cursors.save(Cursor(name=table, row=cursor.row)), cursor.is_first
        is_last = not page.next_link
        pending: tuple[str, ...] = ()
        if cursor.is_first:
            # Which bookings to look at is asked once all rows have been passed; whatever changes later comes by itself.
            if is_last:
                await self._start_window_anew()
        elif table is Table.BOOKING:
            await self._mark(page, wake)
        else:
            pending = tuple(row.id for row in page.rows if not row.is_deleted)
        if len(pending) > MOST_PENDING:
            await self._start_window_anew()
            pending = ()
        after = replace(
            cursor,
            link=page.next_link or page.delta_link,
            is_first=cursor.is_first and not is_last,
            pending=pending,
        )
        return await self._cursors.save(after), is_last and not pending

    async def _search(self, table: Table, cursor: Cursor, wake: set[Shard]) -> Cursor:
        """Mark one page of the bookings that show the first of the pending rows."""
        some, others = cursor.pending[:TOGETHER], cursor.pending[TOGETHER:]
        now = self._clock.now()
        link = cursor.search or self._feed.showing(
            table, some, ending_from=now - self._past, starting_until=now + self._future
        )
        try:
            page = await self._feed.bookings(link)
        except CursorExpiredError:
            return await self._cursors.save(replace(cursor, search=""))
        await self._mark(page, wake)
        pending = cursor.pending if page.next_link else others
        return await self._cursors.save(replace(cursor, pending=pending, search=page.next_link))

    async def _window(self, cursor: Cursor, wake: set[Shard]) -> tuple[Cursor, bool]:
        """Mark one page of the bookings that entered the window; gives the cursor, and whether there is no more to do.

        While a table is read from the start it waits: it will have to begin anew once that is done.
        """
        now = self._clock.now()
        if cursor.policy != self._policy:
            cursor = self._new_window(cursor)
        begun, target = cursor.horizon, now + self._future
        if not cursor.link:
            if begun is not None and begun > target:  # the administrator made the window smaller
                return await self._cursors.save(replace(cursor, horizon=target)), True
            if begun is not None and target - begun < STEP:
                return cursor, True
            if any([await self._is_read_from_the_start(table) for table in Table]):
                return cursor, True
        try:
            page = await self._feed.bookings(
                cursor.link or self._feed.between(begun or EVER, target, ending_from=now - self._past)
            )
        except CursorExpiredError:
            return await self._cursors.save(self._new_window(cursor)), True
        await self._mark(page, wake)
        horizon = cursor.horizon if cursor.link else target
        after = replace(cursor, link=page.next_link, horizon=horizon)
        return await self._cursors.save(after), not page.next_link

    async def _is_read_from_the_start(self, table: Table) -> bool:
        """Whether some of the table has been read, and never yet all of it."""
        cursor = await self._cursors.read(table)
        return cursor.is_first and bool(cursor.link)

    async def _start_window_anew(self) -> None:
        """Have every booking in the window marked, to be read whatever its version: what it shows may have changed."""
        cursor = await self._cursors.read(WINDOW)
        if cursor.horizon is not None:
            await self._cursors.save(self._new_window(cursor))

    def _new_window(self, cursor: Cursor) -> Cursor:
        return Cursor(name=WINDOW, policy=self._policy, row=cursor.row)

    async def _mark(self, page: Page, wake: set[Shard]) -> None:
        wake |= await self._router.put(
            Hint(
                booking=BookingId(row.id),
                cause=Cause.DELETED if row.is_deleted else Cause.UPDATED,
                version=row.version,
                resource=row.resource,
            )
            for row in page.rows
        )

"""The sweep: compare every booking in the policy window with its event and its link, and report what differs.

Posts, notifications and their backstops tell of changes; the sweep looks at how things are. Calendar by calendar it
reads the bookings of Dataverse, the events with a marker of ours and the links of the table, and compares them
(`shared.sync.compare`). What differs counts only if it still does at a second look, and if no mark for the booking
waits: that is on its way. What an administrator knows already, because it was parked, quarantined or given up, is
reported apart.

It writes nothing to a calendar or to Dataverse, and only on request anything at all: then what differs is marked, for
the engine to repair by its own rules, and events of ours without a link get one, as after the loss of the table. The
row of a booking that is gone proves no deletion (R3); an administrator may vouch for it, under the deletion budget.

How far it has come is stored: thousands of mailboxes need no more than slices of time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import batched
from typing import Any, Protocol

from shared.errors import (
    BookingSyncError,
    EpochMissingError,
    MailboxGoneError,
    PreconditionError,
    RefusedError,
    TokenRefusedError,
    TransientError,
)
from shared.sync.compare import WORDS, Difference, Drift, Pair, compare, touches
from shared.sync.facts import CREATE_TIME, Snapshot
from shared.sync.mend import Mending
from shared.sync.model import (
    Booking,
    BookingId,
    Event,
    EventId,
    Field,
    Link,
    MailboxId,
    Marker,
    ResourceId,
    Shard,
    all_shards,
    shard_of,
)
from shared.sync.ports import BookingSide, Clock, EventSide, Store
from shared.sync.pull import ChangeFeed, Table
from shared.sync.translate import Policy

SLICE = timedelta(seconds=60)
"""How long one call works."""
EVERY = timedelta(days=7)
"""How often everything is compared without being asked."""
TOGETHER = 20
"""How many calendars are compared together: the client puts twenty searches into one request."""
SETTLING = 5.0
"""Seconds between two looks: what was read at different moments of one change agrees by then."""

COUNTED = ("mailboxes", "unread", "pairs", "drift", "known", "under_way")
"""What a sweep counts."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a sweep is for: to report only, or to `repair`; then `deleted` vouches for the deletion of missing rows."""

    repair: bool = False
    deleted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One pair in drift; ids and names of fields only. `known`: what is known of it already, `done`: what was done."""

    drift: Drift
    mailbox: MailboxId
    booking: BookingId = BookingId("")
    fields: tuple[Field, ...] = ()
    known: str = ""
    done: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeping:
    """A sweep and how far it has come: all mailboxes of the shards before `position`, and there those up to `after`.

    `drift` counts what nobody knew of, `known` what waits for an administrator already, `under_way` what changes while
    it is compared or waits for the engine, `unread` mailboxes that could not be searched. `row` is the stored row's own
    version.
    """

    began: datetime
    orders: Orders
    position: int = 0
    after: str = ""
    mailboxes: int = 0
    pairs: int = 0
    drift: int = 0
    known: int = 0
    under_way: int = 0
    unread: int = 0
    ended: datetime | None = None
    row: str = ""

    @property
    def words(self) -> str:
        """The result in one line."""
        at = f"{self.ended:%Y-%m-%dT%H:%M:%SZ}" if self.ended is not None else "not yet done"
        return f"{self.pairs} pairs, {self.drift} drift at {at}"


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is known without a look: marks wait for `bookings` and `events`, others were `given_up` for a reason."""

    bookings: frozenset[BookingId] = frozenset()
    events: frozenset[EventId] = frozenset()
    given_up: Mapping[BookingId, str] = field(default_factory=dict)

    def is_under_way(self, booking: BookingId, pair: Pair | None) -> bool:
        """Whether the engine is about to look at the booking."""
        events = {event.id for event in pair.events} if pair is not None else set()
        return booking in self.bookings or bool(events & self.events)


class SweepNotes(Protocol):
    """Table Storage, as far as only the sweep needs it."""

    async def sweeping(self) -> Sweeping | None:
        """The last sweep."""

    async def save_sweeping(self, sweeping: Sweeping) -> Sweeping:
        """Write it if its row is as it was read, or still absent. Raises `PreconditionError`."""

    async def findings(self, began: datetime) -> Sequence[Finding]:
        """What the sweep that began then has found, as far as there was room for it."""

    async def save_findings(self, began: datetime, findings: Sequence[Finding]) -> None:
        """Add findings."""

    async def drop_findings(self) -> None:
        """Forget what earlier sweeps have found."""

    async def next_due(self, otherwise: datetime) -> datetime:
        """When the next sweep begins by itself; `otherwise` from now on, if that was never said."""

    async def save_next_due(self, due: datetime) -> None:
        """Say when the next sweep begins by itself."""

    async def links_of(self, shard: Shard) -> Sequence[Link]:
        """All links of a shard."""

    async def unsearched(self, shard: Shard) -> frozenset[MailboxId]:
        """The mailboxes of a shard that were left out when its links were restored."""

    async def forget_unsearched(self, mailbox: MailboxId) -> None:
        """The mailbox was searched by now, and every event of ours there has its link."""

    async def waiting(self) -> Waiting:
        """For which bookings marks wait, and which were given up, in all shards."""


@dataclass(slots=True)
class _Look:
    """What one look at some calendars has come to."""

    differences: dict[tuple[MailboxId, BookingId], Difference] = field(default_factory=dict)
    pairs: dict[tuple[MailboxId, BookingId], Pair] = field(default_factory=dict)
    searched: set[MailboxId] = field(default_factory=set)

    def agrees_with(self, first: _Look, key: tuple[MailboxId, BookingId]) -> bool:
        """Whether an earlier look saw the same difference and nothing has changed since."""
        before, pair = first.pairs.get(key), self.pairs.get(key)
        versions = before.versions if before is not None else None
        return first.differences.get(key) == self.differences[key] and versions == (pair and pair.versions)


type _Found = Mapping[MailboxId, Mapping[BookingId, tuple[Event, ...]]]


class Sweep:
    """Compares everything. Any number of them may run on one storage."""

    def __init__(
        self,
        *,
        bookings: BookingSide,
        feed: ChangeFeed,
        events: EventSide,
        store: Store,
        notes: SweepNotes,
        mending: Mending,
        clock: Clock,
        policy: Policy,
        shards: int,
    ) -> None:
        """Take the ports; the window and what events have to show are those of `policy`."""
        self._bookings = bookings
        self._feed = feed
        self._events = events
        self._store = store
        self._notes = notes
        self._mending = mending
        self._clock = clock
        self._policy = policy
        self._shards = shards

    async def begin(self, *, repair: bool = False, deleted: bool = False) -> frozenset[Shard]:
        """Begin anew, whatever has been begun, and work for a slice; gives the shards to wake.

        Raises `TransientError` when the storage does not answer.
        """
        with suppress(PreconditionError):  # somebody else has begun one at this moment
            await self._begin(await self._notes.sweeping(), Orders(repair=repair, deleted=deleted))
        return await self.go_on()

    async def _begin(self, last: Sweeping | None, orders: Orders) -> Sweeping:
        await self._notes.drop_findings()
        row = last.row if last is not None else ""
        return await self._notes.save_sweeping(Sweeping(began=self._clock.now(), orders=orders, row=row))

    async def go_on(self) -> frozenset[Shard]:
        """Work on what was begun for at most a slice; once a week, begin by itself. Gives the shards to wake.

        What fails is tried again with the next call.
        """
        wake: set[Shard] = set()
        try:
            sweeping = await self._present()
            if sweeping is not None:
                await self._work(sweeping, wake)
        except PreconditionError:
            log.info("another host sweeps")
        except EpochMissingError as error:
            log.info("the sweep waits for the links to be restored: %s", error)
        except BookingSyncError as error:
            log.warning("the sweep goes on with its next run: %s %s", error, error.next_step)
        return frozenset(wake)

    async def report(self) -> dict[str, Any] | None:
        """The last sweep, as far as it has come, ready for JSON; `None` when there never was one."""
        sweeping = await self._notes.sweeping()
        if sweeping is None:
            return None
        found = await self._notes.findings(sweeping.began)
        return {
            "summary": sweeping.words,
            "began": sweeping.began.isoformat(),
            "ended": sweeping.ended.isoformat() if sweeping.ended is not None else None,
            "repair": sweeping.orders.repair,
            "deleted": sweeping.orders.deleted,
            **{name: getattr(sweeping, name) for name in COUNTED},
            "findings": [
                {
                    "mailbox": one.mailbox,
                    "booking": one.booking,
                    "drift": one.drift.value,
                    "meaning": WORDS[one.drift],
                    "fields": [name.value for name in one.fields],
                    "known": one.known,
                    "done": one.done,
                }
                for one in found
            ],
        }

    async def _present(self) -> Sweeping | None:
        """The sweep to work on."""
        sweeping, now = await self._notes.sweeping(), self._clock.now()
        if sweeping is not None and sweeping.ended is None:
            return sweeping
        if now < await self._notes.next_due(now + EVERY):
            return None
        await self._notes.save_next_due(now + EVERY)
        return await self._begin(sweeping, Orders())

    async def _work(self, now: Sweeping, wake: set[Shard]) -> None:
        end = self._clock.now() + SLICE
        resources = await self._bookings.mailboxes()
        shards = all_shards(self._shards)
        while now.position < len(shards):
            shard = shards[now.position]
            if not await self._store.has_epoch(shard):
                wake.add(shard)  # whoever works on it restores them
                raise EpochMissingError(f"the links of shard {shard} are not complete")
            left_out = await self._notes.unsearched(shard)
            linked = {link.mailbox for link in await self._notes.links_of(shard)}
            here = {box for box in resources.values() if shard_of(box, self._shards) == shard}
            todo = sorted(box for box in here | linked | left_out if box > now.after)
            for some in batched(todo, TOGETHER, strict=False):
                if self._clock.now() >= end:
                    return
                if now.orders.repair:
                    await self._restore_left_out(shard, left_out.intersection(some), wake)
                now = await self._compare(now, shard, some, resources, wake)
            now = await self._notes.save_sweeping(replace(now, position=now.position + 1, after=""))
        now = await self._notes.save_sweeping(replace(now, ended=self._clock.now()))
        level = logging.WARNING if now.drift else logging.INFO
        log.log(
            level,
            "sweep: %s; %d known already, %d under way, %d of %d mailboxes not searched",
            now.words,
            now.known,
            now.under_way,
            now.unread,
            now.mailboxes,
        )

    async def _compare(
        self,
        now: Sweeping,
        shard: Shard,
        mailboxes: Sequence[MailboxId],
        resources: Mapping[ResourceId, MailboxId],
        wake: set[Shard],
    ) -> Sweeping:
        """Compare some calendars, and do about them what was asked for."""
        first = look = await self._look(shard, mailboxes, resources)
        waiting = Waiting()
        if look.differences:
            await self._clock.sleep(SETTLING)
            look = await self._look(shard, mailboxes, resources)
            waiting = await self._notes.waiting()
        findings: list[Finding] = []
        under_way = 0
        for key, one in sorted(look.differences.items()):
            (mailbox, booking), pair = key, look.pairs.get(key)
            if waiting.is_under_way(booking, pair) or not look.agrees_with(first, key):
                under_way += 1
                continue
            known, done = waiting.given_up.get(booking, ""), ""
            if now.orders.repair and pair is not None and not known:
                done = await self._mending.mend(one, pair, wake, is_deleted=now.orders.deleted)
            findings.append(
                Finding(drift=one.drift, mailbox=mailbox, booking=booking, fields=one.fields, known=known, done=done)
            )
        await self._notes.save_findings(now.began, findings)
        unread = sum(one.drift is Drift.NOT_SEARCHED for one in findings)
        known_already = sum(bool(one.known) for one in findings)
        return await self._notes.save_sweeping(
            replace(
                now,
                after=mailboxes[-1],
                mailboxes=now.mailboxes + len(mailboxes),
                unread=now.unread + unread,
                pairs=now.pairs + len(look.pairs),
                drift=now.drift + len(findings) - unread - known_already,
                known=now.known + known_already,
                under_way=now.under_way + under_way,
            )
        )

    # What is there.

    async def _look(
        self, shard: Shard, mailboxes: Sequence[MailboxId], resources: Mapping[ResourceId, MailboxId]
    ) -> _Look:
        look = _Look()
        found = await self._search(mailboxes, look)
        boxes = look.searched
        links: dict[MailboxId, dict[BookingId, list[Link]]] = {box: {} for box in boxes}
        for link in await self._notes.links_of(shard):
            if link.mailbox in boxes:
                links[link.mailbox].setdefault(link.booking, []).append(link)
        planned = await self._planned({one: box for one, box in resources.items() if box in boxes})
        now = self._clock.now()
        keys = {(box, booking) for box in boxes for booking in planned.get(box, ())}
        for box in boxes:
            keys |= {
                (box, booking)
                for booking, events in found[box].items()
                if any(touches(event.content.start, event.content.end, self._policy, now) for event in events)
            }
            keys |= {
                (box, booking)
                for booking, some in links[box].items()
                if any(touches(link.start, link.end, self._policy, now) for link in some)
            }
        rows = await self._rows({booking for _, booking in keys})
        claims = await asyncio.gather(*(self._store.claim(booking) for booking in rows))
        claim_of = dict(zip(rows, claims, strict=True))
        for box, booking in keys:
            row = rows[booking]
            if isinstance(row, RefusedError):
                look.differences[box, booking] = Difference(Drift.UNREADABLE)
                continue
            seen = Snapshot(
                booking_id=booking,
                shard=shard,
                shards=self._shards,
                now=now,
                marks=(),
                booking=row,
                links=tuple(links[box].get(booking, ())),
                claim=claim_of[booking],
                found=found[box].get(booking, ()),
            )
            self._compare_pair(Pair(seen, box, self._policy), look)
        return look

    def _compare_pair(self, pair: Pair, look: _Look) -> None:
        key = pair.mailbox, pair.seen.booking_id
        try:
            if not pair.is_pair:
                return
            difference = compare(pair)
        except RefusedError:
            difference = Difference(Drift.UNREADABLE)
        look.pairs[key] = pair
        if difference is not None:
            look.differences[key] = difference

    async def _search(self, mailboxes: Sequence[MailboxId], look: _Look) -> _Found:
        """The live events of ours in each mailbox, by booking. Raises `TransientError` when none can be searched."""
        results = await asyncio.gather(*(self._ours(mailbox) for mailbox in mailboxes))
        failed = [result for result in results if isinstance(result, TransientError)]
        if failed and len(failed) == len(results):
            raise failed[0]
        found: dict[MailboxId, Mapping[BookingId, tuple[Event, ...]]] = {}
        for mailbox, result in zip(mailboxes, results, strict=True):
            if isinstance(result, BookingSyncError):
                look.differences[mailbox, BookingId("")] = Difference(Drift.NOT_SEARCHED)
                log.warning("mailbox %s cannot be compared: %s", mailbox, result)
                continue
            look.searched.add(mailbox)
            found[mailbox] = _by_booking(result)
        return found

    async def _ours(self, mailbox: MailboxId) -> Sequence[Event] | BookingSyncError:
        """Our events in a mailbox, none in one that does not exist; the error when it cannot be searched."""
        try:
            return await self._events.find_events(mailbox, Marker.prefix(self._policy.organization))
        except TokenRefusedError:
            raise
        except MailboxGoneError:
            return ()
        except (TransientError, RefusedError) as error:
            return error

    async def _planned(self, resources: Mapping[ResourceId, MailboxId]) -> Mapping[MailboxId, set[BookingId]]:
        """The ids of the bookings in the window, by mailbox."""
        planned: dict[MailboxId, set[BookingId]] = {}
        if not resources:
            return planned
        now = self._clock.now()
        link = self._feed.showing(
            Table.RESOURCE,
            sorted(resources),
            ending_from=now - self._policy.past,
            starting_until=now + self._policy.future,
        )
        while link:
            page = await self._feed.bookings(link)
            for row in page.rows:
                if row.resource is not None and row.resource in resources:
                    planned.setdefault(resources[row.resource], set()).add(BookingId(row.id))
            link = page.next_link
        return planned

    async def _rows(self, bookings: Collection[BookingId]) -> Mapping[BookingId, Booking | RefusedError | None]:
        """The rows as they are now; the client asks for many of them in one request."""

        async def one(booking: BookingId) -> Booking | RefusedError | None:
            try:
                return await self._bookings.get_booking(booking)
            except RefusedError as error:
                return error

        ordered = sorted(bookings)
        return dict(zip(ordered, await asyncio.gather(*map(one, ordered)), strict=True))

    # What a rebuild had to leave out.

    async def _restore_left_out(self, shard: Shard, mailboxes: Collection[MailboxId], wake: set[Shard]) -> None:
        """Search it as the rebuild would have: twice if there is anything, and whenever an event may be (R2a)."""
        first = [await self._ours(mailbox) for mailbox in sorted(mailboxes)]
        if any(not isinstance(events, BookingSyncError) and events for events in first):
            await self._clock.sleep(CREATE_TIME.total_seconds())
        for mailbox in sorted(mailboxes):
            events = await self._ours(mailbox)
            if isinstance(events, BookingSyncError):
                continue
            links: dict[BookingId, list[Link]] = {}
            for link in await self._notes.links_of(shard):
                if link.mailbox == mailbox:
                    links.setdefault(link.booking, []).append(link)
            for booking, group in _by_booking(events).items():
                await self._mending.restore(shard, group, links.get(booking, ()), wake)
            await self._notes.forget_unsearched(mailbox)
            log.warning("mailbox %s was left out when the links were restored, and is searched by now", mailbox)


def _by_booking(events: Iterable[Event]) -> dict[BookingId, tuple[Event, ...]]:
    """Live events of ours by booking."""
    found: dict[BookingId, tuple[Event, ...]] = {}
    for event in events:
        if event.marker is not None and not event.is_cancelled:
            found[event.marker.booking] = (*found.get(event.marker.booking, ()), event)
    return found

"""After the table was lost: find out from the calendars which events exist, before anything is created (R2a).

A shard works only while its *epoch* stands in the table. Without one, because the table is new or was emptied, every
mailbox of the shard is searched for events with a marker of ours, and their links are restored. Then each booking gets
its claim, with the highest generation that was found; should two events of a booking exist, because a hand-over was
under way, the older one is handed over. Only then the shards get their epochs, and work goes on.

If any event was found, the mailboxes are searched a second time when every create must have ended that may have been
under way while the table was lost. A new installation finds none and does not wait.

Nothing here writes to a calendar, except that events of an older program are marked where that is wanted
(`shared.sync.adopt`). What is restored has no base: Dataverse wins, and nothing is cancelled. How far it has come is
stored, so a rebuild of thousands of mailboxes survives a crash and needs no more than slices of time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Protocol

from shared.errors import MailboxGoneError, PreconditionError, RefusedError, TokenRefusedError, TransientError
from shared.sync.adopt import Adoption
from shared.sync.facts import CREATE_TIME
from shared.sync.marks import hand_over
from shared.sync.model import Base, Claim, Event, Link, MailboxId, Mark, Marker, ResourceId, Shard, all_shards, shard_of
from shared.sync.ports import BookingSide, Clock, EventSide, Lease

SLICE = timedelta(seconds=30)
"""How long one call works."""
PARALLEL = 8
"""How many mailboxes are searched at once."""

log = logging.getLogger(__name__)


class Searched(Enum):
    """How the search of a mailbox went."""

    DONE = auto()
    DENIED = auto()
    LATER = auto()
    OVERTAKEN = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the rebuild of `shards` has come: when it `began`, what was `searched` in this round of two."""

    shards: frozenset[Shard]
    began: datetime
    is_second: bool
    searched: frozenset[MailboxId]


class RebuildStore(Protocol):
    """Table Storage."""

    async def acquire_rebuild(self, holder: str, now: datetime) -> Lease | None:
        """The lease on the rebuild, or `None` when somebody has it."""

    async def release(self, lease: Lease) -> bool:
        """Give the lease back."""

    async def begin(self, now: datetime) -> Progress:
        """Open the shards without an epoch for links to be restored, and say how far an earlier call has come."""

    async def restore(self, shard: Shard, links: Sequence[Link]) -> None:
        """Write links of an open shard. Raises `PreconditionError` when it is not open any more."""

    async def note_searched(self, mailbox: MailboxId, *, is_second: bool) -> None:
        """Remember that a mailbox was searched and its links restored."""

    async def begin_second_round(self) -> None:
        """From now on the second round counts."""

    def all_links(self) -> AsyncIterator[Link]:
        """Every link of every shard."""

    async def save_claims(self, claims: Sequence[Claim]) -> None:
        """Write claims, except where there is one of the same or a higher generation already."""

    async def put_marks(self, shard: Shard, marks: Sequence[Mark]) -> None:
        """Add marks."""

    async def remember_resources(self, resources: Mapping[ResourceId, MailboxId], now: datetime) -> None:
        """Keep where the resources' bookings go, for routing."""

    async def end(self, shards: Iterable[Shard], left_out: Iterable[MailboxId]) -> None:
        """Close the shards, each with its epoch, note which mailboxes were left out, and forget the progress."""


class Rebuild:
    """Restores what the table has to know. Any number of them may run on one storage."""

    def __init__(
        self,
        *,
        bookings: BookingSide,
        events: EventSide,
        store: RebuildStore,
        clock: Clock,
        organization: str,
        shards: int,
        adoption: Adoption | None,
    ) -> None:
        """Take the ports; only markers of `organization` are ours (R9), and what `adoption` makes ours."""
        self._bookings = bookings
        self._events = events
        self._store = store
        self._clock = clock
        self._prefix = Marker.prefix(organization)
        self._shards = shards
        self._adoption = adoption

    async def go_on(self, worker: str) -> frozenset[Shard]:
        """Work on the rebuild for at most a slice; gives the shards to wake, all of them once it is done.

        While one worker is at it, others leave it alone. Whatever cannot be searched now is searched in a later call;
        until then no shard without an epoch works.
        """
        lease = await self._store.acquire_rebuild(worker, self._clock.now())
        if lease is None:
            return frozenset()
        try:
            return await self._go_on()
        except PreconditionError:
            log.info("another worker has ended the rebuild")
            return frozenset()
        finally:
            await self._store.release(lease)

    async def _go_on(self) -> frozenset[Shard]:
        end = self._clock.now() + SLICE
        progress = await self._store.begin(self._clock.now())
        if progress.is_second and self._clock.now() < progress.began + CREATE_TIME:
            return frozenset()
        resources = await self._bookings.mailboxes()
        mailboxes = frozenset(resources.values())
        todo = sorted(box for box in mailboxes - progress.searched if shard_of(box, self._shards) in progress.shards)
        left_out = await self._search(todo, end, progress)
        if left_out is None:
            return frozenset()
        links = [link async for link in self._store.all_links() if link.event is not None]
        if links and not progress.is_second:
            await self._store.begin_second_round()
            log.warning("%d links restored from the calendars; a second search follows in %s", len(links), CREATE_TIME)
            return frozenset()
        await self._settle(links)
        await self._store.remember_resources(resources, self._clock.now())
        await self._store.end(progress.shards, left_out)
        log.warning("%d mailboxes searched, %d links known: the table is complete", len(mailboxes), len(links))
        return frozenset(all_shards(self._shards))

    async def _search(
        self, mailboxes: Sequence[MailboxId], end: datetime, progress: Progress
    ) -> Sequence[MailboxId] | None:
        """Restore the links of each mailbox, as far as time allows: those left out, or `None` when more is to be done.

        Raises `PreconditionError` when another worker has ended the rebuild.

        A mailbox that the app may not read is left out, it may not write there either; should that change, no event is
        created there without a look. But if it is so with every one, the permission has yet to be granted.
        """
        gate = asyncio.Semaphore(PARALLEL)

        async def one(mailbox: MailboxId) -> Searched:
            async with gate:
                return await self._restore(mailbox, progress, end) if self._clock.now() < end else Searched.LATER

        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(one(mailbox)) for mailbox in mailboxes]
        results = [task.result() for task in running]
        if Searched.OVERTAKEN in results:
            raise PreconditionError("a shard is not open any more")
        is_denied = Searched.DENIED in results and Searched.DONE not in results and not progress.searched
        if Searched.LATER in results or is_denied:
            return None
        return [mailbox for mailbox, result in zip(mailboxes, results, strict=True) if result is Searched.DENIED]

    async def _restore(self, mailbox: MailboxId, progress: Progress, end: datetime) -> Searched:
        """Search one mailbox and restore its links, unless another worker has ended the rebuild."""
        try:
            links = [
                restored(event, marker, self._clock.now()) for marker, event in (await self._ours(mailbox, end)).items()
            ]
            await self._store.restore(shard_of(mailbox, self._shards), links)
            await self._store.note_searched(mailbox, is_second=progress.is_second)
        except (TokenRefusedError, TransientError) as error:
            log.warning("mailbox %s cannot be searched now: %s", mailbox, error)
            return Searched.LATER
        except RefusedError as error:
            log.warning("mailbox %s cannot be searched: %s %s", mailbox, error, error.next_step)
            return Searched.DENIED
        except PreconditionError:
            return Searched.OVERTAKEN
        return Searched.DONE

    async def _ours(self, mailbox: MailboxId, end: datetime) -> dict[Marker, Event]:
        """Our events in one mailbox, with what is made ours until `end`; one that does not exist holds none."""
        try:
            found = await self._events.find_events(mailbox, self._prefix)
            if self._adoption is not None:
                adopted = await self._adoption.adopt(mailbox, found, end)
                found = [*found, *adopted]
        except MailboxGoneError as error:
            log.info("mailbox %s does not exist: %s", mailbox, error)
            return {}
        return {event.marker: event for event in found if event.marker is not None and not event.is_cancelled}

    async def _settle(self, links: Sequence[Link]) -> None:
        """Each booking gets its claim; older events of it are handed over to the newest (R10)."""
        now = self._clock.now()
        newest: dict[str, Link] = {}
        for link in sorted(links, key=lambda link: link.generation):
            newest[link.booking] = link
        await self._store.save_claims(
            [
                Claim(booking=link.booking, generation=link.generation, mailbox=link.mailbox, claimed_at=now)
                for link in newest.values()
            ]
        )
        for link in links:
            if link.generation < newest[link.booking].generation:
                mark = hand_over(link.booking, newest[link.booking].generation, now)
                await self._store.put_marks(shard_of(link.mailbox, self._shards), (mark,))


def restored(event: Event, marker: Marker, now: datetime) -> Link:
    """The link of an event that was found by its marker; nothing is known of what its booking said then."""
    return Link(
        booking=marker.booking,
        generation=marker.generation,
        mailbox=event.mailbox,
        written_at=now,
        event=event.id,
        etag=event.etag,
        base=Base(booking={}, event=event.content.fingerprints()),
        start=event.content.start,
        end=event.content.end,
    )

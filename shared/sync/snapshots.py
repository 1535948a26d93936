"""What is known about a booking now: the links and the claim, and as much of both sides as a decision needs.

Readings are the app's cost, so each is made only when what is known already does not do (R13).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from shared.errors import GoneError, TransientError
from shared.sync.facts import CREATE_TIME, Facts, Snapshot
from shared.sync.marks import newest_told
from shared.sync.model import (
    OF_EVENTS,
    BookingId,
    Cause,
    Event,
    EventId,
    Link,
    MailboxId,
    Mark,
    Marker,
    Shard,
    shard_of,
)
from shared.sync.ports import BookingSide, Clock, EventSide, Store
from shared.sync.translate import Policy

CERTAINTY = timedelta(seconds=60)
"""How long after our last write a missing event is not yet believed to be missing (R3)."""


class Snapshots:
    """Takes them for one worker. `unsearched` are mailboxes, by shard, that were left out of a rebuild (R2a)."""

    def __init__(
        self,
        *,
        bookings: BookingSide,
        events: EventSide,
        store: Store,
        policy: Policy,
        shards: int,
        clock: Clock,
        worker: str,
    ) -> None:
        """Take the ports and the policy; `worker` names who looks."""
        self._bookings = bookings
        self._events = events
        self._store = store
        self._policy = policy
        self._shards = shards
        self._clock = clock
        self._worker = worker
        self._unsure: dict[BookingId, datetime] = {}
        self.unsearched: dict[Shard, frozenset[MailboxId]] = {}

    def doubt(self, booking: BookingId) -> None:
        """The answer to a write was lost: for a while it may still be carried out."""
        self._unsure[booking] = self._clock.now() + CREATE_TIME

    async def take(
        self, shard: Shard, booking: BookingId, marks: tuple[Mark, ...], links: tuple[Link, ...]
    ) -> Snapshot:
        """Everything about the booking as it is now; the mailbox is searched only when an event could be doubled.

        The event is read when a hint is about it, and then the booking only if it has to be. The claim is read before
        the booking: whoever ends the booking after that writes the claim, and what is decided here on an outdated
        reading then fails to take it.
        """
        claim = await self._store.claim(booking)
        is_here = claim is not None and claim.is_live and shard_of(claim.mailbox, self._shards) == shard
        if claim is not None and is_here and all(link.generation != claim.generation for link in links):
            # An intent is written before its claim, so the claim is younger than what was read of the links.
            links = await self._store.links(shard, booking)
        seen = Snapshot(
            booking_id=booking,
            shard=shard,
            shards=self._shards,
            now=self._clock.now(),
            marks=marks,
            booking=None,
            is_booking_read=False,
            links=links,
            claim=claim,
            unsearched=self.unsearched.get(shard, frozenset()),
            worker=self._worker,
            is_unsure=self._is_unsure(booking),
        )
        if any(mark.cause in OF_EVENTS for mark in marks):
            is_all = all(mark.cause in OF_EVENTS for mark in marks)
            seen = await self.with_event(seen, is_told_enough=is_all)
            if is_all:
                return seen
        return await self.with_booking(seen)

    async def with_event(self, seen: Snapshot, *, is_told_enough: bool = False) -> Snapshot:
        """With the event that the hints are about, if it is the one that stands for the booking.

        It is read, unless what a notification brought along `is_told_enough` to begin with.
        """
        link = Facts(seen, self._policy).link
        if link is None or link.event is None:
            return seen
        hints = [mark for mark in seen.marks if mark.event == link.event]
        if not hints or all(mark.cause is Cause.EVENT_CHANGED and link.has_seen(mark.etag) for mark in hints):
            return seen
        if any(mark.cause is Cause.EVENT_DELETED for mark in hints):
            return await self.prove_gone(seen)
        told = newest_told(mark.told for mark in hints if not link.has_seen(mark.etag))
        if is_told_enough and told is not None and link.is_older_than(told):
            return replace(seen, told=told)
        return await self._with_reading(seen, link.mailbox, link.event)

    async def _with_reading(self, seen: Snapshot, mailbox: MailboxId, event: EventId) -> Snapshot:
        try:
            return replace(seen, event=await self._read(mailbox, event))
        except GoneError:
            return await self.prove_gone(seen)

    async def _read(self, mailbox: MailboxId, event: EventId) -> Event:
        now = self._clock.now()
        return replace(await self._events.get_event(mailbox, event), read_at=now)

    async def with_booking(self, seen: Snapshot) -> Snapshot:
        """With the row, and with what a search of its mailbox finds where that is needed."""
        row = await self._bookings.get_booking(seen.booking_id)
        seen = replace(seen, booking=row, is_booking_read=True)
        if row is not None:
            await self._store.remember_resources({row.resource.id: row.resource.mailbox}, seen.now)
        facts = Facts(seen, self._policy)
        if facts.needs_look_up and not seen.event_is_gone:  # that was proven by a search
            prefix = Marker.prefix(self._policy.organization, seen.booking_id)
            return replace(seen, found=tuple(await self._events.find_events(facts.mailbox, prefix)))
        return seen

    def _is_unsure(self, booking: BookingId) -> bool:
        """Whether a write of this worker whose answer was lost may still be carried out."""
        if booking in self._unsure and self._unsure[booking] <= self._clock.now():
            del self._unsure[booking]
        return booking in self._unsure

    async def again(self, seen: Snapshot) -> Snapshot:
        """After an etag moved: what is stored, and this time the event itself, too."""
        links = await self._store.links(seen.shard, seen.booking_id)
        fresh = await self.take(seen.shard, seen.booking_id, seen.marks, links)
        fresh = fresh if fresh.is_booking_read else await self.with_booking(fresh)
        link = Facts(fresh, self._policy).link
        if link is None or link.event is None or fresh.event is not None or fresh.event_is_gone:
            return fresh
        return await self._with_reading(fresh, link.mailbox, link.event)

    async def prove_gone(self, seen: Snapshot) -> Snapshot:
        """The linked event is said to be gone: believe it only after a while and a look at a mailbox that answers.

        The mailbox is searched by marker, which is another successful call on it, and finds an event that lives on
        under another id; an event that can be read but stands in no calendar is in Deleted Items (R3). Raises
        `TransientError` while it is too early to tell.
        """
        link = Facts(seen, self._policy).link
        if link is None or link.event is None:
            raise TransientError("an event disappeared that no link knows")
        now, prefix = self._clock.now(), Marker.prefix(self._policy.organization, seen.booking_id)
        found = tuple(await self._events.find_events(link.mailbox, prefix))
        in_calendar = next((event for event in found if event.id == link.event), None)
        if in_calendar is not None:
            return replace(seen, event=replace(in_calendar, read_at=now), found=found)
        too_early = link.written_at + CERTAINTY - self._clock.now()
        if too_early > timedelta():
            raise TransientError("the event cannot be found so soon after it was written", retry_after=too_early)
        with suppress(GoneError):
            event = await self._read(link.mailbox, link.event)
            elsewhere = await self._events.find_everywhere(link.mailbox, prefix)
            if any(other.id == event.id for other in elsewhere):
                return replace(seen, event=event, found=found)
        return replace(seen, event_is_gone=True, found=found)

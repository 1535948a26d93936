"""The main path: take a shard's lease, fold its marks by booking, reconcile each booking, commit.

`Engine.reconcile` is what this app does: snapshot -> decide -> apply -> commit. It is level-triggered: a mark only says
that a booking may have changed; what is done follows from how things are now.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import batched
from random import Random
from weakref import WeakValueDictionary

from shared.errors import (
    BookingRefusedError,
    BookingSyncError,
    EpochMissingError,
    GoneError,
    KeysUsedUpError,
    MailboxGoneError,
    OutcomeUnknownError,
    PreconditionError,
    QuarantinedError,
    RefusedError,
    SettingsError,
    TransientError,
)
from shared.sync.apply import Applier, Effects
from shared.sync.budget import Budget
from shared.sync.decide import decide, decide_by_event, is_already_seen
from shared.sync.facts import Snapshot
from shared.sync.marks import MOST_ATTEMPTS, by_booking, look_again, put_off
from shared.sync.model import (
    UNKNOWN,
    BookingId,
    MailboxId,
    Mark,
    Marker,
    Shard,
)
from shared.sync.plan import CreateEvent, Outcome, Plan, Reason
from shared.sync.ports import BookingSide, Clock, Commit, EventSide, JournalEntry, Lease, Store
from shared.sync.rebuild import Rebuild
from shared.sync.snapshots import Snapshots
from shared.sync.translate import Policy

SLICE = timedelta(seconds=30)
"""How long one drain works before it wakes itself again."""
PAGE = 256
"""How many marks a drain looks at together."""
PARALLEL = 64
"""How many bookings of a shard are reconciled at once; the clients know what the services allow."""
TOGETHER = 90
"""How many marks are settled in one go without a look at their bookings."""
CREATION = timedelta(seconds=5)
"""How long a hint of an unknown event waits while events are being made in its mailbox."""
MOST_DECISIONS = 4
"""How often one booking is decided again because somebody else was faster, before it has to wait."""

log = logging.getLogger(__name__)


class Engine:
    """Works off the marks of shards. Any number of engines may work on one storage."""

    def __init__(
        self,
        *,
        bookings: BookingSide,
        events: EventSide,
        store: Store,
        rebuild: Rebuild,
        budget: Budget,
        policy: Policy,
        shards: int,
        clock: Clock,
        random: Random,
    ) -> None:
        """Take the ports and the policy; `random` names this engine as a worker and spreads retries."""
        self._events = events
        self._store = store
        self._rebuild = rebuild
        self._budget = budget
        self._policy = policy
        self._clock = clock
        self._random = random
        self._worker = f"{random.getrandbits(64):016x}"
        self._creating = Counter[MailboxId | None]()
        self._locks = WeakValueDictionary[BookingId, asyncio.Lock]()
        self._snapshots = Snapshots(
            bookings=bookings,
            events=events,
            store=store,
            policy=policy,
            shards=shards,
            clock=clock,
            worker=self._worker,
        )
        self._applier = Applier(
            bookings=bookings, events=events, store=store, clock=clock, policy=policy, shards=shards
        )

    async def drain(self, shard: Shard) -> frozenset[Shard]:
        """Work off the due marks of `shard` for at most a slice, and give the shards to wake.

        A shard that is being worked on is left alone; one without an epoch has its links restored first (R2a).
        """
        try:
            lease = await self._store.acquire(shard, self._worker, self._clock.now())
        except EpochMissingError:
            return await self._restore_links()
        if lease is None:
            return frozenset()
        self._snapshots.unsearched[shard] = lease.unsearched
        wake: set[Shard] = set()
        end = self._clock.now() + SLICE
        more = True
        try:
            while more and self._clock.now() < end:
                marks = await self._store.due_marks(shard, self._clock.now(), PAGE)
                more = bool(marks)
                if more and not await self._store.has_epoch(shard):
                    break  # the table was emptied meanwhile: marks that came since wait for their links (R2a)
                wake |= await self._reconcile_all(shard, await self._ours(shard, marks), end)
        finally:
            asked_again = await self._release(lease)
        if more or asked_again:
            wake.add(shard)
        return frozenset(wake)

    async def _restore_links(self) -> frozenset[Shard]:
        """Go on with the rebuild; what fails is tried again when the timer wakes the shard for its marks."""
        try:
            return await self._rebuild.go_on(self._worker)
        except SettingsError:
            raise
        except BookingSyncError as error:
            log.warning("the links cannot be restored now: %s %s", error, error.next_step)
            return frozenset()

    async def _release(self, lease: Lease) -> bool:
        """Give the lease back; when the storage does not answer it runs out by itself."""
        try:
            return await self._store.release(lease)
        except TransientError as error:
            log.warning("the lease of shard %s was not given back: %s", lease.shard, error)
            return True

    async def _ours(self, shard: Shard, marks: Sequence[Mark]) -> list[Mark]:
        """The marks that need a look, each with its booking.

        What is about an event that no link knows ends here (R9), and so does what tells of an etag that was seen (R5).
        """
        events = {mark.event for mark in marks if mark.event is not None}
        if not events:
            return list(marks)
        known = await self._store.known_events(shard, events)
        ours: list[Mark] = []
        foreign: list[Mark] = []
        echoes: list[Mark] = []
        for mark in marks:
            there = known.get(mark.event) if mark.event is not None else None
            if there is None:
                (foreign if mark.booking == UNKNOWN else ours).append(mark)
            else:
                (ours if there.is_news(mark) else echoes).append(replace(mark, booking=there.booking))
        early = tuple(mark for mark in foreign if self._creating[mark.mailbox])
        if early:
            # Perhaps it is the very event that is being made: its link will be there soon.
            later = put_off(early, self._clock.now(), self._random, CREATION)
            await self._settle(shard, Commit(settled=early, deferred=later))
        await self._end(shard, tuple(mark for mark in foreign if mark not in early), Reason.FOREIGN, Outcome.SKIPPED)
        await self._end(shard, tuple(echoes), Reason.ALREADY_SEEN, Outcome.SUPERSEDED)
        return ours

    async def _end(self, shard: Shard, marks: tuple[Mark, ...], reason: Reason, outcome: Outcome) -> None:
        """One entry for many marks on events that need no look at their bookings."""
        for some in batched(marks, TOGETHER, strict=False):
            entry = replace(self._entry(some, reason, outcome, ""), booking=UNKNOWN)
            await self._settle(shard, Commit(settled=some, entry=entry))

    async def _reconcile_all(self, shard: Shard, marks: Sequence[Mark], end: datetime) -> set[Shard]:
        """Every booking on its own: one that fails never holds up another; none is begun after `end`."""
        gate = asyncio.Semaphore(PARALLEL)

        async def one(booking: BookingId, group: tuple[Mark, ...]) -> set[Shard]:
            async with gate:
                return await self.reconcile(shard, booking, group) if self._clock.now() < end else set()

        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(one(booking, group)) for booking, group in by_booking(marks).items()]
        return set().union(*(task.result() for task in running))

    async def reconcile(self, shard: Shard, booking: BookingId, marks: tuple[Mark, ...]) -> set[Shard]:
        """Bring one booking and its event together and settle its marks; gives the shards to wake.

        One worker looks at a booking once at a time, also when a lost lease lets it drain the shard twice: a worker
        relies on its own creates being over.
        """
        noted: list[Mark] = []
        lock = self._locks.setdefault(booking, asyncio.Lock())
        try:
            async with lock:
                return await self._reconcile(shard, booking, marks, noted)
        except PreconditionError as error:
            # Another worker settled these marks or saved this link first. Marks that are still there come again.
            await self._put_off(shard, (*marks, *noted), TransientError(f"overtaken: {error}"))
        except MailboxGoneError as error:
            await self._give_up(shard, (*marks, *noted), Reason.MAILBOX_GONE, Outcome.PARKED, error)
        except KeysUsedUpError as error:
            await self._give_up(shard, (*marks, *noted), Reason.KEYS_USED_UP, Outcome.PARKED, error)
        except QuarantinedError as error:
            await self._give_up(shard, marks, Reason.DELETION_BUDGET, Outcome.QUARANTINED, error)
        except RefusedError as error:
            await self._give_up(shard, (*marks, *noted), Reason.REFUSED, Outcome.DEAD_LETTER, error)
        except (TransientError, OutcomeUnknownError, GoneError) as error:
            await self._put_off(shard, (*marks, *noted), error)
        except Exception as error:
            # A defect of ours on one booking must not stop the others; the type says where to look, not the content.
            log.exception("unexpected error on booking %s", booking)
            await self._put_off(shard, (*marks, *noted), TransientError(f"unexpected {type(error).__name__}"))
        return set()

    async def _reconcile(
        self, shard: Shard, booking: BookingId, marks: tuple[Mark, ...], noted: list[Mark]
    ) -> set[Shard]:
        links = await self._store.links(shard, booking)
        if is_already_seen(marks, links):
            await self._commit(shard, marks, Plan(reason=Reason.ALREADY_SEEN, outcome=Outcome.SUPERSEDED), Effects())
            return set()
        if all(mark.event is not None and all(mark.event != link.event for link in links) for mark in marks):
            await self._commit(shard, marks, await self._about_stray(booking, marks), Effects())
            return set()
        seen = await self._snapshots.take(shard, booking, marks, links)
        lost_answers = 0
        for _ in range(MOST_DECISIONS):
            plan, seen = await self._decide(seen)
            await self._budget.spend(plan, seen)
            created = [action.mailbox for action in plan.actions if isinstance(action, CreateEvent)]
            self._creating.update(created)
            try:
                effects = await self._applier.apply(plan, seen, noted)
            except PreconditionError:
                seen = await self._snapshots.again(seen)
            except OutcomeUnknownError:
                # The intent makes the new snapshot search for what may have been created (R2). Once: a service that
                # loses one answer after the other is given time.
                self._snapshots.doubt(booking)
                lost_answers += 1
                if lost_answers > 1:
                    raise
                seen = await self._snapshots.again(seen)
            except BookingRefusedError as error:
                seen = replace(seen, refusal=str(error))
            except GoneError:
                seen = await self._snapshots.prove_gone(seen)
            else:
                await self._commit(shard, marks, plan, effects, seen)
                return effects.wake
            finally:
                self._creating.subtract(created)
        raise TransientError(f"the event or the claim of the booking changed {MOST_DECISIONS} times meanwhile")

    async def _decide(self, seen: Snapshot) -> tuple[Plan, Snapshot]:
        """The plan, and what had to be read for it: as little as is enough."""
        plan = None if seen.is_booking_read else decide_by_event(seen, self._policy)
        if plan is None and seen.told is not None:
            seen = await self._snapshots.with_event(replace(seen, told=None))
            plan = decide_by_event(seen, self._policy)
        if plan is None and not seen.is_booking_read:
            seen = await self._snapshots.with_booking(seen)
        return plan or decide(seen, self._policy), seen

    async def _about_stray(self, booking: BookingId, marks: tuple[Mark, ...]) -> Plan:
        """Events that were ours are told of: late hints, or people have taken one out of Deleted Items again."""
        prefix = Marker.prefix(self._policy.organization, booking)
        for mailbox in sorted({mark.mailbox for mark in marks if mark.mailbox is not None}):
            found = {event.id for event in await self._events.find_events(mailbox, prefix)}
            if any(mark.event in found for mark in marks):
                words = "people have restored an event that went with its booking: delete it, or plan the visit anew"
                return Plan(reason=Reason.RESTORED_BY_PEOPLE, outcome=Outcome.PARKED, detail=words)
        return Plan(reason=Reason.FOREIGN, outcome=Outcome.SKIPPED)

    async def _commit(
        self, shard: Shard, marks: tuple[Mark, ...], plan: Plan, effects: Effects, seen: Snapshot | None = None
    ) -> None:
        fields = sorted({field.value for action in plan.actions for field in getattr(action, "fields", ())})
        newest = effects.save[-1] if effects.save else None
        entry = replace(
            self._entry(marks, plan.reason, plan.outcome, plan.detail),
            actions=tuple(effects.done),
            fields=tuple(fields),
            generation=newest.generation if newest is not None else 0,
            version=effects.version or (seen.booking.version if seen is not None and seen.booking is not None else 0),
            lost={**plan.lost, **effects.lost},
        )
        again = (look_again(entry.booking, entry.at, entry.at),) if effects.look_again else ()
        commit = Commit(
            settled=(*marks, *effects.noted),
            deferred=again,
            save=tuple(effects.save),
            remove=tuple(effects.remove),
            entry=entry,
        )
        try:
            await self._store.commit(shard, commit)
        except PreconditionError:
            await self._applier.undo_creates(shard, effects.created)
            if effects.done:
                # Whoever was faster has not seen what was done here, and the marks may be settled by now.
                await self._store.put_marks(shard, (look_again(entry.booking, entry.at, entry.at),))
            raise
        self._report(entry)

    async def _put_off(self, shard: Shard, marks: tuple[Mark, ...], error: BookingSyncError) -> None:
        """Try again later; after too many attempts the change becomes a dead letter."""
        attempts = max(mark.attempts for mark in marks)
        if attempts >= MOST_ATTEMPTS:
            final = RefusedError(f"{error}; given up after {attempts + 1} attempts.")
            await self._give_up(shard, marks, Reason.ATTEMPTS_EXHAUSTED, Outcome.DEAD_LETTER, final)
            return
        at_least = error.retry_after if isinstance(error, TransientError) else None
        later = put_off(marks, self._clock.now(), self._random, at_least)
        log.info("put off to %s, attempt %d: %s", later[0].due_at.isoformat(), attempts + 1, error)
        await self._settle(shard, Commit(settled=marks, deferred=later))

    async def _give_up(
        self, shard: Shard, marks: tuple[Mark, ...], reason: Reason, outcome: Outcome, error: BookingSyncError
    ) -> None:
        entry = self._entry(marks, reason, outcome, f"{error} {error.next_step}")
        await self._settle(shard, Commit(settled=marks, entry=entry))
        self._report(entry)

    async def _settle(self, shard: Shard, commit: Commit) -> None:
        """Settle marks; where that fails they are still there, and come again."""
        try:
            await self._store.commit(shard, commit)
        except PreconditionError:
            log.info("the marks of shard %s were settled by another worker", shard)
        except BookingSyncError as error:
            log.warning("marks of shard %s could not be settled: %s", shard, error)

    def _entry(self, marks: tuple[Mark, ...], reason: Reason, outcome: Outcome, detail: str) -> JournalEntry:
        return JournalEntry(
            booking=marks[0].booking,
            at=self._clock.now(),
            reason=reason,
            outcome=outcome,
            posts=sum(mark.posts for mark in marks),
            attempts=max(mark.attempts for mark in marks) + 1,
            correlation=next((mark.correlation for mark in marks if mark.correlation), ""),
            detail=detail,
        )

    def _report(self, entry: JournalEntry) -> None:
        """One wide line for each unit of work; ids only, never content."""
        log.info(
            "booking %s: %s (%s) actions=%s fields=%s posts=%d attempts=%d correlation=%s",
            entry.booking,
            entry.reason,
            entry.outcome,
            ",".join(entry.actions) or "-",
            ",".join(entry.fields) or "-",
            entry.posts,
            entry.attempts,
            entry.correlation or "-",
        )

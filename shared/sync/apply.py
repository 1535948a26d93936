"""Carries out a plan, one action after the other, and collects what has to be committed.

Every action may be repeated after a crash between any two steps: creates carry an idempotency key, they and deletions
are preceded by an intent, writes and deletions carry an etag, hand-overs and forwards are marks that may come twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

from shared.errors import (
    BookingRefusedError,
    DeniedError,
    DuplicateError,
    GoneError,
    KeysUsedUpError,
    PreconditionError,
    RefusedError,
    TransientError,
)
from shared.sync.facts import CREATE_TIME, Snapshot
from shared.sync.marks import hand_over, look_again, passed_on
from shared.sync.model import (
    Base,
    BookingChange,
    Claim,
    Content,
    Event,
    EventId,
    Field,
    Link,
    MailboxId,
    Mark,
    Marker,
    Shard,
    fingerprint,
    shard_of,
)
from shared.sync.plan import (
    Action,
    AdoptEvent,
    CancelBooking,
    CreateEvent,
    DeleteEvent,
    DropIntent,
    Forward,
    Learn,
    Plan,
    RetireClaim,
    Unlink,
    UpdateBooking,
    UpdateEvent,
    Wait,
)
from shared.sync.ports import BookingSide, Clock, EventSide, Store
from shared.sync.translate import Policy

MOST_GENERATIONS = 8
"""How many used-up idempotency keys one create may meet before it is parked (R2)."""


@dataclass(slots=True)
class Effects:
    """What the actions of one plan have done and what is left to commit; `noted` are marks that came with intents.

    `version` is the booking's after it was written, `lost` what people did to an event that had to go.
    """

    save: list[Link] = field(default_factory=list)
    remove: list[Link] = field(default_factory=list)
    wake: set[Shard] = field(default_factory=set)
    done: list[str] = field(default_factory=list)
    created: list[Event] = field(default_factory=list)
    noted: list[Mark] = field(default_factory=list)
    look_again: bool = False
    version: int | None = None
    lost: dict[Field, str] = field(default_factory=dict)


class Applier:
    """Turns actions into requests."""

    def __init__(
        self,
        *,
        bookings: BookingSide,
        events: EventSide,
        store: Store,
        clock: Clock,
        policy: Policy,
        shards: int,
    ) -> None:
        """Take the ports and the policy, whose organisation goes into every marker."""
        self._bookings = bookings
        self._events = events
        self._store = store
        self._clock = clock
        self._policy = policy
        self._shards = shards

    async def apply(self, plan: Plan, seen: Snapshot, noted: list[Mark]) -> Effects:
        """Carry out `plan`. Raises what the ports raise; what was done by then is safe to do again.

        Marks that come with intents are added to `noted`, also when it raises then.
        """
        effects = Effects(noted=noted)
        for action in plan.actions:
            await self._perform(action, seen, effects)
        return effects

    async def _perform(self, action: Action, seen: Snapshot, effects: Effects) -> None:  # noqa: C901 - all actions
        match action:
            case CreateEvent():
                await self._create(action, seen, effects)
            case AdoptEvent():
                await self._adopt(action, seen, effects)
            case UpdateEvent():
                await self._update(action, seen, effects)
            case UpdateBooking() | CancelBooking():
                await self._write_booking(action, effects)
            case Learn():
                effects.save.append(self._knowing(action.link, effects))
            case Unlink():
                await self._hand_over(action.link, effects)
                effects.remove.append(action.link)
            case DeleteEvent():
                await self._delete(action.link, seen, effects)
            case DropIntent():
                await self._drop(action.link, effects)
            case RetireClaim():
                await self._retire(action.claim, seen)
                effects.done.append("retire_claim")
            case Forward():
                await self._put_marks(action.mailbox, passed_on(seen.marks), effects)
                effects.done.append("forward")
            case Wait():
                until = action.until - self._clock.now()
                raise TransientError("another worker may be creating this event", retry_after=until)

    async def _create(self, action: CreateEvent, seen: Snapshot, effects: Effects) -> None:
        """Intent, claim, POST, hand-over: in this order a crash leaves nothing that the next attempt cannot find."""
        intent, claim, event = action.intent, seen.claim, None
        for generation in range(action.generation, action.generation + MOST_GENERATIONS):
            row = intent.row if intent is not None and intent.generation == generation else ""
            intent = await self._note_intent(action, seen, generation, row, effects)
            claim = await self._take_claim(claim, intent)
            marker, until = self._marker(intent), intent.written_at + CREATE_TIME
            event = await self._post(action.mailbox, marker, action.content, until, effects)
            if event is not None:
                break
            effects.remove.append(intent)
        if intent is None or event is None:
            raise KeysUsedUpError(f"{MOST_GENERATIONS} generations of the event's idempotency key are used up")
        await self._hand_over(intent, effects)
        if action.replaces is not None:
            effects.remove.append(action.replaces)
        # Another link may be left of a create that got stuck: now that an event stands, it can be cleared away.
        effects.look_again |= any(link not in (action.replaces, action.intent) for link in seen.links)
        if event in effects.created:
            effects.save.append(self._confirmed(intent, event, action.content, seen))
        else:
            self._take_over(intent, event, effects)
        effects.done.append("create_event")

    async def _note_intent(
        self, action: CreateEvent, seen: Snapshot, generation: int, row: str, effects: Effects
    ) -> Link:
        """The intent comes with a mark of its own: whoever settles the others, somebody will look at it.

        One that was noted before, as `row`, is noted anew, because others wait for each POST from its intent on.
        """
        intent = Link(
            booking=seen.booking_id,
            generation=generation,
            mailbox=action.mailbox,
            written_at=self._clock.now(),
            noted_by=seen.worker,
            predecessor=action.predecessor,
            row=row,
        )
        return await self._announce(intent, seen, effects)

    async def _announce(self, link: Link, seen: Snapshot, effects: Effects) -> Link:
        """Save what is about to be done to the link's event, with a mark that looks after it should nobody confirm."""
        now = self._clock.now()
        look = look_again(link.booking, now, now + CREATE_TIME)
        saved, mark = await self._store.save_intent(seen.shard, link, look)
        effects.noted.append(mark)
        return saved

    async def _take_claim(self, claim: Claim | None, link: Link) -> Claim:
        if claim is not None and claim.stands_on(link):
            return claim
        return await self._store.save_claim(
            Claim(
                booking=link.booking,
                generation=link.generation,
                mailbox=link.mailbox,
                claimed_at=self._clock.now(),
                row=claim.row if claim is not None else "",
            )
        )

    async def _post(
        self, mailbox: MailboxId, marker: Marker, content: Content, until: datetime, effects: Effects
    ) -> Event | None:
        """The created event; the existing one if it is ours and live; `None` if the idempotency key is used up."""
        try:
            created = await self._events.create_event(mailbox, marker, content, until)
        except DuplicateError as duplicate:
            event = await self._existing(mailbox, marker, duplicate.existing)
        else:
            effects.created.append(created)
            return created
        return None if event is None or event.is_cancelled or event.marker != marker else event

    async def _existing(self, mailbox: MailboxId, marker: Marker, named: str | None) -> Event | None:
        if named is not None:
            try:
                return await self._events.get_event(mailbox, EventId(named))
            except GoneError:
                return None
        return next(iter(await self._marked(mailbox, marker)), None)

    async def _marked(self, mailbox: MailboxId, marker: Marker) -> list[Event]:
        """The events with exactly this marker: one, or none."""
        return [event for event in await self._events.find_events(mailbox, marker.text) if event.marker == marker]

    async def _adopt(self, action: AdoptEvent, seen: Snapshot, effects: Effects) -> None:
        link = action.link or Link(
            booking=seen.booking_id,
            generation=action.generation,
            mailbox=action.event.mailbox,
            written_at=self._clock.now(),
        )
        await self._take_claim(seen.claim, link)
        await self._hand_over(link, effects)
        self._take_over(link, action.event, effects)
        effects.done.append("adopt_event")

    async def _write_booking(self, action: UpdateBooking | CancelBooking, effects: Effects) -> None:
        """Write the booking. Raises `PreconditionError` to have it decided anew, `BookingRefusedError`."""
        if isinstance(action, UpdateBooking):
            change = BookingChange(start=action.start, end=action.end)
        else:
            change = BookingChange(status=await self._bookings.canceled_status())
        tag = f"{action.booking}:{fingerprint(repr(change))}"
        try:
            row = await self._bookings.update_booking(action.booking, action.version, change, tag)
        except GoneError as error:
            raise PreconditionError(f"the booking is gone: {error}") from error
        except DeniedError:
            raise  # for everyone alike: nobody's edit is put back because the app lacks a role
        except RefusedError as error:
            raise BookingRefusedError(str(error)) from error
        effects.version = row.version
        if isinstance(action, UpdateBooking):
            # Business logic may have given it other times, seconds have no fractions there, and texts may tell times.
            is_as_meant = (row.start, row.end) == (action.start, action.end)
            effects.look_again |= self._policy.depends_on_times or not is_as_meant
        effects.done.append("update_booking" if isinstance(action, UpdateBooking) else "cancel_booking")

    async def _update(self, action: UpdateEvent, seen: Snapshot, effects: Effects) -> None:
        link = action.link
        if link.event is None:
            raise LookupError("an intent cannot be updated")
        # What the event was like is news to nobody from now on, even where it is overruled (R5).
        known = link.showing(seen.event) if seen.event is not None else link
        if action.fields or link.base is None:
            event = await self._events.update_event(
                link.mailbox, link.event, action.etag, action.fields, action.content
            )
            agreed = action.agreed or action.content
            effects.save.append(self._knowing(self._confirmed(known, event, agreed, seen), effects))
            effects.done.append("update_event")
        else:
            held = seen.event.content.fingerprints() if seen.event is not None else link.base.event
            learned = replace(known, base=Base(booking=action.content.fingerprints(), event=held))
            learned = self._knowing(learned, effects, seen.booking.version if seen.booking is not None else None)
            effects.save.extend([learned] if learned != link else [])

    def _take_over(self, link: Link, event: Event, effects: Effects) -> None:
        """Link an event that was there already, as it is, and look at both once more.

        What this worker has read of the booking may be older than what another has written into the event meanwhile, so
        nothing is written now. A base without a booking's side makes the next decision compare with the event.
        """
        base = Base(booking={}, event=event.content.fingerprints())
        effects.save.append(replace(self._linked(link, event), base=base))
        effects.look_again = True

    def _confirmed(self, link: Link, event: Event, content: Content, seen: Snapshot) -> Link:
        """The link as it stands after a write: everything about the event is what the service returned."""
        return replace(
            self._linked(link, event),
            version=seen.booking.version if seen.booking is not None else link.version,
            base=Base(booking=content.fingerprints(), event=event.content.fingerprints()),
        )

    def _linked(self, link: Link, event: Event) -> Link:
        """The link with everything about the event; by then its predecessor was told."""
        return replace(link.showing(event), written_at=self._clock.now(), predecessor=None)

    def _knowing(self, link: Link, effects: Effects, version: int | None = None) -> Link:
        """The link with the version that the booking has by now."""
        return replace(link, version=effects.version or version or link.version)

    async def _delete(self, link: Link, seen: Snapshot, effects: Effects) -> None:
        event = link.event
        if event is None:
            await self._delete_unconfirmed(link)
        elif seen.claim is not None and seen.claim.stands_on(link):
            link = await self._delete_wanted_before(link, event, seen, effects)
        else:
            await self._delete_left_behind(link, event, effects)
        await self._hand_over(link, effects)
        effects.remove.append(link)
        effects.done.append("delete_event")

    async def _delete_unconfirmed(self, intent: Link) -> None:
        ours = await self._made_of(intent)
        await asyncio.gather(*(self._events.delete_event(intent.mailbox, event.id, event.etag) for event in ours))

    async def _drop(self, intent: Link, effects: Effects) -> None:
        ours = await self._made_of(intent)
        if ours:
            self._take_over(intent, ours[0], effects)
        else:
            effects.remove.append(intent)
        effects.done.append("drop_intent")

    async def _made_of(self, intent: Link) -> list[Event]:
        """The events that an intent has become: one, or none."""
        return await self._marked(intent.mailbox, self._marker(intent))

    def _marker(self, link: Link) -> Marker:
        return Marker(organization=self._policy.organization, booking=link.booking, generation=link.generation)

    async def _delete_wanted_before(self, link: Link, event: EventId, seen: Snapshot, effects: Effects) -> Link:
        """Delete the event that the claim stands on, as it was read: one that moved meanwhile is decided anew.

        The booking may be wanted again since it was read, and another worker may be writing the event for it. From the
        intent on nobody takes the link's word for the event: it is written in full, and thereby seen, or deleted. And
        whoever decided on the link as it was before cannot commit.
        """
        if link.base is not None:
            link = await self._announce(replace(link, base=None, version=0), seen, effects)
        if seen.event is not None and seen.event.id == event:
            link = replace(link, etag=seen.event.etag, is_meeting=seen.event.is_meeting)
        await self._take_away(link.mailbox, event, link.etag, is_meeting=link.is_meeting)
        return link

    async def _take_away(self, mailbox: MailboxId, event: EventId, etag: str, *, is_meeting: bool) -> None:
        """Delete the event as it was read, or cancel the meeting, so that its guests get to know (R7)."""
        if is_meeting:
            await self._events.cancel_event(mailbox, event)
        else:
            await self._events.delete_event(mailbox, event, etag)

    async def _delete_left_behind(self, link: Link, event: EventId, effects: Effects) -> None:
        """Delete an event that another has replaced; only people write it now, and it beats their edits (R6)."""
        try:
            await self._take_away(link.mailbox, event, link.etag, is_meeting=link.is_meeting)
        except PreconditionError:
            with suppress(GoneError):
                fresh = await self._events.get_event(link.mailbox, event)
                await self._take_away(link.mailbox, event, fresh.etag, is_meeting=fresh.is_meeting)
                if (fresh.content.start, fresh.content.end) != (link.start, link.end):
                    effects.lost[Field.TIME] = fresh.content.text_of(Field.TIME)

    async def undo_creates(self, shard: Shard, created: Sequence[Event]) -> None:
        """After a commit that came too late: delete what was created if another worker linked another event instead.

        So it is when a worker freezes between its intent and its POST for longer than others wait for it, and the
        service does not remember the idempotency key. An intent that still waits will find the event by its marker.
        """
        for event in created:
            if event.marker is None:
                continue
            if not await self._store.has_epoch(shard):
                continue  # the table was lost meanwhile; the rebuild finds the event by its marker (R2a)
            links = await self._store.links(shard, event.marker.booking)
            mine = [link for link in links if link.generation == event.marker.generation]
            if not mine or mine[0].event not in (None, event.id):
                await self._events.delete_event(event.mailbox, event.id, event.etag)

    async def _retire(self, claim: Claim | None, seen: Snapshot) -> None:
        now = self._clock.now()
        nobody = Claim(booking=seen.booking_id, generation=0, mailbox=MailboxId(""), claimed_at=now)
        await self._store.save_claim(replace(claim or nobody, retired_at=now))

    async def _hand_over(self, link: Link, effects: Effects) -> None:
        """Tell the mailbox of the previous generation, if there is one, to give up its event (R10)."""
        if link.predecessor is not None:
            order = hand_over(link.booking, link.generation, self._clock.now())
            await self._put_marks(link.predecessor, (order,), effects)

    async def _put_marks(self, mailbox: MailboxId, marks: Sequence[Mark], effects: Effects) -> None:
        shard = shard_of(mailbox, self._shards)
        await self._store.put_marks(shard, marks)
        effects.wake.add(shard)

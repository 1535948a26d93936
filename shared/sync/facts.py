"""A snapshot of one booking, and the questions that the decision table asks about it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from shared.sync.merge import DEFAULT_WINNERS, TO_BOOKING, TO_EVENT, Edit, Rules, Verdict, merge
from shared.sync.model import (
    Booking,
    BookingId,
    Cause,
    Claim,
    Content,
    Event,
    Field,
    Fingerprint,
    Link,
    MailboxId,
    Mark,
    Shard,
    StatusKind,
    Told,
    fingerprint,
    shard_of,
)
from shared.sync.translate import Policy, translate


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything known about one booking now, and the marks that ask about it: the only input of a decision.

    `links` are the links of this shard, `claim` the booking's claim wherever it points. `event` is the linked event, if
    it was read, `told` what a notification brought along of it, if it was not; `event_is_gone` says it is proven not to
    exist any more (R3). `found` are the events that a look-up by marker found in the booking's mailbox. `unsearched`
    are mailboxes that may hold events of ours without a link. `is_booking_read` is false where the event alone may be
    enough to decide; `refusal` is what Dataverse said against what people did to the event. `worker` is who looks;
    `is_unsure` says that a write of its own, whose answer was lost, may still be carried out.
    """

    booking_id: BookingId
    shard: Shard
    shards: int
    now: datetime
    marks: tuple[Mark, ...]
    booking: Booking | None
    links: tuple[Link, ...] = ()
    claim: Claim | None = None
    event: Event | None = None
    told: Told | None = None
    event_is_gone: bool = False
    found: tuple[Event, ...] = ()
    unsearched: frozenset[MailboxId] = frozenset()
    is_booking_read: bool = True
    refusal: str = ""
    worker: str = ""
    is_unsure: bool = False


CREATE_TIME = timedelta(seconds=25)
"""Longer than any worker takes from intent to answer; after it, an intent's POST has happened or never will."""


class Facts:
    """A snapshot seen through the policy. Every question is answered when it is first asked."""

    def __init__(self, snapshot: Snapshot, policy: Policy) -> None:
        """Take both."""
        self.seen = snapshot
        self.policy = policy

    # The booking.

    @cached_property
    def booking(self) -> Booking:
        """The booking; ask only when it exists."""
        if self.seen.booking is None:
            raise LookupError("the table asked for the columns of a booking that does not exist")
        return self.seen.booking

    @cached_property
    def mailbox(self) -> MailboxId:
        """The mailbox of the booking's resource; ask only when it has one."""
        if self.booking.resource.mailbox is None:
            raise LookupError("the table asked for the mailbox of a resource without one")
        return self.booking.resource.mailbox

    @cached_property
    def content(self) -> Content:
        """What the event has to show. Raises `RefusedError` when a template fails on this booking."""
        return translate(self.booking, self.policy)

    @property
    def is_deleted(self) -> bool:
        """Whether the row is gone and a post proves that it was deleted (R3)."""
        return self.seen.booking is None and any(mark.cause is Cause.DELETED for mark in self.seen.marks)

    @property
    def is_missing(self) -> bool:
        """Whether the row cannot be read; without a deletion post that proves nothing (R3)."""
        return self.seen.booking is None

    @property
    def is_canceled(self) -> bool:
        """Whether the booking's status says canceled."""
        return self.booking.status.kind is StatusKind.CANCELED

    @property
    def may_stay(self) -> bool:
        """Whether the policy would keep the booking's event if it were canceled, and there may be one to keep."""
        mailbox = self.booking.resource.mailbox
        return self.policy.keeps_canceled and mailbox is not None and self.holder == mailbox

    @property
    def is_canceled_away(self) -> bool:
        """Whether the booking is canceled and nothing is to be shown of it: nobody needs a new event to learn that."""
        if not self.is_canceled:
            return False
        return not self.may_stay or (self.owns(self.mailbox) and not self.is_linked and self.found is None)

    @property
    def has_no_mailbox(self) -> bool:
        """Whether there is no calendar to write to."""
        return self.booking.resource.mailbox is None

    @property
    def is_filtered_out(self) -> bool:
        """Whether the administrator's filter leaves the booking out."""
        return not self.policy.is_wanted(self.booking)

    @property
    def belongs_to_another_shard(self) -> bool:
        """Whether another shard owns the booking's mailbox."""
        return not self.owns(self.mailbox)

    @property
    def is_out_of_window(self) -> bool:
        """Whether the booking is too far away to get an event; one that has an event keeps it."""
        return self.holder is None and not self.policy.is_in_window(self.booking, self.seen.now)

    # What is stored about it.

    def owns(self, mailbox: MailboxId) -> bool:
        """Whether this shard owns `mailbox`."""
        return shard_of(mailbox, self.seen.shards) == self.seen.shard

    @property
    def is_only_hand_over(self) -> bool:
        """Whether nobody asked about the booking itself, and it lives where its claim says.

        Two shards may have acted on one booking at once, each on what it had read: when the claim went to the one that
        had read earlier, its hand-over is what brings that to light.
        """
        return all(mark.cause is Cause.HANDED_OVER for mark in self.seen.marks) and not self.is_misplaced

    @property
    def is_misplaced(self) -> bool:
        """Whether the claim is in another mailbox than the booking's resource has."""
        claim, row = self.seen.claim, self.seen.booking
        if claim is None or row is None or row.resource.mailbox is None:
            return False
        return claim.is_live and claim.mailbox != row.resource.mailbox

    @cached_property
    def link(self) -> Link | None:
        """The link here that stands for the booking's present event, confirmed or still an intent."""
        claim = self.seen.claim
        newest = max(
            (link for link in self.seen.links if not self._came_to_nothing(link)),
            key=lambda link: link.generation,
            default=None,
        )
        if newest is None or claim is None or newest.generation > claim.generation:
            return newest
        # Were there an event of the claim's own generation, its link would stand here, too.
        return newest if claim.is_live and claim.mailbox == newest.mailbox else None

    def _came_to_nothing(self, link: Link) -> bool:
        """Whether an intent never took the claim, so that no event was made, and nobody needs one.

        The booking is gone or elsewhere, or another worker's event stands in the same mailbox.
        """
        claim, row = self.seen.claim, self.seen.booking
        if link.event is not None or (claim is not None and link.generation <= claim.generation):
            return False
        is_elsewhere = row is None or row.resource.mailbox != link.mailbox
        return is_elsewhere or (claim is not None and claim.is_live and claim.mailbox == link.mailbox)

    @cached_property
    def under_way_until(self) -> datetime | None:
        """When the creates that may be on their way right now must have ended; `None` without any.

        While such a POST is on its way it cannot be found by its marker, so nothing may be concluded from its absence.
        One of this worker's own is if its answer was lost, until it is found.
        """
        is_own_over = not self.seen.is_unsure or self.found is not None
        others = [
            link.written_at
            for link in self.seen.links
            if link.event is None and not (is_own_over and link.noted_by == self.seen.worker)
        ]
        until = max(others, default=self.seen.now) + CREATE_TIME
        return until if others and until > self.seen.now else None

    @cached_property
    def stale(self) -> tuple[Link, ...]:
        """The links here whose events have to go because the claim has moved on (R10).

        One goes when the new holder says so with a hand-over, not earlier. Inside a mailbox nobody has to: it goes when
        a newer one stands there, which two workers may have made of one booking. What a removal left behind that came
        as far as the tombstone goes, too. None goes while a create may be under way.
        """
        claim = self.seen.claim
        if claim is None or self.under_way_until is not None:
            return ()
        told = max((mark.generation for mark in self.seen.marks if mark.cause is Cause.HANDED_OVER), default=0)
        stands_in = self.link.mailbox if self.link is not None and self.is_linked else None
        older = [link for link in self.seen.links if link is not self.link and link.generation <= claim.generation]
        return tuple(
            link
            for link in older
            if not claim.is_live or link.generation < min(told, claim.generation) or link.mailbox == stands_in
        )

    @cached_property
    def dropped(self) -> tuple[Link, ...]:
        """The intents here that never took the claim, or lost it, and that no hand-over will reach.

        One with a predecessor waits for its hand-over, because it has to pass it on.
        """
        if self.under_way_until is not None:
            return ()
        claim = self.seen.claim

        def is_lost(link: Link) -> bool:
            if self._came_to_nothing(link):
                return True
            if claim is None or link is self.link or link.event is not None or link in self.stale:
                return False
            return link.generation == claim.generation or (link.generation < claim.generation and not link.predecessor)

        return tuple(link for link in self.seen.links if is_lost(link))

    @cached_property
    def holder(self) -> MailboxId | None:
        """The mailbox that holds the booking's event, or may hold it."""
        if self.link is not None:
            return self.link.mailbox
        return self.seen.claim.mailbox if self.seen.claim is not None and self.seen.claim.is_live else None

    @property
    def is_held_by_another_mailbox(self) -> bool:
        """Whether the event is, or may be, in the calendar of an earlier resource."""
        return self.holder not in (None, self.mailbox)

    @property
    def is_linked(self) -> bool:
        """Whether a confirmed link stands for an event that, as far as is known, exists."""
        return self.link is not None and self.link.event is not None and not self._has_ended

    @property
    def _has_ended(self) -> bool:
        """Whether the linked event is proven gone, or people have canceled it (R3)."""
        return self.seen.event_is_gone or (self.seen.event is not None and self.seen.event.is_cancelled)

    @property
    def is_gone(self) -> bool:
        """Whether the linked event has ended and nothing else in its mailbox carries its marker."""
        return self.link is not None and self._has_ended and self.found is None

    @property
    def is_deleted_by_people(self) -> bool:
        """Whether the event has ended and nothing speaks against its booking's end: an edit beats a deletion (R6)."""
        if not self.is_gone or self.link is None or self.link.base is None or self.seen.refusal:
            return False
        base = self.link.base.booking
        return all(base.get(one) == there for one, there in self.content.fingerprints().items())

    @property
    def needs_look_up(self) -> bool:
        """Whether the mailbox must be searched by marker before an event may be created (R2, R2a).

        So it is for an intent, whose POST may have happened, for a booking that is neither new nor known, and in a
        mailbox that was left out when the links were restored.
        """
        if self.is_missing or self.has_no_mailbox or self.is_filtered_out or self.is_only_hand_over:
            return False
        if self.is_canceled and not self.may_stay:
            return False
        if self.belongs_to_another_shard or self.is_out_of_window or self.is_held_by_another_mailbox:
            return False
        if self.seen.claim is None and self.link is None:
            is_new = all(mark.cause is Cause.CREATED for mark in self.seen.marks)
            return not is_new or self.mailbox in self.seen.unsearched
        if self.holder is None:  # people may have taken the event of a booking that is taken back out of Deleted Items
            return self.seen.claim is not None and self.seen.claim.generation > 0
        return not self.is_linked

    # The event.

    @cached_property
    def rules(self) -> Rules:
        """Whose edits count: what people do to the event of a canceled booking does not, that status wins (R6)."""
        if self.seen.is_booking_read and self.is_canceled:
            undo = dict.fromkeys(Field, Edit.UNDO)
            return Rules(edits=undo | {Field.SENSITIVITY: Edit.KEEP}, winners=DEFAULT_WINNERS)
        return self.policy.rules

    @cached_property
    def verdicts(self) -> Mapping[Field, Verdict]:
        """What has to be done about the fields in which the linked event and the booking differ."""
        link, event = self.link, self.seen.event
        if link is None or link.base is None:
            return dict.fromkeys(Field, Verdict.WRITE_EVENT)
        verdicts = dict(merge(link.base, self.content, event.content if event is not None else None, self.rules))
        for one, verdict in verdicts.items():
            if self.seen.refusal and verdict in TO_BOOKING:
                verdicts[one] = Verdict.OVERRULE_EVENT
            elif self.is_meeting and one is not Field.TIME and verdict in TO_EVENT:
                verdicts[one] = Verdict.KEEP
        return verdicts

    @property
    def is_meeting(self) -> bool:
        """Whether people are invited to the linked event: then nothing but its times is written (R7)."""
        if self.seen.event is not None:
            return self.seen.event.is_meeting
        return self.link is not None and self.link.is_meeting

    @property
    def fields(self) -> frozenset[Field]:
        """The fields of the linked event that must be written."""
        return frozenset(one for one, verdict in self.verdicts.items() if verdict in TO_EVENT)

    @property
    def is_moved(self) -> bool:
        """Whether people have given the event times that the booking has to take."""
        return self.verdicts.get(Field.TIME) in TO_BOOKING

    @property
    def unsuitable(self) -> str:
        """Why what people made of the event fits no booking, in words; empty when it does, or is put back anyway."""
        if self.seen.event is None:
            return ""
        may_be_written = self.verdicts.get(Field.TIME) in TO_EVENT and not self.seen.event.is_series
        return "" if may_be_written else self.seen.event.unsuitable

    @property
    def in_conflict(self) -> tuple[Field, ...]:
        """The fields that both sides have changed, and that people have to settle."""
        return tuple(one for one, verdict in self.verdicts.items() if verdict is Verdict.PARK)

    @property
    def lost(self) -> Mapping[Field, str]:
        """What loses: values of the event that are overwritten, and of the booking."""
        shown = self.seen.event.content if self.seen.event is not None else None
        sides = {Verdict.OVERRULE_EVENT: shown, Verdict.OVERRULE_BOOKING: self.content}
        losers = {one: sides.get(verdict) for one, verdict in self.verdicts.items()}
        return {one: side.text_of(one) for one, side in losers.items() if side is not None}

    @cached_property
    def put_in_force(self) -> Mapping[Field, str]:
        """What an administrator has restored of what lost, as far as it may be written and is not there yet (R6).

        Times go to the booking. Other fields belong to it: only where people may keep theirs, theirs can come back.
        """
        marks = sorted(self.seen.marks, key=lambda mark: mark.accepted_at)
        asked = {mark.field: mark.text for mark in marks if mark.field is not None}
        if not asked or self.is_canceled:
            return {}
        shown = self.seen.event.content.fingerprints() if self.seen.event is not None else None
        held = shown or (self.link.base.event if self.link is not None and self.link.base is not None else {})
        return {one: text for one, text in asked.items() if self._may_be_restored(one, text, held)}

    def _may_be_restored(self, one: Field, text: str, held: Mapping[Field, Fingerprint]) -> bool:
        if one is Field.TIME:
            return not self.seen.refusal and text != self.content.text_of(one)
        is_theirs = self.policy.rules.edits[one] is Edit.KEEP and not self.is_meeting and not self.content.is_private
        return is_theirs and held.get(one) != fingerprint(text)

    @property
    def edited(self) -> frozenset[Field]:
        """The fields in which the event is not any more as the base remembers it; the booking need not be known."""
        link, event, told = self.link, self.seen.event, self.seen.told
        if link is None or link.base is None or (event is None and told is None):
            return frozenset()
        known: Mapping[Field, Fingerprint | None] = link.base.event
        if event is None:
            known = {**known, Field.BODY: link.preview}
        return frozenset(one for one in Field if self.prints[one] != known.get(one))

    @property
    def prints(self) -> Mapping[Field, Fingerprint]:
        """Those of the event as it was read or told; ask only when it was."""
        if self.seen.event is not None:
            return self.seen.event.content.fingerprints()
        if self.seen.told is None:
            raise LookupError("the table asked for the prints of an event of which nothing is known")
        return self.seen.told.prints

    @cached_property
    def found(self) -> Event | None:
        """The event to adopt: ours and not cancelled; of the intent's generation, else the newest still in force."""
        ours = {
            event.marker.generation: event
            for event in self.seen.found
            if event.marker is not None and not event.is_cancelled
        }
        if self.link is not None:
            return ours.get(self.link.generation)
        newest = max(ours, default=0)
        return ours[newest] if ours and newest >= (self.seen.claim.generation if self.seen.claim else 0) else None

    @cached_property
    def next_generation(self) -> int:
        """A generation that was never used for this booking (R2)."""
        used = [link.generation for link in self.seen.links]
        used += [event.marker.generation for event in self.seen.found if event.marker is not None]
        used += [self.seen.claim.generation] if self.seen.claim is not None else []
        return max(used, default=0) + 1

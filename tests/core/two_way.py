"""The rows of the decision table that people's edits of events lead to, as cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from shared.sync.facts import Snapshot
from shared.sync.marks import put_in_force
from shared.sync.merge import DEFAULT_EDITS, DEFAULT_WINNERS, Edit, Rules, Winner
from shared.sync.model import Booking, Content, Field, Link
from shared.sync.plan import (
    Action,
    CancelBooking,
    CreateEvent,
    DeleteEvent,
    Learn,
    Outcome,
    Reason,
    RetireClaim,
    Unlink,
    UpdateBooking,
    UpdateEvent,
)
from shared.sync.translate import Deleted, Policy
from tests.core.builders import (
    ALICE,
    BOOKING,
    CANCELED,
    NOW,
    booking,
    claim,
    content_of,
    event,
    link,
    policy,
    snapshot,
)

START, END = NOW + timedelta(days=3), NOW + timedelta(days=3, hours=1)
MOVED = replace(content_of(booking()), start=START, end=END)
"""What the event shows after a person has moved it."""
POSTPONED = booking(start=NOW + timedelta(days=5), end=NOW + timedelta(days=5, hours=1), version=101)
"""The booking after a planner has moved it, too."""
TIMES = f"{START.isoformat()}/{END.isoformat()}"


def rules(**winners: Winner) -> Policy:
    """The default policy, with other winners of conflicts."""
    return replace(
        policy(), rules=Rules(winners={**DEFAULT_WINNERS, **{Field(one): who for one, who in winners.items()}})
    )


def edits(**edits: Edit) -> Policy:
    """The default policy, with another word on edits."""
    return replace(policy(), rules=Rules(edits={**DEFAULT_EDITS, **{Field(one): edit for one, edit in edits.items()}}))


def seen(row: Booking, shown: Content, **changes: object) -> Snapshot:
    """A booking, and its event as it was read."""
    of_event = {name: changes.pop(name) for name in list(changes) if name.startswith("is_")}
    at = replace(event(content=shown), **of_event)  # type: ignore[arg-type]
    return replace(snapshot(row, links=(link(),), claim=claim(), event=at), **changes)  # type: ignore[arg-type]


def gone(row: Booking, **changes: object) -> Snapshot:
    """A booking, and its event proven gone."""
    return replace(snapshot(row, links=(link(),), claim=claim(), event_is_gone=True), **changes)  # type: ignore[arg-type]


def to_booking(row: Booking) -> UpdateBooking:
    """The booking takes the times of `MOVED`."""
    return UpdateBooking(booking=row.id, version=row.version, start=START, end=END)


def to_event(row: Booking, *fields: Field, content: Content | None = None, at: Link | None = None) -> UpdateEvent:
    """The event, as it was read, gets fields of the booking."""
    return UpdateEvent(
        link=at or link(), fields=frozenset(fields), content=content or content_of(row), etag=event().etag
    )


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is seen, under which policy, and what follows."""

    name: str
    seen: Snapshot
    reason: Reason
    outcome: Outcome = Outcome.APPLIED
    actions: tuple[Action, ...] = ()
    lost: Mapping[Field, str] = field(default_factory=dict)
    policy: Policy = field(default_factory=policy)


CASES = (
    Case(
        name="moved in the calendar: the booking follows",
        seen=seen(booking(), MOVED),
        reason=Reason.MOVED,
        actions=(to_booking(booking()), to_event(booking(), content=MOVED)),
    ),
    Case(
        name="moved and renamed: the booking follows, the subject is put back",
        seen=seen(booking(), replace(MOVED, subject="Lunch")),
        reason=Reason.MOVED,
        actions=(to_booking(booking()), to_event(booking(), Field.SUBJECT, content=MOVED)),
    ),
    Case(
        name="moved in the calendar, the customer renamed in Dataverse: no conflict, both are carried over",
        seen=seen(booking(account="Northwind"), MOVED),
        reason=Reason.MOVED,
        actions=(
            to_booking(booking()),
            to_event(booking(), Field.SUBJECT, content=replace(MOVED, subject="Northwind")),
        ),
    ),
    Case(
        name="where times are Dataverse's own, a moved event is put back",
        seen=seen(booking(), MOVED),
        policy=edits(time=Edit.UNDO),
        reason=Reason.UPDATED,
        actions=(to_event(booking(), Field.TIME),),
    ),
    Case(
        name="where people may rename events, nothing is written",
        seen=seen(booking(), replace(content_of(booking()), subject="Lunch")),
        policy=edits(subject=Edit.KEEP),
        reason=Reason.UNCHANGED,
        outcome=Outcome.UNCHANGED,
        actions=(to_event(booking()),),
    ),
    Case(
        name="moved on both sides: Dataverse wins, the event's times are kept in the journal (R6)",
        seen=seen(POSTPONED, MOVED),
        reason=Reason.UPDATED,
        actions=(to_event(POSTPONED, Field.TIME),),
        lost={Field.TIME: TIMES},
    ),
    Case(
        name="moved on both sides: Outlook wins, the booking's times are kept in the journal (R6)",
        seen=seen(POSTPONED, MOVED),
        policy=rules(time=Winner.OUTLOOK),
        reason=Reason.MOVED,
        actions=(to_booking(POSTPONED), to_event(POSTPONED, content=MOVED)),
        lost={Field.TIME: content_of(POSTPONED).text_of(Field.TIME)},
    ),
    Case(
        name="moved on both sides, and people shall decide: nothing is written, the booking is read anew then (R6)",
        seen=seen(POSTPONED, MOVED),
        policy=rules(time=Winner.PARK),
        reason=Reason.CONFLICT,
        outcome=Outcome.PARKED,
        actions=(Learn(link=link(version=0)),),
    ),
    Case(
        name="moved alike on both sides: no conflict",
        seen=seen(replace(POSTPONED, start=START, end=END), MOVED),
        policy=rules(time=Winner.PARK),
        reason=Reason.UNCHANGED,
        outcome=Outcome.UNCHANGED,
        actions=(to_event(POSTPONED, content=MOVED),),
    ),
    Case(
        name="Dataverse refuses the new times: the event goes back, the journal keeps them (R6)",
        seen=seen(booking(), MOVED, refusal="the booking is completed"),
        reason=Reason.WRITE_REFUSED,
        actions=(to_event(booking(), Field.TIME),),
        lost={Field.TIME: TIMES},
    ),
    Case(
        name="times that had lost are restored: the booking takes them, and the event with it (R6)",
        seen=seen(booking(), content_of(booking()), marks=(put_in_force(BOOKING, Field.TIME, TIMES, NOW),)),
        reason=Reason.PUT_IN_FORCE,
        actions=(to_booking(booking()), replace(to_event(booking(), Field.TIME, content=MOVED), agreed=MOVED)),
        lost={Field.TIME: content_of(booking()).text_of(Field.TIME)},
    ),
    Case(
        name="a subject that had lost is restored where people may keep theirs (R6)",
        seen=seen(booking(), content_of(booking()), marks=(put_in_force(BOOKING, Field.SUBJECT, "Lunch", NOW),)),
        policy=edits(subject=Edit.KEEP),
        reason=Reason.PUT_IN_FORCE,
        actions=(
            replace(
                to_event(booking(), Field.SUBJECT, content=replace(content_of(booking()), subject="Lunch")),
                agreed=content_of(booking()),
            ),
        ),
        lost={Field.SUBJECT: content_of(booking()).subject},
    ),
    Case(
        name="a subject is not restored where Dataverse owns it",
        seen=seen(booking(), content_of(booking()), marks=(put_in_force(BOOKING, Field.SUBJECT, "Lunch", NOW),)),
        reason=Reason.UNCHANGED,
        outcome=Outcome.UNCHANGED,
        actions=(to_event(booking()),),
    ),
    Case(
        name="a subject is not restored in a meeting (R7)",
        seen=seen(
            booking(),
            content_of(booking()),
            is_meeting=True,
            marks=(put_in_force(BOOKING, Field.SUBJECT, "Lunch", NOW),),
        ),
        policy=edits(subject=Edit.KEEP),
        reason=Reason.UNCHANGED,
        outcome=Outcome.UNCHANGED,
        actions=(to_event(booking()),),
    ),
    Case(
        name="restored times that Dataverse refuses are given up",
        seen=seen(
            booking(),
            content_of(booking()),
            refusal="the booking is completed",
            marks=(put_in_force(BOOKING, Field.TIME, TIMES, NOW),),
        ),
        reason=Reason.UNCHANGED,
        outcome=Outcome.UNCHANGED,
        actions=(to_event(booking()),),
    ),
    Case(
        name="moved while it was canceled: canceling wins (R6)",
        seen=seen(booking(status=CANCELED, version=101), MOVED),
        reason=Reason.CANCELED,
        actions=(DeleteEvent(link=link()), RetireClaim(claim=claim())),
    ),
    Case(
        name="made to last all day: parked, no booking gets wrong times",
        seen=seen(booking(), MOVED, is_all_day=True),
        reason=Reason.UNSUITABLE,
        outcome=Outcome.PARKED,
    ),
    Case(
        name="given no length: parked",
        seen=seen(booking(), replace(MOVED, end=START)),
        reason=Reason.UNSUITABLE,
        outcome=Outcome.PARKED,
    ),
    Case(
        name="made a series: parked, even at the old time",
        seen=seen(booking(), content_of(booking()), is_series=True),
        reason=Reason.UNSUITABLE,
        outcome=Outcome.PARKED,
    ),
    Case(
        name="made to last all day, then the planner moves the booking: the event gets its times back",
        seen=seen(POSTPONED, MOVED, is_all_day=True),
        reason=Reason.UPDATED,
        actions=(to_event(POSTPONED, Field.TIME),),
        lost={Field.TIME: TIMES},
    ),
    Case(
        name="people were invited: only its times are written (R7)",
        seen=seen(replace(POSTPONED, account="Northwind"), content_of(booking()), is_meeting=True),
        reason=Reason.UPDATED,
        actions=(to_event(replace(POSTPONED, account="Northwind"), Field.TIME),),
    ),
    Case(
        name="deleted in the calendar: the booking is canceled",
        seen=gone(booking()),
        reason=Reason.EVENT_DELETED,
        actions=(
            CancelBooking(booking=booking().id, version=booking().version),
            Unlink(link=link()),
            RetireClaim(claim=claim()),
        ),
    ),
    Case(
        name="canceled in the calendar: the same",
        seen=seen(booking(), content_of(booking()), is_cancelled=True),
        reason=Reason.EVENT_DELETED,
        actions=(
            CancelBooking(booking=booking().id, version=booking().version),
            Unlink(link=link()),
            RetireClaim(claim=claim()),
        ),
    ),
    Case(
        name="deleted in the calendar, moved in Dataverse: an edit beats a deletion (R6)",
        seen=gone(POSTPONED),
        reason=Reason.RESTORED,
        actions=(CreateEvent(mailbox=ALICE, generation=2, content=content_of(POSTPONED), replaces=link()),),
    ),
    Case(
        name="deleted in the calendar, and Dataverse refuses to cancel the booking: the event comes back",
        seen=gone(booking(), refusal="the booking is completed"),
        reason=Reason.RESTORED,
        actions=(CreateEvent(mailbox=ALICE, generation=2, content=content_of(booking()), replaces=link()),),
    ),
    Case(
        name="where deleting an event means nothing, it comes back",
        seen=gone(booking()),
        policy=replace(policy(), on_deleted=Deleted.RESTORE),
        reason=Reason.RESTORED,
        actions=(CreateEvent(mailbox=ALICE, generation=2, content=content_of(booking()), replaces=link()),),
    ),
    Case(
        name="where people shall decide what a deletion means, it is parked",
        seen=gone(booking()),
        policy=replace(policy(), on_deleted=Deleted.PARK),
        reason=Reason.EVENT_MISSING,
        outcome=Outcome.PARKED,
    ),
    Case(
        name="the table was lost, and the event is gone: nothing is canceled without a base (R2a)",
        seen=gone(booking(), links=(link(base=replace(link().base, booking={})),)),  # type: ignore[type-var]
        reason=Reason.RESTORED,
        actions=(
            CreateEvent(
                mailbox=ALICE,
                generation=2,
                content=content_of(booking()),
                replaces=link(base=replace(link().base, booking={})),  # type: ignore[type-var]
            ),
        ),
    ),
)

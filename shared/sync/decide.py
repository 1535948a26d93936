"""The rules: what is known about one booking -> what to do about it. Pure, total, deterministic.

`TABLE` is the whole truth, the first fitting row wins. Each row has a reason code, which stands in the journal, in the
log and in the tests. To add a rule, add a row, its reason and its test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from shared.sync.facts import Facts, Snapshot
from shared.sync.merge import Edit
from shared.sync.model import Base, Cause, Field, Link, Mark
from shared.sync.plan import (
    Action,
    AdoptEvent,
    CancelBooking,
    CreateEvent,
    DeleteEvent,
    DropIntent,
    Forward,
    Learn,
    Outcome,
    Plan,
    Reason,
    RetireClaim,
    Unlink,
    UpdateBooking,
    UpdateEvent,
    Wait,
)
from shared.sync.translate import Deleted, Policy


def decide(snapshot: Snapshot, policy: Policy) -> Plan:
    """The plan for one booking: the first fitting row, then what earlier generations left behind here.

    Raises `RefusedError` when a template fails on this booking.
    """
    facts = Facts(snapshot, policy)
    plan = next(row for row in TABLE if row.applies(facts)).plan(facts)
    going = [action.link for action in plan.actions if isinstance(action, DeleteEvent)]
    leftovers: tuple[Action, ...] = tuple(DeleteEvent(link=link) for link in facts.stale if link not in going)
    leftovers += tuple(DropIntent(link=link) for link in facts.dropped if link not in going)
    if not leftovers:
        return plan
    outcome = Outcome.APPLIED if plan.outcome is Outcome.SKIPPED else plan.outcome
    return replace(plan, outcome=outcome, actions=plan.actions + leftovers)


def decide_by_event(snapshot: Snapshot, policy: Policy) -> Plan | None:
    """The plan for hints of an event that was read, or told, while its booking was not; `None` when more must be read.

    What people most often do, moving an event, needs nothing of the booking but the version that was last seen: when
    it has another one by now, it refuses the write. Nor does it need more of the event than a notification may bring
    along; but that nothing has changed is believed of an event that was read.
    """
    facts = Facts(snapshot, policy)
    link, event, told, claim = facts.link, snapshot.event, snapshot.told, snapshot.claim
    is_plain = facts.under_way_until is None and not facts.stale and not facts.dropped and facts.is_linked
    if link is None or link.base is None or not link.version or claim is None or not claim.stands_on(link):
        return None
    if not is_plain or snapshot.refusal or Field.TIME not in link.base.booking or policy.keeps_canceled:
        return None
    if event is not None:
        shown, start, end = link.showing(event), event.content.start, event.content.end
        is_suitable = not event.unsuitable
    elif told is not None:
        shown, start, end = link.as_told(told), told.start, told.end
        is_suitable = link.is_older_than(told)
    else:
        return None
    if event is not None and not facts.edited:
        return Plan(reason=Reason.UNCHANGED, outcome=Outcome.UNCHANGED, actions=(Learn(link=shown),))
    if facts.edited == {Field.TIME} and policy.rules.edits[Field.TIME] is Edit.ACCEPT and is_suitable:
        agreed = {Field.TIME: facts.prints[Field.TIME]}
        base = Base(booking={**link.base.booking, **agreed}, event={**link.base.event, **agreed})
        write = UpdateBooking(booking=link.booking, version=link.version, start=start, end=end)
        learn = Learn(link=replace(shown, base=base))
        return Plan(reason=Reason.MOVED, outcome=Outcome.APPLIED, actions=(write, learn))
    return None


# What to do: one function for each kind of plan.


def _do_nothing(reason: Reason, outcome: Outcome) -> Callable[[Facts], Plan]:
    return lambda _: Plan(reason=reason, outcome=outcome)


def _wait(facts: Facts) -> Plan:
    until = facts.under_way_until or facts.seen.now
    return Plan(reason=Reason.UNDER_WAY, outcome=Outcome.UNCHANGED, actions=(Wait(until=until),))


_ENDS = frozenset({Reason.DELETED, Reason.CANCELED})
"""Why a booking ends: its claim is written even if there was none, so that whoever read it earlier comes too late."""


def _remove(reason: Reason) -> Callable[[Facts], Plan]:
    """Every event of the booking has to go, wherever it is; where there is none, the plan says why none is made."""

    def plan(facts: Facts) -> Plan:
        claim = facts.seen.claim if facts.seen.claim is not None and facts.seen.claim.is_live else None
        actions: list[Action] = [DeleteEvent(link=link) for link in facts.seen.links]
        if claim is not None and not facts.owns(claim.mailbox):
            actions.append(Forward(mailbox=claim.mailbox))
            return Plan(reason=reason, outcome=Outcome.FORWARDED, actions=tuple(actions))
        detail = facts.seen.booking.resource.obstacle if facts.seen.booking is not None else ""
        outcome = Outcome.APPLIED if actions or claim is not None else Outcome.SKIPPED
        if claim is not None or reason in _ENDS:
            actions.append(RetireClaim(claim=facts.seen.claim))
        return Plan(reason=reason, outcome=outcome, actions=tuple(actions), detail=detail)

    return plan


def _forward(facts: Facts) -> Plan:
    return Plan(reason=Reason.ROUTED, outcome=Outcome.FORWARDED, actions=(Forward(mailbox=facts.mailbox),))


def _create(facts: Facts) -> Plan:
    """A first event, or once more the POST of an intent: it keeps its generation, so that it cannot double (R2)."""
    create = _create_anew(facts)
    if facts.link is not None:
        create = replace(
            create, generation=facts.link.generation, intent=facts.link, predecessor=facts.link.predecessor
        )
    return Plan(reason=Reason.CREATED, outcome=Outcome.APPLIED, actions=(create,))


def _create_anew(facts: Facts) -> CreateEvent:
    return CreateEvent(mailbox=facts.mailbox, generation=facts.next_generation, content=facts.content)


def _reassign(facts: Facts) -> Plan:
    create = replace(_create_anew(facts), predecessor=facts.holder)
    return Plan(reason=Reason.REASSIGNED, outcome=Outcome.APPLIED, actions=(create,))


def _restore(facts: Facts) -> Plan:
    create = replace(_create_anew(facts), replaces=facts.link)
    return Plan(reason=Reason.RESTORED, outcome=Outcome.APPLIED, actions=(create,))


def _adopt(facts: Facts) -> Plan:
    event = facts.found
    if event is None or event.marker is None:
        raise LookupError("the table asked to adopt an event that was not found")
    adopt = AdoptEvent(event=event, generation=event.marker.generation, link=facts.link)
    return Plan(reason=Reason.FOUND, outcome=Outcome.APPLIED, actions=(adopt,))


def _update(reason: Reason, outcome: Outcome) -> Callable[[Facts], Plan]:
    def plan(facts: Facts) -> Plan:
        if facts.link is None:
            raise LookupError("the table asked to update an event without a link")
        etag = facts.seen.event.etag if facts.seen.event is not None else facts.link.etag
        update = UpdateEvent(link=facts.link, fields=facts.fields, content=facts.content, etag=etag)
        return Plan(reason=reason, outcome=outcome, actions=(update,), detail=facts.seen.refusal, lost=facts.lost)

    return plan


def _move(facts: Facts) -> Plan:
    """The booking takes the event's times, and the event gets back what is not for people to change."""
    link, event = facts.link, facts.seen.event
    if link is None or event is None:
        raise LookupError("the table asked to take over the times of an event that was not read")
    booking, start, end = facts.booking, event.content.start, event.content.end
    write = UpdateBooking(booking=booking.id, version=booking.version, start=start, end=end)
    content = replace(facts.content, start=start, end=end)
    update = UpdateEvent(link=link, fields=facts.fields, content=content, etag=event.etag)
    return Plan(reason=Reason.MOVED, outcome=Outcome.APPLIED, actions=(write, update), lost=facts.lost)


def _put_in_force(facts: Facts) -> Plan:
    """What had lost comes back, and what is overwritten by that is lost in its place."""
    link, booking, asked = facts.link, facts.booking, facts.put_in_force
    if link is None:
        raise LookupError("the table asked to restore a value of an event without a link")
    content = agreed = facts.content
    for one, text in asked.items():
        content = content.with_text(one, text)
    actions: list[Action] = []
    lost = {one: facts.seen.event.content.text_of(one) for one in asked} if facts.seen.event is not None else {}
    if Field.TIME in asked:
        lost[Field.TIME] = agreed.text_of(Field.TIME)
        agreed = agreed.with_text(Field.TIME, asked[Field.TIME])
        write = UpdateBooking(booking=booking.id, version=booking.version, start=content.start, end=content.end)
        actions.append(write)
    etag = facts.seen.event.etag if facts.seen.event is not None else link.etag
    fields = facts.fields.union(asked)
    actions.append(UpdateEvent(link=link, fields=fields, content=content, etag=etag, agreed=agreed))
    return Plan(reason=Reason.PUT_IN_FORCE, outcome=Outcome.APPLIED, actions=tuple(actions), lost=lost)


def _cancel(facts: Facts) -> Plan:
    if facts.link is None:
        raise LookupError("the table asked to cancel a booking without a link")
    write = CancelBooking(booking=facts.booking.id, version=facts.booking.version)
    actions = (write, Unlink(link=facts.link), RetireClaim(claim=facts.seen.claim))
    return Plan(reason=Reason.EVENT_DELETED, outcome=Outcome.APPLIED, actions=actions)


def _park(reason: Reason, words: Callable[[Facts], str]) -> Callable[[Facts], Plan]:
    """Leave both as they are. What the booking says is not in force then: who mends the event has it read anew."""

    def plan(facts: Facts) -> Plan:
        plan = Plan(reason=reason, outcome=Outcome.PARKED, detail=words(facts))
        if facts.link is None or facts.link.version in (0, facts.booking.version):
            return plan
        return replace(plan, actions=(Learn(link=replace(facts.link, version=0)),))

    return plan


@dataclass(frozen=True, slots=True)
class Row:
    """One rule: when `applies`, the plan is what `plan` makes of the facts."""

    reason: Reason
    meaning: str
    applies: Callable[[Facts], bool]
    plan: Callable[[Facts], Plan]


TABLE: tuple[Row, ...] = (
    Row(
        Reason.UNDER_WAY,
        "another worker may be creating this booking's event at this moment: wait until its request must have ended",
        lambda facts: facts.under_way_until is not None,
        _wait,
    ),
    Row(
        Reason.HANDED_OVER,
        "only a hand-over asks: what this shard gave up goes, nothing else is touched",
        lambda facts: facts.is_only_hand_over,
        _do_nothing(Reason.HANDED_OVER, Outcome.APPLIED),
    ),
    Row(
        Reason.DELETED,
        "the row is gone and a post proves it: its event goes",
        lambda facts: facts.is_deleted,
        _remove(Reason.DELETED),
    ),
    Row(
        Reason.MISSING,
        "the row cannot be read and nothing proves a deletion: nothing is touched",
        lambda facts: facts.is_missing,
        _do_nothing(Reason.MISSING, Outcome.SKIPPED),
    ),
    Row(
        Reason.CANCELED,
        "the booking is canceled: its event goes, unless the policy keeps such events; none is made",
        lambda facts: facts.is_canceled_away,
        _remove(Reason.CANCELED),
    ),
    Row(
        Reason.NO_MAILBOX,
        "the resource has no calendar: none is written, and the event that an earlier resource had goes",
        lambda facts: facts.has_no_mailbox,
        _remove(Reason.NO_MAILBOX),
    ),
    Row(
        Reason.FILTERED_OUT,
        "the administrator's filter leaves the booking out: its event goes",
        lambda facts: facts.is_filtered_out,
        _remove(Reason.FILTERED_OUT),
    ),
    Row(
        Reason.ROUTED,
        "another shard owns the booking's mailbox: it gets the marks",
        lambda facts: facts.belongs_to_another_shard,
        _forward,
    ),
    Row(
        Reason.OUT_OF_WINDOW,
        "too far in the past or the future to get an event; a booking that has one keeps it",
        lambda facts: facts.is_out_of_window,
        _do_nothing(Reason.OUT_OF_WINDOW, Outcome.SKIPPED),
    ),
    Row(
        Reason.REASSIGNED,
        "another mailbox holds the event: it is created here first, then handed over",
        lambda facts: facts.is_held_by_another_mailbox,
        _reassign,
    ),
    Row(
        Reason.EVENT_DELETED,
        "people have deleted the event of a booking that nobody changed: the booking is canceled",
        lambda facts: facts.policy.on_deleted is Deleted.CANCEL and facts.is_deleted_by_people,
        _cancel,
    ),
    Row(
        Reason.EVENT_MISSING,
        "people have deleted the event, and the policy leaves it to people what that means",
        lambda facts: facts.policy.on_deleted is Deleted.PARK and facts.is_deleted_by_people,
        _park(Reason.EVENT_MISSING, lambda _: "the event was deleted: cancel the booking, or move it for a new one"),
    ),
    Row(
        Reason.RESTORED,
        "the linked event is proven gone, and its booking wants one: it comes back as a new generation",
        lambda facts: facts.is_gone,
        _restore,
    ),
    Row(
        Reason.UNSUITABLE,
        "what people made of the event fits no booking: nothing is written until they change it",
        lambda facts: facts.is_linked and bool(facts.unsuitable),
        _park(Reason.UNSUITABLE, lambda facts: f"{facts.unsuitable}: give it a begin and an end, and no repetition"),
    ),
    Row(
        Reason.PUT_IN_FORCE,
        "an administrator restores what had lost a conflict: the booking or its event gets it back",
        lambda facts: facts.is_linked and bool(facts.put_in_force),
        _put_in_force,
    ),
    Row(
        Reason.CONFLICT,
        "both sides have changed a field, and the policy leaves it to people which one counts",
        lambda facts: facts.is_linked and bool(facts.in_conflict),
        _park(
            Reason.CONFLICT, lambda facts: f"both sides have changed: {', '.join(facts.in_conflict)}; make them equal"
        ),
    ),
    Row(
        Reason.MOVED,
        "people have moved the event: the booking follows",
        lambda facts: facts.is_linked and facts.is_moved,
        _move,
    ),
    Row(
        Reason.WRITE_REFUSED,
        "Dataverse refuses what people did to the event: it shows the booking again, and the journal keeps the loser",
        lambda facts: facts.is_linked and bool(facts.seen.refusal) and bool(facts.fields),
        _update(Reason.WRITE_REFUSED, Outcome.APPLIED),
    ),
    Row(
        Reason.UPDATED,
        "the event differs: the differing fields are written and no others",
        lambda facts: facts.is_linked and bool(facts.fields),
        _update(Reason.UPDATED, Outcome.APPLIED),
    ),
    Row(
        Reason.UNCHANGED,
        "both sides agree: nothing is sent, only the link learns the new row version",
        lambda facts: facts.is_linked,
        _update(Reason.UNCHANGED, Outcome.UNCHANGED),
    ),
    Row(
        Reason.FOUND,
        "no confirmed link, but the calendar holds an event with our marker: it is adopted, not doubled",
        lambda facts: facts.found is not None,
        _adopt,
    ),
    Row(
        Reason.CREATED,
        "the booking has no event: one is created",
        lambda _: True,
        _create,
    ),
)
"""The decision table; every snapshot fits a row because the last one fits all."""


def is_already_seen(marks: tuple[Mark, ...], links: tuple[Link, ...]) -> bool:
    """Whether the link knows every version that the marks speak of, so that nothing need be read (R5, R8).

    Row versions only ever grow within one organisation, so an equal or lower one is an echo or an old hint.
    """
    newest = max(links, key=lambda link: link.generation, default=None)
    if newest is None or newest.event is None:
        return False

    def is_seen(mark: Mark) -> bool:
        if mark.cause is Cause.EVENT_CHANGED:
            return mark.event == newest.event and mark.etag != "" and newest.has_seen(mark.etag)
        is_hint = mark.cause in (Cause.CREATED, Cause.UPDATED)
        return is_hint and mark.version is not None and mark.version <= newest.version

    return all(map(is_seen, marks))

"""The decision table, row by row, and the laws that hold over all of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.sync.decide import TABLE, decide, is_already_seen
from shared.sync.facts import CREATE_TIME, Facts, Snapshot
from shared.sync.model import Cause, Field, Link, MailboxId, ShowAs
from shared.sync.plan import (
    Action,
    AdoptEvent,
    CreateEvent,
    DeleteEvent,
    DropIntent,
    Forward,
    Outcome,
    Reason,
    RetireClaim,
    UpdateEvent,
    Wait,
)
from shared.sync.translate import Policy
from tests.core.builders import (
    ADA,
    ALICE,
    BOB,
    CANCELED,
    HERE,
    NOW,
    SHARDS,
    booking,
    claim,
    content_of,
    event,
    hand_over,
    intent,
    link,
    mark,
    policy,
    snapshot,
)
from tests.core.two_way import CASES as TWO_WAY_CASES

FAR: dict[str, Any] = {"start": NOW + timedelta(days=400), "end": NOW + timedelta(days=400, hours=1)}
LATER: dict[str, Any] = {"start": NOW + timedelta(days=2), "end": NOW + timedelta(days=2, hours=1), "version": 101}
EDITED = booking(account="Northwind", version=101)


def create(generation: int, **changes: object) -> CreateEvent:
    return CreateEvent(mailbox=ALICE, generation=generation, content=content_of(booking()), **changes)  # type: ignore[arg-type]


def update(at: Link, *fields: Field, row: object = None, etag: str = 'W/"1"') -> UpdateEvent:
    return UpdateEvent(link=at, fields=frozenset(fields), content=content_of(row or booking()), etag=etag)  # type: ignore[arg-type]


CASES: list[tuple[str, Snapshot, Reason, Outcome, tuple[Action, ...]]] = [
    (
        "another worker's fresh intent: its event may appear any moment (R2)",
        snapshot(booking(), links=(intent(noted_by="other", written_at=NOW),), claim=claim()),
        Reason.UNDER_WAY,
        Outcome.UNCHANGED,
        (Wait(until=NOW + CREATE_TIME),),
    ),
    (
        "not even a deletion concludes anything while it is under way (R2)",
        snapshot(None, mark(Cause.DELETED), links=(intent(noted_by="other", written_at=NOW),), claim=claim()),
        Reason.UNDER_WAY,
        Outcome.UNCHANGED,
        (Wait(until=NOW + CREATE_TIME),),
    ),
    (
        "this worker's own intent: its request has ended, so it is looked for at once",
        snapshot(
            booking(), links=(intent(noted_by="me", written_at=NOW),), claim=claim(), worker="me", found=(event(),)
        ),
        Reason.FOUND,
        Outcome.APPLIED,
        (AdoptEvent(event=event(), generation=1, link=intent(noted_by="me", written_at=NOW)),),
    ),
    (
        "hand-over deletes the earlier generation (R10)",
        snapshot(booking(BOB), hand_over(2), links=(link(),), claim=claim(BOB, 2)),
        Reason.HANDED_OVER,
        Outcome.APPLIED,
        (DeleteEvent(link=link()),),
    ),
    (
        "hand-over that the claim does not confirm deletes nothing (R10)",
        snapshot(booking(), hand_over(2), links=(link(),), claim=claim()),
        Reason.HANDED_OVER,
        Outcome.APPLIED,
        (),
    ),
    (
        "hand-over within one shard leaves the new generation alone (R10)",
        snapshot(booking(ADA), hand_over(2), links=(link(), link(ADA, 2)), claim=claim(ADA, 2)),
        Reason.HANDED_OVER,
        Outcome.APPLIED,
        (DeleteEvent(link=link()),),
    ),
    (
        "a hand-over on account of an outdated reading: the booking lives here, so it is taken back (R1, R10)",
        snapshot(booking(), hand_over(2), links=(link(),), claim=claim(BOB, 2)),
        Reason.REASSIGNED,
        Outcome.APPLIED,
        (create(3, predecessor=BOB), DeleteEvent(link=link())),
    ),
    (
        "deleted with proof (R3)",
        snapshot(None, mark(Cause.DELETED), links=(link(),), claim=claim()),
        Reason.DELETED,
        Outcome.APPLIED,
        (DeleteEvent(link=link()), RetireClaim(claim=claim())),
    ),
    (
        "deleted, but another shard holds the event",
        snapshot(None, mark(Cause.DELETED), claim=claim(BOB)),
        Reason.DELETED,
        Outcome.FORWARDED,
        (Forward(mailbox=BOB),),
    ),
    (
        "deleted before it ever had an event",
        snapshot(None, mark(Cause.DELETED)),
        Reason.DELETED,
        Outcome.SKIPPED,
        (RetireClaim(claim=None),),
    ),
    (
        "deleted again after the tombstone",
        snapshot(None, mark(Cause.DELETED), claim=claim(retired_at=NOW)),
        Reason.DELETED,
        Outcome.SKIPPED,
        (RetireClaim(claim=claim(retired_at=NOW)),),
    ),
    (
        "two workers made two events in one calendar: the older one goes, nobody has to hand it over",
        snapshot(booking(), links=(link(), link(generation=2)), claim=claim(generation=2)),
        Reason.UNCHANGED,
        Outcome.UNCHANGED,
        (
            UpdateEvent(link=link(generation=2), fields=frozenset(), content=content_of(booking()), etag='W/"1"'),
            DeleteEvent(link=link()),
        ),
    ),
    (
        "the newer one is proven gone: the older one stays until there is another",
        snapshot(EDITED, links=(link(), link(generation=2)), claim=claim(generation=2), event_is_gone=True, found=()),
        Reason.RESTORED,
        Outcome.APPLIED,
        (CreateEvent(mailbox=ALICE, generation=3, content=content_of(EDITED), replaces=link(generation=2)),),
    ),
    (
        "the booking was deleted before an intent took the claim: nothing was made of it, so it goes",
        snapshot(None, links=(intent(),), claim=claim(MailboxId(""), 0, retired_at=NOW)),
        Reason.MISSING,
        Outcome.APPLIED,
        (DropIntent(link=intent()),),
    ),
    (
        "a removal that came as far as the tombstone is finished",
        snapshot(None, mark(Cause.DELETED), links=(link(),), claim=claim(retired_at=NOW)),
        Reason.DELETED,
        Outcome.APPLIED,
        (DeleteEvent(link=link()), RetireClaim(claim=claim(retired_at=NOW))),
    ),
    (
        "canceled while a reassign had come as far as its intent, the event is elsewhere: both go (R1)",
        snapshot(booking(status=CANCELED), links=(intent(generation=2),), claim=claim(BOB)),
        Reason.CANCELED,
        Outcome.FORWARDED,
        (DeleteEvent(link=intent(generation=2)), Forward(mailbox=BOB)),
    ),
    (
        "reassigned back when the intent had not taken the claim: nothing was made of it, so it goes (R10)",
        snapshot(booking(BOB), links=(intent(generation=2),), claim=claim(BOB)),
        Reason.ROUTED,
        Outcome.FORWARDED,
        (Forward(mailbox=BOB), DropIntent(link=intent(generation=2))),
    ),
    (
        "two workers restored the event, and this one's intent came after the other's event: it goes (R2)",
        snapshot(booking(), links=(link(generation=2), intent(generation=3)), claim=claim(generation=2)),
        Reason.UNCHANGED,
        Outcome.UNCHANGED,
        (update(link(generation=2)), DropIntent(link=intent(generation=3))),
    ),
    (
        "a worker took the claim after its intent was cleared away, and made nothing: the event is the one there is",
        snapshot(booking(), links=(link(),), claim=claim(generation=2)),
        Reason.UNCHANGED,
        Outcome.UNCHANGED,
        (update(link()),),
    ),
    (
        "a first intent without a claim, and the booking has gone elsewhere: it goes (R10)",
        snapshot(booking(BOB), links=(intent(),)),
        Reason.ROUTED,
        Outcome.FORWARDED,
        (Forward(mailbox=BOB), DropIntent(link=intent())),
    ),
    (
        "un-canceled in the middle of its removal: a new event, and the old one goes (R2)",
        snapshot(booking(), links=(link(),), claim=claim(retired_at=NOW)),
        Reason.CREATED,
        Outcome.APPLIED,
        (create(2), DeleteEvent(link=link())),
    ),
    (
        "a delete post for a row that exists again is no proof",
        snapshot(booking(), mark(Cause.DELETED), links=(link(),), claim=claim()),
        Reason.UNCHANGED,
        Outcome.UNCHANGED,
        (update(link()),),
    ),
    (
        "missing without proof touches nothing (R3)",
        snapshot(None, mark(), links=(link(),), claim=claim()),
        Reason.MISSING,
        Outcome.SKIPPED,
        (),
    ),
    (
        "canceled",
        snapshot(booking(status=CANCELED), links=(link(),), claim=claim()),
        Reason.CANCELED,
        Outcome.APPLIED,
        (DeleteEvent(link=link()), RetireClaim(claim=claim())),
    ),
    (
        "canceled while its create is under way: the intent is cleared, too",
        snapshot(booking(status=CANCELED), links=(intent(),), claim=claim()),
        Reason.CANCELED,
        Outcome.APPLIED,
        (DeleteEvent(link=intent()), RetireClaim(claim=claim())),
    ),
    (
        "canceled and never shown",
        snapshot(booking(status=CANCELED)),
        Reason.CANCELED,
        Outcome.SKIPPED,
        (RetireClaim(claim=None),),
    ),
    (
        "reassigned to a resource without calendar: the old event goes (R10)",
        snapshot(booking(None), links=(link(),), claim=claim()),
        Reason.NO_MAILBOX,
        Outcome.APPLIED,
        (DeleteEvent(link=link()), RetireClaim(claim=claim())),
    ),
    (
        "no calendar, no event",
        snapshot(booking(None)),
        Reason.NO_MAILBOX,
        Outcome.SKIPPED,
        (),
    ),
    (
        "left out by the filter: the old event goes (R10)",
        snapshot(booking(name="Internal"), links=(link(),), claim=claim()),
        Reason.FILTERED_OUT,
        Outcome.APPLIED,
        (DeleteEvent(link=link()), RetireClaim(claim=claim())),
    ),
    (
        "belongs to another shard",
        snapshot(booking(BOB)),
        Reason.ROUTED,
        Outcome.FORWARDED,
        (Forward(mailbox=BOB),),
    ),
    (
        "reassigned away: the new shard is asked, the event here stays until it says so (R10)",
        snapshot(booking(BOB), links=(link(),), claim=claim()),
        Reason.ROUTED,
        Outcome.FORWARDED,
        (Forward(mailbox=BOB),),
    ),
    (
        "another took the claim of the same generation: the intent goes at once",
        snapshot(booking(BOB), links=(intent(generation=2),), claim=claim(BOB, 2)),
        Reason.ROUTED,
        Outcome.FORWARDED,
        (Forward(mailbox=BOB), DropIntent(link=intent(generation=2))),
    ),
    (
        "reassigned away from an intent: what it may have made stays until it is handed over (R10)",
        snapshot(booking(BOB), links=(intent(),), claim=claim(BOB, 2)),
        Reason.ROUTED,
        Outcome.FORWARDED,
        (Forward(mailbox=BOB), DropIntent(link=intent())),
    ),
    (
        "reassigned on from a reassign under way: the intent stays, its own predecessor waits for the hand-over (R10)",
        snapshot(booking(BOB), links=(intent(generation=2, predecessor=ADA),), claim=claim(BOB, 3)),
        Reason.ROUTED,
        Outcome.FORWARDED,
        (Forward(mailbox=BOB),),
    ),
    (
        "the hand-over reaches an intent: what it has made goes, and the hand-over goes on to its predecessor (R10)",
        snapshot(
            booking(BOB),
            mark(Cause.HANDED_OVER, generation=3),
            links=(intent(generation=2, predecessor=ADA),),
            claim=claim(BOB, 3),
        ),
        Reason.HANDED_OVER,
        Outcome.APPLIED,
        (DeleteEvent(link=intent(generation=2, predecessor=ADA)),),
    ),
    (
        "too far ahead for a new event",
        snapshot(booking(**FAR)),
        Reason.OUT_OF_WINDOW,
        Outcome.SKIPPED,
        (),
    ),
    (
        "moved out of the window: the event moves along, nothing is deleted",
        snapshot(booking(**FAR), links=(link(),), claim=claim()),
        Reason.UPDATED,
        Outcome.APPLIED,
        (update(link(), Field.TIME, row=booking(**FAR)),),
    ),
    (
        "reassigned to here from another shard: create first (R10)",
        snapshot(booking(), claim=claim(BOB, 4)),
        Reason.REASSIGNED,
        Outcome.APPLIED,
        (create(5, predecessor=BOB),),
    ),
    (
        "reassigned within the shard: create first (R10)",
        snapshot(booking(), links=(link(ADA, 2),), claim=claim(ADA, 2)),
        Reason.REASSIGNED,
        Outcome.APPLIED,
        (create(3, predecessor=ADA),),
    ),
    (
        "reassigned back before the hand-over was done: both in one go (R10)",
        snapshot(booking(), mark(), hand_over(2), links=(link(),), claim=claim(BOB, 2)),
        Reason.REASSIGNED,
        Outcome.APPLIED,
        (create(3, predecessor=BOB), DeleteEvent(link=link())),
    ),
    (
        "two resources on one mailbox: no move (R10)",
        snapshot(booking(resource=booking().resource), links=(link(),), claim=claim()),
        Reason.UNCHANGED,
        Outcome.UNCHANGED,
        (update(link()),),
    ),
    (
        "the event is proven gone, and its booking was edited: it comes back as a new generation (R2, R3, R6)",
        snapshot(EDITED, links=(link(generation=3),), claim=claim(generation=3), event_is_gone=True),
        Reason.RESTORED,
        Outcome.APPLIED,
        (CreateEvent(mailbox=ALICE, generation=4, content=content_of(EDITED), replaces=link(generation=3)),),
    ),
    (
        "moved in time: only the time is written",
        snapshot(booking(**LATER), links=(link(),), claim=claim()),
        Reason.UPDATED,
        Outcome.APPLIED,
        (update(link(), Field.TIME, row=booking(**LATER)),),
    ),
    (
        "renamed: only the subject is written",
        snapshot(booking(account="Northwind"), links=(link(),), claim=claim()),
        Reason.UPDATED,
        Outcome.APPLIED,
        (update(link(), Field.SUBJECT, row=booking(account="Northwind")),),
    ),
    (
        "an event that a person changed, once read, is put back under its new etag",
        snapshot(
            booking(),
            links=(link(),),
            claim=claim(),
            event=event(content=content_of(booking(account="Somebody's own words"))),
        ),
        Reason.UPDATED,
        Outcome.APPLIED,
        (update(link(), Field.SUBJECT, etag='W/"2"'),),
    ),
    (
        "nothing differs: nothing is sent (R5)",
        snapshot(booking(version=101), links=(link(),), claim=claim()),
        Reason.UNCHANGED,
        Outcome.UNCHANGED,
        (update(link()),),
    ),
    (
        "an intent whose event exists is confirmed, not repeated (R2)",
        snapshot(booking(), links=(intent(),), claim=claim(), found=(event(),)),
        Reason.FOUND,
        Outcome.APPLIED,
        (AdoptEvent(event=event(), generation=1, link=intent()),),
    ),
    (
        "tables lost, an update finds the event by its marker (R2a)",
        snapshot(booking(), found=(event(generation=7),)),
        Reason.FOUND,
        Outcome.APPLIED,
        (AdoptEvent(event=event(generation=7), generation=7),),
    ),
    (
        "the linked event lives on under another id",
        snapshot(booking(), links=(link(),), claim=claim(), event_is_gone=True, found=(event(),)),
        Reason.FOUND,
        Outcome.APPLIED,
        (AdoptEvent(event=event(), generation=1, link=link()),),
    ),
    (
        "new",
        snapshot(booking(), mark(Cause.CREATED)),
        Reason.CREATED,
        Outcome.APPLIED,
        (create(1),),
    ),
    (
        "never linked, found nowhere: an update heals it",
        snapshot(booking()),
        Reason.CREATED,
        Outcome.APPLIED,
        (create(1),),
    ),
    (
        "an intent whose event does not exist keeps its generation (R2)",
        snapshot(booking(), links=(intent(generation=2, predecessor=BOB),), claim=claim(generation=2)),
        Reason.CREATED,
        Outcome.APPLIED,
        (create(2, intent=intent(generation=2, predecessor=BOB), predecessor=BOB),),
    ),
    (
        "un-canceled: the tombstone's generation is not used again (R2)",
        snapshot(booking(), claim=claim(generation=3, retired_at=NOW)),
        Reason.CREATED,
        Outcome.APPLIED,
        (create(4),),
    ),
]


@pytest.mark.parametrize(
    ("seen", "reason", "outcome", "actions"),
    [case[1:] for case in CASES],
    ids=[f"{case[2]}: {case[0]}" for case in CASES],
)
def test_row(seen: Snapshot, reason: Reason, outcome: Outcome, actions: tuple[Action, ...]) -> None:
    plan = decide(seen, policy(lambda row: row.name != "Internal"))
    assert (plan.reason, plan.outcome) == (reason, outcome)
    assert plan.actions == actions


SHOWN_AS_CANCELED = replace(
    content_of(booking()), subject="Canceled: Fabrikam", body="<p>Canceled</p>", show_as=ShowAs.FREE
)
KEEP_CASES: list[tuple[str, Snapshot, Reason, tuple[Action, ...]]] = [
    (
        "its event stays, free and named so",
        snapshot(booking(status=CANCELED), links=(link(),), claim=claim()),
        Reason.UPDATED,
        (
            UpdateEvent(
                link=link(),
                fields=frozenset({Field.SUBJECT, Field.BODY, Field.SHOW_AS}),
                content=SHOWN_AS_CANCELED,
                etag='W/"1"',
            ),
        ),
    ),
    (
        "another shard keeps it",
        snapshot(booking(BOB, status=CANCELED), claim=claim(BOB)),
        Reason.ROUTED,
        (Forward(mailbox=BOB),),
    ),
    (
        "an event that may have been made is found and kept",
        snapshot(booking(status=CANCELED), links=(intent(),), claim=claim(), found=(event(),)),
        Reason.FOUND,
        (AdoptEvent(event=event(), generation=1, link=intent()),),
    ),
    (
        "one that was never made is not made now",
        snapshot(booking(status=CANCELED), links=(intent(),), claim=claim()),
        Reason.CANCELED,
        (DeleteEvent(link=intent()), RetireClaim(claim=claim())),
    ),
    (
        "nor is one that a person has deleted",
        snapshot(booking(status=CANCELED), links=(link(),), claim=claim(), event_is_gone=True),
        Reason.CANCELED,
        (DeleteEvent(link=link()), RetireClaim(claim=claim())),
    ),
    (
        "a booking that never had an event gets none",
        snapshot(booking(status=CANCELED)),
        Reason.CANCELED,
        (RetireClaim(claim=None),),
    ),
    (
        "reassigned as well: the person it was taken from is not told that it is canceled",
        snapshot(booking(ADA, status=CANCELED), links=(link(),), claim=claim()),
        Reason.CANCELED,
        (DeleteEvent(link=link()), RetireClaim(claim=claim())),
    ),
    (
        "reassigned as well, from another shard",
        snapshot(booking(status=CANCELED), claim=claim(BOB)),
        Reason.CANCELED,
        (Forward(mailbox=BOB),),
    ),
    (
        "reassigned as well, to a resource without calendar",
        snapshot(booking(None, status=CANCELED), links=(link(),), claim=claim()),
        Reason.CANCELED,
        (DeleteEvent(link=link()), RetireClaim(claim=claim())),
    ),
    (
        "the filter leaves it out",
        snapshot(booking(name="Internal", status=CANCELED), links=(link(),), claim=claim()),
        Reason.FILTERED_OUT,
        (DeleteEvent(link=link()), RetireClaim(claim=claim())),
    ),
    (
        "deleted for good",
        snapshot(None, mark(Cause.DELETED), links=(link(),), claim=claim()),
        Reason.DELETED,
        (DeleteEvent(link=link()), RetireClaim(claim=claim())),
    ),
]


@pytest.mark.parametrize(
    ("seen", "reason", "actions"), [case[1:] for case in KEEP_CASES], ids=[case[0] for case in KEEP_CASES]
)
def test_row_where_canceled_bookings_keep_their_events(
    seen: Snapshot, reason: Reason, actions: tuple[Action, ...]
) -> None:
    keeping = replace(policy(lambda row: row.name != "Internal"), keeps_canceled=True, canceled_prefix="Canceled:")
    plan = decide(seen, keeping)
    assert plan.reason is reason
    assert plan.actions == actions


def test_every_row_of_the_table_has_a_case() -> None:
    cases = {case[2] for case in CASES} | {case.reason for case in TWO_WAY_CASES}
    assert {row.reason for row in TABLE} == cases


def test_every_row_has_its_own_reason() -> None:
    assert len({row.reason for row in TABLE}) == len(TABLE)


def test_a_skipped_booking_says_why_in_words() -> None:
    assert decide(snapshot(booking(None)), policy()).detail == "the resource is a crew"


# Laws.

bookings = st.one_of(
    st.none(),
    st.builds(
        lambda mailbox, changes: booking(mailbox, **changes),
        st.sampled_from([ALICE, ADA, BOB, None]),
        st.sampled_from([{}, {"status": CANCELED}, {"name": "Internal"}, FAR, LATER]),
    ),
)
generations = st.integers(1, 4)
own_links = st.lists(
    st.builds(
        lambda make, mailbox, generation: make(mailbox, generation),
        st.sampled_from([link, intent]),
        st.sampled_from([ALICE, ADA]),
        generations,
    ),
    max_size=3,
    unique_by=lambda made: made.generation,
)
claims = st.one_of(
    st.none(),
    st.builds(
        lambda mailbox, generation, retired: claim(mailbox, generation, retired_at=retired),
        st.sampled_from([ALICE, ADA, BOB]),
        generations,
        st.sampled_from([None, NOW]),
    ),
)
marks = st.lists(
    st.one_of(
        st.sampled_from([mark(Cause.CREATED), mark(Cause.UPDATED), mark(Cause.DELETED)]),
        st.builds(hand_over, generations),
    ),
    min_size=1,
    max_size=3,
)
found_events = st.lists(st.builds(lambda generation: event(generation=generation), generations), max_size=2)
snapshots = st.builds(
    lambda row, hints, links, held, is_gone, found: snapshot(
        row, *hints, links=tuple(links), claim=held, event_is_gone=is_gone, found=tuple(found)
    ),
    bookings,
    marks,
    own_links,
    claims,
    st.booleans(),
    found_events,
)


deleting = policy(lambda row: row.name != "Internal")
policies = st.sampled_from([deleting, replace(deleting, keeps_canceled=True)])


@given(snapshots, policies)
def test_total_and_deterministic(seen: Snapshot, rules: Policy) -> None:
    """Every snapshot has a plan, and always the same."""
    assert decide(seen, rules) == decide(seen, rules)


@given(snapshots, policies)
def test_r2_a_create_never_reuses_a_generation(seen: Snapshot, rules: Policy) -> None:
    used = {held.generation for held in seen.links if held.event is not None}
    used |= {seen.claim.generation} if seen.claim else set()
    intents = {held.generation for held in seen.links if held.event is None}
    for action in decide(seen, rules).actions:
        if isinstance(action, CreateEvent):
            assert action.generation not in used or action.generation in intents


@given(snapshots, policies)
def test_r3_nothing_is_deleted_without_proof(seen: Snapshot, rules: Policy) -> None:
    """A row that cannot be read proves nothing: only a deletion post, a status, or a newer generation does."""
    is_proven = any(hint.cause is Cause.DELETED for hint in seen.marks)
    if seen.booking is not None or is_proven:
        return
    for action in decide(seen, rules).actions:
        assert not isinstance(action, RetireClaim)
        if isinstance(action, DeleteEvent):
            assert action.link in Facts(seen, rules).stale


@given(snapshots)
def test_r10_a_confirmed_event_is_given_up_only_when_told(seen: Snapshot) -> None:
    told = max((hint.generation for hint in seen.marks if hint.cause is Cause.HANDED_OVER), default=0)
    is_retired = seen.claim is not None and not seen.claim.is_live
    facts = Facts(seen, policy())
    for given_up in facts.stale:
        is_doubled = facts.is_linked and facts.holder == given_up.mailbox
        assert given_up.event is None or given_up.generation < told or is_retired or is_doubled


@given(snapshots, policies)
def test_a_shard_creates_only_in_its_own_mailboxes(seen: Snapshot, rules: Policy) -> None:
    facts = Facts(seen, rules)
    for action in decide(seen, rules).actions:
        match action:
            case CreateEvent(mailbox=mailbox):
                assert facts.owns(mailbox)
            case Forward(mailbox=mailbox):
                assert not facts.owns(mailbox)


@given(snapshots, policies)
def test_a_canceled_booking_never_gets_a_new_event(seen: Snapshot, rules: Policy) -> None:
    if seen.booking is not None and seen.booking.status == CANCELED:
        assert not any(isinstance(action, CreateEvent) for action in decide(seen, rules).actions)


@given(snapshots, policies)
def test_no_link_is_acted_on_twice(seen: Snapshot, rules: Policy) -> None:
    links = [
        action.link.generation
        for action in decide(seen, rules).actions
        if isinstance(action, DeleteEvent | UpdateEvent)
    ]
    assert len(links) == len(set(links))


# What needs no decision.


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (mark(version=100), True),
        (mark(version=99), True),
        (mark(version=101), False),
        (mark(version=None), False),
        (mark(Cause.DELETED, version=100), False),
        (hand_over(2), False),
    ],
    ids=["same version", "older version", "newer version", "no version", "deletion", "hand-over"],
)
def test_r5_r8_what_the_link_has_seen_is_not_read_again(hint: object, expected: object) -> None:
    assert is_already_seen((hint,), (link(),)) is expected  # type: ignore[arg-type]


def test_r5_an_intent_has_seen_nothing() -> None:
    assert not is_already_seen((mark(version=1),), (intent(),))


def test_builders_agree_with_the_shards() -> None:
    facts = Facts(snapshot(booking()), policy())
    assert (facts.owns(ALICE), facts.owns(ADA), facts.owns(BOB)) == (True, True, False)
    assert HERE == "03"
    assert SHARDS == 8


def test_the_documentation_holds_the_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-it-decides.md").read_text()
    for row in TABLE:
        assert f"| `{row.reason}` | {row.meaning} |" in page
    for reason in Reason:
        assert f"`{reason}`" in page, reason

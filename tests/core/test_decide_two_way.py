"""What follows from people's edits of events: the rows of the table, and the decision without the booking."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.sync.decide import decide, decide_by_event, is_already_seen
from shared.sync.facts import Snapshot
from shared.sync.merge import Edit
from shared.sync.model import Base, Cause, EventId, Field
from shared.sync.plan import Learn, Outcome, Reason
from shared.sync.translate import Policy
from tests.core.builders import ALICE, booking, claim, content_of, event, intent, link, mark, policy, snapshot
from tests.core.two_way import CASES, END, MOVED, START, Case, edits, to_booking


@pytest.mark.parametrize("case", CASES, ids=[f"{case.reason}: {case.name}" for case in CASES])
def test_row(case: Case) -> None:
    plan = decide(case.seen, case.policy)
    assert (plan.reason, plan.outcome) == (case.reason, case.outcome)
    assert plan.actions == case.actions
    assert plan.lost == case.lost
    is_refused = bool(case.seen.refusal) and plan.reason is not Reason.RESTORED
    assert bool(plan.detail) == (plan.outcome is Outcome.PARKED or is_refused)


HINT = mark(Cause.EVENT_CHANGED, mailbox=ALICE, event=EventId("event-1"), etag='W/"2"')


def unread(**changes: object) -> Snapshot:
    """A hint of an event that was read, while its booking was not."""
    seen = snapshot(None, HINT, links=(link(),), claim=claim(), event=event(content=MOVED), is_booking_read=False)
    return replace(seen, **changes)  # type: ignore[arg-type]


def test_r13_a_moved_event_needs_nothing_of_the_booking_but_its_version() -> None:
    plan = decide_by_event(unread(), policy())
    assert plan is not None
    prints = {**content_of(booking()).fingerprints(), Field.TIME: MOVED.fingerprints()[Field.TIME]}
    learned = replace(
        link(), etag='W/"2"', etags=('W/"1"',), start=START, end=END, base=Base(booking=prints, event=prints)
    )
    assert plan.actions == (to_booking(booking()), Learn(link=learned))
    assert (plan.reason, plan.outcome) == (Reason.MOVED, Outcome.APPLIED)


def test_r5_an_event_that_only_the_service_touched_leads_to_no_write() -> None:
    plan = decide_by_event(unread(event=event()), policy())
    assert plan is not None
    assert plan.outcome is Outcome.UNCHANGED
    assert [type(action) for action in plan.actions] == [Learn]


@pytest.mark.parametrize(
    ("seen", "under"),
    [
        pytest.param(unread(event=event(content=replace(MOVED, subject="Lunch"))), policy(), id="renamed, too"),
        pytest.param(unread(event=event(content=MOVED, is_all_day=True)), policy(), id="all day"),
        pytest.param(unread(event=event(content=MOVED, is_cancelled=True)), policy(), id="canceled"),
        pytest.param(unread(event=None, event_is_gone=True), policy(), id="gone"),
        pytest.param(unread(event=None), policy(), id="not read"),
        pytest.param(unread(), edits(time=Edit.UNDO), id="times are Dataverse's own"),
        pytest.param(unread(), replace(policy(), keeps_canceled=True), id="the booking may be canceled"),
        pytest.param(unread(claim=claim(generation=2)), policy(), id="the claim has moved on"),
        pytest.param(unread(links=(link(), intent(generation=2))), policy(), id="another intent"),
        pytest.param(unread(links=(link(base=None),)), policy(), id="a deletion was begun"),
    ],
)
def test_whatever_else_has_happened_needs_the_booking(seen: Snapshot, under: Policy) -> None:
    assert decide_by_event(seen, under) is None


@pytest.mark.parametrize(
    ("hint", "is_news"),
    [
        pytest.param(replace(HINT, etag='W/"1"'), False, id="our own write"),
        pytest.param(replace(HINT, etag='W/"0"'), False, id="an earlier one"),
        pytest.param(HINT, True, id="another etag"),
        pytest.param(replace(HINT, etag=""), True, id="no etag"),
        pytest.param(replace(HINT, event=EventId("event-9")), True, id="another event"),
        pytest.param(replace(HINT, cause=Cause.EVENT_DELETED, etag='W/"1"'), True, id="a deletion"),
    ],
)
def test_r5_hints_of_our_own_writes_are_no_news(hint: object, is_news: bool) -> None:  # noqa: FBT001
    known = link(etags=('W/"0"',))
    assert is_already_seen((hint,), (known,)) is not is_news  # type: ignore[arg-type]
    assert is_already_seen((hint, mark(version=100)), (known,)) is not is_news  # type: ignore[arg-type]

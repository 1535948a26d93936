"""What a notification brought along decides a move, and nothing else (R5, R8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.sync.decide import decide_by_event
from shared.sync.facts import Snapshot
from shared.sync.marks import coalesce
from shared.sync.merge import Edit
from shared.sync.model import Base, Cause, EventId, Field, Fingerprint, Link, Told, fingerprint
from shared.sync.plan import Learn, Outcome, Reason
from shared.sync.translate import Policy
from tests.core.builders import ALICE, NOW, booking, claim, content_of, link, mark, policy, snapshot
from tests.core.two_way import END, MOVED, START, edits, to_booking

BEGINNING = fingerprint("the beginning of the body")
LINK = replace(link(), modified_at=NOW, preview=BEGINNING)


def told(minutes: int = 1, **prints: Fingerprint) -> Told:
    """A moved event; the prints of fields may be others."""
    others: Mapping[Field, Fingerprint] = {Field(name): print_ for name, print_ in prints.items()}
    return Told(
        etag='W/"2"',
        modified_at=NOW + timedelta(minutes=minutes),
        start=START,
        end=END,
        prints={**MOVED.fingerprints(), Field.BODY: BEGINNING, **others},
    )


def seen(news: Told, known: Link = LINK, **changes: object) -> Snapshot:
    hint = mark(Cause.EVENT_CHANGED, mailbox=ALICE, event=EventId("event-1"), etag=news.etag, told=news)
    whole = snapshot(None, hint, links=(known,), claim=claim(), told=news, is_booking_read=False)
    return replace(whole, **changes)  # type: ignore[arg-type]


def test_r5_a_move_that_was_told_needs_no_reading() -> None:
    plan = decide_by_event(seen(told()), policy())
    assert plan is not None
    prints = {**content_of(booking()).fingerprints(), Field.TIME: MOVED.fingerprints()[Field.TIME]}
    learned = replace(
        LINK,
        etag='W/"2"',
        etags=('W/"1"',),
        modified_at=NOW + timedelta(minutes=1),
        start=START,
        end=END,
        base=Base(booking=prints, event=prints),
    )
    assert plan.actions == (to_booking(booking()), Learn(link=learned))
    assert (plan.reason, plan.outcome) == (Reason.MOVED, Outcome.APPLIED)


NOT_MOVED = content_of(booking()).fingerprints()[Field.TIME]


@pytest.mark.parametrize(
    ("news", "known", "under"),
    [
        pytest.param(told(0), LINK, policy(), id="as old as what is known (R8)"),
        pytest.param(told(-1), LINK, policy(), id="older than what is known (R8)"),
        pytest.param(told(), replace(LINK, modified_at=None), policy(), id="not known how old (R8)"),
        pytest.param(told(subject=fingerprint("Lunch")), LINK, policy(), id="renamed, too"),
        pytest.param(told(body=fingerprint("other")), LINK, policy(), id="the body, too"),
        pytest.param(told(), replace(LINK, preview=None), policy(), id="the body is not known"),
        pytest.param(told(time=NOT_MOVED), LINK, policy(), id="not moved: perhaps the body below its beginning"),
        pytest.param(told(), LINK, edits(time=Edit.UNDO), id="nobody may move events"),
        pytest.param(told(), replace(LINK, base=None), policy(), id="no base"),
    ],
)
def test_all_else_is_read(news: Told, known: Link, under: Policy) -> None:
    assert decide_by_event(seen(news, known), under) is None


def test_r6_what_dataverse_refused_is_read() -> None:
    assert decide_by_event(seen(told(), refusal="the booking is completed"), policy()) is None


def hint(news: Told | None) -> Mapping[str, object]:
    return {"mailbox": ALICE, "event": EventId("event-1"), "etag": news.etag if news else "", "told": news}


def test_of_many_hints_the_newest_counts_unless_one_brought_nothing() -> None:
    old, new = told(1), replace(told(2), etag='W/"3"')
    [both] = coalesce([mark(Cause.EVENT_CHANGED, **hint(one)) for one in (new, old, old)])
    assert (both.told, both.etag, both.posts) == (new, "", 3)
    [unsure] = coalesce([mark(Cause.EVENT_CHANGED, **hint(one)) for one in (new, None)])
    assert unsure.told is None

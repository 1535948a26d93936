"""The comparison of the sweep: every way to differ, and what is no difference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.sync.compare import DIFFERENCES, WORDS, Difference, Drift, Pair, compare
from shared.sync.merge import DEFAULT_EDITS, Edit, Rules
from shared.sync.model import Content, Event, Field, ShowAs
from tests.core.builders import (
    ADA,
    ALICE,
    BOB,
    CANCELED,
    NOW,
    booking,
    claim,
    content_of,
    event,
    intent,
    link,
    policy,
    snapshot,
)

FAR = NOW + timedelta(days=400)


def shows(**changes: Any) -> Event:
    """The event, after somebody has changed it."""
    return event(content=replace(content_of(booking()), **changes))


def told(**said: Any) -> Pair:
    """A pair that agrees but for what is said."""
    rules = said.pop("policy", policy())
    seen = {
        "booking": booking(),
        "links": (link(),),
        "claim": claim(),
        "found": (event(),),
        **said,
    }
    return Pair(snapshot(seen.pop("booking"), **seen), ALICE, rules)


CASES: Mapping[str, tuple[dict[str, Any], Drift | None]] = {
    "both agree": ({}, None),
    "the row is gone": ({"booking": None}, Drift.BOOKING_GONE),
    "row and event are gone, the link stands": ({"booking": None, "found": ()}, Drift.NO_SUCH_EVENT),
    "two events": ({"found": (event(), event(generation=2))}, Drift.TWO_EVENTS),
    "canceled": ({"booking": booking(status=CANCELED)}, Drift.NOT_WANTED),
    "canceled, and the event is gone": ({"booking": booking(status=CANCELED), "found": (), "links": ()}, None),
    "canceled, and the policy keeps the event": (
        {
            "booking": booking(status=CANCELED),
            "found": (shows(show_as=ShowAs.FREE, subject="Fabrikam", body="<p>Canceled</p>"),),
            "policy": replace(policy(), keeps_canceled=True),
        },
        None,
    ),
    "the resource has no mailbox any more": ({"booking": booking(None)}, Drift.NOT_WANTED),
    "filtered out": ({"policy": policy(lambda _: False)}, Drift.NOT_WANTED),
    "filtered out, no event": ({"policy": policy(lambda _: False), "found": (), "links": ()}, None),
    "reassigned to another shard": ({"booking": booking(BOB)}, Drift.WRONG_CALENDAR),
    "reassigned inside the shard": ({"booking": booking(ADA)}, Drift.WRONG_CALENDAR),
    "no link": ({"links": ()}, Drift.NO_LINK),
    "only an intent": ({"links": (intent(),)}, Drift.NO_LINK),
    "the link names another event": ({"links": (link(generation=2),)}, Drift.NO_LINK),
    "the event is not there": ({"found": ()}, Drift.NO_SUCH_EVENT),
    "an intent that came to nothing": ({"found": (), "links": (intent(),)}, Drift.NO_SUCH_EVENT),
    "a link too many": ({"links": (link(), link(generation=2)), "claim": claim(generation=2)}, Drift.NO_SUCH_EVENT),
    "neither link nor event": ({"found": (), "links": (), "claim": None}, Drift.NO_EVENT),
    "neither, and it is far away": (
        {"found": (), "links": (), "booking": booking(start=FAR, end=FAR + timedelta(hours=1))},
        None,
    ),
    "no claim": ({"claim": None}, Drift.CLAIM),
    "a tombstone": ({"claim": claim(retired_at=NOW)}, Drift.CLAIM),
    "a claim of another generation": ({"claim": claim(generation=2)}, Drift.CLAIM),
    "a claim of another mailbox": ({"claim": claim(BOB)}, Drift.CLAIM),
}


@pytest.mark.parametrize(("said", "expected"), CASES.values(), ids=CASES)
def test_the_table(said: dict[str, Any], expected: Drift | None) -> None:
    found = compare(told(**said))
    assert (found.drift if found is not None else None) == expected


LATER: dict[str, Any] = {"start": NOW + timedelta(days=2), "end": NOW + timedelta(days=2, hours=2)}
KEEPS = replace(policy(), rules=Rules(edits={**DEFAULT_EDITS, Field.TIME: Edit.KEEP, Field.SUBJECT: Edit.KEEP}))
EDITS: Mapping[str, tuple[dict[str, Any], tuple[Field, ...]]] = {
    "moved": ({"found": (shows(**LATER),)}, (Field.TIME,)),
    "renamed": ({"found": (shows(subject="Mine"),)}, (Field.SUBJECT,)),
    "rewritten": ({"found": (shows(body="<p>Mine</p>"),)}, (Field.BODY,)),
    "made free, and moved": ({"found": (shows(show_as=ShowAs.FREE, **LATER),)}, (Field.TIME, Field.SHOW_AS)),
    "the booking has moved": ({"booking": booking(**LATER)}, (Field.TIME,)),
    "made private by a person": ({"found": (shows(is_private=True),)}, ()),
    "people may keep what they wrote": ({"found": (shows(subject="Mine", **LATER),), "policy": KEEPS}, ()),
    "a meeting keeps its words": ({"found": (replace(shows(subject="Mine"), is_meeting=True),)}, ()),
    "a meeting keeps its time": ({"found": (replace(shows(**LATER), is_meeting=True),)}, (Field.TIME,)),
    "made a series": ({"found": (replace(event(), is_series=True),)}, (Field.TIME,)),
    "lasts all day": ({"found": (replace(event(), is_all_day=True),)}, (Field.TIME,)),
}


@pytest.mark.parametrize(("said", "fields"), EDITS.values(), ids=EDITS)
def test_the_fields(said: dict[str, Any], fields: tuple[Field, ...]) -> None:
    assert compare(told(**said)) == (Difference(Drift.FIELDS, fields) if fields else None)


def agreed_on(content: Content) -> Any:
    there = link()
    assert there.base is not None
    return replace(there, base=replace(there.base, event=content.fingerprints()))


def test_a_text_that_the_service_rewrites_is_what_both_sides_agreed_on() -> None:
    html = replace(content_of(booking()), body="<html><p>Committed</p></html>")
    assert compare(told(links=(agreed_on(html),), found=(event(content=html),))) is None


def test_a_time_is_compared_as_it_is_whatever_the_base_remembers() -> None:
    late = replace(content_of(booking()), **LATER)
    found = compare(told(links=(agreed_on(late),), found=(event(content=late),)))
    assert found == Difference(Drift.FIELDS, (Field.TIME,))


def test_every_finding_has_its_words() -> None:
    assert set(WORDS) == set(Drift)
    assert len({row.drift for row in DIFFERENCES}) == len(DIFFERENCES)
    assert {expected for _, expected in CASES.values()} | {Drift.FIELDS} >= {row.drift for row in DIFFERENCES}

"""Folding and putting off marks."""

from __future__ import annotations

from datetime import timedelta
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from shared.sync.marks import LONGEST_DELAY, MOST_ATTEMPTS, coalesce, passed_on, put_in_force, put_off
from shared.sync.model import Cause, EventId, Field, Mark
from tests.core.builders import ALICE, BOOKING, NOW, hand_over, mark

hints = st.lists(
    st.one_of(
        st.builds(
            lambda cause, version, posts, attempts: mark(cause, version=version, posts=posts, attempts=attempts),
            st.sampled_from([Cause.CREATED, Cause.UPDATED, Cause.DELETED]),
            st.one_of(st.none(), st.integers(1, 9)),
            st.integers(1, 5),
            st.integers(0, MOST_ATTEMPTS),
        ),
        st.builds(hand_over, st.integers(1, 5)),
    ),
    min_size=1,
)


@given(hints)
def test_r11_folding_loses_no_post(given_marks: list[Mark]) -> None:
    assert sum(folded.posts for folded in coalesce(given_marks)) == sum(hint.posts for hint in given_marks)


@given(hints)
def test_r3_folding_keeps_every_proof_and_the_furthest_hand_over(given_marks: list[Mark]) -> None:
    folded = coalesce(given_marks)
    assert {hint.cause for hint in folded} == {hint.cause for hint in given_marks}
    assert max(hint.generation for hint in folded) == max(hint.generation for hint in given_marks)


@given(hints)
def test_a_hint_without_a_version_stays_one(given_marks: list[Mark]) -> None:
    """It must be read, so that must not be folded into "already seen"."""
    for folded in coalesce(given_marks):
        same = [hint for hint in given_marks if hint.cause is folded.cause]
        assert (folded.version is None) == any(hint.version is None for hint in same)


@given(hints, st.integers(0, 2**32))
def test_putting_off_moves_forward_within_bounds(given_marks: list[Mark], seed: int) -> None:
    for later in put_off(given_marks, NOW, Random(seed)):
        assert NOW <= later.due_at <= NOW + LONGEST_DELAY
        assert later.attempts >= 1


def test_the_services_own_wish_is_the_least() -> None:
    [later] = put_off([mark()], NOW, Random(1), timedelta(hours=1))
    assert later.due_at == NOW + timedelta(hours=1)


def test_r6_of_two_restored_values_of_a_field_the_later_one_counts_and_fields_stay_apart() -> None:
    first, second = (
        put_in_force(BOOKING, Field.SUBJECT, text, NOW + timedelta(hours=at)) for at, text in enumerate("ab")
    )
    other = put_in_force(BOOKING, Field.TIME, "c", NOW)
    assert [(one.field, one.text) for one in coalesce([second, other, first])] == [
        (Field.SUBJECT, "b"),
        (Field.TIME, "c"),
    ]


def test_what_is_said_of_an_event_stays_in_the_shard_of_its_mailbox() -> None:
    hint = mark(Cause.EVENT_CHANGED, mailbox=ALICE, event=EventId("e"), etag='W/"9"')
    [passed] = passed_on([hint, hint])
    assert (passed.cause, passed.event, passed.mailbox, passed.posts) == (Cause.UPDATED, None, None, 0)
    assert [one.cause for one in passed_on([hint, mark(Cause.DELETED)])] == [Cause.DELETED]

"""Field-by-field comparison with the base."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from shared.sync.merge import DEFAULT_EDITS, TO_BOOKING, TO_EVENT, Edit, Rules, Verdict, Winner, merge
from shared.sync.model import Base, Content, Field, ShowAs
from tests.core.builders import NOW

contents = st.builds(
    Content,
    start=st.sampled_from([NOW, NOW + timedelta(hours=1)]),
    end=st.sampled_from([NOW + timedelta(hours=2), NOW + timedelta(hours=3)]),
    subject=st.sampled_from(["Fabrikam", "Northwind"]),
    body=st.sampled_from(["<p>a</p>", "<p>b</p>"]),
    show_as=st.sampled_from([ShowAs.BUSY, ShowAs.FREE]),
    is_private=st.booleans(),
    category=st.sampled_from(["", "Working"]),
)


rules = st.builds(
    Rules,
    edits=st.fixed_dictionaries(
        {one: st.sampled_from([Edit.KEEP, Edit.UNDO]) for one in Field} | {Field.TIME: st.sampled_from(Edit)}
    ),
    winners=st.fixed_dictionaries({one: st.sampled_from(Winner) for one in Field}),
)
OWNED_BY_DATAVERSE = Rules(edits={**DEFAULT_EDITS, Field.TIME: Edit.UNDO})


def fields_to_write(base: Base, wanted: Content, event: Content | None) -> set[Field]:
    """What is written to the event where no edit of the calendar counts."""
    verdicts = merge(base, wanted, event, OWNED_BY_DATAVERSE)
    assert TO_BOOKING.isdisjoint(verdicts.values())
    return {one for one, verdict in verdicts.items() if verdict in TO_EVENT}


def rewritten(content: Content) -> Content:
    """What a service makes of what it is given: Exchange wraps HTML bodies."""
    return replace(content, body=f"<html><body>{content.body}</body></html>")


def with_fields(content: Content, other: Content, fields: Iterable[Field]) -> Content:
    """`content` with some fields of another."""
    values = {
        Field.SUBJECT: {"subject": other.subject},
        Field.BODY: {"body": other.body},
        Field.SHOW_AS: {"show_as": other.show_as},
        Field.TIME: {"start": other.start, "end": other.end},
        Field.SENSITIVITY: {"is_private": other.is_private},
        Field.CATEGORY: {"category": other.category},
    }
    for one in fields:
        content = replace(content, **values[one])  # type: ignore[arg-type]
    return content


def agreed(content: Content) -> Base:
    return Base(booking=content.fingerprints(), event=rewritten(content).fingerprints())


@given(contents)
def test_what_both_sides_agreed_on_is_not_written(content: Content) -> None:
    assert fields_to_write(agreed(content), content, None) == frozenset()
    assert fields_to_write(agreed(content), content, rewritten(content)) == frozenset()


@given(contents, contents)
def test_exactly_what_changed_in_dataverse_is_written(before: Content, after: Content) -> None:
    changed = {field for field in Field if before.text_of(field) != after.text_of(field)}
    assert fields_to_write(agreed(before), after, None) == changed
    assert fields_to_write(agreed(before), after, rewritten(before)) == changed


@given(contents, contents)
def test_what_a_person_changed_is_put_back_once_it_is_seen(content: Content, edited: Content) -> None:
    changed = {field for field in Field if content.text_of(field) != edited.text_of(field)}
    if not content.is_private:
        changed.discard(Field.SENSITIVITY)
    assert fields_to_write(agreed(content), content, rewritten(edited)) == changed


@given(contents, contents, st.sampled_from(["read", "not read"]))
def test_what_the_policy_never_hid_is_never_opened(wanted: Content, event: Content, how: str) -> None:
    """Neither with a base that says so, nor without one, as after the table was lost."""
    shown = replace(wanted, is_private=False)
    for base in (agreed(shown), Base(booking={}, event=event.fingerprints())):
        assert Field.SENSITIVITY not in fields_to_write(base, shown, event if how == "read" else None)


@given(contents, contents, st.sampled_from(["read", "not read"]))
def test_what_the_policy_hides_is_private(base: Content, event: Content, how: str) -> None:
    hidden, seen = replace(base, is_private=True), replace(event, is_private=False)
    known = Base(booking=replace(base, is_private=False).fingerprints(), event=seen.fingerprints())
    assert Field.SENSITIVITY in fields_to_write(known, hidden, seen if how == "read" else None)


@given(contents, contents, contents)
def test_what_is_equal_on_both_sides_is_never_written(base: Content, wanted: Content, event: Content) -> None:
    for field in fields_to_write(agreed(base), wanted, event):
        assert wanted.text_of(field) != event.text_of(field)


@given(contents, contents, contents)
def test_writing_settles_it(base: Content, wanted: Content, event: Content) -> None:
    """After the fields are written and the answer is the new base, nothing is left to write."""
    fields = fields_to_write(agreed(base), wanted, event)
    after = with_fields(event, rewritten(wanted), fields)
    new_base = Base(booking=wanted.fingerprints(), event=after.fingerprints())
    assert fields_to_write(new_base, wanted, after) == frozenset()
    assert fields_to_write(new_base, wanted, None) == frozenset()


@given(contents, contents, rules)
def test_an_edit_on_one_side_goes_where_the_rules_say(before: Content, edited: Content, said: Rules) -> None:
    """R6: nobody else has touched the field, so nothing is lost, whatever the rules are."""
    for one, verdict in merge(agreed(before), before, rewritten(edited), said).items():
        expected = {
            Edit.ACCEPT: Verdict.WRITE_BOOKING,
            Edit.KEEP: Verdict.KEEP,
            Edit.UNDO: Verdict.WRITE_EVENT,
        }[said.edits[one]]
        masks = one is Field.SENSITIVITY and before.is_private
        assert verdict is (Verdict.WRITE_EVENT if masks else expected)


@given(contents, contents, contents, rules)
def test_r6_only_what_both_sides_changed_is_a_conflict(
    before: Content, wanted: Content, event: Content, said: Rules
) -> None:
    for one, verdict in merge(agreed(before), wanted, rewritten(event), said).items():
        both = before.text_of(one) not in (wanted.text_of(one), event.text_of(one))
        if verdict in (Verdict.OVERRULE_EVENT, Verdict.OVERRULE_BOOKING, Verdict.PARK):
            assert both
            assert said.edits[one] is not Edit.UNDO
            winner = {Verdict.OVERRULE_EVENT: Winner.DATAVERSE, Verdict.OVERRULE_BOOKING: Winner.OUTLOOK}
            assert said.winners[one] is winner.get(verdict, Winner.PARK)


@given(contents, contents, contents, rules)
def test_r1_writing_both_sides_settles_it(before: Content, wanted: Content, event: Content, said: Rules) -> None:
    """Only what is parked is left; a field that may differ is agreed on as it is."""
    shown = rewritten(event)
    verdicts = merge(agreed(before), wanted, shown, said)
    to_event = {one for one, verdict in verdicts.items() if verdict in TO_EVENT}
    to_booking = {one for one, verdict in verdicts.items() if verdict in TO_BOOKING}
    assert to_booking <= {Field.TIME}
    parked = {one for one, verdict in verdicts.items() if verdict is Verdict.PARK}
    booking_after = with_fields(wanted, event, to_booking)
    event_after = with_fields(shown, rewritten(wanted), to_event)
    old, new = agreed(before), Base(booking=booking_after.fingerprints(), event=event_after.fingerprints())
    base = Base(
        booking={**new.booking, **{one: old.booking[one] for one in parked}},
        event={**new.event, **{one: old.event[one] for one in parked}},
    )
    left = merge(base, booking_after, event_after, said)
    assert {one for one in left if left[one] is not Verdict.KEEP} == parked


@given(contents, contents, rules)
def test_r2a_without_a_base_dataverse_wins(wanted: Content, event: Content, said: Rules) -> None:
    for one, verdict in merge(Base(booking={}, event=event.fingerprints()), wanted, event, said).items():
        opens = one is Field.SENSITIVITY and not wanted.is_private
        lost = one is Field.TIME
        assert verdict is (Verdict.KEEP if opens else Verdict.OVERRULE_EVENT if lost else Verdict.WRITE_EVENT)

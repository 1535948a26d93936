"""Field-by-field comparison with the base."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from shared.sync.merge import fields_to_write
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


def rewritten(content: Content) -> Content:
    """What a service makes of what it is given: Exchange wraps HTML bodies."""
    return replace(content, body=f"<html><body>{content.body}</body></html>")


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
    written = rewritten(wanted)
    values = {
        Field.SUBJECT: {"subject": written.subject},
        Field.BODY: {"body": written.body},
        Field.SHOW_AS: {"show_as": written.show_as},
        Field.TIME: {"start": written.start, "end": written.end},
        Field.SENSITIVITY: {"is_private": written.is_private},
        Field.CATEGORY: {"category": written.category},
    }
    after = event
    for field in fields:
        after = replace(after, **values[field])  # type: ignore[arg-type]
    new_base = Base(booking=wanted.fingerprints(), event=after.fingerprints())
    assert fields_to_write(new_base, wanted, after) == frozenset()
    assert fields_to_write(new_base, wanted, None) == frozenset()

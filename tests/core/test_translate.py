"""Bookings in calendar terms: texts, free/busy, the window, identity."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.sync.model import Booking, BookingId, EventId, MailboxId, Marker, ShowAs, Status, StatusKind
from shared.sync.translate import MOST_SUBJECT, translate
from tests.core.builders import ALICE, BOB, BOOKING, CANCELED, NOW, ORGANIZATION, booking, policy

instants = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
ids = st.uuids().map(str)


@given(instants, st.timedeltas(timedelta(minutes=1), timedelta(days=3)))
@example(datetime(2032, 10, 31, 0, tzinfo=UTC), timedelta(hours=2))
def test_instants_are_exact_across_daylight_saving(start: datetime, length: timedelta) -> None:
    """Both sides hold instants, so no zone and no change of clocks can move a booking."""
    zone = ZoneInfo("Europe/Berlin")
    local = booking(start=start.astimezone(zone), end=(start + length).astimezone(zone))
    content = translate(local, policy())
    # Times of two zones never compare equal in an hour that comes twice (PEP 495), so all are taken to UTC.
    assert (content.start.astimezone(UTC), content.end.astimezone(UTC)) == (start, start + length)


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        (Status(id="x", name="?", kind=StatusKind.COMMITTED), ShowAs.BUSY),
        (Status(id="x", name="?", kind=StatusKind.PROPOSED), ShowAs.TENTATIVE),
        (Status(id="x", name="?", kind=StatusKind.COMMITTED, detail="on_break"), ShowAs.FREE),
        (Status(id="id-1", name="?", kind=StatusKind.COMMITTED, detail="on_break"), ShowAs.OUT_OF_OFFICE),
        (Status(id="x", name="Proposed", kind=StatusKind.CANCELED), ShowAs.FREE),
    ],
    ids=["kind", "other kind", "detail beats kind", "id beats detail", "the name decides nothing"],
)
def test_show_as_follows_the_most_exact_rule(status: Status, shown: ShowAs) -> None:
    rules = {"on_break": ShowAs.FREE, "id-1": ShowAs.OUT_OF_OFFICE}
    assert translate(booking(status=status), replace(policy(), show_as=rules)).show_as is shown


def test_the_detail_of_a_canceled_status_keeps_nobody_busy() -> None:
    canceled = Status(id="x", name="?", kind=StatusKind.CANCELED, detail="scheduled")
    rules = {"scheduled": ShowAs.BUSY}
    assert translate(booking(status=canceled), replace(policy(), show_as=rules)).show_as is ShowAs.FREE
    rules = {"scheduled": ShowAs.BUSY, "canceled": ShowAs.WORKING_ELSEWHERE}
    assert translate(booking(status=canceled), replace(policy(), show_as=rules)).show_as is ShowAs.WORKING_ELSEWHERE


@pytest.mark.parametrize(("prefix", "subject"), [("Canceled:", "Canceled: Fabrikam"), ("", "Fabrikam")])
def test_the_subject_of_a_canceled_booking_says_so(prefix: str, subject: str) -> None:
    rules = replace(policy(), canceled_prefix=prefix)
    assert translate(booking(status=CANCELED), rules).subject == subject
    assert translate(booking(), rules).subject == "Fabrikam"
    assert len(translate(booking(status=CANCELED, account="x" * 300), rules).subject) == MOST_SUBJECT


def test_r7_of_a_masked_booking_no_text_is_even_made() -> None:
    def fails(_: Booking) -> str:
        raise AssertionError

    rules = replace(policy(), is_masked=lambda _: True, masked_subject="Booking", subject=fails, body=fails)
    content = translate(booking(), rules)
    assert (content.subject, content.body, content.is_private, content.show_as) == ("Booking", "", True, ShowAs.BUSY)
    assert (
        translate(booking(status=CANCELED), replace(rules, canceled_prefix="Canceled:")).subject == "Canceled: Booking"
    )
    assert not translate(booking(), policy()).is_private


@pytest.mark.parametrize(
    ("start", "end", "inside"),
    [
        (timedelta(days=-8), timedelta(days=-7, seconds=-1), False),
        (timedelta(days=-8), timedelta(days=-7), True),
        (timedelta(days=180), timedelta(days=181), True),
        (timedelta(days=180, seconds=1), timedelta(days=181), False),
        (timedelta(days=-400), timedelta(days=400), True),
    ],
    ids=["just over", "touches the start", "touches the end", "just beyond", "spans it"],
)
def test_window(start: timedelta, end: timedelta, *, inside: bool) -> None:
    assert policy().is_in_window(booking(start=NOW + start, end=NOW + end), NOW) is inside


@given(ids, ids, st.integers(1, 10**6))
def test_r2_a_marker_survives_the_way_through_the_calendar(organization: str, row: str, generation: int) -> None:
    marker = Marker(organization=organization, booking=BookingId(row), generation=generation)
    assert Marker.parse(marker.text) == marker
    assert marker.text.startswith(Marker.prefix(organization, BookingId(row)))


@pytest.mark.parametrize("text", ["", "1.a.b", "2.a.b.1", "1.a.b.x", "1.a.b.1.2", "1.a.b.-1", "1.a.b.²", "BOOK-1"])
def test_r9_what_this_app_did_not_write_is_no_marker(text: str) -> None:
    assert Marker.parse(text) is None


def test_r9_the_marker_of_an_adopted_event_is_good_in_that_event_only() -> None:
    marker = Marker(organization=ORGANIZATION, booking=BOOKING, generation=0)
    texts = {marker.text_in(*where) for where in ((ALICE, EventId("a")), (ALICE, EventId("b")), (BOB, EventId("a")))}
    assert len(texts) == 3
    assert all(text.startswith(f"{marker.text}.") and Marker.parse(text) is None for text in texts)


def test_r2_the_idempotency_key_is_of_marker_and_mailbox() -> None:
    marker = Marker(organization=ORGANIZATION, booking=BOOKING, generation=1)
    keys = {
        marker.transaction_id(ALICE),
        marker.transaction_id(BOB),
        replace(marker, generation=2).transaction_id(ALICE),
        replace(marker, booking=BookingId("b0000000-0000-4000-8000-000000000002")).transaction_id(ALICE),
    }
    assert len(keys) == 4
    assert marker.transaction_id(ALICE) == marker.transaction_id(MailboxId(str(ALICE)))

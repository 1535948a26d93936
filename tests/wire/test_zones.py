"""Times of events in the zone of the administrator's choice: whatever the zone, the instants are exact."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tzlocal.windows_tz import tz_win, win_tz

from sandbox.graph.times import read_moment
from shared.graph.wire import Style, changes
from shared.sync.model import Field
from shared.zones import Zone
from tests.core.builders import booking, content_of

BERLIN = Zone.named("Europe/Berlin")
zones = st.sampled_from(sorted(win_tz)).map(Zone.named)
instants = st.datetimes(datetime(2020, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
lengths = st.timedeltas(timedelta(), timedelta(days=3))


def written(zone: Zone, start: datetime, length: timedelta) -> dict[str, dict[str, str]]:
    content = replace(content_of(booking()), start=start, end=start + length)
    return changes(frozenset({Field.TIME}), content, Style(zone=zone))


@given(zones, instants, lengths)
@example(BERLIN, datetime(2027, 10, 31, 0, 30, tzinfo=UTC), timedelta(hours=1))
@example(BERLIN, datetime(2027, 3, 28, 0, 30, tzinfo=UTC), timedelta(hours=1))
@example(Zone.named("Australia/Lord_Howe"), datetime(2027, 4, 3, 14, 45, tzinfo=UTC), timedelta(minutes=30))
def test_an_instant_survives_every_zone_and_every_change_of_clocks(
    zone: Zone, start: datetime, length: timedelta
) -> None:
    body = written(zone, start, length)
    assert read_moment(body["start"], "start").at == start
    assert read_moment(body["end"], "end").at == start + length
    assert body["start"]["timeZone"] == body["end"]["timeZone"]
    assert body["start"]["timeZone"] in (zone.name, "UTC")


@pytest.mark.parametrize(
    ("start", "minutes", "zone", "wall"),
    [
        (datetime(2026, 11, 22, 9, tzinfo=UTC), 90, "W. Europe Standard Time", "2026-11-22T10:00:00.000000"),
        (datetime(2027, 7, 1, 9, tzinfo=UTC), 90, "W. Europe Standard Time", "2027-07-01T11:00:00.000000"),
        (datetime(2027, 3, 28, 0, 30, tzinfo=UTC), 60, "W. Europe Standard Time", "2027-03-28T01:30:00.000000"),
        (datetime(2027, 10, 31, 0, 30, tzinfo=UTC), 90, "UTC", "2027-10-31T00:30:00.000000"),
        (datetime(2027, 10, 30, 23, 0, tzinfo=UTC), 90, "UTC", "2027-10-30T23:00:00.000000"),
        (datetime(2027, 10, 31, 2, 0, tzinfo=UTC), 90, "W. Europe Standard Time", "2027-10-31T03:00:00.000000"),
    ],
    ids=["winter", "summer", "across the gap", "starts in the hour told twice", "ends in it", "after it"],
)
def test_only_the_hour_that_clocks_tell_twice_is_written_in_utc(
    start: datetime, minutes: int, zone: str, wall: str
) -> None:
    body = written(BERLIN, start, timedelta(minutes=minutes))
    assert body["start"] == {"dateTime": wall, "timeZone": zone}


@pytest.mark.parametrize("name", ["Central Europe", "Mars/Olympus"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must be a time zone"):
        Zone.named(name)


def test_every_name_leads_to_one_that_exchange_knows() -> None:
    assert {Zone.named(name).name for name in tz_win} <= set(win_tz)

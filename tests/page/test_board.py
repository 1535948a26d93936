"""Both sides of a week: what belongs together, and what differs, in words."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from sandbox.directory import known_id
from sandbox.http import Json
from sandbox.page.board import booking_of
from tests.page.conftest import NOW, World

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def verdict(world: World) -> tuple[str, list[str]]:
    """What is said of the one booking."""
    [booking] = (await world.board())["bookings"]
    return booking["state"], booking["words"]


async def test_the_rows_are_people_rooms_and_things(world: World) -> None:
    resources = (await world.board())["resources"]
    assert [one["kind"] for one in resources] == sorted(
        (one["kind"] for one in resources), key=("person", "room", "thing").index
    )
    by_name = {one["name"]: one for one in resources}
    assert by_name["Alice Anderson"]["mailbox"] == known_id("user", "alice")
    assert by_name["Room 1"]["kind"] == "room"
    assert (by_name["Xavier Xu"]["mailbox"], by_name["Spare Van"]["kind"]) == (None, "thing")


async def test_what_is_the_same(world: World) -> None:
    event = await world.write_event(await world.book())
    board = await world.board()
    [booking], [shown] = board["bookings"], board["events"]
    assert (booking["state"], booking["words"], booking["events"]) == ("same", [], [event])
    assert shown["booking"] == booking["id"]
    assert (booking["start"], booking["end"]) == (shown["start"], shown["end"])


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"hour": 9.5}, ["30 min later in Outlook"]),
        ({"hour": 7.75}, ["1 h 15 min earlier in Outlook"]),
        ({"hour": 9 + 48}, ["2 d later in Outlook"]),
        ({"minutes": 60}, ["30 min shorter in Outlook"]),
        ({"hour": 10, "minutes": 120}, ["1 h later in Outlook", "30 min longer in Outlook"]),
        ({"person": "bob"}, ["in Bob Brandt's calendar"]),
    ],
)
async def test_what_differs(world: World, event: dict[str, Any], words: list[str]) -> None:
    await world.write_event(await world.book(), **event)
    assert await verdict(world) == ("differs", words)


async def test_a_partner_that_is_missing(world: World) -> None:
    await world.book()
    assert await verdict(world) == ("missing", ["not in Outlook"])


async def test_a_second_event_for_one_booking(world: World) -> None:
    booking = await world.book()
    for _ in range(2):
        await world.write_event(booking)
    assert await verdict(world) == ("differs", ["in Outlook more than once"])


@pytest.mark.parametrize("resource", ["Room 1", "Spare Van", "Xavier Xu"])
async def test_what_has_no_mailbox_of_a_person_misses_nothing(world: World, resource: str) -> None:
    await world.book(resource)
    assert await verdict(world) == ("alone", [])


async def test_a_canceled_booking_has_no_event(world: World) -> None:
    booking = await world.book(status=known_id("bookingstatus", "Canceled"))
    assert await verdict(world) == ("alone", [])
    await world.write_event(booking)
    assert await verdict(world) == ("differs", ["canceled in Dynamics, still in Outlook"])


async def test_an_event_whose_booking_is_gone_still_names_it(world: World) -> None:
    booking = await world.book()
    await world.write_event(booking)
    await world.call("DELETE", f"/api/bookings/{booking}", {})
    board = await world.board()
    assert (board["bookings"], [event["booking"] for event in board["events"]]) == ([], [booking])


async def test_a_foreign_event_belongs_to_nobody(world: World) -> None:
    await world.write_event()
    [event] = (await world.board())["events"]
    assert event["booking"] is None


async def test_partners_outside_of_the_time_shown_come_along(world: World) -> None:
    await world.write_event(await world.book(), hour=9 + 24)
    for day in ("2026-03-02", "2026-03-03"):
        board = await world.board(day, 1)
        assert (len(board["bookings"]), len(board["events"])) == (1, 1)
    board = await world.board("2026-03-04", 1)
    assert (board["bookings"], board["events"]) == ([], [])


async def test_an_all_day_event_lies_on_its_day(world: World) -> None:
    zone = "W. Europe Standard Time"
    day: list[Json] = [
        {"dateTime": f"{at:%Y-%m-%d}T00:00:00", "timeZone": zone} for at in (NOW, NOW + timedelta(days=1))
    ]
    await world.write_event(await world.book(), start=day[0], end=day[1], isAllDay=True)
    [event] = (await world.board())["events"]
    assert (event["allDay"], event["start"], event["end"]) == (True, "2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z")
    assert await verdict(world) == ("differs", ["all day in Outlook"])


async def test_a_series_is_shown_on_its_days(world: World) -> None:
    weekly = {"type": "weekly", "interval": 1, "daysOfWeek": ["monday", "wednesday"]}
    span = {"type": "noEnd", "startDate": "2026-03-02"}
    await world.write_event(recurrence={"pattern": weekly, "range": span})
    starts = [event["start"][:10] for event in (await world.board("2026-03-09"))["events"]]
    assert starts == ["2026-03-09", "2026-03-11"]


@pytest.mark.parametrize("value", ["", "1.x.y.1", f"1.{known_id('another organization')}.{known_id('b')}.1"])
async def test_markers_of_others_are_foreign(value: str) -> None:
    assert booking_of([value]) is None


async def test_the_time_shown_is_a_number_of_days(world: World) -> None:
    await world.book()
    assert datetime.fromisoformat((await world.board())["bookings"][0]["start"]).hour == 9
    assert (await world.board("2026-03-09"))["bookings"] == []

"""R6: what lost a conflict is kept, and an administrator can put it in force."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from sandbox.graph.events import Event
from shared.errors import InvalidPostError
from shared.sync.merge import DEFAULT_EDITS
from tests.simulation.loop import run
from tests.simulation.planner import TOMORROW, Planner
from tests.simulation.world import World, world
from tests.sync.test_one_way import only, told
from tests.sync.test_pull import pull
from tests.sync.test_two_way import LATER, Technician, ask_calendars, row_of, synced, times_of

NEXT_DAY = TOMORROW + timedelta(days=1)


async def both_sides(now: World, planner: Planner, **changes: Any) -> str:
    """The planner moves the booking and gives it another name, unheard; a person edits the event. Then both are met."""
    booking, event = await synced(now, planner)
    [unheard] = now.cloud.faults.add({"service": "webhook", "do": "lose", "times": None})
    await planner.move(booking, NEXT_DAY)
    await planner.change(booking, name="Renamed")
    unheard.times = 0
    technician = Technician(now)
    await technician.move(event, LATER)
    if changes:
        await technician.change(event, **changes)
    await ask_calendars(now)
    await pull(now)
    return booking


async def restore(now: World, booking: str, at: str | None = None) -> Mapping[str, Any]:
    asked, shards = await now.app.restoring.restore(booking, at)
    now.wake(*shards)
    await now.settle()
    return asked


async def starts(now: World, booking: str) -> tuple[Any, Any]:
    """When the booking and its event start."""
    return times_of(await row_of(now, booking))[0], only(now.events("alice")).content.start.at


def event(now: World) -> Event:
    return only(now.events("alice"))


def test_r6_times_that_lost_are_put_in_force_and_back() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await both_sides(now, planner)
        assert await starts(now, booking) == (NEXT_DAY, NEXT_DAY)
        [loss] = await now.app.restoring.conflicts(booking)
        value = f"{LATER.isoformat()}/{(LATER + timedelta(hours=1)).isoformat()}"
        assert loss["fields"] == {"time": {"value": value, "obstacle": ""}}
        now.cloud.recorder.clear()
        assert await restore(now, booking) == loss
        assert await starts(now, booking) == (LATER, LATER)
        assert (now.traffic("dataverse", "PATCH"), now.traffic("graph", "PATCH")) == (1, 1)
        assert now.journal()[-2:] == [("put_in_force", "applied"), ("already_seen", "superseded")]
        assert len(await now.app.restoring.conflicts(booking)) == 2
        await restore(now, booking)
        assert await starts(now, booking) == (NEXT_DAY, NEXT_DAY)
        await restore(now, booking, loss["at"])
        assert await starts(now, booking) == (LATER, LATER)
        await ask_calendars(now)
        await pull(now)
        assert await starts(now, booking) == (LATER, LATER)

    told(story)


def test_r6_a_persons_text_comes_back_where_it_may_stay() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await both_sides(now, planner, subject="Bring the ladder")
        assert event(now).content.subject == "Renamed"
        [loss] = await now.app.restoring.conflicts(booking)
        assert set(loss["fields"]) == {"time", "subject"}
        assert "ladder" not in json.dumps(loss)
        await restore(now, booking)
        assert event(now).content.subject == "Bring the ladder"
        assert await starts(now, booking) == (LATER, LATER)
        await ask_calendars(now)
        await pull(now)
        assert event(now).content.subject == "Bring the ladder"
        await planner.change(booking, name="Renamed again")
        await now.settle()
        assert event(now).content.subject == "Renamed again"

    told(story, {"SYNC_EDITS": "subject=keep"})


def test_r6_what_dynamics_owns_does_not_come_back() -> None:
    """The setting was another one when the text was lost."""

    async def story(now: World, planner: Planner) -> None:
        booking = await both_sides(now, planner, subject="Bring the ladder")
        now.settings = replace(now.settings, edits=DEFAULT_EDITS)
        now.restart()
        [loss] = await now.app.restoring.conflicts(booking)
        assert "SYNC_EDITS must say subject=keep" in loss["fields"]["subject"]["obstacle"]
        await restore(now, booking)
        assert await starts(now, booking) == (LATER, LATER)
        assert event(now).content.subject == "Renamed"

    told(story, {"SYNC_EDITS": "subject=keep"})


@pytest.mark.parametrize(("booking", "status"), [("x", 400), ("7a1d0000-0000-4000-8000-0000000000aa", 404)])
def test_what_is_not_there_is_said(booking: str, status: int) -> None:
    async def story(now: World, _: Planner) -> None:
        with pytest.raises(InvalidPostError) as caught:
            await now.app.restoring.restore(booking, None)
        assert caught.value.status == status

    told(story)


def test_r6_nothing_is_restored_of_a_canceled_booking() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await both_sides(now, planner)
        await planner.set_status(booking, "Canceled")
        await now.settle()
        with pytest.raises(InvalidPostError, match="no event any more"):
            await now.app.restoring.restore(booking, None)
        assert now.events("alice") == []

    told(story)


def test_r6_times_that_dataverse_refuses_are_not_forced_upon_it() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await both_sides(now, planner)
        now.cloud.faults.add(
            {"service": "dataverse", "method": "PATCH", "do": "refuse", "status": 400, "code": "0x80040265", "times": 1}
        )
        await restore(now, booking)
        assert await starts(now, booking) == (NEXT_DAY, NEXT_DAY)
        assert now.rows("dead") == []

    told(story)


@pytest.mark.parametrize("after_the_call", [False, True], ids=["before", "after"])
def test_r6_a_crash_at_any_outside_call(*, after_the_call: bool) -> None:
    async def story(crash_at: int) -> bool:
        async with world() as now:
            booking = await both_sides(now, Planner(now))
            _, shards = await now.app.restoring.restore(booking, None)
            fuse = now.fuse
            fuse.left, fuse.after_the_call = crash_at, after_the_call
            now.wake(*shards)
            await now.settle()
            fuse.left = None
            await pull(now)
            assert await starts(now, booking) == (LATER, LATER), f"crash at {crash_at}"
            return fuse.is_blown

    for crash_at in range(100):
        if not run(story(crash_at)):
            assert crash_at > 5
            return
    pytest.fail("it never came to an end")


def test_r6_a_person_who_moves_the_event_meanwhile_does_not_stop_it() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await both_sides(now, planner)
        _, shards = await now.app.restoring.restore(booking, None)
        await Technician(now).move(event(now), TOMORROW + timedelta(days=9))
        now.wake(*shards)
        await now.settle()
        await ask_calendars(now)
        row, shown = await starts(now, booking)
        assert row == shown

    told(story)

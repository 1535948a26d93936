"""Events that an older program made are taken over when the table is new, not doubled (R2), and no others (R9)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from sandbox.graph.events import Event
from shared.graph.wire import MARKER_PROPERTY
from tests.simulation.loop import run
from tests.simulation.planner import TOMORROW, Planner
from tests.simulation.world import World, world
from tests.sync.test_one_way import only, shown, told
from tests.sync.test_pull import lose_posts, pull
from tests.sync.test_rebuild import wipe

EXTENSION, PROPERTY = "com.contoso.bookings", "bookingId"
ADOPT = {"SYNC_ADOPT_EXTENSION": f"{EXTENSION}:{PROPERTY}"}


async def flow_made(
    now: World, person: str, booking: str, *, start: datetime = TOMORROW, minutes: int = 60, **more: Any
) -> Event:
    """What the older program did for a booking."""
    times = (start, start + timedelta(minutes=minutes))
    body: dict[str, Any] = {
        "subject": "From the flow",
        **{
            name: {"dateTime": f"{at:%Y-%m-%dT%H:%M:%S}", "timeZone": "UTC"}
            for name, at in zip(("start", "end"), times, strict=True)
        },
        "extensions": [
            {"@odata.type": "microsoft.graph.openTypeExtension", "extensionName": EXTENSION, PROPERTY: booking}
        ],
        **more,
    }
    status, made, _ = await now.call_graph("POST", f"/users/{person}@contoso.test/events", body)
    assert status == 201, made
    return now.events(person)[-1]


async def install(now: World) -> None:
    """The app is set up anew: its table is empty, and the first round of the pull finds everything."""
    wipe(now)
    now.cloud.recorder.clear()
    await pull(now)
    await now.clock.sleep(60)
    await pull(now)


def subjects(now: World, person: str) -> list[str]:
    return sorted(event.content.subject or "" for event in now.events(person))


def test_r2_an_event_of_the_older_program_is_taken_over_and_then_is_ours() -> None:
    async def story(now: World, planner: Planner) -> None:
        lose_posts(now)
        booking = await planner.book("alice")
        was = await flow_made(now, "alice", booking.upper())
        now.cloud.faults.clear()
        await install(now)
        event = only(now.events("alice"))
        assert event.item_id == was.item_id
        assert shown(event.content) == ("Boiler service", TOMORROW, TOMORROW + timedelta(minutes=90), "busy")
        assert event.content.extensions[EXTENSION] == {PROPERTY: booking.upper()}
        assert now.traffic("graph", "POST") == 0
        await planner.move(booking, TOMORROW + timedelta(hours=3))
        await now.settle()
        assert only(now.events("alice")).content.start.at == TOMORROW + timedelta(hours=3)
        await planner.assign(booking, "bob")
        await now.settle()
        assert now.events("alice") == []
        assert only(now.events("bob"))

    told(story, ADOPT)


def test_r2a_what_was_taken_over_survives_the_loss_of_all_tables() -> None:
    async def story(now: World, planner: Planner) -> None:
        lose_posts(now)
        booking = await planner.book("alice")
        was = await flow_made(now, "alice", booking)
        now.cloud.faults.clear()
        await install(now)
        await install(now)
        assert only(now.events("alice")).item_id == was.item_id
        assert now.traffic("graph", "POST") == 0
        await planner.delete(booking)
        await now.settle()
        assert now.events("alice") == []

    told(story, ADOPT)


def test_r9_a_persons_copy_of_an_adopted_event_is_foreign() -> None:
    async def story(now: World, planner: Planner) -> None:
        lose_posts(now)
        booking = await planner.book("alice")
        await flow_made(now, "alice", booking)
        now.cloud.faults.clear()
        await install(now)
        text = only(now.events("alice")).content.properties[MARKER_PROPERTY]
        properties: dict[str, Any] = {"singleValueExtendedProperties": [{"id": MARKER_PROPERTY, "value": text}]}
        copy = await flow_made(now, "alice", booking, subject="A copy", **properties)
        await install(now)
        await planner.change(booking, name="Boiler repair")
        await now.settle()
        assert subjects(now, "alice") == ["A copy", "Boiler repair"]
        await planner.delete(booking)
        await now.settle()
        assert only(now.events("alice")).item_id == copy.item_id
        assert only(now.events("alice")).content == copy.content

    told(story, ADOPT)


@pytest.mark.parametrize("why", ["another mailbox", "no booking", "no id", "all day", "long ago", "another extension"])
def test_r9_what_cannot_be_the_bookings_event_is_left_alone(why: str) -> None:
    async def story(now: World, planner: Planner) -> None:
        lose_posts(now)
        booking = await planner.book("alice")
        changes: dict[str, Any] = {}
        person = "alice"
        midnight = TOMORROW.replace(hour=0)
        match why:
            case "another mailbox":
                person = "bob"
            case "no booking":
                changes["booking"] = "b0000000-0000-4000-8000-000000000001"
            case "no id":
                changes["booking"] = "see Dynamics"
            case "all day":
                changes |= {"start": midnight, "minutes": 24 * 60, "isAllDay": True}
            case "long ago":
                changes["start"] = TOMORROW - timedelta(days=30)
            case _:
                changes["extensions"] = [{"extensionName": "com.fabrikam.bookings", PROPERTY: booking}]
        was = await flow_made(now, person, **{"booking": booking, **changes})
        content = was.content
        now.cloud.faults.clear()
        await install(now)
        assert was.content == content
        assert "Boiler service" in subjects(now, "alice")

    told(story, ADOPT)


def test_of_several_events_for_one_booking_the_first_is_taken_over() -> None:
    async def story(now: World, planner: Planner) -> None:
        lose_posts(now)
        booking = await planner.book("alice")
        first = await flow_made(now, "alice", booking)
        await now.clock.sleep(5)
        second = await flow_made(now, "alice", booking)
        now.cloud.faults.clear()
        await install(now)
        await install(now)
        assert (first.content.subject, second.content.subject) == ("Boiler service", "From the flow")
        assert len(now.events("alice")) == 2

    told(story, ADOPT)


def test_r2_an_event_that_was_doubled_before_the_setting_goes() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice")
        await now.settle()
        ours = only(now.events("alice")).item_id
        await flow_made(now, "alice", booking)
        await install(now)
        assert only(now.events("alice")).item_id == ours

    told(story, ADOPT)


def test_without_the_setting_nothing_is_looked_for() -> None:
    async def story(now: World, planner: Planner) -> None:
        lose_posts(now)
        booking = await planner.book("alice")
        await flow_made(now, "alice", booking)
        now.cloud.faults.clear()
        await install(now)
        assert subjects(now, "alice") == ["Boiler service", "From the flow"]

    told(story)


def test_many_are_taken_over_slice_by_slice() -> None:
    async def story(now: World, planner: Planner) -> None:
        lose_posts(now)
        slots = [TOMORROW + timedelta(hours=number) for number in range(70)]
        for start in slots:
            await flow_made(now, "alice", await planner.book("alice", start=start), start=start)
        now.cloud.faults.clear()
        now.cloud.faults.add({"service": "graph", "method": "PATCH", "do": "delay", "seconds": 4, "times": None})
        await install(now)
        await now.settle()
        assert subjects(now, "alice") == ["Boiler service"] * 70
        assert now.traffic("graph", "POST") == 0

    told(story, ADOPT)


@pytest.mark.parametrize("after_the_call", [False, True], ids=["before the call", "after the call"])
def test_r2_a_crash_at_any_outside_call_of_an_adoption(*, after_the_call: bool) -> None:
    async def story(crash_at: int) -> bool:
        async with world(settings={**ADOPT, "SYNC_SHARDS": "2"}) as now:
            planner = Planner(now)
            lose_posts(now)
            booking = await planner.book("alice")
            was = await flow_made(now, "alice", booking)
            now.cloud.faults.clear()
            wipe(now)
            now.fuse.left, now.fuse.after_the_call = crash_at, after_the_call
            fuse = now.fuse
            await planner.change(booking, name="Boiler repair")
            await now.settle()
            fuse.left = None
            await pull(now)
            assert only(now.events("alice")).item_id == was.item_id, f"crash at {crash_at}"
            assert only(now.events("alice")).content.subject == "Boiler repair", f"crash at {crash_at}"
            return fuse.is_blown

    for crash_at in range(0, 1000, 7):
        if not run(story(crash_at)):
            assert crash_at > 60, "the adoption must have made some calls"
            return
    pytest.fail("the adoption never came to an end")

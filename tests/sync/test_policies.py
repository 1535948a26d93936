"""What the administrator may decide: canceled bookings, masking, categories, mailboxes, over everything but sockets."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.simulation.planner import TOMORROW, Planner
from tests.simulation.world import World
from tests.sync.test_one_way import only, shown, told

# Canceled bookings.

KEEP = {"SYNC_CANCELED": "keep"}


def test_a_canceled_booking_stays_in_the_calendar_and_comes_back_when_it_is_taken_back() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice")
        await now.settle()
        was = only(now.events("alice")).item_id
        await planner.set_status(booking, "Canceled")
        await now.settle()
        assert shown(only(now.events("alice")).content)[0::3] == ("Canceled: Boiler service", "free")
        await planner.move(booking, TOMORROW + timedelta(hours=3))
        await now.settle()
        assert only(now.events("alice")).content.start.at == TOMORROW + timedelta(hours=3)
        await planner.set_status(booking, "Committed")
        await now.settle()
        event = only(now.events("alice"))
        assert event.item_id == was
        assert shown(event.content)[0::3] == ("Boiler service", "busy")

    told(story, KEEP)


def test_deleting_a_canceled_booking_deletes_the_event_that_was_kept() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice")
        await now.settle()
        await planner.set_status(booking, "Canceled")
        await now.settle()
        await planner.delete(booking)
        await now.settle()
        assert now.events("alice") == []
        assert now.rows("link") == []

    told(story, KEEP)


def test_no_event_is_made_to_say_that_a_booking_is_canceled() -> None:
    async def story(now: World, planner: Planner) -> None:
        await planner.book("alice", status="Canceled")
        await now.settle()
        assert now.events("alice") == []
        assert now.journal()[-1] == ("canceled", "skipped")

    told(story, KEEP)


@pytest.mark.parametrize("status", ["Canceled", "Field Service Canceled"])
def test_r10_a_kept_event_that_is_reassigned_while_canceled_goes_and_comes_back_with_the_booking(status: str) -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice")
        await now.settle()
        await planner.set_status(booking, status)
        await now.settle()
        await planner.assign(booking, "bob")
        await now.settle()
        assert now.events("alice") == now.events("bob") == []
        await planner.set_status(booking, "Committed")
        await now.settle()
        assert now.events("alice") == []
        assert shown(only(now.events("bob")).content)[0::3] == ("Boiler service", "busy")

    told(story, KEEP)


def test_r2a_a_kept_event_survives_the_loss_of_all_tables() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice")
        await now.settle()
        await planner.set_status(booking, "Canceled")
        await now.settle()
        now.tables.clear()
        await planner.change(booking, name="Boiler repair")
        await now.settle()
        assert only(now.events("alice")).content.subject == "Canceled: Boiler repair"

    told(story, KEEP)

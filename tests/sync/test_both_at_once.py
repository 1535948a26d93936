"""Edits that meet: what one side does while the other has not been heard of, or has been refused (R1, R2, R6, R7)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest

from tests.simulation.planner import TOMORROW, Planner
from tests.simulation.world import World
from tests.sync.test_one_way import only, told
from tests.sync.test_two_way import LATER, LONG_AFTER, TOLD, Technician, ask_calendars, row_of, synced, times_of


@pytest.mark.parametrize("settings", [{}, TOLD], ids=["asked", "told"])
def test_texts_that_name_the_time_follow_an_event_that_people_move(settings: Mapping[str, str]) -> None:
    async def story(now: World, planner: Planner) -> None:
        _, event = await synced(now, planner)
        await Technician(now).move(event, LATER)
        await now.settle()
        await ask_calendars(now)
        assert only(now.events("alice")).content.subject == f"Boiler service {LATER:%H:%M}"
        now.cloud.recorder.clear()
        await ask_calendars(now)
        assert now.traffic("dataverse", "PATCH") == 0

    told(story, {**settings, "SYNC_SUBJECT_TEMPLATE": "{{ name }} {{ start.strftime('%H:%M') }}"})


@pytest.mark.parametrize("winner", ["park", "outlook"])
def test_what_was_parked_follows_the_booking_when_people_take_back_what_they_did(winner: str) -> None:
    async def story(now: World, planner: Planner) -> None:
        booking, event = await synced(now, planner)
        person = Technician(now)
        if winner == "park":
            await person.move(event, LATER + timedelta(days=5), minutes=90)
        else:
            days = [LATER.replace(hour=0, minute=0) + timedelta(days=number) for number in (0, 1)]
            start, end = ({"dateTime": f"{day:%Y-%m-%dT%H:%M:%S}", "timeZone": "UTC"} for day in days)
            await person.change(event, isAllDay=True, start=start, end=end)
        await planner.move(booking, LATER)
        await now.settle()
        await ask_calendars(now)
        assert "parked" in {outcome for _, outcome in now.journal()}
        assert times_of(await row_of(now, booking))[0] == LATER
        if winner == "outlook":
            await person.change(event, isAllDay=False)
        await person.move(event, TOMORROW, minutes=90)
        await ask_calendars(now)
        assert only(now.events("alice")).content.start.at == LATER
        assert times_of(await row_of(now, booking))[0] == LATER

    told(story, {"SYNC_CONFLICTS": f"time={winner}"})


def test_r2_a_restored_event_serves_again_when_its_booking_is_taken_back() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking, event = await synced(now, planner)
        await planner.set_status(booking, "Canceled")
        await now.settle()
        await now.clock.sleep(LONG_AFTER.total_seconds())
        now.graph.by_hand.do("restore", "alice@contoso.test", event.item_id, "")
        await now.settle()
        await now.clock.sleep(60)
        await now.settle()
        await planner.set_status(booking, "Committed")
        await now.settle()
        await ask_calendars(now)
        assert len(now.events("alice")) == 1

    told(story, TOLD)


def test_r7_guests_of_whom_nobody_told_get_to_know_when_the_visit_is_given_to_another() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking, event = await synced(now, planner)
        [lost] = now.cloud.faults.add({"service": "notification", "do": "lose", "times": None})
        guest = {"emailAddress": {"address": "carol@contoso.test", "name": "Carol"}, "type": "required"}
        await Technician(now).change(event, attendees=[guest])
        lost.times = 0
        now.cloud.recorder.clear()
        await planner.assign(booking, "bob")
        await now.settle()
        app = [call for call in now.cloud.recorder.calls if call.app == now.contoso.booking_sync.client_id]
        assert any(call.path.endswith("/cancel") for call in app)

    told(story, TOLD)


def test_r6_times_that_people_gave_an_event_are_kept_when_its_booking_goes_to_another() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking, event = await synced(now, planner)
        [lost] = now.cloud.faults.add({"service": "notification", "do": "lose", "times": None})
        await Technician(now).move(event, LATER)
        lost.times = 0
        await planner.assign(booking, "bob")
        await now.settle()
        await ask_calendars(now)
        assert only(now.events("bob")).content.start.at == TOMORROW
        assert LATER.isoformat() in str([entry["lost"] for entry in now.rows("journal")])

    told(story, TOLD)

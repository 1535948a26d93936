"""A booking saved in Dynamics appears in the Outlook calendar: the main path over everything but the sockets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta

import pytest

from sandbox.graph.events import Content, Event
from tests.simulation.loop import run
from tests.simulation.planner import TOMORROW, Planner
from tests.simulation.world import World, world


def told(story: Callable[[World, Planner], Awaitable[None]], settings: Mapping[str, str] | None = None) -> None:
    """Tell a story in a fresh world, on virtual time."""

    async def tell() -> None:
        async with world(settings=settings) as now:
            await story(now, Planner(now))

    run(tell())


def only(events: list[Event]) -> Event:
    [event] = events
    return event


def shown(content: Content) -> tuple[str | None, datetime, datetime, str]:
    return content.subject, content.start.at, content.end.at, content.show_as


def test_create() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice", name="Boiler service", start=TOMORROW, minutes=90)
        await now.settle()
        content = only(now.events("alice")).content
        assert shown(content) == ("Boiler service", TOMORROW, TOMORROW + timedelta(minutes=90), "busy")
        assert content.categories == ("Dynamics 365",)
        [marker] = content.properties.values()
        assert marker == f"1.{now.settings.organization}.{booking}.1"
        assert now.journal() == [("created", "applied")]

    told(story)


def test_the_texts_name_customer_status_work_order_and_the_record() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice", work_order="WO-00001", status="Scheduled")
        await now.settle()
        content = only(now.events("alice")).content
        customers = set(now.contoso.customers)
        assert content.subject in customers
        for part in ("Scheduled", "WO-00001", f"{now.settings.dataverse}/main.aspx", booking):
            assert part in content.body.html

    told(story)


def test_the_second_booking_of_a_resource_needs_one_read_and_one_write() -> None:
    async def story(now: World, planner: Planner) -> None:
        await planner.book("alice")
        await now.settle()
        now.cloud.recorder.clear()
        await planner.book("alice")
        await now.settle()
        assert (now.traffic("dataverse"), now.traffic("graph")) == (1, 1)
        assert now.journal()[-1] == ("created", "applied")

    told(story)


def test_move() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice")
        await now.settle()
        before = only(now.events("alice"))
        was = before.item_id
        now.cloud.recorder.clear()
        await planner.move(booking, TOMORROW + timedelta(days=3), minutes=30)
        await now.settle()
        event = only(now.events("alice"))
        assert event.item_id == was
        assert shown(event.content)[1:3] == (
            TOMORROW + timedelta(days=3),
            TOMORROW + timedelta(days=3, minutes=30),
        )
        assert (now.traffic("dataverse"), now.traffic("graph", "PATCH"), now.traffic("graph")) == (1, 1, 1)

    told(story)


def test_rename_and_status_change_write_only_what_differs() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice")
        await now.settle()
        await planner.change(booking, name="Boiler repair")
        await now.settle()
        await planner.set_status(booking, "Proposed")
        await now.settle()
        assert shown(only(now.events("alice")).content)[0::3] == ("Boiler repair", "tentative")
        entries = sorted(now.rows("journal"), key=lambda entry: str(entry["at"]))
        assert [entry["fields"] for entry in entries if entry["reason"] == "updated"] == ["subject", "body,show_as"]

    told(story)


def test_saving_without_a_difference_sends_nothing() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice")
        await now.settle()
        now.cloud.recorder.clear()
        await planner.change(booking, name="Boiler service")
        await now.settle()
        assert (now.traffic("dataverse"), now.traffic("graph")) == (1, 0)
        assert now.journal()[-1] == ("unchanged", "unchanged")

    told(story)


def test_r5_a_post_that_comes_twice_costs_nothing() -> None:
    async def story(now: World, planner: Planner) -> None:
        await planner.book("alice")
        await now.settle()
        now.cloud.faults.add({"service": "webhook", "do": "duplicate", "times": None})
        booking = await planner.book("alice")
        await now.settle()
        now.cloud.recorder.clear()
        await planner.move(booking, TOMORROW + timedelta(hours=5))
        await now.settle()
        assert (now.traffic("dataverse"), now.traffic("graph")) == (1, 1)
        assert sum(int(entry["posts"]) for entry in now.rows("journal")) == 1 + 2 + 2

    told(story)


@pytest.mark.parametrize("status", ["Canceled", "Field Service Canceled"])
def test_cancel_removes_the_event_and_taking_it_back_makes_a_new_one(status: str) -> None:
    async def story(now: World, planner: Planner) -> None:
        if status not in now.contoso.statuses:
            pytest.fail(f"statuses: {sorted(now.contoso.statuses)}")
        booking = await planner.book("alice")
        await now.settle()
        await planner.set_status(booking, status)
        await now.settle()
        assert now.events("alice") == []
        await planner.set_status(booking, "Committed")
        await now.settle()
        [marker] = only(now.events("alice")).content.properties.values()
        assert marker.endswith(f"{booking}.2")

    told(story)


def test_delete() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice")
        await now.settle()
        now.cloud.recorder.clear()
        await planner.delete(booking)
        await now.settle()
        assert now.events("alice") == []
        assert (now.traffic("dataverse"), now.traffic("graph")) == (1, 1)
        assert now.journal()[-1] == ("deleted", "applied")
        assert now.rows("link") == []

    told(story)


def test_heal_an_update_of_a_booking_that_was_never_linked_creates_its_event() -> None:
    async def story(now: World, planner: Planner) -> None:
        now.cloud.faults.add({"service": "webhook", "do": "lose"})
        booking = await planner.book("alice")
        await now.settle()
        assert now.events("alice") == []
        await planner.change(booking, name="Boiler service, second attempt")
        await now.settle()
        assert only(now.events("alice")).content.subject == "Boiler service, second attempt"

    told(story)


def test_a_burst_of_changes_ends_with_the_last_state() -> None:
    async def story(now: World, planner: Planner) -> None:
        now.dataverse.webhooks.delivery.shuffle = True
        now.dataverse.webhooks.delivery.in_flight = 4
        booking = await planner.book("alice")
        for hour in range(10):
            await planner.move(booking, TOMORROW + timedelta(hours=hour))
        await now.settle()
        assert only(now.events("alice")).content.start.at == TOMORROW + timedelta(hours=9)

    told(story)


@pytest.mark.parametrize(
    ("start", "zone_rule"),
    [
        (datetime(2027, 3, 28, 0, 30, tzinfo=UTC), "Europe loses an hour"),
        (datetime(2027, 3, 14, 9, 30, tzinfo=UTC), "America loses an hour"),
    ],
)
def test_start_and_end_are_exact_over_a_change_of_clocks(start: datetime, zone_rule: str) -> None:
    async def story(now: World, planner: Planner) -> None:
        await planner.book("alice", start=start, minutes=120)
        await now.settle()
        _, begin, end, _ = shown(only(now.events("alice")).content)
        assert (begin, end) == (start, start + timedelta(hours=2)), zone_rule

    told(story)


# Reasons not to write.


@pytest.mark.parametrize(
    ("settings", "booked", "reason"),
    [
        ({"SYNC_FILTER": "not startswith(name,'Internal')"}, {"name": "Internal meeting"}, "filtered_out"),
        ({"SYNC_FILTER": "BookingStatus/status eq 2"}, {"status": "Proposed"}, "filtered_out"),
        ({"SYNC_FILTER": "msdyn_workorder/msdyn_name ne null"}, {}, "filtered_out"),
        ({}, {"start": TOMORROW + timedelta(days=400)}, "out_of_window"),
        ({"SYNC_WINDOW_PAST_DAYS": "0"}, {"start": TOMORROW - timedelta(days=2)}, "out_of_window"),
        ({}, {"status": "Canceled"}, "canceled"),
    ],
    ids=["filter by name", "filter by status", "filter by work order", "too far ahead", "too long ago", "canceled"],
)
def test_a_skipped_booking_has_its_reason_in_the_journal(
    settings: dict[str, str], booked: dict[str, object], reason: str
) -> None:
    async def story(now: World, planner: Planner) -> None:
        await planner.book("alice", **booked)  # type: ignore[arg-type]
        await now.settle()
        assert now.events("alice") == []
        assert now.journal()[-1] == (reason, "skipped")
        assert now.traffic("graph") == 0

    told(story, settings)


def test_a_resource_without_a_calendar_says_what_it_is() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice")
        await now.settle()
        await planner.assign_resource(booking, now.contoso.spare_van)
        await now.settle()
        assert now.events("alice") == []
        await planner.change(booking, name="Still in the van")
        await now.settle()
        [entry] = [entry for entry in now.rows("journal") if entry["outcome"] == "skipped"]
        assert (entry["reason"], entry["detail"]) == (
            "no_mailbox",
            "the resource is of type generic: only users have a calendar, and SYNC_MAILBOXES names none for it",
        )

    told(story)


def test_r14_posts_of_another_organisation_are_refused_and_store_nothing() -> None:
    async def story(now: World, planner: Planner) -> None:
        await planner.book("alice")
        await now.settle()
        assert now.rows("mark") + now.rows("journal") == []
        [post] = [call for call in now.cloud.recorder.calls if call.service == "webhook"]
        assert post.status == 403

    told(story, {"DATAVERSE_ORGANIZATION_ID": "00000000-0000-4000-8000-000000000bad"})

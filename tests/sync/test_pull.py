"""What happens when posts are lost: change tracking finds it, and only what it finds is looked at (R1, R3)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from sandbox.dataverse.schema import Reference, Value
from sandbox.directory import known_id
from shared.app import App
from shared.tables.tables import Put
from tests.simulation.loop import run
from tests.simulation.planner import TOMORROW, Planner
from tests.simulation.world import Crash, World, world
from tests.sync.test_one_way import only, told

IDLE = 6
"""Requests of a round in which nothing has changed: one for each tracked table."""
PEOPLE = ("alice", "bob", "carol", "dave", "erin")


async def pull(now: World) -> None:
    """What the timer does; then everything comes to rest."""
    now.wake(*sorted(await now.app.pull.round()))
    await now.settle()


def lose_posts(now: World) -> Callable[[], None]:
    """From now on no post arrives, until the result is called."""
    [rule] = now.cloud.faults.add({"service": "webhook", "do": "lose", "times": None})

    def stop() -> None:
        rule.times = 0

    return stop


async def save(now: World, path: str, **columns: Any) -> None:
    status, body, _ = await now.call_dataverse("PATCH", path, columns, {"If-Match": "*"})
    assert status == 204, body


def picture(now: World) -> dict[str, list[tuple[object, ...]]]:
    return {
        person: sorted(
            (event.content.subject or "", event.content.start.at, event.content.end.at, event.content.show_as)
            for event in now.events(person)
        )
        for person in PEOPLE
    }


def cursors(now: World) -> dict[str, Mapping[str, Any]]:
    return {stored.row: stored.values for stored in now.tables.partitions().get("cursors", ())}


# Lost posts.


async def a_busy_hour(now: World, planner: Planner) -> None:
    """Every kind of change, and some that take each other back."""
    bookings = {person: await planner.book(person, name=f"For {person}") for person in PEOPLE}
    await now.settle()
    await pull(now)
    stop = lose_posts(now)
    await planner.book("alice", name="New", start=TOMORROW + timedelta(hours=5))
    await planner.move(bookings["alice"], TOMORROW + timedelta(days=1))
    await planner.set_status(bookings["bob"], "Canceled")
    await planner.delete(bookings["carol"])
    await planner.assign(bookings["dave"], "erin")
    await planner.delete(await planner.book("bob", name="Came and went"))
    await now.clock.sleep(3600)
    await now.settle()
    stop()


def test_r1_an_hour_of_lost_posts_is_made_up_for_by_one_round() -> None:
    async def story(now: World, planner: Planner) -> None:
        await a_busy_hour(now, planner)
        before = picture(now)
        await pull(now)
        after = picture(now)
        assert after != before
        day, end = timedelta(days=1), timedelta(minutes=90)
        assert after == {
            "alice": [
                ("For alice", TOMORROW + day, TOMORROW + day + end, "busy"),
                ("New", TOMORROW + timedelta(hours=5), TOMORROW + timedelta(hours=5) + end, "busy"),
            ],
            "bob": [],
            "carol": [],
            "dave": [],
            "erin": [("For dave", TOMORROW, TOMORROW + end, "busy"), ("For erin", TOMORROW, TOMORROW + end, "busy")],
        }
        assert now.rows("dead") == []

    told(story)


def test_r3_a_deletion_that_no_post_told_is_proven_by_change_tracking() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice")
        await now.settle()
        await pull(now)
        lose_posts(now)
        await planner.delete(booking)
        await pull(now)
        assert now.events("alice") == []
        assert now.journal()[-1] == ("deleted", "applied")

    told(story)


@pytest.mark.parametrize("after_the_call", [False, True], ids=["before", "after"])
def test_r1_a_crash_at_any_outside_call_of_a_round(*, after_the_call: bool) -> None:
    async def story(crash_at: int | None) -> tuple[object, bool]:
        async with world() as now:
            await a_busy_hour(now, Planner(now))
            await save(now, f"accounts({now.contoso.customers['Fabrikam']})", name="Fabrikam GmbH")
            fuse = now.fuse
            fuse.left, fuse.after_the_call = crash_at, after_the_call
            try:
                woken = await now.app.pull.round()
                fuse.left = None
                now.wake(*sorted(woken))
            except Crash:
                now.restart()
            await now.settle()
            await pull(now)
            assert now.rows("dead") == []
            return picture(now), fuse.is_blown

    expected, _ = run(story(None))
    for crash_at in range(300):
        seen, crashed = run(story(crash_at))
        assert seen == expected, f"crash at outside call {crash_at}"
        if not crashed:
            assert crash_at > 3 * IDLE, "a round reads a cursor, asks and saves for each table"
            return
    pytest.fail("the round never came to an end")


def test_two_hosts_that_pull_at_once_do_no_harm() -> None:
    async def story(now: World, planner: Planner) -> None:
        await a_busy_hour(now, planner)
        other: App = now.start_app()
        for woken in await asyncio.gather(now.app.pull.round(), other.pull.round()):
            now.wake(*sorted(woken))
        await now.settle()
        seen = picture(now)
        assert [len(events) for events in seen.values()] == [2, 0, 0, 0, 2]
        await pull(now)
        assert picture(now) == seen

    told(story)


# What a round costs.


def test_r13_a_round_without_changes_asks_once_for_each_table_and_marks_nothing() -> None:
    async def story(now: World, planner: Planner) -> None:
        await planner.book("alice")
        await now.settle()
        await pull(now)
        entries = len(now.journal())
        now.cloud.recorder.clear()
        await pull(now)
        assert (now.traffic("dataverse"), now.traffic("graph")) == (IDLE, 0)
        assert len(now.journal()) == entries

    told(story)


def test_r5_what_a_post_has_brought_already_costs_no_read() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice")
        await now.settle()
        await pull(now)
        await planner.move(booking, TOMORROW + timedelta(hours=2))
        await now.settle()
        now.cloud.recorder.clear()
        await pull(now)
        assert (now.traffic("dataverse"), now.traffic("graph")) == (IDLE, 0)
        assert now.journal()[-1] == ("already_seen", "superseded")

    told(story)


def load_bookings(now: World, count: int, person: str = "alice", work_order: str = "WO-00001") -> None:
    """Many rows that were always there."""
    values: dict[str, Value] = {
        "name": "Old",
        "starttime": TOMORROW,
        "endtime": TOMORROW + timedelta(hours=1),
        "duration": 60,
        "bookingtype": 1,
        "resource": Reference("bookableresource", now.contoso.resource(person)),
        "bookingstatus": Reference("bookingstatus", now.contoso.statuses["Committed"]),
        "msdyn_workorder": Reference("msdyn_workorder", now.contoso.work_orders[work_order]),
    }
    for number in range(count):
        now.dataverse.load("bookableresourcebooking", known_id("loaded", f"{person}{number}"), values)


def test_pages_are_bounded_and_followed_to_their_end() -> None:
    async def story(now: World, _planner: Planner) -> None:
        load_bookings(now, 1100)
        await now.app.pull.round()
        assert now.traffic("dataverse") == IDLE + 3  # all tables, and three pages of the window
        assert len(now.marks()) == 1100
        now.cloud.recorder.clear()
        await save(now, f"msdyn_workorders({now.contoso.work_orders['WO-00001']})", msdyn_name="WO-1")
        await now.app.pull.round()
        assert now.traffic("dataverse") == IDLE + 3 + 1  # the search, and a look whether more has changed meanwhile
        assert len(now.marks()) == 2200

    told(story)


def test_a_round_is_bounded_in_time_and_the_next_one_goes_on() -> None:
    async def story(now: World, _planner: Planner) -> None:
        load_bookings(now, 1100)
        now.cloud.faults.add({"service": "dataverse", "do": "delay", "seconds": 25, "times": None})
        rounds = 0
        while len(now.marks()) < 1100:
            began = now.clock.now()
            await now.app.pull.round()
            rounds += 1
            assert now.clock.now() - began <= timedelta(seconds=150)
            assert rounds < 10
        assert rounds > 1
        assert len(now.marks()) == 1100

    told(story)


# From the start.


def test_at_installation_only_bookings_inside_the_window_are_marked() -> None:
    async def story(now: World, planner: Planner) -> None:
        stop = lose_posts(now)
        for days in (-30, -6, 0, 179, 181, 400):
            await planner.book("alice", name=f"In {days} days", start=TOMORROW + timedelta(days=days))
        await now.settle()
        stop()
        await pull(now)
        subjects = sorted(event.content.subject or "" for event in now.events("alice"))
        assert subjects == ["In -6 days", "In 0 days", "In 179 days"]
        assert (
            now.traffic("dataverse") == IDLE + 1 + 1
        )  # all that changed, those in the window, and the three in one list

    told(story)


def test_a_booking_that_enters_the_window_is_marked_within_a_day() -> None:
    async def story(now: World, planner: Planner) -> None:
        await planner.book("alice", start=TOMORROW + timedelta(days=182))
        await now.settle()
        await pull(now)
        for day in range(6):
            assert now.events("alice") == [], f"day {day}"
            now.cloud.recorder.clear()
            await now.clock.sleep(timedelta(days=1).total_seconds())
            await pull(now)
            assert now.traffic("dataverse") >= IDLE + 1  # and the search for what entered
            if now.events("alice"):
                break
        assert day in (2, 3)

    told(story)


def test_a_window_that_was_made_smaller_and_larger_again_is_searched_again() -> None:
    async def tell() -> None:
        async with world() as now:
            await pull(now)
            wide, narrow = now.settings, replace(now.settings, future=timedelta(days=30))
            for now.settings in (narrow, wide):
                await planned_far_ahead(now)
                now.app = now.start_app()
                await pull(now)
            assert len(now.events("alice")) == 2

    async def planned_far_ahead(now: World) -> None:
        stop = lose_posts(now)
        await Planner(now).book("alice", start=TOMORROW + timedelta(days=100))
        await now.settle()
        stop()

    run(tell())


@pytest.mark.parametrize("why", ["too old", "refused", "another format"])
def test_an_expired_cursor_means_from_the_start(why: str) -> None:
    async def story(now: World, planner: Planner) -> None:
        with_account = await planner.book("alice", work_order="WO-00001")
        booking = await planner.book("bob")
        await now.settle()
        await pull(now)
        stop = lose_posts(now)
        await planner.move(booking, TOMORROW + timedelta(days=1))
        await planner.book("carol", name="New", start=TOMORROW + timedelta(days=20))
        [account] = [
            now.contoso.customers[name]
            for name in now.contoso.customers
            if name == only(now.events("alice")).content.subject
        ]
        await save(now, f"accounts({account})", name="Renamed")
        if why == "too old":
            await now.clock.sleep(timedelta(days=8).total_seconds())
        elif why == "refused":
            now.cloud.faults.add({"service": "dataverse", "do": "expire_cursor", "times": IDLE})
        else:
            for name, values in cursors(now).items():
                await now.tables.transact("cursors", [Put(name, {**values, "format": 99})])
        stop()
        await pull(now)
        assert only(now.events("bob")).content.start.at == TOMORROW + timedelta(days=1)
        assert only(now.events("alice")).content.subject == "Renamed", with_account
        assert only(now.events("carol")).content.subject == "New"
        now.cloud.recorder.clear()
        await pull(now)
        assert now.traffic("dataverse") == IDLE

    told(story)


# What a booking shows of other rows.


async def rename_account(now: World) -> None:
    account = next(
        known for name, known in now.contoso.customers.items() if name == only(now.events("alice")).content.subject
    )
    await save(now, f"accounts({account})", name="Renamed")


async def rename_work_order(now: World) -> None:
    await save(now, f"msdyn_workorders({now.contoso.work_orders['WO-00001']})", msdyn_name="Renamed")


async def give_work_order_to_another_account(now: World) -> None:
    bind = f"/accounts({known_id('account', 'Renamed')})"
    await save(
        now, f"msdyn_workorders({now.contoso.work_orders['WO-00001']})", **{"msdyn_serviceaccount@odata.bind": bind}
    )


async def rename_status(now: World) -> None:
    await save(now, f"bookingstatuses({now.contoso.statuses['Committed']})", name="Renamed")


async def rename_resource(now: World) -> None:
    await save(now, f"bookableresources({now.contoso.resource('alice')})", name="Renamed")


@pytest.mark.parametrize(
    "change",
    [rename_account, rename_work_order, give_work_order_to_another_account, rename_status, rename_resource],
    ids=lambda change: change.__name__,
)
def test_a_renamed_row_is_renamed_in_every_event_that_shows_it(change: Callable[[World], Awaitable[None]]) -> None:
    async def story(now: World, planner: Planner) -> None:
        now.dataverse.load("account", known_id("account", "Renamed"), {"name": "Renamed"})
        await planner.book("alice", work_order="WO-00001")
        await planner.book("bob", work_order="WO-00002", status="Proposed")
        await planner.book("alice", work_order="WO-00001", start=TOMORROW + timedelta(days=300))
        await now.settle()
        await pull(now)
        await change(now)
        await now.settle()
        now.cloud.recorder.clear()
        await pull(now)
        content = only(now.events("alice")).content
        assert "Renamed" in f"{content.subject} {content.body.html}"
        assert "Renamed" not in str(only(now.events("bob")).content)
        # The round, the search, a look whether more has changed, and one read: the booking far ahead is not marked.
        assert (now.traffic("dataverse"), now.traffic("graph")) == (IDLE + 2 + 1, 1)

    told(story, {"SYNC_BODY_TEMPLATE": "{{ status }} {{ work_order }} {{ resource }}"})


def test_r10_a_resources_other_user_gets_the_events() -> None:
    async def story(now: World, planner: Planner) -> None:
        await planner.book("alice", name="Boiler service")
        await now.settle()
        await pull(now)
        bind = f"/systemusers({now.contoso.people['bob'].user_id})"
        await save(now, f"bookableresources({now.contoso.resource('alice')})", **{"UserId@odata.bind": bind})
        await pull(now)
        assert now.events("alice") == []
        assert only(now.events("bob")).content.subject == "Boiler service"

    told(story)


def test_a_disabled_users_events_go_and_come_back() -> None:
    async def story(now: World, planner: Planner) -> None:
        await planner.book("alice")
        await now.settle()
        await pull(now)
        user = f"systemusers({now.contoso.people['alice'].user_id})"
        for is_disabled in (True, False):
            await save(now, user, isdisabled=is_disabled)
            await pull(now)
            assert len(now.events("alice")) == (not is_disabled)

    told(story)


# Trouble.


def test_r14_nothing_is_asked_of_another_organisation() -> None:
    async def story(now: World, planner: Planner) -> None:
        await planner.book("alice")
        await pull(now)
        assert now.marks() == []
        assert cursors(now) == {}
        assert {
            call.path for call in now.cloud.recorder.calls if call.service == "dataverse" and call.app == app(now)
        } == {"/api/data/v9.2/WhoAmI"}

    told(story, {"DATAVERSE_ORGANIZATION_ID": "00000000-0000-4000-8000-000000000bad"})


def app(now: World) -> str:
    return now.contoso.booking_sync.client_id


def test_a_table_that_cannot_be_pulled_does_not_hold_up_the_others(caplog: pytest.LogCaptureFixture) -> None:
    async def story(now: World, planner: Planner) -> None:
        now.cloud.settings.change({"dataverse.change_tracking": ["bookableresourcebooking", "bookingstatus"]})
        await pull(now)
        lose_posts(now)
        await planner.book("alice")
        await pull(now)
        assert len(now.events("alice")) == 1
        assert {name for name, values in cursors(now).items() if values["link"]} == {
            "bookableresourcebooking",
            "bookingstatus",
        }

    told(story)
    assert "account cannot be pulled" in caplog.text


@pytest.mark.parametrize("status", [503, 429])
def test_an_outage_is_waited_for(status: int) -> None:
    async def story(now: World, planner: Planner) -> None:
        await a_busy_hour(now, planner)
        [rule] = now.cloud.faults.add(
            {"service": "dataverse", "app": app(now), "do": "refuse", "status": status, "times": None}
        )
        began = now.clock.now()
        await now.app.pull.round()
        assert now.clock.now() - began < timedelta(minutes=4)
        rule.times = 0
        await pull(now)
        assert [len(events) for events in picture(now).values()] == [2, 0, 0, 0, 2]

    told(story)

"""R2a: what an emptied table had to know is found in the calendars before anything is created."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from shared.errors import PreconditionError, SettingsError
from shared.sync.facts import CREATE_TIME
from shared.tables.rebuilding import TableRebuildStore
from shared.tables.store import TableStore
from tests.simulation.loop import run
from tests.simulation.planner import TOMORROW, Planner
from tests.simulation.world import World, world
from tests.sync.test_one_way import only, told
from tests.sync.test_pull import pull

PEOPLE = ("alice", "bob", "carol")


def wipe(now: World) -> None:
    """Somebody empties the table, and the worker dies with it."""
    now.tables.clear()
    now.restart()


def items(now: World) -> dict[str, list[tuple[str | None, str]]]:
    """Whose calendar holds which events."""
    return {person: sorted((event.content.subject, event.item_id) for event in now.events(person)) for person in PEOPLE}


async def busy(now: World, planner: Planner) -> list[str]:
    """Bookings of several people, some of which have been through a lot."""
    bookings = [await planner.book(person, name=f"For {person}") for person in PEOPLE]
    await now.settle()
    await planner.assign(bookings[0], "bob")
    await now.settle()
    await planner.assign(bookings[0], "alice")
    await planner.set_status(bookings[1], "Canceled")
    await now.settle()
    await planner.set_status(bookings[1], "Committed")
    await now.settle()
    return bookings


@pytest.mark.parametrize("order", ["same", "reversed", "shuffled"])
@pytest.mark.parametrize("memory", [None, 0], ids=["transactionId remembered", "transactionId forgotten"])
def test_r2_all_tables_wiped_and_everything_posted_again(memory: float | None, order: str) -> None:
    async def story(now: World, planner: Planner) -> None:
        now.cloud.settings.change({"graph.transaction_memory": memory})
        bookings = await busy(now, planner)
        gone = await planner.book("alice", name="Gone")
        await now.settle()
        await planner.delete(gone)
        await now.settle()
        before = items(now)
        now.cloud.recorder.clear()
        wipe(now)
        now.dataverse.webhooks.repeat(order)
        await now.settle()
        assert items(now) == before
        assert now.traffic("graph", "POST") == now.traffic("graph", "DELETE") == 0
        assert now.rows("dead") == []
        for booking in bookings:
            await planner.move(booking, TOMORROW + timedelta(hours=3))
        await now.settle()
        assert items(now) == before
        assert {event.content.start.at for person in PEOPLE for event in now.events(person)} == {
            TOMORROW + timedelta(hours=3)
        }

    told(story)


def test_r2_a_generation_is_not_used_again_after_a_wipe() -> None:
    async def story(now: World, planner: Planner) -> None:
        bookings = await busy(now, planner)
        wipe(now)
        await planner.assign(bookings[0], "carol")
        await now.settle()
        markers = {value for event in now.events("carol") for value in event.content.properties.values()}
        assert f"1.{now.settings.organization}.{bookings[0]}.4" in markers
        assert len(now.events("alice")) == 0

    told(story)


def test_a_new_installation_waits_for_nothing() -> None:
    async def story(now: World, planner: Planner) -> None:
        wipe(now)
        before = now.clock.now()
        await planner.book("alice")
        await now.settle()
        assert len(now.events("alice")) == 1
        entry = now.rows("journal")[-1]
        assert str(entry["at"])[:17] <= f"{before + timedelta(seconds=15):%Y%m%dT%H%M%S.}"

    told(story)


async def in_the_middle_of_a_reassign(now: World, planner: Planner) -> str:
    """A worker dies between the new event and the hand-over, and the table with it: both events exist."""
    booking = await planner.book("alice")
    await planner.book("bob", name="Other", start=TOMORROW + timedelta(days=3))
    await now.settle()
    now.cloud.faults.add({"service": "graph", "method": "DELETE", "do": "refuse", "times": None})
    await planner.assign(booking, "bob")
    await now.clock.sleep(60)
    assert (len(now.events("alice")), len(now.events("bob"))) == (1, 2)
    wipe(now)
    now.cloud.faults.clear()
    return booking


@pytest.mark.parametrize("then", ["nothing", "back", "cancel"])
def test_r10_of_two_events_the_older_one_is_handed_over(then: str) -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await in_the_middle_of_a_reassign(now, planner)
        match then:
            case "nothing":
                await planner.change(booking, name="Boiler service")
            case "back":
                await planner.assign(booking, "alice")
            case "cancel":
                await planner.set_status(booking, "Canceled")
        await now.settle()
        await pull(now)
        ours = {person: [event.content.subject for event in now.events(person)] for person in ("alice", "bob")}
        assert sorted(ours["bob"]) == (["Boiler service", "Other"] if then == "nothing" else ["Other"])  # type: ignore[type-var]
        assert ours["alice"] == (["Boiler service"] if then == "back" else [])

    told(story)


@pytest.mark.parametrize("after_the_call", [False, True], ids=["before", "after"])
def test_r2a_a_crash_at_any_outside_call_of_a_rebuild(*, after_the_call: bool) -> None:
    async def story(crash_at: int | None) -> bool:
        async with world(settings={"SYNC_SHARDS": "2"}) as now:
            planner = Planner(now)
            await in_the_middle_of_a_reassign(now, planner)
            now.fuse.left, now.fuse.after_the_call = crash_at, after_the_call
            fuse = now.fuse
            now.dataverse.webhooks.repeat("same")
            await now.settle()
            fuse.left = None
            await pull(now)
            assert [event.content.subject for event in now.events("alice")] == [], f"crash at {crash_at}"
            subjects = sorted(str(event.content.subject) for event in now.events("bob"))
            assert subjects == ["Boiler service", "Other"], f"crash at {crash_at}"
            return fuse.is_blown

    for crash_at in range(0, 1000, 3):
        if not run(story(crash_at)):
            assert crash_at > 60, "the rebuild must have made some calls"
            return
    pytest.fail("the rebuild never came to an end")


@pytest.mark.parametrize("memory", [None, 0], ids=["transactionId remembered", "transactionId forgotten"])
@pytest.mark.parametrize("change", ["book", "assign", "delete"])
@pytest.mark.parametrize("dies", [True, False], ids=["worker dies", "worker goes on"])
def test_r2_a_wipe_at_any_outside_call(*, memory: float | None, change: str, dies: bool) -> None:
    """What was under way when the table was lost is neither doubled nor forgotten once Dataverse was asked."""

    async def story(wipe_at: int) -> bool:
        async with world() as now:
            planner = Planner(now)
            now.cloud.settings.change({"graph.transaction_memory": memory})
            booking = await planner.book("alice")
            await planner.book("bob", name="Other", start=TOMORROW + timedelta(days=3))
            await now.settle()
            now.fuse.left = wipe_at
            fuse = now.fuse
            if not dies:
                fuse.instead = now.tables.clear
            match change:
                case "book":
                    await planner.book("bob", name="New")
                case "assign":
                    await planner.assign(booking, "bob")
                case "delete":
                    await planner.delete(booking)
            await now.dataverse.webhooks.quiet()
            await now.clock.sleep(1)
            if fuse.is_blown and dies:
                wipe(now)
            await now.settle()
            fuse.left = None
            await pull(now)
            now.dataverse.webhooks.repeat("same")
            await now.settle()
            subjects = {
                person: sorted(str(event.content.subject) for event in now.events(person))
                for person in ("alice", "bob")
            }
            expected = {
                "book": {"alice": ["Boiler service"], "bob": ["New", "Other"]},
                "assign": {"alice": [], "bob": ["Boiler service", "Other"]},
                "delete": {"alice": [], "bob": ["Other"]},
            }[change]
            assert subjects == expected, f"wiped at outside call {wipe_at}"
            return fuse.is_blown

    for wipe_at in range(200):
        if not run(story(wipe_at)):
            assert wipe_at > 5
            return
    pytest.fail("the change never came to an end")


def test_r2a_nothing_is_created_while_a_mailbox_cannot_be_searched() -> None:
    async def story(now: World, planner: Planner) -> None:
        await busy(now, planner)
        before = items(now)
        carol = now.contoso.account("carol").id
        [rule] = now.cloud.faults.add({"service": "graph", "path": f"*{carol}*", "do": "refuse", "times": None})
        wipe(now)
        await planner.book("alice", name="New")
        await now.dataverse.webhooks.quiet()
        await now.clock.sleep(600)
        now.wake(*await now.app.inbox.idle_shards_with_work())
        await now.clock.sleep(60)
        assert items(now) == before
        rule.times = 0
        await now.settle()
        assert len(now.events("alice")) == len(before["alice"]) + 1

    told(story)


async def refused(now: World, path: str) -> Any:
    [rule] = now.cloud.faults.add({"service": "graph", "path": path, "do": "refuse", "status": 403, "times": None})
    return rule


def test_r2a_one_mailbox_that_the_app_may_not_read_is_left_out() -> None:
    async def story(now: World, planner: Planner) -> None:
        await refused(now, f"*{now.contoso.account('carol').id}*")
        wipe(now)
        await planner.book("alice", name="New")
        await now.settle()
        assert len(now.events("alice")) == 1

    told(story)


def test_r2a_a_permission_that_has_yet_to_be_granted_is_waited_for() -> None:
    async def story(now: World, planner: Planner) -> None:
        await busy(now, planner)
        before = items(now)
        rule = await refused(now, "*/events*")
        wipe(now)
        now.dataverse.webhooks.repeat("same")
        await now.dataverse.webhooks.quiet()
        await now.clock.sleep(3600)
        rule.times = 0
        await now.settle()
        assert items(now) == before

    told(story)


def test_r9_copies_and_foreign_events_are_not_linked() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice")
        await now.settle()
        alice, event = now.contoso.account("alice").id, only(now.events("alice"))
        [(name, marker)] = event.content.properties.items()
        times = {
            "start": {"dateTime": "2026-12-01T09:00:00", "timeZone": "UTC"},
            "end": {"dateTime": "2026-12-01T10:00:00", "timeZone": "UTC"},
        }
        other = "1.00000000-0000-0000-0000-000000000001" + marker[38:]
        for subject, value in (("Copy", marker), ("Other organisation", other)):
            properties = [{"id": name, "value": value}]
            body = {"subject": subject, **times, "singleValueExtendedProperties": properties}
            status, _, _ = await now.call_graph("POST", f"/users/{alice}/events", body)
            assert status == 201
        wipe(now)
        await planner.delete(booking)
        await now.settle()
        assert sorted(str(event.content.subject) for event in now.events("alice")) == ["Copy", "Other organisation"]

    told(story)


def test_the_number_of_shards_cannot_be_changed_in_silence() -> None:
    async def story(now: World, planner: Planner) -> None:
        await planner.book("alice")
        await now.settle()
        for shards in (1, 16):
            store = TableStore(now.tables, now.random, shards)
            with pytest.raises(SettingsError, match=f"SYNC_SHARDS was 8 .* is {shards} now"):
                await store.without_epoch()
            with pytest.raises(SettingsError, match="SYNC_SHARDS"):
                await TableRebuildStore(now.tables, store, shards).begin(now.clock.now())

    told(story)


def test_r2a_a_worker_that_was_overtaken_restores_nothing() -> None:
    """It froze on its way into the rebuild, others ended it, and the events have changed since."""

    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice")
        await now.settle()
        [link] = await TableStore(now.tables, now.random, 8).links(*_shard_and(now, booking))
        now.tables.clear()
        store = TableRebuildStore(now.tables, TableStore(now.tables, now.random, 8), 8)
        progress = await store.begin(now.clock.now())
        await planner.delete(booking)
        await now.clock.sleep(CREATE_TIME.total_seconds() + 60)
        await now.settle()
        assert now.events("alice") == []
        with pytest.raises(PreconditionError):
            await store.restore(*[_shard_and(now, booking)[0], [link]])
        with pytest.raises(PreconditionError):
            await store.end(progress.shards, ())
        with pytest.raises(PreconditionError):
            await store.begin(now.clock.now())
        assert now.rows("link") == []

    told(story)


def _shard_and(now: World, booking: str) -> Any:
    from shared.sync.model import MailboxId, shard_of  # noqa: PLC0415

    return shard_of(MailboxId(now.contoso.account("alice").id), 8), booking

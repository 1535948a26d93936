"""The sweep finds every kind of drift and tells of it without content; on request it is repaired (R1, R2a, R3, R4)."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from sandbox.graph.events import Event
from shared.sync.model import BookingId, Field, MailboxId, Shard, fingerprint, shard_of
from shared.sync.ports import Commit
from shared.sync.sweep import EVERY
from shared.tables.leases import UNSEARCHED
from shared.tables.rows import claim_partition
from shared.tables.store import TableStore
from shared.tables.tables import Delete
from tests.simulation.loop import run
from tests.simulation.planner import TOMORROW, Planner
from tests.simulation.world import Crash, World, world
from tests.sync.test_one_way import only, told
from tests.sync.test_pull import lose_posts, pull
from tests.sync.test_rebuild import refused, wipe
from tests.sync.test_two_way import LATER, Technician

SECRET = "Planted subject"
LONG_AFTER = 300.0


async def sweep(now: World, **orders: bool) -> dict[str, Any]:
    """What an administrator asks for; then everything comes to rest. Gives the report."""
    now.wake(*sorted(await now.app.sweep.begin(**orders)))
    for _ in range(100):
        await now.settle()
        report = await now.app.sweep.report()
        assert report is not None
        if report["ended"] is not None:
            return report
        await now.clock.sleep(60)
        now.wake(*sorted(await now.app.sweep.go_on()))
    pytest.fail("the sweep never came to an end")


def drift(report: dict[str, Any]) -> list[str]:
    return sorted(one["drift"] for one in report["findings"])


def mailbox(now: World, person: str) -> MailboxId:
    return MailboxId(now.contoso.account(person).id)


def shard(now: World, person: str) -> str:
    return shard_of(mailbox(now, person), now.settings.shards)


async def forget(now: World, partition: str, *kinds: str) -> None:
    """Somebody removes rows from the table."""
    for stored in list(now.tables.partitions().get(partition, ())):
        if stored.row.startswith(kinds):
            await now.tables.transact(partition, [Delete(stored.row)])


async def some(now: World, planner: Planner) -> list[str]:
    """Three people's bookings, with their events, and enough time gone by to believe what is missing (R3)."""
    bookings = [await planner.book(person, name=SECRET) for person in ("alice", "bob", "carol")]
    await now.settle()
    await pull(now)
    await now.clock.sleep(LONG_AFTER)
    return bookings


# One story for each kind of drift: what happens, and whose calendar shows what after a repair.


async def lost_move(now: World, planner: Planner, booking: str) -> None:
    lose_posts(now)
    await planner.move(booking, LATER)


async def lost_edit(now: World, _: Planner, __: str) -> None:
    await Technician(now).change(only(now.events("alice")), subject="Mine", showAs="free")


async def lost_deletion_in_outlook(now: World, _: Planner, __: str) -> None:
    await Technician(now).delete(only(now.events("alice")))


async def lost_booking(now: World, planner: Planner, _: str) -> None:
    lose_posts(now)
    await planner.book("alice", name="New", start=LATER)


async def lost_cancellation(now: World, planner: Planner, booking: str) -> None:
    lose_posts(now)
    await planner.set_status(booking, "Canceled")


async def lost_reassign(now: World, planner: Planner, booking: str) -> None:
    lose_posts(now)
    await planner.assign(booking, "dave")


async def lost_link(now: World, _: Planner, __: str) -> None:
    await forget(now, shard(now, "alice"), "link:", "event:")


async def lost_link_and_claim(now: World, planner: Planner, booking: str) -> None:
    await lost_link(now, planner, booking)
    await forget(now, claim_partition(booking), booking)  # type: ignore[arg-type]


async def lost_claim(now: World, _: Planner, booking: str) -> None:
    await forget(now, claim_partition(booking), booking)  # type: ignore[arg-type]


async def lost_index_after_reassign(now: World, planner: Planner, booking: str) -> None:
    """The hand-over is lost with the link: two events in two calendars."""
    [rule] = now.cloud.faults.add({"service": "graph", "method": "DELETE", "do": "refuse", "times": None})
    await planner.assign(booking, "dave")
    await now.settle()
    await forget(now, shard(now, "alice"), "link:", "event:", "dead:", "mark:")
    rule.times = 0


async def agreed_by_mistake(now: World, _: Planner, booking: str) -> None:
    """The event was moved, and the link says that this is what the booking wants."""
    event = only(now.events("alice"))
    await Technician(now).move(event, LATER)
    partition, store = shard(now, "alice"), TableStore(now.tables, now.random, now.settings.shards)
    [link] = await store.links(Shard(partition), BookingId(booking))
    await now.app.recovery.round()
    await forget(now, partition, "mark:")
    assert link.base is not None
    times = fingerprint(f"{LATER.isoformat()}/{(LATER + timedelta(hours=1)).isoformat()}")
    base = replace(link.base, event={**link.base.event, Field.TIME: times})
    etag = only(now.events("alice")).etag
    await store.commit(Shard(partition), Commit(settled=(), save=(replace(link, base=base, etag=etag),)))


STORIES: dict[str, tuple[Callable[[World, Planner, str], Awaitable[None]], list[str], dict[str, int]]] = {
    "moved in Dynamics": (lost_move, ["fields"], {"alice": 1}),
    "changed in Outlook": (lost_edit, ["fields"], {"alice": 1}),
    "deleted in Outlook": (lost_deletion_in_outlook, ["no_such_event"], {"alice": 0}),
    "a booking that nobody told of": (lost_booking, ["no_event"], {"alice": 2}),
    "canceled": (lost_cancellation, ["not_wanted"], {"alice": 0}),
    "reassigned": (lost_reassign, ["no_event", "wrong_calendar"], {"alice": 0, "dave": 1}),
    "a link is lost": (lost_link, ["no_link"], {"alice": 1}),
    "link and claim are lost": (lost_link_and_claim, ["no_link"], {"alice": 1}),
    "a claim is lost": (lost_claim, ["claim"], {"alice": 1}),
    "agreed by mistake": (agreed_by_mistake, ["fields"], {"alice": 1}),
    "an event was left behind": (lost_index_after_reassign, ["wrong_calendar"], {"alice": 0, "dave": 1}),
}


@pytest.mark.parametrize(("happen", "found", "events"), STORIES.values(), ids=STORIES)
def test_r1_drift_is_reported_first_and_repaired_on_request(
    happen: Callable[[World, Planner, str], Awaitable[None]], found: list[str], events: dict[str, int]
) -> None:
    async def story(now: World, planner: Planner) -> None:
        first, *_ = await some(now, planner)
        assert drift(await sweep(now)) == []
        await happen(now, planner, first)
        await now.settle()
        before = {person: [event.item_id for event in now.events(person)] for person in ("alice", "dave")}
        report = await sweep(now)
        assert drift(report) == found
        assert report["drift"] == len(found)
        assert {person: [event.item_id for event in now.events(person)] for person in before} == before
        repaired = drift(await sweep(now, repair=True))
        assert repaired
        assert set(repaired) <= set(found)  # mending one calendar may mend the other before it is looked at
        last = await sweep(now)
        assert (drift(last), last["drift"]) == ([], 0)
        assert {person: len(now.events(person)) for person in events} == events
        assert now.rows("dead") == []

    told(story)


def test_r3_a_booking_that_is_gone_without_proof_is_reported_and_an_administrator_may_vouch_for_it() -> None:
    async def story(now: World, planner: Planner) -> None:
        first, *_ = await some(now, planner)
        lose_posts(now)
        await planner.delete(first)
        await now.settle()
        for orders in ({}, {"repair": True}):
            report = await sweep(now, **orders)
            [finding] = report["findings"]
            assert (finding["drift"], finding["booking"], finding["done"]) == ("booking_gone", first, "")
            assert len(now.events("alice")) == 1
        report = await sweep(now, repair=True, deleted=True)
        assert report["findings"][0]["done"] == "marked"
        assert now.events("alice") == []
        assert ("deleted", "applied") in now.journal()
        assert drift(await sweep(now)) == []

    told(story)


def test_r3_a_booking_that_was_deleted_while_the_table_was_lost_has_an_event_without_a_claim_to_it() -> None:
    async def story(now: World, planner: Planner) -> None:
        first, *_ = await some(now, planner)
        lose_posts(now)
        await planner.delete(first)
        wipe(now)
        await pull(now)
        assert len(now.events("alice")) == 1
        await sweep(now, repair=True, deleted=True)
        assert now.events("alice") == []

    told(story)


def test_r4_vouching_for_deletions_is_under_the_deletion_budget() -> None:
    async def story(now: World, planner: Planner) -> None:
        bookings = [
            await planner.book("alice", name=f"{number}", start=TOMORROW + timedelta(hours=2 * number))
            for number in range(40)
        ]
        await now.settle()
        await pull(now)
        lose_posts(now)
        for booking in bookings:
            await planner.delete(booking)
        await now.settle()
        await sweep(now, repair=True, deleted=True)
        left = len(now.events("alice"))
        assert left >= 20
        report = await sweep(now, repair=True, deleted=True)
        assert (report["drift"], report["known"]) == (0, left)
        assert {one["known"] for one in report["findings"]} == {"quarantined: deletion_budget"}
        assert len(now.events("alice")) == left

    told(story)


# Two of a kind, and what is none of ours.


async def copy_of(now: World, event: Event) -> None:
    """What Outlook makes when a person copies an event: all of it but the idempotency key."""
    [(name, value)] = event.content.properties.items()
    times = {
        side: {"dateTime": f"{TOMORROW + timedelta(hours=hours):%Y-%m-%dT%H:%M:%S}", "timeZone": "UTC"}
        for side, hours in (("start", 0), ("end", 2))
    }
    body = {"subject": "Copy", **times, "singleValueExtendedProperties": [{"id": name, "value": value}]}
    status, _, _ = await now.call_graph("POST", f"/users/{mailbox(now, 'alice')}/events", body)
    assert status == 201


def test_r9_copies_and_foreign_events_are_no_drift() -> None:
    async def story(now: World, planner: Planner) -> None:
        await some(now, planner)
        await copy_of(now, only(now.events("alice")))
        report = await sweep(now, repair=True)
        assert (report["pairs"], report["drift"]) == (3, 0)
        assert len(now.events("alice")) == 2

    told(story)


# What is known, under way, or cannot be seen.


def test_what_waits_for_an_administrator_is_reported_apart() -> None:
    async def story(now: World, planner: Planner) -> None:
        first, *_ = await some(now, planner)
        await Technician(now).change(only(now.events("alice")), isAllDay=True, **whole_day())
        now.wake(*sorted(await now.app.recovery.round()))
        await now.settle()
        report = await sweep(now, repair=True)
        [finding] = report["findings"]
        assert (finding["booking"], finding["known"], finding["done"]) == (first, "parked: unsuitable", "")
        assert (report["drift"], report["known"]) == (0, 1)

    told(story)


def whole_day() -> dict[str, Any]:
    day = TOMORROW.replace(hour=0)
    return {
        side: {"dateTime": f"{day + timedelta(days=days):%Y-%m-%dT%H:%M:%S}", "timeZone": "UTC"}
        for side, days in (("start", 0), ("end", 1))
    }


def test_what_is_on_its_way_is_no_drift() -> None:
    async def story(now: World, planner: Planner) -> None:
        first, *_ = await some(now, planner)
        [rule] = now.cloud.faults.add(
            {"service": "graph", "method": "PATCH", "do": "refuse", "status": 503, "times": None}
        )
        await planner.move(first, LATER)
        await now.dataverse.webhooks.quiet()
        await now.clock.sleep(30)
        await now.app.sweep.begin(repair=True)
        report = await now.app.sweep.report()
        assert report is not None
        assert (report["drift"], report["under_way"]) == (0, 1)
        rule.times = 0
        await now.settle()

    told(story)


def test_what_changes_while_it_is_read_is_no_drift() -> None:
    """What was read half before and half after a change agrees at the second look."""

    async def story(now: World, planner: Planner) -> None:
        bookings = await some(now, planner)
        now.cloud.faults.add({"service": "graph", "method": "GET", "do": "delay", "seconds": 2, "times": None})
        sweeping = asyncio.create_task(now.app.sweep.begin())
        hours = 0
        while not sweeping.done():
            hours += 1
            await planner.move(bookings[hours % 3], TOMORROW + timedelta(hours=hours))
            await now.clock.sleep(0.7)
        report = await now.app.sweep.report()
        assert report is not None
        assert (report["pairs"], report["drift"]) == (3, 0)
        assert hours > 10
        await now.settle()

    told(story)


def test_r2a_mailboxes_that_the_rebuild_left_out_are_searched_when_they_can_be() -> None:
    async def story(now: World, planner: Planner) -> None:
        await some(now, planner)
        old = await planner.book("carol", name="Long ago", start=TOMORROW + timedelta(days=170))
        await now.settle()
        await pull(now)
        lose_posts(now)
        rule = await refused(now, f"*{mailbox(now, 'carol')}*")
        wipe(now)
        now.wake(*sorted(await now.app.pull.round()))
        await now.settle()
        noted = f"{UNSEARCHED}{mailbox(now, 'carol')}"
        assert noted in {row.row for row in now.tables.partitions()[shard(now, "carol")]}
        report = await sweep(now, repair=True)
        assert report["unread"] == 1
        assert "not_searched" in drift(report)
        rule.times = 0
        assert len(now.events("carol")) == 2
        await now.app.inbox.replay_dead_letters()
        report = await sweep(now, repair=True)
        assert noted not in {row.row for row in now.tables.partitions()[shard(now, "carol")]}
        await now.settle()
        assert len(now.events("carol")) == 2
        assert old in {link["booking"] for link in now.rows("link")}
        assert (await sweep(now))["drift"] == 0

    told(story)


def test_r2a_a_sweep_of_a_lost_table_has_it_restored_first() -> None:
    async def story(now: World, planner: Planner) -> None:
        await some(now, planner)
        wipe(now)
        report = await sweep(now, repair=True)
        assert (report["pairs"], len(now.rows("link"))) == (3, 3)
        last = await sweep(now)
        assert (last["pairs"], last["drift"]) == (3, 0)

    told(story)


# Slices, crashes, the weekly one, and what is told.


def test_r2a_it_goes_on_after_a_crash_at_any_outside_call() -> None:
    async def story(crash_at: int) -> bool:
        async with world(settings={"SYNC_SHARDS": "2"}) as now:
            planner = Planner(now)
            first, *_ = await some(now, planner)
            await lost_link_and_claim(now, planner, first)
            lose_posts(now)
            await planner.move(first, LATER)
            await now.settle()
            fuse = now.fuse
            fuse.left = crash_at
            with suppress(Crash, BaseExceptionGroup):
                await now.app.sweep.begin(repair=True)
            if fuse.is_dead:
                now.restart()
            fuse.left = None
            await now.clock.sleep(LONG_AFTER)
            for _ in range(2):
                now.wake(*sorted(await now.app.sweep.go_on()))
                await now.settle()
            if fuse.is_blown:
                await sweep(now, repair=True)
            assert (await sweep(now))["drift"] == 0, f"crash at {crash_at}"
            assert only(now.events("alice")).content.start.at == LATER, f"crash at {crash_at}"
            return fuse.is_blown

    for crash_at in range(0, 2000, 7):
        if not run(story(crash_at)):
            assert crash_at > 30
            return
    pytest.fail("the sweep never came to an end")


def test_thousands_of_mailboxes_are_swept_in_slices() -> None:
    async def story(now: World, planner: Planner) -> None:
        await some(now, planner)
        [rule] = now.cloud.faults.add(
            {"service": "graph", "method": "GET", "do": "delay", "seconds": 25, "times": None}
        )
        await now.app.sweep.begin()
        report = await now.app.sweep.report()
        assert report is not None
        assert report["ended"] is None
        assert 0 < report["mailboxes"] < 24
        assert report["summary"].endswith("drift at not yet done")
        rule.times = 0
        await now.app.sweep.go_on()
        report = await now.app.sweep.report()
        assert report is not None
        assert (report["mailboxes"], report["pairs"], report["drift"]) == (24, 3, 0)

    told(story)


def test_every_week_it_reports_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    async def story(now: World, planner: Planner) -> None:
        first, *_ = await some(now, planner)
        await now.app.sweep.go_on()
        assert await now.app.sweep.report() is None
        lose_posts(now)
        await planner.move(first, TOMORROW + timedelta(days=30))
        await now.clock.sleep(EVERY.total_seconds())
        with caplog.at_level(logging.INFO):
            await now.app.sweep.go_on()
        report = await now.app.sweep.report()
        assert report is not None
        assert (report["pairs"], report["drift"], report["repair"]) == (3, 1, False)
        assert f"sweep: 3 pairs, 1 drift at {now.clock.now():%Y-%m-%dT%H}" in caplog.text
        await now.app.sweep.go_on()
        assert await now.app.sweep.report() == report

    told(story)


def test_content_never_leaves(caplog: pytest.LogCaptureFixture) -> None:
    async def story(now: World, planner: Planner) -> None:
        first, *_ = await some(now, planner)
        await lost_edit(now, planner, first)
        with caplog.at_level(logging.DEBUG, "shared"):
            report = await sweep(now, repair=True)
        assert "fields" in drift(report)
        for text in (json.dumps(report), caplog.text):
            assert SECRET not in text
            assert "@contoso.test" not in text

    told(story)


def test_many_calendars_cost_a_request_each_and_few_for_their_bookings() -> None:
    async def story(now: World, planner: Planner) -> None:
        people = [name for name, person in now.contoso.people.items() if person.account.has_mailbox]
        for person in people:
            for day in range(3):
                await planner.book(person, name=SECRET, start=TOMORROW + timedelta(days=day))
        await now.settle()
        now.cloud.recorder.clear()
        report = await sweep(now)
        assert (report["pairs"], report["drift"]) == (3 * len(people), 0)
        app = now.contoso.booking_sync.client_id
        calls = Counter((call.service, bool(call.envelope)) for call in now.cloud.recorder.calls if call.app == app)
        assert now.traffic("graph") <= report["mailboxes"]
        assert calls["dataverse", False] <= 3 * now.settings.shards + 2

    told(story)

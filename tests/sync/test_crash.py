"""R1, R2, R10: the worker dies before and after every single outside call it makes, and nothing is lost or doubled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from tests.simulation.loop import run
from tests.simulation.planner import TOMORROW, Planner
from tests.simulation.world import World, world

type Change = Callable[[World, Planner, str], Awaitable[None]]


async def create(_now: World, planner: Planner, _booking: str) -> None:
    await planner.book("alice", name="New")


async def move(_now: World, planner: Planner, booking: str) -> None:
    await planner.move(booking, TOMORROW + timedelta(hours=3))


async def cancel(_now: World, planner: Planner, booking: str) -> None:
    await planner.set_status(booking, "Canceled")


async def keep_for_another_and_take_back(now: World, planner: Planner, booking: str) -> None:
    """With a setting that keeps the events of canceled bookings."""
    await planner.set_status(booking, "Canceled")
    await now.dataverse.webhooks.quiet()
    await planner.assign(booking, "bob")
    await now.dataverse.webhooks.quiet()
    await planner.set_status(booking, "Committed")


async def delete(_now: World, planner: Planner, booking: str) -> None:
    await planner.delete(booking)


async def assign(_now: World, planner: Planner, booking: str) -> None:
    await planner.assign(booking, "bob")


async def assign_and_back(now: World, planner: Planner, booking: str) -> None:
    await planner.assign(booking, "bob")
    await now.dataverse.webhooks.quiet()
    await planner.assign(booking, "alice")


async def assign_and_cancel(now: World, planner: Planner, booking: str) -> None:
    await planner.assign(booking, "bob")
    await now.dataverse.webhooks.quiet()
    await planner.set_status(booking, "Canceled")


async def assign_and_delete(now: World, planner: Planner, booking: str) -> None:
    await planner.assign(booking, "bob")
    await now.dataverse.webhooks.quiet()
    await planner.delete(booking)


async def create_and_assign(now: World, planner: Planner, _booking: str) -> None:
    booking = await planner.book("alice", name="New")
    await now.dataverse.webhooks.quiet()
    await planner.assign(booking, "bob")


async def assign_twice(now: World, planner: Planner, booking: str) -> None:
    await planner.assign(booking, "bob")
    await now.dataverse.webhooks.quiet()
    await planner.assign(booking, "carol")


def picture(now: World) -> dict[str, list[tuple[object, ...]]]:
    """Who sees what."""
    return {
        person: sorted((str(event.content.subject), event.content.start.at) for event in now.events(person))
        for person in ("alice", "bob", "carol")
    }


async def told(
    change: Change, crash_at: int | None, *, after_the_call: bool, shards: int = 8, takes_time: bool = False
) -> tuple[object, bool, World]:
    """Make one change with a crash at outside call number `crash_at`; the end, and whether it came to the crash."""
    canceled = "keep" if change is keep_for_another_and_take_back else "delete"
    async with world(settings={"SYNC_SHARDS": str(shards), "SYNC_CANCELED": canceled}) as now:
        if takes_time:
            now.cloud.settings.change({"graph.latency": "realistic", "dataverse.latency": "realistic"})
        planner = Planner(now)
        booking = await planner.book("alice", name="Old")
        for person in ("bob", "carol"):
            await planner.book(person, name="Other")
        await now.settle()
        now.fuse.left, now.fuse.after_the_call = crash_at, after_the_call
        fuse = now.fuse
        await change(now, planner, booking)
        await now.settle()
        assert now.rows("dead") == []
        assert {(row["mailbox"], row.get("event")) for row in now.rows("link")} == {
            (now.contoso.account(person).id, event.item_id)
            for person in ("alice", "bob", "carol")
            for event in now.events(person)
        }
        return picture(now), fuse.is_blown, now


@pytest.mark.parametrize("after_the_call", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "change",
    [create, move, cancel, keep_for_another_and_take_back, delete, assign, assign_and_back, assign_twice],
    ids=lambda change: change.__name__,
)
def test_r1_a_crash_at_any_outside_call(change: Change, *, after_the_call: bool) -> None:
    expected, _, _ = run(told(change, None, after_the_call=False))
    for crash_at in range(200):
        seen, crashed, _ = run(told(change, crash_at, after_the_call=after_the_call))
        assert seen == expected, f"crash at outside call {crash_at}"
        if not crashed:
            assert crash_at > 5, "the change must have made some calls"
            return
    pytest.fail("the change never came to an end")


@pytest.mark.parametrize("after_the_call", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("shards", [1, 8])
@pytest.mark.parametrize(
    "change",
    [assign_and_back, assign_and_cancel, assign_and_delete, create_and_assign],
    ids=lambda change: change.__name__,
)
def test_r1_a_crash_while_the_planner_goes_on(change: Change, *, shards: int, after_the_call: bool) -> None:
    """Calls take time, so the second change arrives while the first one is on its way."""
    expected, _, _ = run(told(change, None, after_the_call=False, shards=shards, takes_time=True))
    for crash_at in range(200):
        end = told(change, crash_at, after_the_call=after_the_call, shards=shards, takes_time=True)
        seen, crashed, _ = run(end)
        assert seen == expected, f"crash at outside call {crash_at}"
        if not crashed:
            assert crash_at > 5, "the change must have made some calls"
            return
    pytest.fail("the change never came to an end")

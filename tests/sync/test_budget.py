"""R4: a calendar is not emptied within minutes unless an administrator approves it."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from tests.simulation.planner import TOMORROW, Planner
from tests.simulation.world import World
from tests.sync.test_one_way import told
from tests.sync.test_pull import pull


async def fill(now: World, planner: Planner, person: str, count: int) -> list[str]:
    bookings = [
        await planner.book(person, name=f"{person} {number}", start=TOMORROW + timedelta(hours=2 * number))
        for number in range(count)
    ]
    await now.settle()
    assert len(now.events(person)) == count
    return bookings


def quarantined(now: World) -> int:
    return sum(row["outcome"] == "quarantined" for row in now.rows("dead"))


def test_r4_a_mass_deletion_is_held_back_until_it_is_approved() -> None:
    async def story(now: World, planner: Planner) -> None:
        bookings = await fill(now, planner, "alice", 40)
        for booking in bookings:
            await planner.delete(booking)
        await now.settle()
        left = len(now.events("alice"))
        assert quarantined(now) == left >= 20
        details = " ".join(str(row["detail"]) for row in now.rows("dead"))
        assert re.search(r"deletion number \d+ within an hour, in a calendar with \d+ of our events", details)
        assert "POST /api/quarantine/approve" in details
        assert await now.app.inbox.replay_dead_letters() == (0, [])
        approved, shards = await now.app.inbox.approve_quarantine()
        assert approved == left
        now.wake(*shards)
        await now.settle()
        assert now.events("alice") == []
        assert now.rows("dead") == now.rows("link") == []

    told(story)


def test_r4_a_filter_with_a_typo_does_not_empty_the_calendars() -> None:
    async def story(now: World, planner: Planner) -> None:
        for person in ("alice", "bob"):
            bookings = await fill(now, planner, person, 30)
            for booking in bookings:
                await planner.change(booking, name=f"Typo {booking[:4]}")
        await now.settle()
        assert len(now.events("alice")) >= 10
        assert len(now.events("alice")) + len(now.events("bob")) == quarantined(now)

    told(story, {"SYNC_FILTER": "not startswith(name, 'Typo')"})


def test_r4_users_that_lost_their_mailboxes_do_not_empty_the_calendars() -> None:
    async def story(now: World, planner: Planner) -> None:
        await fill(now, planner, "alice", 30)
        await pull(now)
        user = now.contoso.people["alice"].user_id
        path = f"systemusers({user})"
        status, body, _ = await now.call_dataverse("PATCH", path, {"isdisabled": True}, {"If-Match": "*"})
        assert status == 204, body
        await pull(now)
        assert len(now.events("alice")) == quarantined(now) >= 10

    told(story)


@pytest.mark.parametrize("share", [True, False], ids=["a small share", "after an hour"])
def test_r4_what_is_not_too_much_goes(*, share: bool) -> None:
    async def story(now: World, planner: Planner) -> None:
        bookings = await fill(now, planner, "alice", 200 if share else 40)
        for number, booking in enumerate(bookings[:26]):
            if number == 20 and not share:
                await now.settle()
                await now.clock.sleep(3601)
            await planner.delete(booking)
        await now.settle()
        assert (len(now.events("alice")), quarantined(now)) == (len(bookings) - 26, 0)

    told(story)


def test_r4_two_hundred_altogether() -> None:
    async def story(now: World, planner: Planner) -> None:
        people = [name for name, person in now.contoso.people.items() if person.account.has_mailbox][:12]
        for person in people:
            for booking in await fill(now, planner, person, 19):
                await planner.delete(booking)
        await now.settle()
        left = sum(len(now.events(person)) for person in people)
        assert left == quarantined(now) >= 12 * 19 - 200

    told(story)


@pytest.mark.parametrize("change", ["cancel", "assign"])
def test_r4_canceled_and_reassigned_bookings_do_not_count(change: str) -> None:
    async def story(now: World, planner: Planner) -> None:
        for booking in await fill(now, planner, "alice", 40):
            await (planner.set_status(booking, "Canceled") if change == "cancel" else planner.assign(booking, "bob"))
        await now.settle()
        assert now.events("alice") == []
        assert now.rows("dead") == []

    told(story)

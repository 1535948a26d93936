"""What nobody will ask for again goes, a slice at a time; what may be asked for stays."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import pytest

from shared.errors import UnavailableError
from shared.sync.housekeeping import SLICE, Housekeeping
from shared.tables.housekeeping import TableHousekeeping
from shared.tables.rows import text_of_time
from shared.tables.tables import Insert, Operation, Put, Stored, Tables, Value
from tests.simulation.planner import TOMORROW, Planner
from tests.simulation.world import START, World
from tests.sync.test_one_way import only, told

DAY = timedelta(days=1)


def until(now: World, day: datetime) -> None:
    """Let time pass."""
    now.clock.advance(day - now.clock.now())


async def keep_house(now: World) -> None:
    """A night's runs of the timer."""
    for _ in range(16):
        await now.app.housekeeping.go_on()


def claims(now: World) -> list[str]:
    rows = now.tables.partitions()
    return [row.row for name in rows if name.startswith("claim-") for row in rows[name]]


def test_r2_a_tombstone_stays_for_90_days_and_a_live_claim_for_ever() -> None:
    async def story(now: World, planner: Planner) -> None:
        kept = await planner.book("alice")
        canceled = await planner.book("bob")
        await now.settle()
        await planner.set_status(canceled, "Canceled")
        await now.settle()
        until(now, START + 89 * DAY)
        await keep_house(now)
        assert sorted(claims(now)) == sorted([kept, canceled])
        until(now, START + 91 * DAY)
        await keep_house(now)
        assert claims(now) == [kept]
        later = START + 92 * DAY
        await planner.change(kept, starttime=f"{later:%Y-%m-%dT%H:%M:%SZ}", endtime=f"{later + DAY:%Y-%m-%dT%H:%M:%SZ}")
        await planner.move(canceled, later)
        await planner.set_status(canceled, "Committed")
        await now.settle()
        assert only(now.events("alice")).content.start.at == later
        assert only(now.events("bob")).content.start.at == later

    told(story)


@pytest.mark.parametrize(
    ("settings", "day", "months"),
    [
        ({}, datetime(2027, 2, 28, 1, tzinfo=START.tzinfo), ["2026-11", "2026-12"]),
        ({}, datetime(2027, 3, 1, 1, tzinfo=START.tzinfo), ["2026-12"]),
        ({"SYNC_JOURNAL_MONTHS": "0"}, datetime(2026, 12, 31, 1, tzinfo=START.tzinfo), ["2026-12"]),
        ({"SYNC_JOURNAL_MONTHS": "14"}, datetime(2028, 1, 31, 1, tzinfo=START.tzinfo), ["2026-11", "2026-12"]),
    ],
    ids=["as long as it is kept", "a month later", "only the present month", "over a year"],
)
def test_the_journal_goes_by_whole_months(settings: dict[str, str], day: datetime, months: list[str]) -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice")
        await now.settle()
        until(now, datetime(2026, 12, 2, tzinfo=START.tzinfo))
        await planner.move(booking, TOMORROW + 14 * DAY)
        await now.settle()
        until(now, day)
        await keep_house(now)
        rows = [row.row for rows in now.tables.partitions().values() for row in rows]
        assert sorted({row.split(":")[1] for row in rows if row.startswith("journal:")}) == months
        assert len(now.rows("link")) == 1

    told(story, settings)


async def give_up(now: World, planner: Planner) -> None:
    """A booking whose text no template can make."""
    await planner.book("alice", name="")
    await now.settle()
    assert len(now.rows("dead")) == 1


FAILS = {"SYNC_SUBJECT_TEMPLATE": "{{ columns.absent }}"}


@pytest.mark.parametrize(("days", "left"), [("0", 1), ("31", 1), ("29", 0)])
def test_dead_letters_are_told_of_every_day_and_go_only_where_that_is_wanted(
    days: str, left: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(now: World, planner: Planner) -> None:
        await give_up(now, planner)
        await keep_house(now)
        assert len(now.rows("dead")) == 1
        said = [entry.getMessage() for entry in caplog.records if entry.levelno == logging.WARNING]
        assert [text[:35] for text in said if "wait" in text] == ["1 bookings wait for an administrato"]
        now.clock.advance(30 * DAY)
        await keep_house(now)
        assert len(now.rows("dead")) == left

    told(story, {**FAILS, "SYNC_DEAD_LETTER_DAYS": days})


def test_r4_what_an_administrator_has_yet_to_approve_never_goes() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice")
        await now.settle()
        await planner.delete(booking)
        await now.settle()
        assert [row["outcome"] for row in now.rows("dead")] == ["quarantined"]
        now.clock.advance(400 * DAY)
        await keep_house(now)
        assert len(now.rows("dead")) == 1

    told(story, {"SYNC_DELETION_BUDGET": "0, 0%, 0", "SYNC_DEAD_LETTER_DAYS": "1"})


def test_where_resources_go_is_forgotten_once_it_has_expired() -> None:
    async def story(now: World, planner: Planner) -> None:
        await planner.book("alice")
        await now.settle()
        await keep_house(now)
        people = [person for person in now.contoso.people.values() if person.account.id]
        assert len(now.tables.partitions()["resources"]) == len(people)
        now.clock.advance(DAY)
        await keep_house(now)
        assert now.tables.partitions()["resources"] == []

    told(story)


# Slices, hosts, races.


class Slow:
    """A storage that needs its time for everything. Implements `Tables`; `meanwhile` happens after each query."""

    def __init__(self, tables: Tables, seconds: float, meanwhile: Callable[[str], Awaitable[object]]) -> None:
        """Slow down `tables`."""
        self._tables = tables
        self._seconds = seconds
        self._meanwhile = meanwhile

    async def get(self, partition: str, row: str) -> Stored | None:
        """As `Tables.get`."""
        return await self._tables.get(partition, row)

    async def query(self, partition: str, first: str, last: str, limit: int | None = None) -> Sequence[Stored]:
        """As `Tables.query`."""
        await asyncio.sleep(self._seconds)
        rows = await self._tables.query(partition, first, last, limit)
        await self._meanwhile(partition)
        return rows

    async def transact(self, partition: str, operations: Sequence[Operation]) -> Sequence[str]:
        """As `Tables.transact`."""
        return await self._tables.transact(partition, operations)


def housekeeping(now: World, seconds: float, meanwhile: Callable[[str], Awaitable[object]]) -> Housekeeping:
    return Housekeeping(
        store=TableHousekeeping(Slow(now.tables, seconds, meanwhile), now.settings.shards),
        clock=now.clock,
        journal_months=0,
        dead_letter_life=timedelta(),
    )


async def nothing(_: str) -> None:
    """Happens meanwhile."""


async def old_journal(now: World, rows: int) -> None:
    for number in range(rows):
        await now.tables.transact(f"{number % 8:02d}", [Insert(f"journal:2026-01:{number:05d}", {"n": number})])


def test_a_run_works_for_a_slice_and_the_next_one_goes_on() -> None:
    async def story(now: World, planner: Planner) -> None:
        await planner.book("alice")
        await now.settle()
        await old_journal(now, 40)
        house, store = housekeeping(now, 20.0, nothing), TableHousekeeping(now.tables, now.settings.shards)
        for runs in range(1, 16):
            began = asyncio.get_running_loop().time()
            await house.go_on()
            assert asyncio.get_running_loop().time() - began < SLICE.total_seconds() + 21
            done = await store.round()
            assert done is not None
            assert done.position == min(3 * runs, 44), "three places of 20 s fit into a slice"
        assert len([row for row in now.rows("journal") if "n" in row]) == 0
        before = now.tables.partitions()["housekeeping"]
        await house.go_on()
        assert now.tables.partitions()["housekeeping"] == before, "there is one round a day"

    told(story)


def test_two_hosts_may_keep_house_at_once() -> None:
    async def story(now: World, planner: Planner) -> None:
        await planner.book("alice")
        await now.settle()
        await old_journal(now, 100)
        houses = [housekeeping(now, seconds, nothing) for seconds in (0.0, 0.0, 0.5)]
        await asyncio.gather(*(house.go_on() for house in houses))
        await housekeeping(now, 0.0, nothing).go_on()
        assert [row for row in now.rows("journal") if "n" in row] == []
        assert len(now.rows("link")) == 1

    told(story)


def test_r2_a_tombstone_that_is_taken_again_meanwhile_stays() -> None:
    """Of three old tombstones in one partition, a worker makes one a claim between the reading and the deletion."""

    async def story(now: World, _: Planner) -> None:
        values: dict[str, Value] = {
            "generation": 3,
            "mailbox": "m",
            "claimed": text_of_time(START),
            "retired": text_of_time(START),
        }
        for row in ("a1", "a2", "a3"):
            await now.tables.transact("claim-a", [Put(row, values)])
        now.clock.advance(91 * DAY)

        async def taken(partition: str) -> None:
            if partition == "claim-a":
                live: dict[str, Value] = {name: value for name, value in values.items() if name != "retired"}
                await now.tables.transact("claim-a", [Put("a2", {**live, "generation": 4})])

        await housekeeping(now, 0.0, taken).go_on()
        [left] = now.tables.partitions()["claim-a"]
        assert (left.row, left.values["generation"]) == ("a2", 4)

    told(story)


def test_storage_that_does_not_answer_is_asked_again_by_the_next_run() -> None:
    async def story(now: World, _: Planner) -> None:
        await old_journal(now, 10)

        async def fails(partition: str) -> None:
            if partition == "03":
                raise UnavailableError("the storage answered 503")

        await housekeeping(now, 0.0, fails).go_on()
        left = len(now.rows("journal"))
        assert 0 < left < 10
        await housekeeping(now, 0.0, nothing).go_on()
        assert now.rows("journal") == []

    told(story)

"""Old rows go page by page, on the twin and on Azure's emulator alike."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.errors import PreconditionError
from shared.sync.housekeeping import Kind, Place, Round
from shared.sync.model import Shard
from shared.tables.housekeeping import PAGE, TableHousekeeping
from shared.tables.memory import MemoryTables
from shared.tables.rows import AFTER, text_of_time
from shared.tables.tables import MOST_OPERATIONS, Operation, Put, Tables, Value

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


async def fill(tables: Tables, partition: str, rows: dict[str, dict[str, Value]]) -> None:
    puts: list[Operation] = [Put(row, values) for row, values in rows.items()]
    for first in range(0, len(puts), MOST_OPERATIONS):
        await tables.transact(partition, puts[first : first + MOST_OPERATIONS])


async def tidied(tables: Tables, place: Place, before: datetime) -> tuple[int, int, int]:
    """Pages, removed and kept rows of a whole place."""
    house, pages, removed, kept, after = TableHousekeeping(tables, 8), 0, 0, 0, ""
    while not pages or after:
        page = await house.tidy(place, after, before)
        pages, removed, kept, after = pages + 1, removed + page.removed, kept + page.kept, page.last
    return pages, removed, kept


async def test_months_of_the_journal_go_and_nothing_beside_them(tables: Tables) -> None:
    rows: dict[str, dict[str, Value]] = {
        f"journal:2026-0{8 + number % 2}:b{number:04d}:x": {"n": number} for number in range(2 * PAGE + 20)
    }
    await fill(tables, "03", {**rows, "head:epoch": {}, "link:b:000001": {}, "mark:x": {}})
    place = Place(Kind.JOURNAL, Shard("03"))
    assert await tidied(tables, place, datetime(2026, 9, 1, tzinfo=UTC)) == (2, PAGE + 10, 0)
    left = [row.row for row in await tables.query("03", "", AFTER)]
    assert len(left) == PAGE + 10 + 3
    assert all(row.startswith(("journal:2026-09:", "head:", "link:", "mark:")) for row in left)


async def test_tombstones_go_and_live_claims_stay(tables: Tables) -> None:
    long_ago, lately = text_of_time(NOW - timedelta(days=91)), text_of_time(NOW - timedelta(days=89))
    claim: dict[str, Value] = {"generation": 1, "mailbox": "m", "claimed": long_ago}
    rows: dict[str, dict[str, Value]] = {
        f"c-dead-{number:04d}": {**claim, "retired": long_ago} for number in range(PAGE)
    }
    rows |= {"c-live": claim, "c-late": {**claim, "retired": lately}}
    await fill(tables, "claim-c", rows)
    place = Place(Kind.TOMBSTONE, Shard("claim-c"))
    assert await tidied(tables, place, NOW - timedelta(days=90)) == (2, PAGE, 2)
    assert [row.row for row in await tables.query("claim-c", "", AFTER)] == ["c-late", "c-live"]


async def test_a_round_is_remembered_and_belongs_to_one_host(tables: Tables) -> None:
    house = TableHousekeeping(tables, 8)
    assert await house.round() is None
    begun = Round(began=NOW, position=3, after="journal:2026-01:b:x", removed=7, waiting=2)
    saved = await house.save_round(begun)
    assert await house.round() == saved == replace(begun, row=saved.row)
    await house.save_round(saved)
    for too_late in (begun, saved):
        with pytest.raises(PreconditionError):
            await house.save_round(too_late)


def test_every_kind_of_row_has_its_places() -> None:
    places = TableHousekeeping(MemoryTables(), 8).places()
    assert {place.kind for place in places} == set(Kind)
    assert len(places) == len(set(places)) == 9 + 9 + 9 + 16 + 1

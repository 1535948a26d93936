"""One suite for every implementation of the port `Tables`: the twin must refuse and enforce what Azure does."""

from __future__ import annotations

import pytest

from shared.errors import PreconditionError
from shared.tables.tables import Delete, Insert, Operation, Put, Replace, Tables, Value


async def test_a_row_comes_back_as_it_was_written(tables: Tables) -> None:
    values: dict[str, Value] = {"text": "Grüße 'x' %41", "number": -(2**31), "flag": True, "empty": ""}
    [etag] = await tables.transact("p", [Insert("r", values)])
    stored = await tables.get("p", "r")
    assert stored is not None
    assert (stored.row, dict(stored.values), stored.etag) == ("r", values, etag)


async def test_absent_rows(tables: Tables) -> None:
    assert await tables.get("p", "r") is None
    assert await tables.query("p", "", "z") == []


async def test_insert_refuses_an_existing_row(tables: Tables) -> None:
    await tables.transact("p", [Insert("r", {"n": 1})])
    with pytest.raises(PreconditionError):
        await tables.transact("p", [Insert("r", {"n": 2})])


async def test_put_writes_in_any_case_and_leaves_nothing_of_the_old_row(tables: Tables) -> None:
    await tables.transact("p", [Put("r", {"n": 1, "old": True})])
    await tables.transact("p", [Put("r", {"n": 2})])
    stored = await tables.get("p", "r")
    assert stored is not None
    assert dict(stored.values) == {"n": 2}


async def test_replace_wants_the_row_as_it_was_read(tables: Tables) -> None:
    [first] = await tables.transact("p", [Insert("r", {"n": 1})])
    [second] = await tables.transact("p", [Replace("r", {"n": 2}, first)])
    assert first != second
    with pytest.raises(PreconditionError):
        await tables.transact("p", [Replace("r", {"n": 3}, first)])
    with pytest.raises(PreconditionError):
        await tables.transact("p", [Replace("absent", {"n": 3}, second)])


async def test_replace_without_an_etag_wants_the_row_to_exist(tables: Tables) -> None:
    with pytest.raises(PreconditionError):
        await tables.transact("p", [Replace("r", {"n": 1})])
    await tables.transact("p", [Insert("r", {"n": 1, "old": True})])
    await tables.transact("p", [Replace("r", {"n": 2})])
    stored = await tables.get("p", "r")
    assert stored is not None
    assert dict(stored.values) == {"n": 2}


async def test_delete_wants_the_row_to_exist(tables: Tables) -> None:
    [etag] = await tables.transact("p", [Insert("r", {"n": 1})])
    with pytest.raises(PreconditionError):
        await tables.transact("p", [Delete("r", 'W/"other"')])
    await tables.transact("p", [Delete("r", etag)])
    with pytest.raises(PreconditionError):
        await tables.transact("p", [Delete("r")])
    assert await tables.get("p", "r") is None


@pytest.mark.parametrize(
    "failing",
    [Insert("there", {"n": 2}), Replace("absent", {"n": 2}, 'W/"x"'), Delete("absent")],
    ids=["insert", "replace", "delete"],
)
async def test_a_transaction_is_all_or_nothing(tables: Tables, failing: Operation) -> None:
    await tables.transact("p", [Insert("there", {"n": 1})])
    with pytest.raises(PreconditionError):
        await tables.transact("p", [Insert("a", {"n": 1}), failing, Put("z", {"n": 1})])
    assert [stored.row for stored in await tables.query("p", "", "~")] == ["there"]


async def test_a_transaction_gives_an_etag_for_every_write(tables: Tables) -> None:
    await tables.transact("p", [Insert("gone", {})])
    etags = await tables.transact("p", [Insert("a", {"n": 1}), Delete("gone"), Put("b", {"n": 1})])
    stored = [await tables.get("p", row) for row in ("a", "b")]
    assert [etags[0], etags[2]] == [found.etag for found in stored if found is not None]


async def test_a_query_gives_a_range_in_key_order(tables: Tables) -> None:
    rows = ["mark:3", "link:1", "mark:1", "mark:2", "lease"]
    await tables.transact("p", [Insert(row, {}) for row in rows])
    await tables.transact("other", [Insert("mark:1", {})])
    assert [stored.row for stored in await tables.query("p", "mark:", "mark:~")] == ["mark:1", "mark:2", "mark:3"]
    assert [stored.row for stored in await tables.query("p", "mark:1", "mark:3")] == ["mark:1", "mark:2"]
    assert [stored.row for stored in await tables.query("p", "mark:", "mark:~", 2)] == ["mark:1", "mark:2"]


async def test_a_query_goes_over_many_pages(tables: Tables) -> None:
    for first in range(0, 1200, 100):
        await tables.transact("p", [Insert(f"r{number:04d}", {}) for number in range(first, first + 100)])
    assert len(await tables.query("p", "", "~")) == 1200


@pytest.mark.parametrize("character", ["/", "\\", "#", "?", "\n", "\x80"])
async def test_forbidden_characters_in_keys(tables: Tables, character: str) -> None:
    with pytest.raises(ValueError, match="must not contain"):
        await tables.transact("p", [Insert(f"a{character}b", {})])
    with pytest.raises(ValueError, match="must not contain"):
        await tables.transact(f"p{character}", [Insert("a", {})])


@pytest.mark.parametrize("key", ["it's", "100%", "a b", "ünïcode", "a:b", "a~b"])
async def test_allowed_characters_in_keys(tables: Tables, key: str) -> None:
    await tables.transact(key, [Insert(key, {"n": 1})])
    stored = await tables.get(key, key)
    assert stored is not None
    assert [row.row for row in await tables.query(key, key, f"{key}~")] == [key]


@pytest.mark.parametrize(
    ("operations", "what"),
    [
        ([], "1 to 100"),
        ([Insert(f"r{number}", {}) for number in range(101)], "1 to 100"),
        ([Insert("r", {}), Put("r", {})], "once"),
        ([Insert("r", {"text": "x" * 32_769})], "32768 characters"),
        ([Insert("r", {"number": 2**31})], "32 bits"),
        ([Insert("r", {f"n{number}": 1 for number in range(253)})], "252 values"),
    ],
    ids=["none", "too many", "same row twice", "long text", "large number", "too many values"],
)
async def test_what_no_table_can_store_is_refused_before_it_is_sent(
    tables: Tables, operations: list[Operation], what: str
) -> None:
    with pytest.raises(ValueError, match=what):
        await tables.transact("p", operations)
    assert await tables.query("p", "", "~") == []


async def test_a_hundred_operations_fit(tables: Tables) -> None:
    await tables.transact("p", [Insert(f"r{number:03d}", {}) for number in range(100)])
    assert len(await tables.query("p", "", "~")) == 100

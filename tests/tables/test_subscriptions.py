"""Rows of subscriptions, on both tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from shared.errors import PreconditionError
from shared.sync.model import MailboxId
from shared.sync.subscriptions import Order, Pass, Signal, Subscription
from shared.tables.subscriptions import TableSubscriptions
from shared.tables.tables import Tables

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ALICE, BOB = MailboxId("a11ce"), MailboxId("b0b")
FULL = Subscription(
    mailbox=ALICE,
    id="s1",
    client_state="secret",
    since=NOW,
    expires=NOW,
    terms="https://app.example",
    certificate="v1",
    former=Pass(id="s0", client_state="old", until=NOW),
    obstacle="403",
    failures=2,
    again=NOW,
)


async def test_what_is_known_comes_back_as_it_was_written(tables: Tables) -> None:
    store = TableSubscriptions(tables)
    assert await store.read(ALICE) == Subscription(mailbox=ALICE)
    full, new = await store.save(FULL), await store.save(Subscription(mailbox=BOB))
    assert replace(full, row="") == FULL
    assert list(await store.known()) == [full, new]
    assert await store.read(ALICE) == full
    assert list(await store.recoveries()) == []


async def test_two_writers_notice_each_other(tables: Tables) -> None:
    store = TableSubscriptions(tables)
    first = await store.save(FULL)
    second = await store.save(replace(first, id="s2"))
    for late in (FULL, first):
        with pytest.raises(PreconditionError):
            await store.save(late, needs_recovery=True)
    with pytest.raises(PreconditionError):
        await store.forget(first)
    assert list(await store.recoveries()) == []
    await store.forget(second)
    assert list(await store.known()) == []


async def test_what_is_told_again_while_it_is_done_is_not_forgotten(tables: Tables) -> None:
    store = TableSubscriptions(tables)
    orders = [Order(mailbox=ALICE, signal=signal, id="s1") for signal in (Signal.REMOVED, Signal.REAUTHORIZE)]
    await store.note([*orders, *orders], [ALICE, BOB])
    [challenged, removed] = await store.orders()
    assert [replace(order, row="") for order in (removed, challenged)] == orders
    [of_alice, of_bob] = await store.recoveries()
    await store.note(orders[:1], [ALICE])
    for order in (challenged, removed):
        await store.finish(order)
    for recovery in (of_alice, of_bob):
        await store.recovered(recovery)
    assert [order.signal for order in await store.orders()] == [Signal.REMOVED]
    assert [recovery.mailbox for recovery in await store.recoveries()] == [ALICE]


async def test_any_number_of_notes(tables: Tables) -> None:
    store = TableSubscriptions(tables)
    await store.note([], [MailboxId(f"m{number}") for number in range(250)])
    assert len(await store.recoveries()) == 250


async def test_a_subscription_that_begins_needs_a_recovery_round(tables: Tables) -> None:
    store = TableSubscriptions(tables)
    await store.save(FULL, needs_recovery=True)
    assert [recovery.mailbox for recovery in await store.recoveries()] == [ALICE]

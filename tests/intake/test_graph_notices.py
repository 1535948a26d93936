"""What a post of Graph says, and what becomes of each of its items."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidPostError, UnavailableError
from shared.intake.graph import MOST_BYTES, read_post
from shared.intake.notices import (
    EXPIRED,
    FRESH,
    PAUSE,
    UNKNOWN_SUBSCRIPTION,
    UNREADABLE,
    WRONG_STATE,
    Notices,
)
from shared.sync.model import Cause, MailboxId, Mark, Shard, shard_of
from shared.sync.subscriptions import LINGER, Order, Pass, Signal, Subscription

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SHARDS = 64
ALICE, BOB = MailboxId("11111111-0000-4000-8000-000000000001"), MailboxId("11111111-0000-4000-8000-000000000002")
OF_ALICE, OF_BOB, FORMER = (f"5ec0de00-0000-4000-8000-00000000000{number}" for number in range(3))
EVENT = "AAMkAGUwNjQ4ZjIx-_AAA="
ETAG = 'W/"CQAAABYAAACQ2fKdhq8oSKEDSVrdi3lR"'


class Clock:
    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time

    async def sleep(self, seconds: float) -> None:
        assert seconds <= PAUSE.total_seconds()
        await asyncio.sleep(0)
        self.time += timedelta(seconds=seconds)


class Store:
    """Implements `MarkStore` and `NoticeStore`."""

    def __init__(self) -> None:
        self.marks: dict[Shard, list[Mark]] = {}
        self.writes = 0
        self.reads = 0
        self.down: Shard | None = None
        self.orders: list[Order] = []
        self.recoveries: set[MailboxId] = set()
        self.subscriptions = [
            Subscription(
                mailbox=ALICE,
                id=OF_ALICE,
                client_state="of alice",
                expires=NOW + timedelta(days=1),
                former=Pass(id=FORMER, client_state="former", until=NOW + timedelta(hours=1)),
            ),
            Subscription(mailbox=BOB, id=OF_BOB, client_state="of bob", expires=NOW + timedelta(days=1)),
        ]

    async def put_marks(self, shard: Shard, marks: Sequence[Mark]) -> None:
        if shard == self.down:
            raise UnavailableError("no storage")
        self.writes += 1
        self.marks.setdefault(shard, []).extend(marks)

    async def known(self) -> Sequence[Subscription]:
        self.reads += 1
        return list(self.subscriptions)

    async def note(self, orders: Collection[Order], recoveries: Collection[MailboxId]) -> None:
        self.orders += orders
        self.recoveries |= set(recoveries)

    def all_marks(self) -> list[Mark]:
        return [mark for marks in self.marks.values() for mark in marks]


def notices(store: Store, clock: Clock | None = None) -> Notices:
    return Notices(marks=store, subscriptions=store, data=None, clock=clock or Clock(), shards=SHARDS)


def item(subscription: str = OF_ALICE, state: str = "of alice", **changes: Any) -> dict[str, Any]:
    """A notification; what is changed to `...` is left out."""
    whole = {
        "subscriptionId": subscription,
        "subscriptionExpirationDateTime": "2026-11-22T17:30:00.0000000+05:30",
        "clientState": state,
        "changeType": "updated",
        "resource": f"Users/{ALICE}/Events/{EVENT}",
        "tenantId": "7a1d0000-0000-4000-8000-0000000000aa",
        "resourceData": {"@odata.type": "#Microsoft.Graph.Event", "@odata.etag": ETAG, "id": EVENT},
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not ...}


def signal(event: str, subscription: str = OF_ALICE, state: str = "of alice") -> dict[str, Any]:
    return {"subscriptionId": subscription, "clientState": state, "lifecycleEvent": event, "tenantId": "t"}


def post(*items: Any) -> bytes:
    return json.dumps({"value": items}).encode()


async def test_a_change_becomes_a_mark_in_the_shard_of_its_mailbox() -> None:
    store = Store()
    assert await notices(store).accept_post(post(item())) == [shard_of(ALICE, SHARDS)]
    [mark] = store.marks[shard_of(ALICE, SHARDS)]
    assert (mark.booking, mark.mailbox, mark.event, mark.etag) == ("", ALICE, EVENT, ETAG)
    assert (mark.cause, mark.accepted_at, mark.due_at, mark.posts) == (Cause.EVENT_CHANGED, NOW, NOW, 1)


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("created", Cause.EVENT_CHANGED),
        ("updated", Cause.EVENT_CHANGED),
        ("Updated", Cause.EVENT_CHANGED),
        ("deleted", Cause.EVENT_DELETED),
    ],
)
async def test_kinds(kind: str, cause: Cause) -> None:
    store = Store()
    await notices(store).accept_post(post(item(changeType=kind)))
    assert [mark.cause for mark in store.all_marks()] == [cause]


@pytest.mark.parametrize(
    "resource",
    [
        f"Users/{ALICE}/Events/{EVENT}",
        f"users/{ALICE}/events/{EVENT}",
        f"/users/{ALICE}/events/{EVENT}",
        f"Users('{ALICE}')/events('{EVENT}')",
        f"Users('{ALICE}')/Events/{EVENT}",
        f"users/{ALICE}@7a1d0000-0000-4000-8000-0000000000aa/events/{EVENT}",
        f"users/alice%40contoso.test/events/{EVENT.replace('=', '%3D')}",
    ],
)
@pytest.mark.parametrize("data", [{}, {"id": None}, ..., None], ids=["no id", "null", "no data", "null data"])
async def test_every_spelling_of_a_resource(resource: str, data: Any) -> None:
    store = Store()
    await notices(store).accept_post(post(item(resource=resource, resourceData=data)))
    [mark] = store.all_marks()
    assert (mark.mailbox, mark.event, mark.etag) == (ALICE, EVENT, "")
    assert store.recoveries == set()


@pytest.mark.parametrize(
    "resource", [..., None, "", f"Users/{ALICE}/Messages/x", f"Users/{ALICE}/Events/", "Users/a/Events/a b", 7]
)
async def test_r11_a_change_of_which_the_event_cannot_be_read_is_looked_for(resource: Any) -> None:
    store = Store()
    assert await notices(store).accept_post(post(item(resource=resource, resourceData=...))) == []
    assert (store.all_marks(), store.recoveries) == ([], {ALICE})


async def test_the_subscription_says_which_mailbox_it_is() -> None:
    store = Store()
    await notices(store).accept_post(post(item(resource=f"Users/{BOB}/Events/{EVENT}")))
    assert [mark.mailbox for mark in store.all_marks()] == [ALICE]


async def test_r11_one_bad_item_takes_no_other_with_it() -> None:
    store = Store()
    accepting = notices(store)
    bad: list[Any] = [
        None,
        7,
        [],
        {},
        {"subscriptionId": OF_ALICE},
        item(changeType="moved"),
        item(changeType=...),
        signal("somethingNew"),
        {**signal("missed"), "lifecycleEvent": ["missed"]},
        item(subscription="f" * 36),
        item(state="of bob"),
        item(clientState=...),
        item(clientState="\ud800"),
        item(subscriptionId=7),
    ]
    first, last = item(), item(OF_BOB, "of bob")
    assert await accepting.accept_post(post(first, *bad, last)) == sorted(
        {shard_of(one, SHARDS) for one in (ALICE, BOB)}
    )
    assert {mark.mailbox for mark in store.all_marks()} == {ALICE, BOB}
    assert accepting.dropped == {UNREADABLE: 9, UNKNOWN_SUBSCRIPTION: 2, WRONG_STATE: 3}
    assert store.recoveries == set()


async def test_a_shard_gets_its_marks_in_one_write() -> None:
    store = Store()
    many = [item(resourceData={"id": f"e{number}"}) for number in range(30)]
    await notices(store).accept_post(post(*many, item(OF_BOB, "of bob")))
    assert (len(store.all_marks()), store.writes) == (31, 2)


async def test_r5_r11_what_says_the_same_is_one_mark_and_counts_as_many() -> None:
    store = Store()
    newer = item(resourceData={"id": EVENT, "@odata.etag": "W/newer"})
    await notices(store).accept_post(post(*[item()] * 40, newer, item(changeType="deleted"), item()))
    assert sorted((mark.cause, mark.etag, mark.posts) for mark in store.all_marks()) == [
        (Cause.EVENT_CHANGED, 'W/"CQAAABYAAACQ2fKdhq8oSKEDSVrdi3lR"', 41),
        (Cause.EVENT_CHANGED, "W/newer", 1),
        (Cause.EVENT_DELETED, 'W/"CQAAABYAAACQ2fKdhq8oSKEDSVrdi3lR"', 1),
    ]


async def test_r11_a_post_that_is_stored_in_part_is_not_accepted_and_comes_again() -> None:
    store = Store()
    accepting = notices(store)
    store.down = shard_of(BOB, SHARDS)
    body = post(item(), item(OF_BOB, "of bob"), signal("missed"))
    with pytest.raises(UnavailableError):
        await accepting.accept_post(body)
    store.down = None
    await accepting.accept_post(body)
    assert {mark.mailbox for mark in store.all_marks()} == {ALICE, BOB}
    assert store.recoveries == {ALICE}


# Who may speak.


async def test_two_secrets_are_good_while_one_is_exchanged() -> None:
    store, clock = Store(), Clock()
    accepting = notices(store, clock)
    await accepting.accept_post(post(item(), item(FORMER, "former"), item(FORMER, "of alice")))
    assert sum(mark.posts for mark in store.all_marks()) == 2
    clock.time += timedelta(hours=1)
    await accepting.accept_post(post(item(FORMER, "former")))
    assert accepting.dropped == {WRONG_STATE: 1, EXPIRED: 1}


async def test_what_graph_repeats_late_is_still_believed() -> None:
    store, clock = Store(), Clock()
    accepting = notices(store, clock)
    clock.time = NOW + timedelta(days=1) + LINGER - timedelta(seconds=1)
    await accepting.accept_post(post(item()))
    clock.time += timedelta(seconds=1)
    await accepting.accept_post(post(item()))
    assert len(store.all_marks()) == 1
    assert accepting.dropped == {EXPIRED: 1}


async def test_a_new_subscription_is_found_and_one_that_ended_is_forgotten() -> None:
    store, clock = Store(), Clock()
    accepting = notices(store, clock)
    await accepting.accept_post(post(item()))
    new = "5ec0de00-0000-4000-8000-0000000000ff"
    store.subscriptions[0] = Subscription(mailbox=ALICE, id=new, client_state="new", expires=NOW + timedelta(days=1))
    await accepting.accept_post(post(item(new.upper(), "new")))
    assert (len(store.all_marks()), store.reads) == (2, 2)
    await accepting.accept_post(post(item()))
    assert accepting.dropped == {UNKNOWN_SUBSCRIPTION: 1}
    store.subscriptions.clear()
    clock.time += FRESH
    await accepting.accept_post(post(item(new, "new")))
    assert len(store.all_marks()) == 2


async def test_whatever_strangers_post_costs_next_to_no_storage() -> None:
    store, clock = Store(), Clock()
    accepting = notices(store, clock)
    for number in range(100):
        await accepting.accept_post(
            post(*(item(f"{number}-{other}", "guess") for other in range(50)), item(state="no"))
        )
    assert store.reads <= (clock.time - NOW) / PAUSE + 1
    assert (store.writes, store.orders, store.recoveries) == (0, [], set())
    assert accepting.dropped.total() == 5100


async def test_all_who_wait_share_one_reading() -> None:
    store = Store()
    accepting = notices(store)
    await accepting.accept_post(post(item()))
    await asyncio.gather(*(accepting.accept_post(post(item(f"{number}"))) for number in range(100)))
    assert store.reads == 2
    assert accepting.dropped == {UNKNOWN_SUBSCRIPTION: 100}


async def test_no_secret_no_event_and_no_stranger_s_word_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    with caplog.at_level(logging.DEBUG):
        await notices(store).accept_post(post(item(), item(state="a guess"), item("a stranger", "x"), {"a": "b"}))
    assert caplog.messages == [
        "a post of Graph: 1 items believed, dropped: 1 of no subscription, 1 unreadable, 1 wrong secret"
    ]


# What happens to subscriptions.


@pytest.mark.parametrize(
    ("event", "orders", "recoveries"),
    [
        ("reauthorizationRequired", [Signal.REAUTHORIZE], set()),
        ("subscriptionRemoved", [Signal.REMOVED], {ALICE}),
        ("missed", [], {ALICE}),
    ],
)
async def test_lifecycle(event: str, orders: list[Signal], recoveries: set[MailboxId]) -> None:
    store = Store()
    accepting = notices(store)
    assert await accepting.accept_post(post(signal(event), signal(event, OF_BOB, "guess"))) == []
    assert store.orders == [Order(mailbox=ALICE, signal=one, id=OF_ALICE) for one in orders]
    assert store.recoveries == recoveries
    assert accepting.dropped == {WRONG_STATE: 1}


async def test_all_items_of_a_mixed_post_are_handled() -> None:
    store = Store()
    await notices(store).accept_post(
        post(
            signal("missed", OF_BOB, "of bob"), item(), signal("reauthorizationRequired"), signal("subscriptionRemoved")
        )
    )
    assert len(store.all_marks()) == 1
    assert [order.signal for order in store.orders] == [Signal.REAUTHORIZE, Signal.REMOVED]
    assert store.recoveries == {ALICE, BOB}


# What is no post of Graph.


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"7", 400),
        (b"{}", 400),
        (b'{"value": {}}', 400),
        (b"\xff\xfe", 400),
        (b"[" * 100_000, 400),
        (b" " * (MOST_BYTES + 1), 413),
    ],
)
async def test_what_graph_cannot_have_sent_is_refused_and_costs_nothing(body: bytes, status: int) -> None:
    store = Store()
    with pytest.raises(InvalidPostError) as caught:
        await notices(store).accept_post(body)
    assert caught.value.status == status
    assert (store.reads, store.writes) == (0, 0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(item())), inner, max_size=5),
)


@given(
    st.lists(JSON | st.fixed_dictionaries({name: JSON | st.just(value) for name, value in item().items()}), max_size=4)
)
def test_r11_every_item_is_read_or_counted(items: list[Any]) -> None:
    found = read_post(post(*items))
    assert len(found.notices) + found.unreadable == len(items)

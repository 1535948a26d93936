"""From a post to marks: every hint in the shard of its mailbox, all of them or the post comes again."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.errors import InvalidPostError, UnavailableError
from shared.intake.inbox import Inbox
from shared.sync.model import UNROUTED, BookingId, MailboxId, Mark, ResourceId, Shard, shard_of
from shared.sync.plan import Outcome
from shared.sync.route import Router
from tests.intake.test_dataverse_post import JSON, NOBODY, OLD_RESOURCE, ORGANIZATION, RESOURCE, bulk, entity, post, row

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SHARDS = 64
MAILBOXES = {RESOURCE: MailboxId("11111111-0000-4000-8000-000000000001"), OLD_RESOURCE: MailboxId("2222")}
HERE, THERE = (shard_of(mailbox, SHARDS) for mailbox in MAILBOXES.values())


class Store:
    """Implements `RouteStore` and `InboxStore`."""

    def __init__(self) -> None:
        self.marks: dict[Shard, list[Mark]] = {}
        self.writes = 0
        self.down: Shard | None = None
        self.holders: dict[str, MailboxId] = {}

    async def put_marks(self, shard: Shard, marks: Sequence[Mark]) -> None:
        if shard == self.down:
            raise UnavailableError("no storage")
        self.writes += 1
        self.marks.setdefault(shard, []).extend(marks)

    async def has_due_marks(self, shard: Shard, now: datetime) -> bool:
        return any(mark.due_at <= now for mark in self.marks.get(shard, ()))

    async def replay(self, shard: Shard, outcomes: Collection[Outcome], now: datetime) -> int:
        raise AssertionError(f"nobody asked for {outcomes} of {shard} at {now}")

    async def mailbox_of_resource(self, resource: ResourceId, now: datetime) -> MailboxId | None:
        assert now == NOW
        return MAILBOXES.get(resource)

    async def mailbox_of_booking(self, booking: BookingId) -> MailboxId | None:
        return self.holders.get(booking)


class Noon:
    """A clock that stands still."""

    def now(self) -> datetime:
        return NOW

    async def sleep(self, _seconds: float) -> None:
        raise AssertionError("accepting a post waits for nothing")


def inbox(store: Store) -> Inbox:
    router = Router(store=store, clock=Noon(), shards=SHARDS)
    return Inbox(router=router, store=store, clock=Noon(), organization=ORGANIZATION, shards=SHARDS)


async def accept(store: Store, value: Any) -> list[Shard]:
    return await inbox(store).accept_post(json.dumps(value).encode(), JSON)


def without_resource(number: int) -> dict[str, Any]:
    return row(number, Attributes=[])


async def test_the_hints_of_one_post_go_to_their_shards_with_one_write_each() -> None:
    store = Store()
    store.holders[row(4)["Id"]] = MAILBOXES[OLD_RESOURCE]
    there = {**entity(OLD_RESOURCE), "Id": row(3)["Id"]}
    woken = await accept(store, bulk("UpdateMultiple", row(1), row(2), there, without_resource(4), without_resource(5)))
    assert woken == sorted([HERE, THERE, UNROUTED])
    assert {shard: [mark.booking[-2:] for mark in marks] for shard, marks in store.marks.items()} == {
        HERE: ["01", "02"],
        THERE: ["03", "04"],
        UNROUTED: ["05"],
    }
    assert store.writes == 3
    assert await inbox(store).idle_shards_with_work() == woken


async def test_r11_each_hint_counts_as_one() -> None:
    store = Store()
    await accept(store, bulk("CreateMultiple", row(1), row(2), row(3)))
    assert [mark.posts for mark in store.marks[HERE]] == [1, 1, 1]
    assert {(mark.accepted_at, mark.due_at) for mark in store.marks[HERE]} == {(NOW, NOW)}


async def test_r11_a_post_that_is_stored_in_part_is_not_accepted_and_comes_again() -> None:
    store = Store()
    value = bulk("UpdateMultiple", row(1), {**entity(OLD_RESOURCE), "Id": row(2)["Id"]})
    store.down = THERE
    with pytest.raises(UnavailableError):
        await accept(store, value)
    store.down = None
    assert await accept(store, value) == sorted([HERE, THERE])
    assert {mark.booking[-2:] for marks in store.marks.values() for mark in marks} == {"01", "02"}


@pytest.mark.parametrize(
    "value",
    [
        post(OrganizationId=NOBODY),
        post(PrimaryEntityName="account"),
        bulk("UpdateMultiple", row(1), {"Id": "x"}),
        bulk("UpdateMultiple", row(1), {"Id": NOBODY}),
    ],
    ids=["other organisation (R14)", "other table", "bad row", "row without id"],
)
async def test_a_refused_post_stores_nothing_and_wakes_nobody(value: Any) -> None:
    store = Store()
    with pytest.raises(InvalidPostError):
        await accept(store, value)
    assert store.marks == {}

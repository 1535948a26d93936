"""Rows of the sweep and of what lost a conflict, on both tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from shared.errors import PreconditionError
from shared.sync.compare import Drift
from shared.sync.marks import look_again, put_in_force
from shared.sync.model import BookingId, Cause, EventId, Field, MailboxId, Shard, shard_of
from shared.sync.plan import Outcome, Reason
from shared.sync.ports import Commit, JournalEntry
from shared.sync.sweep import Finding, Orders, Sweeping
from shared.tables.journal import TableJournal
from shared.tables.leases import UNSEARCHED
from shared.tables.rows import LONGEST_LOSS
from shared.tables.store import EPOCH, TableStore
from shared.tables.sweeping import MOST_FINDINGS, TableSweep
from shared.tables.tables import Put, Tables
from tests.core.builders import ALICE, BOOKING, HERE, SHARDS, link

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SWEEPING = Sweeping(
    began=NOW,
    orders=Orders(repair=True, deleted=False),
    position=2,
    after="box",
    mailboxes=4,
    pairs=5,
    drift=6,
    known=7,
    under_way=8,
    unread=9,
)


def found(number: int) -> Finding:
    return Finding(drift=Drift.NO_EVENT, mailbox=MailboxId("box"), booking=BookingId(f"{number:06d}"))


async def test_a_sweep_comes_back_as_it_was_written_and_two_writers_notice_each_other(tables: Tables) -> None:
    store = TableSweep(tables, SHARDS)
    assert await store.sweeping() is None
    first = await store.save_sweeping(SWEEPING)
    assert replace(first, row="") == SWEEPING
    done = await store.save_sweeping(replace(first, ended=NOW))
    assert await store.sweeping() == done
    for late in (SWEEPING, first):
        with pytest.raises(PreconditionError):
            await store.save_sweeping(late)


async def test_findings_are_kept_as_far_as_there_is_room_and_written_twice_they_are_one(tables: Tables) -> None:
    store = TableSweep(tables, SHARDS)
    full = replace(found(0), fields=(Field.TIME, Field.BODY), known="parked: conflict", done="marked")
    for _ in range(2):
        await store.save_findings(NOW, [full])
    assert list(await store.findings(NOW)) == [full]
    assert list(await store.findings(NOW + timedelta(seconds=1))) == []
    for first in range(1, MOST_FINDINGS + 200, 300):
        await store.save_findings(NOW, [found(number) for number in range(first, first + 300)])
    assert len(await store.findings(NOW)) == MOST_FINDINGS
    await store.drop_findings()
    assert list(await store.findings(NOW)) == []


async def test_the_first_sweep_by_itself_is_due_when_it_was_first_said(tables: Tables) -> None:
    store = TableSweep(tables, SHARDS)
    assert await store.next_due(NOW) == await store.next_due(NOW + timedelta(days=1)) == NOW
    await store.save_next_due(NOW + timedelta(days=7))
    assert await store.next_due(NOW) == NOW + timedelta(days=7)


async def test_r2a_a_link_is_restored_once_and_only_where_links_are_complete(tables: Tables) -> None:
    store, links = TableSweep(tables, SHARDS), TableStore(tables, Random(1), SHARDS)
    with pytest.raises(PreconditionError):
        await store.restore_link(HERE, link(row=""))
    await tables.transact(HERE, [Put(EPOCH, {"shards": SHARDS})])
    await store.restore_link(HERE, link(row=""))
    assert [one.generation for one in await store.links_of(HERE)] == [1]
    assert set(await links.known_events(HERE, {EventId("event-1")})) == {"event-1"}
    with pytest.raises(PreconditionError):
        await store.restore_link(HERE, link(row="", event=EventId("another")))


async def test_a_mailbox_that_was_left_out_is_forgotten_once(tables: Tables) -> None:
    store = TableSweep(tables, SHARDS)
    shard = shard_of(ALICE, SHARDS)
    await tables.transact(shard, [Put(UNSEARCHED + ALICE, {})])
    assert await store.unsearched(shard) == {ALICE}
    for _ in range(2):
        await store.forget_unsearched(ALICE)
    assert await store.unsearched(shard) == frozenset()


def entry(at: datetime, **lost: str) -> JournalEntry:
    return JournalEntry(
        booking=BOOKING,
        at=at,
        reason=Reason.CONFLICT,
        outcome=Outcome.PARKED,
        posts=0,
        attempts=1,
        lost={Field(name): text for name, text in lost.items()},
    )


async def test_what_waits_is_known_by_booking_and_by_event(tables: Tables) -> None:
    store, links = TableSweep(tables, SHARDS), TableStore(tables, Random(1), SHARDS)
    hint = replace(look_again(BookingId(""), NOW, NOW), cause=Cause.EVENT_CHANGED, event=EventId("E"))
    await links.put_marks(HERE, [look_again(BookingId("other"), NOW, NOW), hint])
    await links.commit(Shard("05"), Commit(settled=(), entry=entry(NOW)))
    waiting = await store.waiting()
    assert waiting.bookings == frozenset({BookingId("other")})
    assert waiting.events == frozenset({EventId("E")})
    assert waiting.given_up == {BOOKING: "parked: conflict"}


async def test_r6_what_lost_is_found_again_in_any_shard_and_month(tables: Tables) -> None:
    links = TableStore(tables, Random(1), SHARDS)
    journal = TableJournal(tables, links, SHARDS, months=3)
    too_long = "x" * (LONGEST_LOSS + 1)
    entries = {
        Shard("05"): entry(NOW, time="later"),
        HERE: entry(NOW - timedelta(days=60), subject="früher", body=too_long),
        Shard("07"): entry(NOW - timedelta(days=200), time="long ago"),
        Shard("06"): entry(NOW),
    }
    for shard, one in entries.items():
        await links.commit(shard, Commit(settled=(), entry=one))
    losses = await journal.losses(BOOKING, NOW)
    assert [dict(loss.lost) for loss in losses] == [{Field.SUBJECT: "früher"}, {Field.TIME: "later"}]
    assert losses[1].at == NOW


async def test_r6_a_mark_keeps_what_is_to_be_restored(tables: Tables) -> None:
    links = TableStore(tables, Random(1), SHARDS)
    mark = put_in_force(BOOKING, Field.SUBJECT, "früher", NOW)
    await links.put_marks(HERE, [mark])
    [stored] = await links.due_marks(HERE, NOW, 10)
    assert replace(stored, key="") == mark

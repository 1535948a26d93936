"""From a post of Graph to durable marks and notes.

Anybody may post: Graph cannot show a function key. What counts is the client state, which only Graph and the app know.
Whatever does not show it is dropped and counted, and the sender is told nothing: neither which subscriptions exist nor
whether a secret was right. That costs no request and, but for a look at the stored subscriptions now and then, no
storage.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from shared.intake.graph import Notice, read_post
from shared.sealed import Sealed
from shared.sync.marks import newest_told
from shared.sync.model import MOST_ETAGS, UNKNOWN, EventId, MailboxId, Mark, Shard, Told, shard_of
from shared.sync.ports import Clock
from shared.sync.subscriptions import LONG_AGO, Order, Pass, Signal, Subscription

FRESH = timedelta(minutes=5)
"""How long the stored subscriptions are believed to be as they were read."""
PAUSE = timedelta(seconds=1)
"""How long they are not read again, whatever is posted: who shows something else waits for that, and once."""

PATIENCE = 1.0
"""Seconds for what came along: Graph wants its answer within three."""

UNREADABLE, UNKNOWN_SUBSCRIPTION, WRONG_STATE, EXPIRED = "unreadable", "of no subscription", "wrong secret", "expired"
"""Why an item was dropped."""

_NOBODY = Pass(id="", client_state="", until=LONG_AGO)

log = logging.getLogger(__name__)


class MarkStore(Protocol):
    """Where marks go. May raise `TransientError`."""

    async def put_marks(self, shard: Shard, marks: Sequence[Mark]) -> None:
        """Add marks."""


class NoticeStore(Protocol):
    """What was told of subscriptions. May raise `TransientError`."""

    async def known(self) -> Sequence[Subscription]:
        """Everything that is known of any mailbox."""

    async def note(self, orders: Collection[Order], recoveries: Collection[MailboxId]) -> None:
        """Remember what was told, and which mailboxes need a recovery round."""


class DataSide(Protocol):
    """What notifications bring along."""

    async def is_proven(self, tokens: Sequence[str]) -> bool:
        """Whether the tokens of a post prove that it comes from Graph."""

    async def told(self, mailbox: MailboxId, event: EventId, etag: str, sealed: Sealed) -> Told | None:
        """What came along of this event, if it can be read and is enough to know."""


class Notices:
    """Accepts posts of Graph."""

    def __init__(
        self, *, marks: MarkStore, subscriptions: NoticeStore, data: DataSide | None, clock: Clock, shards: int
    ) -> None:
        """Take the ports; without `data` whatever is brought along is left. `shards` are the parts of all mailboxes."""
        self._marks = marks
        self._subscriptions = subscriptions
        self._data = data
        self._clock = clock
        self._shards = shards
        self._passes: dict[str, tuple[Pass, MailboxId]] = {}
        self._read_at = LONG_AGO
        self._begun = self._done = 0
        self._reading = asyncio.Lock()
        self.dropped: Counter[str] = Counter()
        """How many items were dropped since the process began, and why."""

    async def accept_post(self, body: bytes) -> list[Shard]:
        """Store what one post tells and name the shards to wake.

        Raises `InvalidPostError` for what Graph cannot have sent, `TransientError` when not all of it could be stored;
        what comes twice then does no harm.
        """
        now = self._clock.now()  # whatever it tells has happened by now
        post = read_post(body)
        begun = self._begun
        dropped = Counter[str]({UNREADABLE: post.unreadable} if post.unreadable else {})
        believed: list[tuple[MailboxId, Notice]] = []
        for notice in post.notices:
            mailbox, why = await self._mailbox(notice, begun)
            if mailbox is None:
                dropped[why] += 1
            else:
                believed.append((mailbox, notice))
        shards = await self._store_marks(believed, await self._told(believed, post.tokens), now)
        await self._note(believed)
        self._count(len(believed), dropped)
        return shards

    async def _told(self, believed: Sequence[tuple[MailboxId, Notice]], tokens: Sequence[str]) -> Mapping[Notice, Told]:
        """What came along. An item of which it cannot be used still says that the event has changed."""
        sealed = [(mailbox, notice, notice.sealed) for mailbox, notice in believed if notice.sealed is not None]
        found: dict[Notice, Told] = {}
        if self._data is None or not sealed:
            return found
        try:
            async with asyncio.timeout(PATIENCE):
                if await self._data.is_proven(tokens):
                    for mailbox, notice, content in sealed:
                        if told := await self._data.told(mailbox, notice.event, notice.etag, content):
                            found[notice] = told
        except TimeoutError:
            log.warning("what a post of Graph brought along is not used: keys or certificate take too long to come")
        return found

    async def _store_marks(
        self, believed: Sequence[tuple[MailboxId, Notice]], told: Mapping[Notice, Told], now: datetime
    ) -> list[Shard]:
        """One mark for all that says the same of an event; every notification counts (R11).

        Who tells of more etags than a link remembers tells of somebody's work: one mark without an etag says as much.
        """
        etags: dict[EventId, set[str]] = {}
        for _, notice in believed:
            etags.setdefault(notice.event, set()).add(notice.etag)
        marks: dict[Shard, dict[tuple[MailboxId, EventId, str, str], Mark]] = {}
        for mailbox, notice in believed:
            if notice.cause is None or not notice.event:
                continue
            etag = notice.etag if len(etags[notice.event]) <= MOST_ETAGS else ""
            mark = Mark(
                booking=UNKNOWN,
                cause=notice.cause,
                accepted_at=now,
                due_at=now,
                mailbox=mailbox,
                event=notice.event,
                etag=etag,
                told=told.get(notice),
            )
            of_shard = marks.setdefault(shard_of(mailbox, self._shards), {})
            key = (mailbox, notice.event, notice.cause.value, etag)
            same = of_shard.get(key)
            if same is not None:
                mark = replace(mark, posts=same.posts + 1, told=newest_told((same.told, mark.told)))
            of_shard[key] = mark
        await asyncio.gather(*(self._marks.put_marks(shard, list(group.values())) for shard, group in marks.items()))
        return sorted(marks)

    async def _note(self, believed: Sequence[tuple[MailboxId, Notice]]) -> None:
        """What was told of subscriptions is done by timer; so is the search for changes that were not told in full."""
        orders = [
            Order(mailbox=mailbox, signal=notice.signal, id=notice.subscription)
            for mailbox, notice in believed
            if notice.signal in {Signal.REAUTHORIZE, Signal.REMOVED}
        ]
        recoveries = {
            mailbox
            for mailbox, notice in believed
            if notice.signal in {Signal.REMOVED, Signal.MISSED} or (notice.cause is not None and not notice.event)
        }
        if orders or recoveries:
            await self._subscriptions.note(orders, recoveries)

    async def _mailbox(self, notice: Notice, begun: int) -> tuple[MailboxId | None, str]:
        """The mailbox of which it may speak, else why it is dropped.

        What does not fit may be newer than what was read of the subscriptions. So it is dropped only after one more
        reading than those that had `begun` when the post came; all who wait for one share it.
        """
        mailbox, why = self._look_up(notice)
        if mailbox is None or self._clock.now() >= self._read_at + FRESH:
            await self._read_once_more_than(begun)
            mailbox, why = self._look_up(notice)
        return mailbox, why

    def _look_up(self, notice: Notice) -> tuple[MailboxId | None, str]:
        known = self._passes.get(notice.subscription)
        pass_ = known[0] if known is not None else _NOBODY
        is_right = hmac.compare_digest(pass_.client_state.encode(), notice.client_state.encode())
        if known is None:
            return None, UNKNOWN_SUBSCRIPTION
        if not is_right:
            return None, WRONG_STATE
        return (known[1], "") if self._clock.now() < pass_.until else (None, EXPIRED)

    async def _read_once_more_than(self, begun: int) -> None:
        async with self._reading:
            if self._done > begun:
                return
            wait = self._read_at + PAUSE - self._clock.now()
            if wait > timedelta():
                await self._clock.sleep(wait.total_seconds())
            self._begun += 1
            known = await self._subscriptions.known()
            self._passes = {pass_.id: (pass_, one.mailbox) for one in known for pass_ in one.passes()}
            self._read_at, self._done = self._clock.now(), self._begun

    def _count(self, believed: int, dropped: Counter[str]) -> None:
        self.dropped += dropped
        if dropped:
            counts = ", ".join(f"{count} {why}" for why, count in sorted(dropped.items()))
            log.warning("a post of Graph: %d items believed, dropped: %s", believed, counts)

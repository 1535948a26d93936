"""Every synced mailbox has a subscription in force: by timer, by command, and when Graph asks for it.

What has to be done says `shared.sync.subscriptions`; here it is carried out, many mailboxes at once, each on its own:
one that refuses is noted with the reason and asked again later. The row of a subscription is written before Graph is
asked to make it. So of two hosts only one asks, and one that was made although its answer was lost is recognised when
Graph refuses to make a second (409). What happened in a mailbox while nobody was told of it has to be asked for:
whenever a subscription begins, the mailbox is noted for recovery with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from shared.errors import (
    BookingSyncError,
    DuplicateError,
    GoneError,
    OutcomeUnknownError,
    PreconditionError,
    RefusedError,
    TokenRefusedError,
    TransientError,
)
from shared.sync.model import MailboxId
from shared.sync.ports import BookingSide, Clock
from shared.sync.subscriptions import LONG_AGO, Certificate, Order, Signal, Step, Subscription, Terms, plan

SLICE = timedelta(seconds=60)
"""How long a round begins new work; the next one goes on."""
PARALLEL = 40
"""How many mailboxes are worked on at once: two full envelopes."""

LATER, REFUSED, ELSEWHERE = "left for later", "refused", "done by another host"
DONE = frozenset({*Step, ELSEWHERE})
"""What can have become of a mailbox, and what of it is an end."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """A subscription as Graph has it: until when, with which secret, whom it tells, and whether with resource data."""

    id: str
    expires: datetime
    client_state: str = field(default="", repr=False)
    url: str = ""
    is_rich: bool = False


class SubscriptionSide(Protocol):
    """Microsoft Graph. Every method may raise `TransientError` and `RefusedError`."""

    async def create(self, mailbox: MailboxId, terms: Terms, client_state: str, until: datetime) -> Granted:
        """Subscribe to all events of the mailbox.

        Raises `DuplicateError` when there is such a subscription, `GoneError` when there is no such mailbox,
        `OutcomeUnknownError` when it may have been made.
        """

    async def get(self, mailbox: MailboxId, id_: str) -> Granted:
        """The subscription. Raises `GoneError`."""

    async def renew(self, mailbox: MailboxId, id_: str, until: datetime, certificate: Certificate | None) -> Granted:
        """Let it go on until then, with that certificate if it has one. Raises `GoneError`."""

    async def delete(self, mailbox: MailboxId, id_: str) -> None:
        """End it; one that is gone counts as ended."""


class SubscriptionStore(Protocol):
    """Table Storage."""

    async def known(self) -> Sequence[Subscription]:
        """Everything that is known of any mailbox."""

    async def read(self, mailbox: MailboxId) -> Subscription:
        """What is known of one mailbox; a new one if that is nothing."""

    async def save(self, one: Subscription, *, needs_recovery: bool = False) -> Subscription:
        """Write it if its row is as it was read, and with it that the mailbox needs a recovery round.

        Raises `PreconditionError`.
        """

    async def forget(self, one: Subscription) -> None:
        """Remove it if its row is as it was read. Raises `PreconditionError`."""

    async def orders(self) -> Sequence[Order]:
        """What waits to be done."""

    async def finish(self, order: Order) -> None:
        """It is done, unless it was told once more since it was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a round did, how many subscriptions are in force after it, and which mailboxes refuse, with the reason."""

    done: Mapping[str, int]
    in_force: int
    refused: Mapping[MailboxId, str]


class Subscribing:
    """Keeps the subscriptions. Any number of them may run on one storage."""

    def __init__(
        self,
        *,
        bookings: BookingSide,
        side: SubscriptionSide,
        store: SubscriptionStore,
        clock: Clock,
        terms: Callable[[], Awaitable[Terms]],
        new_secret: Callable[[], str],
    ) -> None:
        """Take the ports; `new_secret` draws a client state that nobody can guess."""
        self._bookings = bookings
        self._side = side
        self._store = store
        self._clock = clock
        self._terms = terms
        self._new_secret = new_secret

    async def round(self, *, anew: bool = False) -> Report:
        """Do what has to be done; with `anew`, renew all that there is, and ask mailboxes again that refused lately.

        So what Graph has lost comes to light.
        """
        now = self._clock.now()
        orders, known = await self._store.orders(), {one.mailbox: one for one in await self._store.known()}
        due = list(orders)
        if anew:
            known = {mailbox: replace(one, again=LONG_AGO) for mailbox, one in known.items()}
            due += [Order(mailbox=one.mailbox, signal=Signal.REAUTHORIZE, id=one.id) for one in known.values()]
        terms = await self._terms()
        mailboxes = await self._mailboxes(known)
        results = await self._carry_out(plan(known, mailboxes, due, terms, now), terms, now + SLICE)
        for order in orders:
            is_open = order.mailbox in known and known[order.mailbox].id == order.id
            if not is_open or results.get(order.mailbox) in DONE:
                await self._store.finish(order)
        return self._report(dict(Counter(results.values())), await self._store.known())

    async def _mailboxes(self, known: Iterable[MailboxId]) -> Iterable[MailboxId]:
        """Those that are to be synced; while Dataverse cannot say, those that were."""
        try:
            return (await self._bookings.mailboxes()).values()
        except (RefusedError, TransientError) as error:
            log.warning("the synced mailboxes are not known now, subscriptions are only renewed: %s", error)
            return known

    async def _carry_out(
        self, steps: Sequence[tuple[Step, Subscription]], terms: Terms, end: datetime
    ) -> Mapping[MailboxId, str]:
        """What became of each mailbox."""
        gate = asyncio.Semaphore(PARALLEL)

        async def in_time(step: Step, one: Subscription) -> str:
            async with gate:
                return LATER if self._clock.now() >= end else await self._try(step, one, terms)

        async with asyncio.TaskGroup() as tasks:
            running = {one.mailbox: tasks.create_task(in_time(step, one)) for step, one in steps}
        return {mailbox: task.result() for mailbox, task in running.items()}

    async def _try(self, step: Step, one: Subscription, terms: Terms) -> str:
        """Carry out one step, and say in a word what became of it; no mailbox holds up another."""
        try:
            await self._do(step, one, terms)
        except PreconditionError:
            return ELSEWHERE
        except (OutcomeUnknownError, TokenRefusedError, TransientError) as error:
            log.warning("mailbox %s: %s its subscription later: %s", one.mailbox, step, error)
            return LATER
        except BookingSyncError as error:
            log.warning("mailbox %s: cannot %s its subscription: %s", one.mailbox, step, error)
            stored = await self._store.read(one.mailbox)
            try:
                await self._store.save(stored.refused(str(error), self._clock.now()))
            except PreconditionError:
                log.info("another host works on the subscription of mailbox %s", one.mailbox)
            return REFUSED
        return step

    async def _do(self, step: Step, one: Subscription, terms: Terms) -> None:
        match step:
            case Step.DELETE:
                await self._delete(one)
                await self._store.forget(one)
            case Step.RENEW:
                await self._renew(one, terms)
            case Step.CREATE | Step.REPLACE:
                await self._create(one, terms)

    async def _delete(self, one: Subscription) -> None:
        if one.id and one.expires > self._clock.now():
            await self._side.delete(one.mailbox, one.id)

    async def _renew(self, one: Subscription, terms: Terms) -> None:
        try:
            granted = await self._side.renew(one.mailbox, one.id, self._until(terms), terms.certificate)
        except GoneError:
            await self._create(one, terms)
            return
        await self._store.save(_in_force(one, granted, terms))

    async def _create(self, one: Subscription, terms: Terms) -> None:
        """Make a subscription, in the place of one that may be in force."""
        now = self._clock.now()
        intent = one.without_id(now)
        if not intent.client_state:
            intent = replace(intent, client_state=self._new_secret(), since=now)
        intent = await self._store.save(replace(intent, terms=terms.text))
        await self._delete(one)
        try:
            granted = await self._side.create(one.mailbox, terms, intent.client_state, self._until(terms))
        except DuplicateError as error:
            granted = await self._adopt(intent, terms, error.existing or "")
        adopted = replace(intent, client_state=granted.client_state or intent.client_state)
        await self._store.save(_in_force(adopted, granted, terms), needs_recovery=True)

    async def _adopt(self, intent: Subscription, terms: Terms, existing: str) -> Granted:
        """Take over the one that exists if it is as it would have been made: its answer was lost, or our table was.

        Any other stands in the way and goes.
        """
        if not existing:
            raise RefusedError("Graph names no subscription that stands in the way of this one")
        found = await self._side.get(intent.mailbox, existing)
        is_rich = terms.certificate is not None
        if found.client_state and (found.url, found.is_rich) == (terms.url, is_rich):
            renewed = await self._side.renew(intent.mailbox, existing, self._until(terms), terms.certificate)
            return replace(renewed, client_state=found.client_state)
        await self._side.delete(intent.mailbox, existing)
        return await self._side.create(intent.mailbox, terms, intent.client_state, self._until(terms))

    def _until(self, terms: Terms) -> datetime:
        return self._clock.now() + terms.lifetime

    def _report(self, done: Mapping[str, int], known: Sequence[Subscription]) -> Report:
        now = self._clock.now()
        in_force = sum(bool(one.id) and one.expires > now for one in known)
        refused = {one.mailbox: one.obstacle for one in known if one.obstacle}
        if done:
            counts = ", ".join(f"{count} {what}" for what, count in sorted(done.items()))
            log.info("subscriptions: %s; %d in force, %d mailboxes refuse", counts, in_force, len(refused))
        return Report(done=done, in_force=in_force, refused=refused)


def _in_force(one: Subscription, granted: Granted, terms: Terms) -> Subscription:
    return replace(
        one,
        id=granted.id,
        expires=granted.expires,
        terms=terms.text,
        certificate=terms.certificate.id if terms.certificate is not None else "",
        obstacle="",
        failures=0,
        again=LONG_AGO,
    )

"""Subscriptions and what was told of them. Implements `shared.sync.subscribe.SubscriptionStore` over `Tables`.

| partition | row | what |
| --- | --- | --- |
| `subscriptions` | `known:{mailbox}` | the mailbox's subscription, its secret, and why there is none |
| | `order:{signal}:{mailbox}` | something that was told of it and has yet to be done |
| | `recovery:{mailbox}` | that changes in the mailbox may have gone unnoticed, and have to be asked for |

Secrets stand here as all else does: who reads the table can make the app look at an event, and no more than that.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import batched

from shared.errors import PreconditionError
from shared.sync.model import MailboxId
from shared.sync.recover import Noted
from shared.sync.subscriptions import Order, Pass, Signal, Subscription
from shared.tables.rows import AFTER, text_of_time, time_of
from shared.tables.tables import MOST_OPERATIONS, Delete, Operation, Put, Stored, Tables, Value, write_as_read

PARTITION = "subscriptions"
KNOWN, ORDER, RECOVERY = "known:", "order:", "recovery:"


class TableSubscriptions:
    """The subscriptions."""

    def __init__(self, tables: Tables) -> None:
        """Keep them in `tables`."""
        self._tables = tables

    async def known(self) -> Sequence[Subscription]:
        """Everything that is known of any mailbox."""
        return [_subscription(row) for row in await self._tables.query(PARTITION, KNOWN, KNOWN + AFTER)]

    async def read(self, mailbox: MailboxId) -> Subscription:
        """What is known of one mailbox; a new one if that is nothing."""
        stored = await self._tables.get(PARTITION, KNOWN + mailbox)
        return Subscription(mailbox=mailbox) if stored is None else _subscription(stored)

    async def save(self, one: Subscription, *, needs_recovery: bool = False) -> Subscription:
        """Write it if its row is as it was read, or still absent, and with it the note for recovery."""
        operations = [write_as_read(KNOWN + one.mailbox, _values(one), one.row)]
        operations += [Put(RECOVERY + one.mailbox, {})] if needs_recovery else []
        etag, *_ = await self._tables.transact(PARTITION, operations)
        return replace(one, row=etag)

    async def forget(self, one: Subscription) -> None:
        """Remove it if its row is as it was read."""
        await self._tables.transact(PARTITION, [Delete(KNOWN + one.mailbox, one.row)])

    async def orders(self) -> Sequence[Order]:
        """What waits to be done."""
        rows = await self._tables.query(PARTITION, ORDER, ORDER + AFTER)
        return [
            Order(
                mailbox=MailboxId(str(row.values["mailbox"])),
                signal=Signal(str(row.values["signal"])),
                id=str(row.values["id"]),
                row=row.etag,
            )
            for row in rows
        ]

    async def finish(self, order: Order) -> None:
        """It is done, unless it was told once more since it was read."""
        with suppress(PreconditionError):
            await self._tables.transact(PARTITION, [Delete(_order_row(order), order.row)])

    async def note(self, orders: Collection[Order], recoveries: Collection[MailboxId]) -> None:
        """Remember what was told, and which mailboxes need a recovery round."""
        puts: dict[str, Operation] = {
            _order_row(order): Put(
                _order_row(order), {"mailbox": order.mailbox, "signal": order.signal.value, "id": order.id}
            )
            for order in orders
        }
        puts |= {RECOVERY + mailbox: Put(RECOVERY + mailbox, {}) for mailbox in recoveries}
        for some in batched(puts.values(), MOST_OPERATIONS, strict=False):
            await self._tables.transact(PARTITION, some)

    async def recoveries(self) -> Sequence[Noted]:
        """The mailboxes that need a recovery round."""
        rows = await self._tables.query(PARTITION, RECOVERY, RECOVERY + AFTER)
        return [Noted(mailbox=MailboxId(row.row.removeprefix(RECOVERY)), row=row.etag) for row in rows]

    async def recovered(self, noted: Noted) -> None:
        """The round is done, unless the need for one was noted once more since it was read."""
        with suppress(PreconditionError):
            await self._tables.transact(PARTITION, [Delete(RECOVERY + noted.mailbox, noted.row)])


def _order_row(order: Order) -> str:
    return f"{ORDER}{order.signal.value}:{order.mailbox}"


def _values(one: Subscription) -> dict[str, Value]:
    values: dict[str, Value] = {
        "id": one.id,
        "state": one.client_state,
        "since": text_of_time(one.since),
        "expires": text_of_time(one.expires),
        "terms": one.terms,
        "certificate": one.certificate,
        "obstacle": one.obstacle,
        "failures": one.failures,
        "again": text_of_time(one.again),
    }
    if one.former is not None:
        values |= {
            "former_id": one.former.id,
            "former_state": one.former.client_state,
            "former_until": text_of_time(one.former.until),
        }
    return values


def _subscription(stored: Stored) -> Subscription:
    values = stored.values
    return Subscription(
        mailbox=MailboxId(stored.row.removeprefix(KNOWN)),
        id=str(values["id"]),
        client_state=str(values["state"]),
        since=time_of(values["since"]),
        expires=time_of(values["expires"]),
        terms=str(values["terms"]),
        certificate=str(values["certificate"]),
        former=Pass(
            id=str(values["former_id"]),
            client_state=str(values["former_state"]),
            until=time_of(values["former_until"]),
        )
        if "former_id" in values
        else None,
        obstacle=str(values["obstacle"]),
        failures=int(values["failures"]),
        again=time_of(values["again"]),
        row=stored.etag,
    )

"""Which mailbox has which subscription, and what has to be done about it. Pure.

Graph tells of changes in a mailbox as long as a *subscription* on it is in force: seven days at most, and one with
resource data a day (Microsoft Graph docs, "subscription resource type"). So subscriptions are renewed well before
their end, each mailbox at its own time. What a subscription tells is believed because it repeats the *client state*, a
secret of this subscription only. It cannot be exchanged in place: a subscription whose secret is old, or that was made
on other terms, is replaced by a new one. What the former one has yet to tell is still believed for a while.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from shared.sync.model import MailboxId

LIFETIME = timedelta(minutes=10_000)
"""What is asked for; the live service takes 10,070 minutes, a little less than its documentation says."""
RICH_LIFETIME = timedelta(minutes=1_400)
"""The same for subscriptions with resource data, of at most 1,440 minutes."""
EARLY, SPREAD = 0.3, 0.15
"""The part of its life that a subscription has left when it is renewed, and by how much mailboxes differ in that."""
SECRET_LIFE = timedelta(days=90)
"""After this time a subscription is replaced, to change its client state."""
LINGER = timedelta(hours=5)
"""How long a former subscription is still believed: Graph repeats what was not taken for four hours."""
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=5), timedelta(hours=6)
"""After how long a mailbox that refused is asked again, for the first time and at most."""
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """The public part of the certificate for which Graph encrypts: its name here, and the base64 of its DER form."""

    id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How subscriptions are to be made: whom they tell (nobody: there are to be none), and for which certificate."""

    url: str
    certificate: Certificate | None = None

    @property
    def text(self) -> str:
        """Changes when what is in force has to be replaced; another certificate is exchanged in place."""
        return f"{self.url} rich" if self.certificate is not None else self.url

    @property
    def lifetime(self) -> timedelta:
        """For how long a subscription is asked for."""
        return LIFETIME if self.certificate is None else RICH_LIFETIME


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What a notification has to show: the `id` of its subscription and its client state. Good `until` then."""

    id: str
    client_state: str = field(repr=False)
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """What is known of a mailbox's subscription.

    Without an `id` none is in force, and `client_state` is that of one about to be made, or made without our knowing.
    `since` is when that secret was drawn, `terms` the text of those it was made on, `certificate` the name of the one
    in use. `former` is the one before it. `obstacle` says in words why the last attempt failed, `failures` how often it
    has, and `again` when the next one is. `row` is the stored row's own version.
    """

    mailbox: MailboxId
    id: str = ""
    client_state: str = field(default="", repr=False)
    since: datetime = LONG_AGO
    expires: datetime = LONG_AGO
    terms: str = ""
    certificate: str = ""
    former: Pass | None = None
    obstacle: str = ""
    failures: int = 0
    again: datetime = LONG_AGO
    row: str = ""

    def passes(self) -> Iterable[Pass]:
        """Everything that a notification about this mailbox may show."""
        if self.id and self.client_state:
            yield Pass(id=self.id, client_state=self.client_state, until=self.expires + LINGER)
        if self.former is not None:
            yield self.former

    def renew_from(self, lifetime: timedelta) -> datetime:
        """When it is renewed: mailboxes differ, so that those subscribed together are not renewed together."""
        share = int.from_bytes(hashlib.sha256(self.mailbox.encode()).digest()[:4]) / 2**32
        return self.expires - lifetime * (EARLY + SPREAD * share)

    def without_id(self, now: datetime) -> Subscription:
        """The same once it has ended: what it has yet to tell is still believed, and the next secret is a new one."""
        if not self.id:
            return self
        former = Pass(id=self.id, client_state=self.client_state, until=now + LINGER)
        return replace(self, id="", client_state="", expires=LONG_AGO, certificate="", former=former)

    def refused(self, why: str, now: datetime) -> Subscription:
        """The same after a failed attempt: each pause is twice as long as the one before."""
        pause = min(FIRST_PAUSE * 2 ** min(self.failures, 10), LONGEST_PAUSE)
        return replace(self, obstacle=why, failures=self.failures + 1, again=now + pause)


class Signal(StrEnum):
    """What Graph tells of a subscription itself (Microsoft Graph docs, "Lifecycle notifications"), in its words."""

    REAUTHORIZE = "reauthorizationRequired"
    REMOVED = "subscriptionRemoved"
    MISSED = "missed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Something that was told of the subscription `id` of a mailbox and has yet to be done; `row` as stored."""

    mailbox: MailboxId
    signal: Signal
    id: str
    row: str = ""


class Step(StrEnum):
    """What is done about a mailbox's subscription."""

    CREATE = "create"
    RENEW = "renew"
    REPLACE = "replace"
    DELETE = "delete"


def plan(
    known: Mapping[MailboxId, Subscription],
    mailboxes: Iterable[MailboxId],
    orders: Iterable[Order],
    terms: Terms,
    now: datetime,
) -> list[tuple[Step, Subscription]]:
    """What has to be done when `known` is stored, `mailboxes` are synced and `orders` wait; the most urgent first."""
    wanted = frozenset(mailboxes) if terms.url else frozenset[MailboxId]()
    told = {(order.mailbox, order.signal, order.id) for order in orders}
    steps: list[tuple[Step, Subscription]] = []
    for mailbox in sorted(wanted | known.keys()):
        one = known.get(mailbox, Subscription(mailbox=mailbox))
        signals = frozenset(signal for signal in Signal if (mailbox, signal, one.id) in told)
        step = _step(one, signals, terms, now) if mailbox in wanted else _end(one, now)
        if step is not None:
            steps.append((step, one))
    return sorted(steps, key=lambda found: (found[0] is Step.DELETE, found[1].expires))


def _step(one: Subscription, signals: frozenset[Signal], terms: Terms, now: datetime) -> Step | None:
    if now < one.again:
        return None
    if not one.id or one.expires <= now or Signal.REMOVED in signals:
        return Step.CREATE
    if one.terms != terms.text or now - one.since >= SECRET_LIFE:
        return Step.REPLACE
    has_certificate = terms.certificate is None or one.certificate == terms.certificate.id
    is_due = one.renew_from(terms.lifetime) <= now or Signal.REAUTHORIZE in signals
    return None if has_certificate and not is_due else Step.RENEW


def _end(one: Subscription, now: datetime) -> Step | None:
    """One that has expired by itself needs no leave to go."""
    return Step.DELETE if now >= min(one.again, one.expires) else None

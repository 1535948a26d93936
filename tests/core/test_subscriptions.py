"""What has to be done about a mailbox's subscription, as a table."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.sync.model import MailboxId
from shared.sync.subscriptions import (
    FIRST_PAUSE,
    LIFETIME,
    LINGER,
    LONG_AGO,
    LONGEST_PAUSE,
    RICH_LIFETIME,
    SECRET_LIFE,
    Certificate,
    Order,
    Pass,
    Signal,
    Step,
    Subscription,
    Terms,
    plan,
)

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ALICE = MailboxId("a11ce")
PLAIN = Terms(url="https://app.example")
OLD, NEW = (Certificate(id=name, text=f"of {name}") for name in ("old", "new"))
RICH = Terms(url="https://app.example", certificate=NEW)
NOBODY = Terms(url="")
FINE = Subscription(
    mailbox=ALICE,
    id="s1",
    client_state="secret",
    since=NOW - timedelta(days=1),
    expires=NOW + LIFETIME,
    terms=PLAIN.text,
    row="r",
)
RICH_ONE = replace(FINE, expires=NOW + RICH_LIFETIME, terms=RICH.text, certificate="new")
DUE = replace(FINE, expires=NOW + LIFETIME * 0.3)
LATER, BEFORE = NOW + timedelta(minutes=1), NOW - timedelta(minutes=1)


def told(signal: Signal, id_: str = "s1") -> tuple[Order, ...]:
    return (Order(mailbox=ALICE, signal=signal, id=id_, row="r"),)


@pytest.mark.parametrize(
    ("known", "is_synced", "orders", "terms", "step"),
    [
        pytest.param(None, True, (), PLAIN, Step.CREATE, id="nothing known"),
        pytest.param(FINE, True, (), PLAIN, None, id="in force"),
        pytest.param(DUE, True, (), PLAIN, Step.RENEW, id="near its end"),
        pytest.param(replace(FINE, expires=NOW), True, (), PLAIN, Step.CREATE, id="expired"),
        pytest.param(replace(FINE, id=""), True, (), PLAIN, Step.CREATE, id="made without our knowing, perhaps"),
        pytest.param(FINE, True, told(Signal.REAUTHORIZE), PLAIN, Step.RENEW, id="challenged"),
        pytest.param(FINE, True, told(Signal.REMOVED), PLAIN, Step.CREATE, id="removed"),
        pytest.param(FINE, True, told(Signal.REMOVED, "s0"), PLAIN, None, id="a former one was removed"),
        pytest.param(FINE, True, told(Signal.REAUTHORIZE, "s0"), PLAIN, None, id="a former one was challenged"),
        pytest.param(FINE, True, (), replace(PLAIN, url="https://b.example"), Step.REPLACE, id="the app moved"),
        pytest.param(FINE, True, (), RICH, Step.REPLACE, id="data are wanted now"),
        pytest.param(RICH_ONE, True, (), PLAIN, Step.REPLACE, id="data are not wanted any more"),
        pytest.param(RICH_ONE, True, (), RICH, None, id="with data, in force"),
        pytest.param(replace(RICH_ONE, certificate="old"), True, (), RICH, Step.RENEW, id="another certificate"),
        pytest.param(replace(FINE, since=NOW - SECRET_LIFE), True, (), PLAIN, Step.REPLACE, id="an old secret"),
        pytest.param(replace(FINE, id="", again=LATER), True, (), PLAIN, None, id="refused lately"),
        pytest.param(replace(FINE, id="", again=BEFORE), True, (), PLAIN, Step.CREATE, id="refused a while ago"),
        pytest.param(replace(DUE, again=LATER), True, (), PLAIN, None, id="refused to be renewed lately"),
        pytest.param(FINE, False, (), PLAIN, Step.DELETE, id="not synced any more"),
        pytest.param(replace(FINE, again=LATER), False, (), PLAIN, None, id="refused to be deleted lately"),
        pytest.param(replace(FINE, expires=BEFORE, again=LATER), False, (), PLAIN, Step.DELETE, id="ended by itself"),
        pytest.param(replace(FINE, id="", expires=LONG_AGO), False, (), PLAIN, Step.DELETE, id="a note of a refusal"),
        pytest.param(FINE, True, (), NOBODY, Step.DELETE, id="nobody is to be told any more"),
        pytest.param(None, True, (), NOBODY, None, id="nobody is to be told"),
    ],
)
def test_what_is_done(
    known: Subscription | None, orders: tuple[Order, ...], terms: Terms, step: Step | None, *, is_synced: bool
) -> None:
    stored = {} if known is None else {ALICE: known}
    found = plan(stored, [ALICE] if is_synced else [], orders, terms, NOW)
    assert found == ([] if step is None else [(step, known or Subscription(mailbox=ALICE))])


def test_what_is_missing_comes_first_and_what_is_superfluous_last() -> None:
    mailboxes = [MailboxId(name) for name in "abcd"]
    known = {
        mailboxes[0]: replace(DUE, mailbox=mailboxes[0]),
        mailboxes[1]: replace(DUE, mailbox=mailboxes[1], expires=NOW + timedelta(hours=1)),
        mailboxes[3]: replace(FINE, mailbox=mailboxes[3], expires=NOW + timedelta(minutes=1)),
    }
    found = plan(known, mailboxes[:3], (), PLAIN, NOW)
    assert [(step, one.mailbox) for step, one in found] == [
        (Step.CREATE, "c"),
        (Step.RENEW, "b"),
        (Step.RENEW, "a"),
        (Step.DELETE, "d"),
    ]


@pytest.mark.parametrize(("lifetime", "hours"), [(LIFETIME, 24), (RICH_LIFETIME, 3.4)])
def test_renewals_of_subscriptions_made_together_are_spread(lifetime: timedelta, hours: float) -> None:
    expires = NOW + lifetime
    times = sorted(
        replace(FINE, mailbox=MailboxId(f"m{number}"), expires=expires).renew_from(lifetime) for number in range(1000)
    )
    assert times[-1] - times[0] > timedelta(hours=hours)
    assert NOW + lifetime * 0.55 < times[0]
    assert times[-1] < expires - lifetime * 0.3
    busiest = max(sum(start <= time < start + timedelta(minutes=30) for time in times) for start in times)
    assert busiest < 1000 * 0.5 / hours * 2


def test_a_mailbox_that_refuses_is_asked_ever_less_often() -> None:
    one, now, pauses = FINE, NOW, []
    for _ in range(12):
        one = one.refused("no", now)
        pauses.append(one.again - now)
        now = one.again
    assert pauses[:3] == [FIRST_PAUSE, FIRST_PAUSE * 2, FIRST_PAUSE * 4]
    assert pauses[-1] == LONGEST_PAUSE


def test_two_secrets_are_good_while_one_is_exchanged() -> None:
    ended = FINE.without_id(NOW)
    assert (ended.id, ended.client_state) == ("", "")
    again = replace(ended, id="s2", client_state="other", expires=NOW + LIFETIME)
    assert list(again.passes()) == [
        Pass(id="s2", client_state="other", until=NOW + LIFETIME + LINGER),
        Pass(id="s1", client_state="secret", until=NOW + LINGER),
    ]
    assert list(Subscription(mailbox=ALICE).passes()) == []


def test_no_secret_shows() -> None:
    assert "secret" not in repr((FINE, *FINE.passes()))

"""Whatever arrives in whatever order, and whatever breaks: the laws of envelopes and mailboxes hold."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import BookingSyncError, NotSentError, OutcomeUnknownError
from shared.http import HttpResponse
from tests.simulation.loop import run
from tests.wire.exchange import Answered, Client, Exchange, Sent, answer


@dataclass(frozen=True)
class Arrival:
    after: float
    mailbox: int
    method: str
    is_urgent: bool
    seconds: float


ARRIVALS = st.lists(
    st.builds(
        Arrival,
        after=st.sampled_from([0, 0, 0, 0, 0.01, 0.2, 1]),
        mailbox=st.one_of(st.just(0), st.just(0), st.integers(0, 12)),
        method=st.sampled_from(["POST", "PATCH", "GET"]),
        is_urgent=st.sampled_from([False, False, False, True]),
        seconds=st.sampled_from([0.0, 0.1, 0.33, 0.33, 3]),
    ),
    max_size=120,
)


LOST: list[HttpResponse | BookingSyncError] = [
    OutcomeUnknownError("no answer"),
    HttpResponse(status=502, body=b"<html/>"),
    answer(504),
]
"""What may come whether or not anything was done."""
REFUSED: list[HttpResponse | BookingSyncError] = [
    NotSentError("no connection"),
    answer(429, retry_after="1.5"),
    answer(401),
    answer(400),
]
"""What says that nothing was done."""


class Weather:
    """Breaks so many of all requests, in a way of its own each time, before or after the work is done."""

    def __init__(self, seed: int, share: float) -> None:
        self._random = Random(seed)
        self._share = share

    def before(self, _sent: Sent) -> HttpResponse | BookingSyncError | None:
        return self._random.choice(LOST + REFUSED) if self._random.random() < self._share / 2 else None

    def after(self, answers: list[Answered]) -> object:
        if self._random.random() >= self._share / 2:
            return answers
        unreadable = HttpResponse(status=200, body=b"<html/>")
        return self._random.choice([*LOST, unreadable, answers[1:], [*answers, answers[0]], [None, *answers]])


@settings(max_examples=150, deadline=None)
@given(
    arrivals=ARRIVALS,
    most=st.integers(1, 16),
    bears=st.sampled_from([4, 4, 4, 2]),
    trouble=st.sampled_from([0.0, 0.0, 0.3]),
    seed=st.integers(0, 1000),
)
def test_r2_r12_the_laws_of_envelopes_hold(
    arrivals: list[Arrival], most: int, bears: int, trouble: float, seed: int
) -> None:
    async def story() -> None:
        weather = Weather(seed, trouble)
        names = {f"m{one.mailbox}/{number}": one for number, one in enumerate(arrivals)}
        exchange = Exchange(
            seconds=lambda name: names[name].seconds, bears=bears, before=weather.before, spoil=weather.after
        )
        client = Client(exchange, most=most)

        async def issue(name: str, one: Arrival, at: float) -> object:
            await asyncio.sleep(at)
            issued.append(name)
            try:
                return await client.call(name, one.method, is_urgent=one.is_urgent)
            except BookingSyncError as error:
                return error

        at, tasks, issued = 0.0, [], list[str]()
        for name, one in names.items():
            at += one.after
            tasks.append(issue(name, one, at))
        ends = dict(zip(names, await asyncio.gather(*tasks), strict=True))
        holds_for_requests(exchange, names, most)
        holds_for_operations(exchange, names, ends)
        if trouble == 0 and exchange.refused == 0:
            nobody_overtakes(exchange, names, issued)

    run(story())


def holds_for_requests(exchange: Exchange, names: dict[str, Arrival], most: int) -> None:
    assert exchange.most_open <= most
    for sent in exchange.sent:
        assert len(sent.names) <= 20
        if any(names[name].is_urgent for name in sent.names):
            assert len(sent.names) <= 4
        elif len(sent.mailboxes) > 1:
            assert max(sent.mailboxes.values()) <= 3
        elif len(sent.names) > 3:
            assert len(sent.names) >= 8
    for sent in exchange.sent:
        under_way = [other for other in exchange.sent if other.at <= sent.at < other.until]
        for mailbox in sent.mailboxes:
            loads = [other.mailboxes[mailbox] for other in under_way if mailbox in other.mailboxes]
            assert sum(loads) <= 4 or len(loads) == 1, "a dedicated load is alone"


def holds_for_operations(exchange: Exchange, names: dict[str, Arrival], ends: dict[str, object]) -> None:
    times_sent = Counter(name for sent in exchange.sent for name in sent.names)
    times_done = Counter(exchange.done)
    for name, end in ends.items():
        match end:
            case str():
                assert end == name
                assert times_done[name] >= 1
            case NotSentError():
                assert names[name].method != "POST" or times_done[name] == 0
            case OutcomeUnknownError():
                assert names[name].method == "POST"
        if names[name].method == "POST":
            assert times_done[name] <= 1, "what may have happened is not repeated"
        assert times_sent[name] <= 11


def nobody_overtakes(exchange: Exchange, names: dict[str, Arrival], issued: list[str]) -> None:
    """Within a mailbox, but for those who are urgent."""
    for is_urgent in (False, True):
        left = [name for sent in exchange.sent for name in sent.names if names[name].is_urgent is is_urgent]
        for mailbox in {name.partition("/")[0] for name in left}:
            places = [issued.index(name) for name in left if name.startswith(f"{mailbox}/")]
            assert places == sorted(places)

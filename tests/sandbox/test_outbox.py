"""Posts that services send by themselves: laws of the box that all of them go through."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from sandbox.clock import Clock
from sandbox.cloud import Cloud
from sandbox.delivery import Delivery
from sandbox.faults import Rule
from sandbox.http import Request, Response
from sandbox.outbox import Outbox, Parcel
from tests.simulation.loop import run

START = datetime(2026, 3, 1, 8, tzinfo=UTC)


class Letter(NamedTuple):
    number: int
    wait: int | None


class Letters(Outbox[Letter]):
    """Sends numbers."""

    def __init__(self, cloud: Cloud, in_flight: int) -> None:
        super().__init__(cloud, "letter", Delivery(cloud.settings, "letter", waits="x", in_flight=in_flight))

    def address(self, post: Letter) -> tuple[str, str]:
        return f"/{post.number}", ""

    async def deliver(self, post: Letter, rule: Rule | None) -> None:
        request = Request(method="POST", path=f"/{post.number}")
        await self.attempt(post, Parcel(request=request, seconds=60, tags={}), rule)


def a_cloud(*, takes: float) -> tuple[Cloud, list[tuple[int, float]], list[int]]:
    """A cloud whose receiver answers after some seconds, what arrived when, and how many were on their way at once."""
    cloud = Cloud(clock=Clock(START), seed=1)
    arrived: list[tuple[int, float]] = []
    at_once, now = [0], 0

    async def send(request: Request, _seconds: float) -> Response:
        nonlocal now
        now += 1
        at_once.append(now)
        arrived.append((int(request.path[1:]), (cloud.clock.now() - START).total_seconds()))
        await asyncio.sleep(takes)
        now -= 1
        return Response(status=200)

    cloud.send = send
    return cloud, arrived, at_once


@given(
    waits=st.lists(st.none() | st.integers(0, 50), max_size=20),
    pauses=st.lists(st.integers(0, 20), min_size=20, max_size=20),
    effects=st.lists(st.sampled_from(["hold", "reorder", "duplicate"]), max_size=8),
    in_flight=st.integers(1, 4),
    takes=st.sampled_from([0.0, 0.1, 7.0]),
    shuffle=st.booleans(),
)
def test_every_post_arrives_once_when_it_is_due_and_not_too_many_at_once(
    *,
    waits: list[int | None],
    pauses: list[int],
    effects: list[str],
    in_flight: int,
    takes: float,
    shuffle: bool,
) -> None:
    async def law() -> None:
        cloud, arrived, at_once = a_cloud(takes=takes)
        letters = Letters(cloud, in_flight)
        letters.delivery.shuffle = shuffle
        cloud.faults.add([{"service": "letter", "do": effect} for effect in effects])
        due: dict[int, float] = {}
        for number, wait in enumerate(waits):
            now = (cloud.clock.now() - START).total_seconds()
            due[number] = now + (wait or 0)
            letters.put(Letter(number, wait), None if wait is None else START + timedelta(seconds=due[number]))
            await asyncio.sleep(pauses[number])
        await letters.quiet()
        assert letters.counts["waiting"] == letters.counts["under_way"] == 0
        assert letters.counts["held"] == letters.release()
        await letters.quiet()
        times = Counter(number for number, _ in arrived)
        assert set(times) == set(due)
        doubled = sum(rule.hits for rule in cloud.faults.rules if rule.do == "duplicate")
        assert sum(times.values()) == len(due) + doubled
        assert all(when >= due[number] for number, when in arrived)
        assert max(at_once) <= in_flight

    run(law())


@given(waits=st.lists(st.integers(0, 50), max_size=20))
def test_posts_leave_in_the_order_in_which_they_are_due(waits: list[int]) -> None:
    async def law() -> None:
        cloud, arrived, _ = a_cloud(takes=0)
        letters = Letters(cloud, 1)
        for number, wait in enumerate(waits):
            letters.put(Letter(number, wait), START + timedelta(seconds=wait))
        await letters.quiet()
        assert [number for number, _ in arrived] == sorted(
            range(len(waits)), key=lambda number: (waits[number], number)
        )
        assert [when for _, when in arrived] == sorted(waits)

    run(law())


def test_a_clock_that_is_pushed_forward_lets_them_go() -> None:
    async def story() -> None:
        cloud, arrived, _ = a_cloud(takes=0)
        letters = Letters(cloud, 1)
        for number in range(3):
            letters.put(Letter(number, 0), START + timedelta(days=1 + number))
        await asyncio.sleep(1)
        cloud.clock.advance(timedelta(days=2, hours=1))
        await asyncio.sleep(1)
        assert [number for number, _ in arrived] == [0, 1]
        assert letters.counts == {"waiting": 1, "under_way": 0, "held": 0}
        await letters.close()
        assert letters.counts == {"waiting": 0, "under_way": 0, "held": 0}

    run(story())


def test_a_post_that_is_put_behind_the_others_comes_last() -> None:
    async def story() -> None:
        cloud, arrived, _ = a_cloud(takes=0)
        letters = Letters(cloud, 1)
        cloud.faults.add({"service": "letter", "do": "reorder"})
        for number in range(4):
            letters.put(Letter(number, 0), START + timedelta(seconds=number))
        await letters.quiet()
        assert [number for number, _ in arrived] == [1, 2, 3, 0]

    run(story())


def test_what_was_sent_can_be_sent_again_but_not_what_was_lost() -> None:
    async def story() -> None:
        cloud, arrived, _ = a_cloud(takes=0)
        letters = Letters(cloud, 1)
        cloud.faults.add([{"service": "letter", "do": "lose"}, {"service": "letter", "do": "duplicate"}])
        for number in range(4):
            letters.put(Letter(number, None))
        await letters.quiet()
        for order, expected in (("same", [1, 2, 3]), ("reversed", [3, 2, 1])):
            arrived.clear()
            assert letters.repeat(order) == 3
            await letters.quiet()
            assert [number for number, _ in arrived] == expected

    run(story())

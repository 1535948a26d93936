"""The loop that all simulations stand on."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.simulation.loop import StuckError, run


def test_r12_days_pass_in_no_time() -> None:
    async def wait() -> float:
        await asyncio.sleep(7 * 24 * 3600)
        return asyncio.get_running_loop().time()

    began = time.monotonic()
    assert run(wait()) == 7 * 24 * 3600
    assert time.monotonic() - began < 5


def test_r12_the_order_is_the_timers_order() -> None:
    async def race() -> list[int]:
        order: list[int] = []

        async def after(seconds: int) -> None:
            await asyncio.sleep(seconds)
            order.append(seconds)

        await asyncio.gather(*(after(seconds) for seconds in (3, 1, 2)))
        return order

    assert run(race()) == [1, 2, 3]


def test_waiting_for_nothing_is_an_error() -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    with pytest.raises(StuckError):
        run(wait())

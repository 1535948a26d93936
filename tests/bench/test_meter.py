"""Every step is charged to the side that it belongs to, wherever it runs."""

from __future__ import annotations

import asyncio

import pytest

from bench.meter import Meter
from tests.simulation.loop import run


class Work:
    """CPU time that passes only while somebody works."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    async def do(self, seconds: float) -> None:
        """Work in two steps, with a pause in between in which others work."""
        self.time += seconds / 2
        await asyncio.sleep(1)
        self.time += seconds / 2


def test_steps_are_charged_to_the_side_that_started_them() -> None:
    async def story() -> None:
        work = Work()
        meter = Meter(work.now)
        meter.watch(asyncio.get_running_loop())

        async def service() -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(work.do(10))
                tasks.create_task(meter.at_border("app", work.do)(200))
            await work.do(20)

        await asyncio.gather(work.do(1), meter.charged("services", service()), work.do(2))
        assert meter.of("app") == 203
        assert meter.of("services") == 30
        meter.reset()
        assert (meter.of("app"), meter.of("services")) == (0, 0)

    run(story())


def test_a_cancellation_reaches_the_work() -> None:
    async def story() -> None:
        work = Work()
        meter = Meter(work.now)
        task = asyncio.create_task(meter.charged("services", work.do(10)))
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert meter.of("services") == 5

    run(story())

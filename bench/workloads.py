"""What is measured: each workload gives its figures by their names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from bench.meter import Meter
from tests.simulation.burst import backlog, known, people, seconds, spent
from tests.simulation.loop import run
from tests.simulation.planner import Planner
from tests.simulation.world import World, world

CHANGES = 1000
PEOPLE = 20
CPU = "CPU seconds per 1,000 changes"

type Figures = dict[str, float]


def new_bookings() -> Figures:
    """1,000 new bookings of 20 people, posted one by one while nobody works, then worked off."""

    async def book(now: World, planner: Planner) -> None:
        for number in range(CHANGES // PEOPLE):
            for person in people(now, PEOPLE):
                await planner.book(person, name=f"Booking {number}")

    return run(_measured(book))


async def _measured(changes: Callable[[World, Planner], Coroutine[Any, Any, None]]) -> Figures:
    meter = Meter()
    meter.watch(asyncio.get_running_loop())
    async with world() as now:
        _divide(now, meter)
        planner = Planner(now)
        await known(now, planner, people(now, PEOPLE))
        now.cloud.settings.change({"graph.latency": "realistic", "dataverse.latency": "realistic"})
        meter.reset()
        await backlog(now, meter.charged("services", changes(now, planner)))
        figures = {CPU: meter.of("app") * 1000 / CHANGES, "virtual seconds": seconds(now)}
        for service in ("graph", "dataverse"):
            http, logical = spent(now, service)
            figures[f"{service}: HTTP requests per change"] = http / CHANGES
            figures[f"{service}: operations per change"] = logical / CHANGES
        return figures


def _divide(now: World, meter: Meter) -> None:
    """What the simulators do is theirs, and what a post makes the app do is the app's."""
    now.cloud.send = meter.at_border("app", now.cloud.send)
    now.network.send = meter.at_border("services", now.network.send)  # type: ignore[method-assign]
    for service in now.cloud.services.values():
        service.handle = meter.at_border("services", service.handle)  # type: ignore[method-assign]


WORKLOADS: Mapping[str, Callable[[], Figures]] = {"new bookings": new_bookings}

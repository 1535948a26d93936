"""Two functions hosts on one storage: both get posts, both are woken, the timers of both run."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from datetime import timedelta

from sandbox.functions.process import HostProcess
from sandbox.http import Request, Response
from sandbox.seed import PEOPLE
from sandbox.up import Up
from tests.system.burst import Burst

MANY = 100


def share_posts(up: Up, hosts: list[HostProcess]) -> None:
    """Let the hosts take turns, as behind a load balancer."""
    turns, send = itertools.cycle(hosts), up.simulators.cloud.send

    async def send_to_the_next(request: Request, seconds: float) -> Response:
        return await send(replace(request, base=next(turns).url), seconds)

    up.simulators.cloud.send = send_to_the_next


async def run_on_all(hosts: list[HostProcess], *timers: str) -> None:
    await asyncio.gather(*(host.run_function(name) for host in hosts for name in timers))


async def test_two_hosts_leave_one_event_for_each_booking() -> None:
    async with Up() as up, up.client() as client:
        hosts = [up.functions, await up.scale_out()]
        share_posts(up, hosts)
        up.simulators.cloud.settings.change({"webhook.in_flight": 8, "webhook.shuffle": True})
        burst = Burst(up, client)
        await burst.book(MANY)
        for number, visit in enumerate(list(burst.visits.values())):
            match number % 5:
                case 0:
                    await burst.move(visit, timedelta(hours=1))
                case 1:
                    await burst.reassign(visit, PEOPLE[number % 7])
                case 2:
                    await burst.cancel(visit)
        await run_on_all(hosts, "pull_dataverse", "wake_idle")
        async with asyncio.timeout(60):
            await up.quiet()
        await burst.check()
        for host in hosts:
            said = host.log.read_text()
            for name in ("dataverse_changes", "drain", "pull_dataverse", "wake_idle"):
                assert f"Executed 'Functions.{name}' (Succeeded)" in said

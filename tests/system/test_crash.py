"""The functions host is killed in the middle of a burst, and the next one takes up what it left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
import pytest_asyncio

from sandbox.up import Up
from tests.system.burst import CREATES, Burst

pytestmark = pytest.mark.asyncio(loop_scope="module")

MANY = 100
SOME = 30
PATIENCE = 120.0

type Moment = Callable[[Up, Burst], Coroutine[Any, Any, None]]
"""Books a burst and kills the functions host in it."""


async def kill_when_some_events_exist(up: Up, burst: Burst) -> None:
    while burst.created() < SOME:
        await up.simulators.cloud.recorder.wait_for_traffic(1)
    await up.kill_functions_host()
    assert SOME <= burst.created() < MANY


async def while_events_are_made(up: Up, burst: Burst) -> None:
    """All posts are in. Some events exist, some will in a moment unheard, of the rest Graph refused to hear."""
    cloud = up.simulators.cloud
    cloud.settings.change({"webhook.in_flight": 8})
    slow, refused = {"do": "delay", "seconds": 2, "times": 2 * SOME}, {"do": "refuse", "times": None}
    rules = cloud.faults.add([{**CREATES, **slow}, {**CREATES, **refused}])
    await burst.book(MANY)
    await up.simulators.dataverse.webhooks.quiet()
    await kill_when_some_events_exist(up, burst)
    for rule in rules:
        rule.times = 0
    await up.start_functions_host()


async def while_posts_arrive(up: Up, burst: Burst) -> None:
    """Some posts are in. What Dataverse posts from now on finds nobody and is lost, so Dataverse has to be asked."""
    booking = asyncio.create_task(burst.book(MANY))
    await kill_when_some_events_exist(up, burst)
    await booking
    await up.simulators.dataverse.webhooks.quiet()
    posts = [call for call in up.simulators.cloud.recorder.calls if call.service == "webhook"]
    assert 0 < len([post for post in posts if post.status == 0]) < MANY
    await up.start_functions_host()
    await up.functions.run_function("pull_dataverse")


MOMENTS: list[Moment] = [while_events_are_made, while_posts_arrive]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def crashes() -> AsyncIterator[dict[Moment, asyncio.Task[None]]]:
    """All crashes, side by side: each of them waits for the leases of a dead host, forty seconds long."""

    async def crash(moment: Moment) -> None:
        async with Up() as up, up.client() as client:
            burst = Burst(up, client)
            await moment(up, burst)
            async with asyncio.timeout(PATIENCE):
                await up.quiet()
            await burst.check()

    running = {moment: asyncio.create_task(crash(moment)) for moment in MOMENTS}
    yield running
    for task in running.values():
        task.cancel()
    await asyncio.gather(*running.values(), return_exceptions=True)


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_killed_host_leaves_one_event_for_each_booking(
    crashes: dict[Moment, asyncio.Task[None]], moment: Moment
) -> None:
    await crashes[moment]

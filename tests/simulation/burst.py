"""Many changes at once, and what they cost."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import timedelta

from tests.simulation.planner import TOMORROW, Planner
from tests.simulation.world import World


def people(now: World, number: int) -> Sequence[str]:
    """So many of those who have a mailbox."""
    return [name for name, person in now.contoso.people.items() if person.account.has_mailbox][:number]


async def known(now: World, planner: Planner, persons: Sequence[str]) -> None:
    """Let the app know where the bookings of these resources go."""
    for person in persons:
        await planner.book(person, name="Known", start=TOMORROW + timedelta(days=30))
    await now.settle()


async def backlog(now: World, changes: Awaitable[object]) -> None:
    """Have changes made while nobody works, as after an outage; then all of it is worked off, counted from zero."""
    now.wake = lambda *shards: None  # type: ignore[method-assign]
    await changes
    await now.dataverse.webhooks.quiet()
    del now.wake
    now.cloud.recorder.clear()
    now.wake(*await now.app.inbox.idle_shards_with_work())
    await now.settle()


def spent(now: World, service: str) -> tuple[int, int]:
    """The app's HTTP and logical requests to a service."""
    counts = now.cloud.recorder.counts(app=now.contoso.booking_sync.client_id)[service]
    return counts["http"], counts["logical"]


def seconds(now: World) -> float:
    """Between the first and the last request to Graph."""
    times = [call.at for call in now.cloud.recorder.calls if call.service == "graph"]
    return (times[-1] - times[0]).total_seconds()

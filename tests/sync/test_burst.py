"""R13: what many changes at once cost, over everything but the sockets, with the services' limits in force."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from sandbox.graph.state import Event
from tests.simulation.burst import backlog, known, people, seconds, spent
from tests.simulation.planner import TOMORROW, Planner
from tests.simulation.world import World
from tests.sync.test_one_way import told

type Change = Callable[[Planner, str, str], Awaitable[object]]


def events(now: World) -> list[Event]:
    return [event for person in people(now, 99) for event in now.events(person) if event.content.subject != "Known"]


def refused(now: World) -> int:
    return sum(call.is_refused for call in now.cloud.recorder.calls)


async def create(_planner: Planner, _booking: str, _person: str) -> None:
    """The bookings themselves are the change."""


async def move(planner: Planner, booking: str, _person: str) -> None:
    await planner.move(booking, TOMORROW + timedelta(hours=5))


async def cancel(planner: Planner, booking: str, _person: str) -> None:
    await planner.set_status(booking, "Canceled")


async def reassign(planner: Planner, booking: str, person: str) -> None:
    await planner.assign(booking, person)


@pytest.mark.parametrize("latency", ["none", "realistic"])
@pytest.mark.parametrize(
    ("change", "logical", "http"), [(create, 1, 0.15), (move, 1, 0.15), (cancel, 1, 0.15), (reassign, 2, 0.3)]
)
def test_r13_a_backlog_of_100_over_20_mailboxes(change: Change, logical: int, http: float, latency: str) -> None:
    async def story(now: World, planner: Planner) -> None:
        persons = people(now, 20)
        await known(now, planner, persons)
        now.cloud.settings.change({"graph.latency": latency, "dataverse.latency": latency})
        bookings: list[tuple[str, str]] = []

        async def book() -> None:
            for number in range(5):
                for place, person in enumerate(persons):
                    bookings.append((await planner.book(person, name=f"{number}"), persons[(place + 1) % 20]))

        async def change_all() -> None:
            for booking, other in bookings:
                await change(planner, booking, other)

        await backlog(now, book())
        if change is not create:
            await backlog(now, change_all())
        (graph_http, graph), (dataverse_http, dataverse) = spent(now, "graph"), spent(now, "dataverse")
        assert len(events(now)) == (0 if change is cancel else 100)
        assert graph == 100 * logical
        assert graph_http <= 100 * http
        assert dataverse <= 100
        assert dataverse_http <= 10
        assert refused(now) == 0

    told(story)


def test_r13_500_bookings_of_one_mailbox_are_written_as_fast_as_it_can_be() -> None:
    """Twelve a second, which is what four at once make of the service's time for a write."""

    async def story(now: World, planner: Planner) -> None:
        await known(now, planner, ["alice"])
        now.cloud.settings.change({"graph.latency": "realistic", "dataverse.latency": "realistic"})

        async def book() -> None:
            for number in range(500):
                await planner.book("alice", name=f"{number}")

        await backlog(now, book())
        assert len(events(now)) == 500
        assert 500 / seconds(now) > 11.5
        assert refused(now) == 0
        assert spent(now, "graph")[1] == 500
        assert spent(now, "graph")[0] <= 0.15 * 500
        assert spent(now, "dataverse")[0] <= 0.1 * 500

    told(story)

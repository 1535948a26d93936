"""R13: what many changes at once cost, over everything but the sockets, with the services' limits in force."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from sandbox.graph.events import Event
from tests.simulation.burst import backlog, known, people, seconds, spent
from tests.simulation.planner import TOMORROW, Planner
from tests.simulation.world import World
from tests.sync.test_one_way import told
from tests.sync.test_two_way import LATER, Technician, ask_calendars

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


@pytest.mark.parametrize("pause", [0.0, 0.01, 0.03, 0.06])
def test_r13_100_that_come_one_after_the_other_while_the_app_works(pause: float) -> None:
    async def story(now: World, planner: Planner) -> None:
        persons = people(now, 20)
        await known(now, planner, persons)
        now.cloud.settings.change({"graph.latency": "realistic", "dataverse.latency": {"read": 0.05, "write": 0}})
        now.cloud.recorder.clear()
        for number in range(100):
            await planner.book(persons[number % 20], name=f"{number}")
            await now.clock.sleep(pause)
        await now.settle()
        assert len(events(now)) == 100
        (graph_http, graph), (dataverse_http, _) = spent(now, "graph"), spent(now, "dataverse")
        assert graph == 100
        assert graph_http <= 15
        assert dataverse_http <= 10
        assert refused(now) == 0

    told(story)


@pytest.mark.parametrize("latency", ["none", "realistic"])
def test_r13_100_events_moved_in_outlook_move_their_bookings(latency: str) -> None:
    async def story(now: World, planner: Planner) -> None:
        persons = people(now, 20)
        for number in range(100):
            await planner.book(persons[number % 20], name=f"{number}")
        await now.settle()
        await ask_calendars(now)
        now.cloud.settings.change({"graph.latency": latency, "dataverse.latency": latency})

        async def move_all() -> None:
            for person in persons:
                for event in now.events(person):
                    await Technician(now, person).move(event, LATER, minutes=60)
            await now.app.recovery.round()

        await backlog(now, move_all())
        assert {row.get("starttime") for row in now.dataverse.state.rows("bookableresourcebooking")} == {LATER}
        (graph_http, graph), (dataverse_http, dataverse) = spent(now, "graph"), spent(now, "dataverse")
        assert (graph, dataverse) == (100, 100), "each is one read and one write"
        assert graph_http <= 15
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


# R2: envelopes that break.

BATCH = {"service": "graph", "path": "/v1.0/$batch"}
INSIDE = {"service": "graph", "path": "/v1.0/users/*/events", "inner": True, "times": 10}
LIST = {"service": "dataverse", "method": "GET", "path": "/api/data/v9.2/bookableresourcebookings"}


@pytest.mark.parametrize("memory", [None, 0], ids=["transactionId remembered", "transactionId forgotten"])
@pytest.mark.parametrize(
    "fault",
    [
        {**BATCH, "do": "drop"},
        {**BATCH, "do": "drop_after_commit"},
        {**BATCH, "do": "drop_after_commit", "parts": 7},
        {**BATCH, "do": "fail_after_commit", "status": 503},
        {**BATCH, "do": "fail_after_commit", "status": 504},
        {**BATCH, "do": "html", "status": 502},
        {**BATCH, "do": "html", "status": 200},
        {**BATCH, "do": "refuse", "status": 429, "retry_after": 2.5},
        {**BATCH, "do": "refuse", "status": 401},
        {**BATCH, "do": "refuse", "status": 400},
        {**INSIDE, "do": "refuse", "status": 429, "retry_after": 2.5, "code": "ApplicationThrottled"},
        {**INSIDE, "do": "refuse", "status": 503},
        {**INSIDE, "do": "refuse", "status": 401},
        {**INSIDE, "do": "fail_after_commit", "status": 503, "code": "ConcurrentItemSave"},
        {**INSIDE, "do": "drop_after_commit"},
        {**INSIDE, "do": "html", "status": 502},
        {**LIST, "do": "drop"},
        {**LIST, "do": "html", "status": 200},
        {**LIST, "do": "html", "status": 404},
        {**LIST, "do": "refuse", "status": 429, "retry_after": 2},
        {**LIST, "do": "refuse", "status": 404, "code": "0x80040217"},
    ],
    ids=lambda fault: "-".join(
        str(fault[key]) for key in ("service", "inner", "do", "status", "parts") if key in fault
    ),
)
def test_r2_an_envelope_that_breaks_neither_doubles_nor_loses_an_event(
    fault: dict[str, object], memory: float | None
) -> None:
    async def story(now: World, planner: Planner) -> None:
        persons = people(now, 20)
        await known(now, planner, persons)
        now.cloud.settings.change({"graph.transaction_memory": memory})
        [rule] = now.cloud.faults.add(fault)
        bookings: list[str] = []

        async def book() -> None:
            bookings.extend([await planner.book(person) for person in (*persons, *persons)])

        await backlog(now, book())
        shown = [marker.split(".")[2] for event in events(now) for marker in event.content.properties.values()]
        assert rule.hits == rule.times
        assert sorted(shown) == sorted(bookings)
        assert now.rows("dead") == []

    told(story)

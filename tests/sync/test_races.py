"""Workers and shards that act on one booking at the same time, each on what it has read (R1, R2, R8, R10)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import pytest

from shared.graph.events import CREATE_ANSWER, CREATE_MARGIN
from shared.http import HttpRequest, HttpResponse, Transport
from shared.sync.facts import CREATE_TIME
from shared.tables.tables import Operation
from tests.simulation.planner import TOMORROW, Planner
from tests.simulation.world import World
from tests.sync.test_one_way import only, told


class Gate:
    """Holds back the first fitting call of one app, before it is made or with its answer in hand."""

    def __init__(self, inner: Transport, fits: Callable[[HttpRequest], bool], *, after: bool) -> None:
        """Stand before `inner`."""
        self._inner = inner
        self._fits = fits
        self._after = after
        self.reached = asyncio.Event()
        self.open = asyncio.Event()

    async def send(self, request: HttpRequest) -> HttpResponse:
        """As `Transport.send`."""
        holds = self._fits(request) and not self.reached.is_set()
        if holds and not self._after:
            await self._hold()
        answer = await self._inner.send(request)
        if holds and self._after:
            await self._hold()
        return answer

    async def _hold(self) -> None:
        self.reached.set()
        await self.open.wait()


def hold(now: World, fits: Callable[[HttpRequest], bool], *, after: bool) -> Gate:
    """Put a gate between the app and the services."""
    gate = Gate(now.network, fits, after=after)
    now.app = now.start_app(gate)
    return gate


def test_r10_a_reassign_decided_on_an_outdated_reading_is_taken_back() -> None:
    async def story(now: World, planner: Planner) -> None:
        for person in ("alice", "bob"):
            await planner.book(person, name="Other", start=TOMORROW + timedelta(days=5))
        booking = await planner.book("alice")
        await now.settle()
        gate = hold(now, lambda request: request.method == "GET" and booking in request.url, after=True)
        await planner.assign(booking, "bob")
        await gate.reached.wait()
        await planner.assign(booking, "alice")
        await now.clock.sleep(5)
        gate.open.set()
        await now.settle()
        subjects = {person: [event.content.subject for event in now.events(person)] for person in ("alice", "bob")}
        assert sorted(subjects["alice"]) == ["Boiler service", "Other"]  # type: ignore[type-var]
        assert subjects["bob"] == ["Other"]

    told(story)


@pytest.mark.parametrize("memory", [None, 0], ids=["transactionId remembered", "transactionId forgotten"])
@pytest.mark.parametrize("end", ["nothing", "move", "cancel", "delete"])
@pytest.mark.parametrize("after", [False, True], ids=["before the POST", "with its answer in hand"])
def test_r2_a_worker_that_freezes_at_its_create_doubles_nothing(*, memory: float | None, end: str, after: bool) -> None:
    """Another worker takes over and ends the work; then the first one thaws."""

    async def story(now: World, planner: Planner) -> None:
        await planner.book("alice", name="Other", start=TOMORROW + timedelta(days=5))
        await now.settle()
        now.cloud.settings.change({"graph.transaction_memory": memory})
        gate = hold(now, lambda request: request.method == "POST" and request.url.endswith("/events"), after=after)
        booking = await planner.book("alice")
        await gate.reached.wait()
        frozen = set(now.running)
        now.running.clear()
        now.app = now.start_app()
        match end:
            case "move":
                await planner.move(booking, TOMORROW + timedelta(hours=3))
            case "cancel":
                await planner.set_status(booking, "Canceled")
            case "delete":
                await planner.delete(booking)
        await now.settle()
        gate.open.set()
        await asyncio.gather(*frozen)
        await now.settle()
        events = [event for event in now.events("alice") if event.content.subject == "Boiler service"]
        assert len(events) == (0 if end in ("cancel", "delete") else 1)
        if end == "move":
            assert only(events).content.start.at == TOMORROW + timedelta(hours=3)

    told(story)


@pytest.mark.parametrize("seconds", [7, 9, 3600])
def test_r2_a_create_leaves_soon_after_its_intent_or_never(seconds: int) -> None:
    """Others wait for `CREATE_TIME` from the intent on: whatever comes in between, and however often it is tried."""

    async def story(now: World, planner: Planner) -> None:
        await planner.book("alice", name="Other", start=TOMORROW + timedelta(days=5))
        await now.settle()
        now.cloud.recorder.clear()
        transact, noted = now.tables.transact, list[datetime]()

        async def slow(partition: str, operations: Sequence[Operation]) -> Sequence[str]:
            etags = await transact(partition, operations)
            if any(
                write.row.startswith("link:") and "event" not in getattr(write, "values", {}) for write in operations
            ):
                noted.append(now.clock.now())
                if len(noted) == 1:
                    await now.clock.sleep(seconds)
            return etags

        now.tables.transact = slow  # type: ignore[method-assign]
        await planner.book("alice")
        await now.settle()
        posts = [call.at for call in now.cloud.recorder.calls if (call.service, call.method) == ("graph", "POST")]
        assert posts
        assert len(noted) == (1 if seconds == 7 else 2)
        assert posts[0] - noted[-1] <= CREATE_TIME - CREATE_MARGIN - CREATE_ANSWER
        assert len(now.events("alice")) == 2

    told(story)


@pytest.mark.parametrize("end", ["cancel", "delete"])
def test_r2_a_worker_that_read_a_booking_before_its_end_comes_too_late(end: str) -> None:
    async def story(now: World, planner: Planner) -> None:
        await planner.book("alice", name="Other", start=TOMORROW + timedelta(days=5))
        await now.settle()
        gate = hold(now, lambda request: request.method == "GET" and "dataverse" in request.url, after=True)
        booking = await planner.book("alice")
        await gate.reached.wait()
        frozen = set(now.running)
        now.running.clear()
        now.app = now.start_app()
        await (planner.set_status(booking, "Canceled") if end == "cancel" else planner.delete(booking))
        await now.settle()
        gate.open.set()
        await asyncio.gather(*frozen)
        await now.settle()
        assert [event.content.subject for event in now.events("alice")] == ["Other"]
        assert [row["booking"] for row in now.rows("link")] != [booking]

    told(story)


@pytest.mark.parametrize("remembered", [None, 0])
def test_r2a_a_wiped_table_finds_the_event_by_its_marker(remembered: float | None) -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice")
        await now.settle()
        now.cloud.settings.change({"graph.transaction_memory": remembered})
        was = only(now.events("alice")).item_id
        now.tables.clear()
        now.restart()
        await planner.move(booking, TOMORROW + timedelta(hours=3))
        await now.settle()
        event = only(now.events("alice"))
        assert (event.item_id, event.content.start.at) == (was, TOMORROW + timedelta(hours=3))
        await planner.delete(booking)
        await now.settle()
        assert now.events("alice") == []

    told(story)


def test_r9_a_persons_copy_is_neither_adopted_nor_deleted() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice")
        await now.settle()
        alice, event = now.contoso.account("alice").id, only(now.events("alice"))
        [(name, marker)] = event.content.properties.items()
        copy = {
            "subject": "My copy",
            "start": {"dateTime": "2026-12-01T09:00:00", "timeZone": "UTC"},
            "end": {"dateTime": "2026-12-01T10:00:00", "timeZone": "UTC"},
            "singleValueExtendedProperties": [{"id": name, "value": marker}],
        }
        status, _, _ = await now.call_graph("POST", f"/users/{alice}/events", copy)
        assert status == 201
        now.tables.clear()
        now.restart()
        await planner.move(booking, TOMORROW + timedelta(hours=3))
        await now.settle()
        await planner.delete(booking)
        await now.settle()
        assert [left.content.subject for left in now.events("alice")] == ["My copy"]

    told(story)


@pytest.mark.parametrize("status", [404, 502])
def test_r3_a_gateways_page_is_no_proof_of_anything(status: int) -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice")
        await now.settle()
        app = now.contoso.booking_sync.client_id
        for service in ("dataverse", "graph"):
            now.cloud.faults.add({"service": service, "app": app, "do": "html", "status": status, "times": 1})
        await planner.move(booking, TOMORROW + timedelta(hours=3))
        await now.settle()
        event = only(now.events("alice"))
        assert event.content.start.at == TOMORROW + timedelta(hours=3)
        assert next(iter(event.content.properties.values())).endswith(".1")

    told(story)


def test_r3_an_event_in_deleted_items_that_can_still_be_read_is_gone() -> None:
    async def story(now: World, planner: Planner) -> None:
        now.cloud.settings.change({"graph.deleted_events_readable": True})
        booking = await planner.book("alice")
        await now.settle()
        alice, event = now.contoso.account("alice").id, only(now.events("alice"))
        await now.call_graph("DELETE", f"/users/{alice}/events/{event.folder_id}")
        await planner.move(booking, TOMORROW + timedelta(hours=3))
        await now.settle()
        assert only(now.events("alice")).content.start.at == TOMORROW + timedelta(hours=3)

    told(story)

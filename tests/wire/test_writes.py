"""Many bookings written at once: each stands or falls for itself, and nothing is ever written over a newer row."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.dataverse.operations import Operation
from sandbox.dataverse.pipeline import Pipeline, PluginAborted
from sandbox.dataverse.privileges import Right, Role, privileges
from sandbox.dataverse.schema import Reference
from sandbox.directory import known_id
from sandbox.recorder import Call
from shared.dataverse.bookings import DataverseBookings
from shared.dataverse.envelopes import Envelopes
from shared.dataverse.lanes import Rows
from shared.dataverse.organization import Organization
from shared.dispatch import CROWD, Dispatcher
from shared.errors import (
    BookingSyncError,
    DeniedError,
    GoneError,
    OutcomeUnknownError,
    PreconditionError,
    RefusedError,
    ThrottledError,
    UnavailableError,
)
from shared.http import Caller, HttpRequest, HttpResponse
from shared.sync.model import Booking, BookingChange, BookingId, BookingRow
from tests.simulation.loop import run
from tests.simulation.planner import TOMORROW, Planner
from tests.simulation.world import DATAVERSE, LoginTokens, Scene

TABLE = "bookableresourcebooking"
LATER = BookingChange(start=TOMORROW + timedelta(hours=5), end=TOMORROW + timedelta(hours=7))
BATCH = {"service": "dataverse", "path": "*/$batch"}
ROW = {"service": "dataverse", "method": "PATCH"}


class Desk:
    """The app's own way to the sandbox's Dataverse, where a planner has made `bookings`."""

    def __init__(self, *, settings: dict[str, Any] | None = None) -> None:
        self.scene = Scene()
        self.cloud, self.dataverse, self.contoso = self.scene.cloud, self.scene.dataverse, self.scene.contoso
        self.cloud.settings.change(settings or {})
        self.planner = Planner(self.scene)
        self.sent: list[HttpRequest] = []
        self.written: Counter[str] = Counter()
        self.dataverse.plugins.append(self._count)
        clock, app = self.cloud.clock, self.contoso.booking_sync
        tokens = LoginTokens(self.scene.network, self.scene.directory.tenant_id, app, clock)
        lanes = Dispatcher(self, lanes=Rows(), form=Envelopes(), clock=clock)
        scope = f"{DATAVERSE}/.default"
        caller = Caller(base=DATAVERSE, scope=scope, transport=lanes, tokens=tokens, clock=clock, random=Random(1))
        organization = Organization(caller, self.contoso.organization_id)
        self.bookings = DataverseBookings(caller, organization=organization, mailboxes={})

    def _count(self, operation: Operation, _pipeline: Pipeline) -> None:
        if operation.message == "Update":
            self.written[operation.id] += 1

    async def send(self, request: HttpRequest) -> HttpResponse:
        """The network: no write leaves without its condition."""
        if request.method != "GET":
            self.sent.append(request)
            text = (request.body or b"").decode()
            writes = 1 if request.method == "PATCH" else text.count("\r\nPATCH ")
            conditions = "If-Match" in request.headers if request.method == "PATCH" else text.count("\r\nIf-Match: W/")
            assert writes == conditions >= 1
            assert "Authorization" not in text
        try:
            async with asyncio.timeout(request.timeout):
                return await self.scene.network.send(request)
        except TimeoutError as error:
            raise OutcomeUnknownError("no answer in time") from error

    async def book(self, number: int) -> list[Booking]:
        """So many bookings, as they are read."""
        ids = [BookingId(await self.planner.book("alice", name=f"{place}")) for place in range(number)]
        found = await asyncio.gather(*map(self.bookings.get_booking, ids))
        self.written.clear()
        self.cloud.recorder.clear()
        return [one for one in found if one is not None]

    async def move(self, *bookings: Booking, change: BookingChange = LATER) -> list[BookingRow | BookingSyncError]:
        """Write the same change to each, at once."""

        async def one(booking: Booking) -> BookingRow | BookingSyncError:
            try:
                return await self.bookings.update_booking(booking.id, booking.version, change, f"tag of {booking.name}")
            except BookingSyncError as error:
                return error

        return await asyncio.gather(*map(one, bookings))

    def row(self, booking: Booking) -> dict[str, Any]:
        """What stands in Dataverse."""
        row = self.dataverse.state.must_find(Reference(TABLE, booking.id))
        return {**row.values, "versionnumber": row.version}

    def requests(self) -> list[Call]:
        """The app's requests to Dataverse since the bookings were made, envelopes as one."""
        app = self.contoso.booking_sync.client_id
        own = [call for call in self.cloud.recorder.calls if (call.service, call.app) == ("dataverse", app)]
        return [call for call in own if not call.inner]


def test_a_lone_write_is_one_request_and_gives_the_row_as_it_is_then() -> None:
    async def story() -> None:
        desk = Desk()
        [booking] = await desk.book(1)
        [row] = await desk.move(booking)
        stands = desk.row(booking)
        assert isinstance(row, BookingRow)
        assert row == BookingRow(
            id=booking.id,
            version=stands["versionnumber"],
            name="0",
            start=TOMORROW + timedelta(hours=5),
            end=TOMORROW + timedelta(hours=7),
            status=desk.contoso.statuses["Committed"],
            resource=booking.resource.id,
        )
        assert row.version > booking.version
        assert (stands["starttime"], stands["endtime"], stands["duration"]) == (row.start, row.end, 120)
        [sent] = desk.sent
        assert (sent.method, sent.headers["If-Match"]) == ("PATCH", f'W/"{booking.version}"')
        assert len(desk.requests()) == 1

    run(story())


def test_what_does_not_change_is_not_sent() -> None:
    async def story() -> None:
        desk = Desk()
        submitted: list[set[str]] = []
        desk.dataverse.plugins.append(lambda operation, _: submitted.append(set(operation.submitted)))
        [booking] = await desk.book(1)
        submitted.clear()
        canceled = desk.contoso.statuses["Canceled"]
        row = await desk.bookings.update_booking(booking.id, booking.version, BookingChange(status=canceled), "t")
        assert row.status == canceled
        row = await desk.bookings.update_booking(booking.id, row.version, BookingChange(name="New"), "t")
        assert row.name == "New"
        await desk.bookings.update_booking(booking.id, row.version, LATER, "t")
        assert submitted == [{"bookingstatus"}, {"name"}, {"starttime", "endtime", "duration"}]

    run(story())


def test_start_and_end_go_together() -> None:
    with pytest.raises(ValueError, match="together"):
        BookingChange(start=TOMORROW)


@pytest.mark.parametrize("together", [1, 2])
def test_r5_the_tag_comes_back_with_every_post(together: int) -> None:
    async def story() -> None:
        desk = Desk()
        tags: list[str | None] = []
        bookings = await desk.book(together)
        desk.dataverse.plugins.append(lambda operation, _: tags.append(operation.caller.tag))
        await desk.move(*bookings)
        assert tags == [f"tag of {booking.name}" for booking in bookings]

    run(story())


# Together.


@pytest.mark.parametrize("latency", ["none", "realistic"])
def test_r13_100_writes_at_once_are_10_requests_at_most(latency: str) -> None:
    async def story() -> None:
        desk = Desk()
        bookings = await desk.book(100)
        desk.cloud.settings.change({"dataverse.latency": latency})
        rows = await desk.move(*bookings)
        assert [row.id for row in rows if isinstance(row, BookingRow)] == [booking.id for booking in bookings]
        assert set(desk.written.values()) == {1}
        assert len(desk.requests()) <= 10
        assert not any(call.is_refused for call in desk.requests())

    run(story())


@pytest.mark.parametrize("write", [1, 5])
def test_batches_become_smaller_when_dataverse_is_slow(write: int) -> None:
    """Even if the first ones take longer than they are waited for: what is sent again is told by its version."""

    async def story() -> None:
        desk = Desk()
        bookings = await desk.book(100)
        desk.cloud.settings.change({"dataverse.latency": {"read": 0.05, "write": write}})
        while left := [booking for booking in bookings if desk.row(booking)["starttime"] != LATER.start]:
            await desk.move(*left)
            await asyncio.sleep(60)
        assert desk.written == dict.fromkeys([booking.id for booking in bookings], 1)
        sizes = [(sent.body or b"").count(b"\r\nPATCH ") for sent in desk.sent]
        assert sizes[0] == 16
        assert sizes[-1] * write <= 20

    run(story())


def test_reads_do_not_wait_for_writes() -> None:
    async def story() -> None:
        desk = Desk(settings={"dataverse.latency": {"read": 0.05, "write": 2}})
        bookings = await desk.book(10)
        await asyncio.sleep(CROWD.total_seconds())
        writing = asyncio.create_task(desk.move(*bookings[:9]))
        await asyncio.sleep(0.1)
        began = asyncio.get_running_loop().time()
        assert await desk.bookings.get_booking(bookings[9].id) == bookings[9]
        assert asyncio.get_running_loop().time() - began < 0.06
        assert not writing.done()
        await writing

    run(story())


@dataclass(frozen=True)
class Part:
    """A booking, what became of it before the write, and what the write must say then."""

    fate: str
    error: type[BookingSyncError] | None


PARTS = [
    Part("unchanged", None),
    Part("newer", PreconditionError),
    Part("deleted", GoneError),
    Part("aborted", RefusedError),
]


@settings(max_examples=40, deadline=None)
@given(parts=st.lists(st.sampled_from(PARTS), min_size=1, max_size=40), latency=st.sampled_from(["none", "realistic"]))
def test_any_mix_of_good_and_bad_ones_gets_each_its_own_answer(parts: list[Part], latency: str) -> None:
    async def story() -> None:
        desk = Desk()
        bookings = await desk.book(len(parts))
        aborted = await prepare(desk, bookings, parts)
        desk.written.clear()
        desk.sent.clear()
        desk.cloud.settings.change({"dataverse.latency": latency})
        for booking, part, end in zip(bookings, parts, await desk.move(*bookings), strict=True):
            if part.error is None:
                assert isinstance(end, BookingRow)
                assert end.id == booking.id
            else:
                assert type(end) is part.error
                assert "secret" not in str(end)
            assert desk.written[booking.id] == (part.error is None)
        assert len(desk.sent) <= -(-len(parts) // 16)
        assert aborted == {booking.id for booking, part in zip(bookings, parts, strict=True) if part.fate == "aborted"}

    run(story())


async def prepare(desk: Desk, bookings: Sequence[Booking], parts: Sequence[Part]) -> set[str]:
    aborted: set[str] = set()

    def abort(operation: Operation, _pipeline: Pipeline) -> None:
        if operation.id in aborted:
            raise PluginAborted("A secret of the customer's.")

    desk.dataverse.plugins.insert(0, abort)
    for booking, part in zip(bookings, parts, strict=True):
        match part.fate:
            case "newer":
                await desk.planner.change(booking.id, name="Newer")
            case "deleted":
                await desk.planner.delete(booking.id)
            case "aborted":
                aborted.add(booking.id)
    return aborted


# What breaks.


@pytest.mark.parametrize(
    "fault",
    [
        {**BATCH, "do": "drop"},
        {**BATCH, "do": "drop_after_commit"},
        {**BATCH, "do": "drop_after_commit", "parts": 3},
        {**BATCH, "do": "fail_after_commit", "status": 503},
        {**BATCH, "do": "fail_after_commit", "status": 504, "parts": 5},
        {**BATCH, "do": "html", "status": 502},
        {**BATCH, "do": "html", "status": 200},
        {**BATCH, "do": "refuse", "status": 503},
        {**BATCH, "do": "refuse", "status": 429, "retry_after": 2},
        {**BATCH, "do": "refuse", "status": 401},
        {**BATCH, "do": "refuse", "status": 400},
        {**BATCH, "do": "refuse", "status": 413},
        {**BATCH, "do": "fail_after_commit", "status": 400},
        {**ROW, "inner": True, "do": "refuse", "status": 429, "retry_after": 2, "times": 4},
        {**ROW, "inner": True, "do": "refuse", "status": 503, "times": 4},
        {**ROW, "inner": True, "do": "refuse", "status": 400, "code": "0x80044150", "times": 4},
        {**ROW, "inner": True, "do": "fail_after_commit", "status": 500},
        {**ROW, "inner": True, "do": "drop_after_commit"},
        {**ROW, "inner": True, "do": "html", "status": 502},
    ],
    ids=lambda fault: "-".join(str(fault[key]) for key in ("inner", "do", "status", "code", "parts") if key in fault),
)
def test_an_envelope_that_breaks_is_sent_again_under_the_same_versions(fault: dict[str, Any]) -> None:
    """So a write that had happened is told by its etag, and none happens twice."""

    async def story() -> None:
        desk = Desk()
        bookings = await desk.book(8)
        [rule] = desk.cloud.faults.add(fault)
        ends = await desk.move(*bookings)
        assert rule.hits == rule.times
        assert desk.written == dict.fromkeys([booking.id for booking in bookings], 1)
        for booking, end in zip(bookings, ends, strict=True):
            assert isinstance(end, BookingRow | PreconditionError)
            assert desk.row(booking)["starttime"] == LATER.start

    run(story())


def test_a_lost_answer_never_overwrites_what_came_in_between() -> None:
    async def story() -> None:
        desk = Desk()
        bookings = await desk.book(3)
        newer = TOMORROW + timedelta(hours=9)
        desk.cloud.faults.add({**BATCH, "do": "drop"})
        writing = asyncio.create_task(desk.move(*bookings))
        await asyncio.sleep(0.2)
        await desk.planner.move(bookings[1].id, newer)
        ends = await writing
        assert [type(end) for end in ends] == [BookingRow, PreconditionError, BookingRow]
        assert desk.row(bookings[1])["starttime"] == newer

    run(story())


@pytest.mark.parametrize("count", [1, 5])
def test_what_stays_lost_is_put_off(count: int) -> None:
    async def story() -> None:
        desk = Desk()
        bookings = await desk.book(count)
        desk.cloud.faults.add([{**each, "do": "drop", "times": None} for each in (BATCH, ROW)])
        assert [type(end) for end in await desk.move(*bookings)] == [UnavailableError] * count

    run(story())


def test_a_success_without_a_row_has_happened() -> None:
    async def story() -> None:
        desk = Desk()
        [booking] = await desk.book(1)
        desk.cloud.faults.add({**ROW, "do": "html", "status": 200})
        assert [type(end) for end in await desk.move(booking)] == [OutcomeUnknownError]

    run(story())


def test_a_long_refusal_is_handed_back_and_holds_up_reads_too() -> None:
    async def story() -> None:
        desk = Desk()
        bookings = await desk.book(5)
        desk.cloud.faults.add({**BATCH, "do": "refuse", "status": 429, "retry_after": 60, "code": "0x80072322"})
        ends = await desk.move(*bookings)
        assert [type(end) for end in ends] == [ThrottledError] * 5
        waits = [end.retry_after for end in ends if isinstance(end, ThrottledError)]
        assert waits == [timedelta(seconds=60)] * 5
        with pytest.raises(BookingSyncError, match="its turn did not come in time"):
            await desk.bookings.get_booking(bookings[0].id)
        assert len(desk.requests()) == 1

    run(story())


def multipart(*parts: str, end: str = "--b--") -> HttpResponse:
    """An answer of these parts."""
    text = "".join(f"--b\r\nContent-Type: application/http\r\n\r\n{part}\r\n" for part in parts)
    headers = {"content-type": "multipart/mixed; boundary=b", "x-ms-dop-hint": "9"}
    return HttpResponse(status=200, headers=headers, body=f"{text}{end}\r\n".encode())


DONE = 'HTTP/1.1 200 OK\r\nETag: W/"7"\r\n\r\n{"name":"ä\\r\\n--b"}'
STALE = 'HTTP/1.1 412 Precondition Failed\r\nREQ_ID: 1\r\n\r\n{"error":{"code":"0x80060882","message":""}}'
EMPTY = "HTTP/1.1 204 No Content\r\nOData-EntityId: https://x/y(1)\r\n\r\n"


@pytest.mark.parametrize(
    ("response", "statuses"),
    [
        (multipart(DONE, STALE, EMPTY), [200, 412, 204]),
        (multipart(DONE, "nonsense", STALE), [200, None, 412]),
        (multipart(DONE, STALE), None),
        (multipart(DONE, STALE, EMPTY, DONE), None),
        (multipart(DONE, STALE, EMPTY, end=""), None),
        (HttpResponse(status=200, body=b"<html/>"), None),
        (HttpResponse(status=200, headers={"content-type": "multipart/mixed"}, body=b"--b--"), None),
        (HttpResponse(status=204), None),
    ],
    ids=["whole", "one unreadable", "one missing", "one too many", "cut off", "a page", "no boundary", "empty"],
)
def test_of_a_damaged_envelope_only_what_is_certain_is_believed(
    response: HttpResponse, statuses: list[int | None] | None
) -> None:
    requests = [HttpRequest(method="PATCH", url=f"{DATAVERSE}/{number}") for number in range(3)]
    found = Envelopes().unpack(response, requests)
    assert [one and one.status for one in found] == (statuses or [None] * 3)
    if found[0] is not None:
        assert found[0].json() == {"name": "ä\r\n--b"}
        assert (found[0].headers["etag"], found[0].headers["x-ms-dop-hint"]) == ('W/"7"', "9")


# By meaning.


def test_a_role_that_lacks_the_privilege_is_named() -> None:
    async def story() -> None:
        desk = Desk()
        [booking] = await desk.book(1)
        user = known_id("systemuser", "Booking Sync")
        desk.dataverse.roles[user] = Role(name="r", privileges=privileges(Right.READ, (TABLE,)))
        [error] = await desk.move(booking)
        assert isinstance(error, DeniedError)
        assert "lacks prvWritebookableresourcebooking" in str(error)

    run(story())


def test_r6_a_completed_booking_stays_as_it_is() -> None:
    async def story() -> None:
        desk = Desk(settings={"dataverse.business_logic": ["refuse_completed"]})
        first, second = await desk.book(2)
        await desk.planner.set_status(first.id, "Completed")
        completed = await desk.bookings.get_booking(first.id)
        assert completed is not None
        refused, moved = await desk.move(completed, second)
        assert type(refused) is RefusedError
        assert "0x80040265" in str(refused)
        assert "does not allow this change" in str(refused)
        assert isinstance(moved, BookingRow)

    run(story())


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"status": 412, "code": "0x80060882"}, PreconditionError),
        ({"status": 412, "code": ""}, PreconditionError),
        ({"status": 404, "code": "0x80040217"}, GoneError),
        ({"status": 404, "code": "0x80060888"}, RefusedError),
        ({"status": 400, "code": "0x80040203"}, RefusedError),
        ({"status": 403, "code": "0x80048306", "message": "is missing prvReadaccount privilege"}, DeniedError),
        ({"status": 403, "code": "0x80072560"}, DeniedError),
        ({"status": 400, "code": "0x80044151", "times": None}, UnavailableError),
        ({"status": 503, "times": None}, UnavailableError),
    ],
    ids=lambda value: f"{value['status']} {value.get('code', '')}" if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("count", [1, 3])
def test_a_refusal_is_told_by_its_meaning_alone_and_in_company(
    count: int, fault: dict[str, Any], error: type[BookingSyncError]
) -> None:
    async def story() -> None:
        desk = Desk()
        bookings = await desk.book(count)
        path = f"*({bookings[-1].id})"
        desk.cloud.faults.add({**ROW, "path": path, "do": "refuse", **fault})
        ends = await desk.move(*bookings)
        assert [type(end) for end in ends] == [BookingRow] * (count - 1) + [error]
        assert re.fullmatch(r"PATCH answered \d{3}[^{}]*", str(ends[-1]))

    run(story())

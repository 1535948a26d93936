"""Many bookings read at once: what is asked, what a list proves, and how much Dataverse bears."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from random import Random
from typing import Any
from urllib.parse import unquote
from uuid import UUID

import pytest

from sandbox.clock import Clock
from shared.dataverse.bookings import DataverseBookings
from shared.dataverse.envelopes import Envelopes
from shared.dataverse.lanes import MOMENT, Rows
from shared.dataverse.organization import Organization
from shared.dispatch import CROWD, GATHER, TICK, Dispatcher
from shared.errors import OutcomeUnknownError, RefusedError, ThrottledError, UnavailableError
from shared.http import Caller, HttpRequest, HttpResponse
from shared.sync.model import Booking, BookingId
from tests.simulation.loop import run
from tests.simulation.world import START
from tests.wire.exchange import Numbered, answer

ORGANIZATION = "7a1d0000-0000-4000-8000-0000000000aa"
BASE = "https://contoso.crm4.dynamics.com"
READ = 0.1


def ids(number: int) -> list[BookingId]:
    return [BookingId(str(UUID(int=place))) for place in range(number)]


def row(booking: str) -> dict[str, Any]:
    return {
        "bookableresourcebookingid": booking.upper(),
        "versionnumber": 1,
        "name": "secret subject",
        "starttime": "2026-11-22T09:00:00Z",
        "endtime": "2026-11-22T10:00:00Z",
        "Resource": {"bookableresourceid": ORGANIZATION, "resourcetype": 3, "UserId": None},
        "BookingStatus": {"bookingstatusid": ORGANIZATION, "status": 2},
    }


class Dataverse:
    """Implements `Transport`: rows by id and lists of them, and how they were asked for."""

    def __init__(self, *bookings: str) -> None:
        self.rows = {booking: row(booking) for booking in bookings}
        self.lists: list[list[str]] = []
        self.alone: list[str] = []
        self.longest = 0
        self.under_way = self.most_under_way = 0
        self.headers = {"x-ms-dop-hint": "4"}
        self.instead: Callable[[list[str]], HttpResponse | None] = lambda _: None

    async def send(self, request: HttpRequest) -> HttpResponse:
        if request.url.endswith("/WhoAmI"):
            return HttpResponse(status=200, body=json.dumps({"OrganizationId": ORGANIZATION}).encode())
        assert request.method == "GET"
        assert request.headers["OData-Version"] == "4.0"
        self.longest = max(self.longest, len(request.url))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(READ)
        self.under_way -= 1
        url = unquote(request.url)
        asked = re.findall(r"bookableresourcebookingid eq ([0-9a-f-]{36})", url)
        one = re.search(r"/bookableresourcebookings\(([0-9a-f-]{36})\)\?\$select=", url)
        assert bool(asked) != bool(one), url
        assert "$expand=Resource(" in url
        (self.lists.append(asked) if one is None else self.alone.append(one[1]))
        if (instead := self.instead(asked)) is not None:
            return instead
        if one is not None and one[1] not in self.rows:
            return answer(404, "0x80040217")
        body = self.rows[one[1]] if one else {"value": [self.rows[each] for each in asked if each in self.rows]}
        return HttpResponse(status=200, headers=self.headers, body=json.dumps(body).encode())


def reader(dataverse: Dataverse) -> DataverseBookings:
    clock = Clock(START)
    lanes = Dispatcher(dataverse, lanes=Rows(), form=Envelopes(), clock=clock)
    caller = Caller(base=BASE, scope="s", transport=lanes, tokens=Numbered(), clock=clock, random=Random(1))
    return DataverseBookings(caller, organization=Organization(caller, ORGANIZATION), mailboxes={})


async def read(bookings: DataverseBookings, *asked: BookingId) -> list[Booking | BaseException | None]:
    return await asyncio.gather(*map(bookings.get_booking, asked), return_exceptions=True)


def names(found: list[Booking | BaseException | None]) -> list[object]:
    return [one.id if isinstance(one, Booking) else one for one in found]


def test_one_booking_is_asked_for_by_its_id() -> None:
    async def story() -> None:
        dataverse = Dataverse(*ids(1))
        assert names(await read(reader(dataverse), *ids(1))) == ids(1)
        assert (dataverse.alone, dataverse.lists) == (ids(1), [])

    run(story())


def test_many_are_asked_for_by_lists_that_fit_an_address() -> None:
    async def story() -> None:
        dataverse = Dataverse(*ids(256))
        assert names(await read(reader(dataverse), *ids(256))) == ids(256)
        assert [len(asked) for asked in dataverse.lists] == [50, 50, 50, 50, 50, 6]
        assert dataverse.alone == []
        assert dataverse.longest < 5000
        assert asyncio.get_running_loop().time() < GATHER.total_seconds() + 3.1 * READ

    run(story())


def test_r13_what_trickles_in_is_gathered_and_nobody_waits_long() -> None:
    """A hundred that come a few at a time, as posts do, although a list is answered before the next few have come."""

    async def story() -> None:
        dataverse = Dataverse(*ids(100))
        bookings, loop, waits = reader(dataverse), asyncio.get_running_loop(), list[float]()

        async def one(booking: BookingId, at: float) -> None:
            await asyncio.sleep(at)
            began = loop.time()
            found = await bookings.get_booking(booking)
            assert found is not None
            assert found.id == booking
            waits.append(loop.time() - began)

        chance = Random(1)
        await asyncio.gather(*(one(booking, chance.uniform(0, 3)) for booking in ids(100)))
        assert len(dataverse.alone) + len(dataverse.lists) <= 10
        assert max(waits) <= GATHER.total_seconds() + TICK + 2 * READ

    run(story())


def test_one_after_the_other_nobody_waits() -> None:
    async def story() -> None:
        dataverse = Dataverse(*ids(20))
        bookings, loop = reader(dataverse), asyncio.get_running_loop()
        for booking in ids(20):
            began = loop.time()
            assert names(await read(bookings, booking)) == [booking]
            assert loop.time() - began == pytest.approx(READ)
            await asyncio.sleep(MOMENT.total_seconds())

    run(story())


def test_who_reads_again_at_once_waits_for_nothing() -> None:
    async def story() -> None:
        dataverse = Dataverse(*ids(2))
        bookings, loop = reader(dataverse), asyncio.get_running_loop()
        for _ in range(3):
            await read(bookings, ids(1)[0])
        assert loop.time() == pytest.approx(3 * READ)

    run(story())


def test_r13_singles_close_upon_each_other_are_taken_for_a_crowd() -> None:
    async def story() -> None:
        dataverse = Dataverse(*ids(40))
        bookings = reader(dataverse)

        async def one(number: int) -> None:
            await asyncio.sleep(number * READ * 1.2)
            await read(bookings, ids(40)[number])

        await asyncio.gather(*map(one, range(40)))
        assert len(dataverse.alone) + len(dataverse.lists) <= 40 * READ * 1.2 / GATHER.total_seconds() + 3

    run(story())


def test_after_a_crowd_a_lone_one_waits_for_nothing() -> None:
    async def story() -> None:
        dataverse = Dataverse(*ids(20))
        bookings, loop = reader(dataverse), asyncio.get_running_loop()
        await read(bookings, *ids(20))
        await asyncio.sleep(CROWD.total_seconds())
        began = loop.time()
        await read(bookings, ids(1)[0])
        assert loop.time() - began == pytest.approx(READ)

    run(story())


def test_r3_a_row_that_is_missing_in_a_list_is_asked_for_alone() -> None:
    async def story() -> None:
        dataverse = Dataverse(*ids(5))
        del dataverse.rows[ids(5)[2]]
        found = names(await read(reader(dataverse), *ids(5)))
        assert found == [*ids(5)[:2], None, *ids(5)[3:]]
        assert dataverse.alone == [ids(5)[2]]

    run(story())


@pytest.mark.parametrize(
    "body", [b"", b"<html/>", b"[]", b"{}", b'{"value":7}', b'{"value":[]}', b'{"value":[null,{}]}'], ids=str
)
def test_r3_a_list_that_is_none_proves_nothing(body: bytes) -> None:
    async def story() -> None:
        dataverse = Dataverse(*ids(3))
        dataverse.instead = lambda asked: HttpResponse(status=200, body=body) if asked else None
        assert names(await read(reader(dataverse), *ids(3))) == ids(3)
        assert sorted(dataverse.alone) == ids(3)

    run(story())


@pytest.mark.parametrize("refusal", [answer(404), answer(404, "0x80040217"), answer(400), answer(414)], ids=str)
def test_r3_a_list_that_is_refused_proves_nothing(refusal: HttpResponse) -> None:
    async def story() -> None:
        dataverse = Dataverse(*ids(3))
        dataverse.instead = lambda asked: refusal if asked else None
        assert names(await read(reader(dataverse), *ids(3))) == ids(3)

    run(story())


@pytest.mark.parametrize(
    ("gateway", "error"),
    [(answer(404), UnavailableError), (answer(404, "0x80060888"), RefusedError), (answer(503), UnavailableError)],
)
def test_r3_only_dataverses_own_word_is_believed(gateway: HttpResponse, error: type[Exception]) -> None:
    async def story() -> None:
        dataverse = Dataverse()
        dataverse.instead = lambda asked: None if asked else gateway
        assert [type(one) for one in await read(reader(dataverse), *ids(2))] == [error] * 2

    run(story())


def test_one_row_that_cannot_be_read_is_one_failure() -> None:
    async def story() -> None:
        dataverse = Dataverse(*ids(3))
        dataverse.rows[ids(3)[1]]["starttime"] = "soon"
        found = names(await read(reader(dataverse), *ids(3)))
        assert found[0::2] == ids(3)[0::2]
        assert isinstance(found[1], RefusedError)

    run(story())


def test_a_list_without_an_answer_is_asked_for_again() -> None:
    async def story() -> None:
        dataverse = Dataverse(*ids(3))

        def once(asked: list[str]) -> None:
            if asked and len(dataverse.lists) == 1:
                raise OutcomeUnknownError("no answer")

        dataverse.instead = once
        assert names(await read(reader(dataverse), *ids(3))) == ids(3)

    run(story())


def test_as_many_at_once_as_dataverse_advises() -> None:
    async def story() -> None:
        dataverse = Dataverse(*ids(2000))
        bookings = reader(dataverse)
        dataverse.headers["x-ms-dop-hint"] = "2"
        await read(bookings, *ids(60))
        dataverse.most_under_way = 0
        await read(bookings, *ids(2000))
        assert dataverse.most_under_way == 2
        dataverse.headers["x-ms-dop-hint"] = "9"
        for _ in range(3):
            await read(bookings, *ids(2000))
        assert dataverse.most_under_way == 9

    run(story())


def test_a_refusal_stops_all_reads_for_the_time_it_names() -> None:
    async def story() -> None:
        dataverse = Dataverse(*ids(400))
        when: list[float] = []

        def once(_asked: list[str]) -> HttpResponse | None:
            when.append(asyncio.get_running_loop().time())
            return answer(429, "0x80072322", retry_after="4") if len(when) == 1 else None

        dataverse.instead = once
        assert names(await read(reader(dataverse), *ids(400))) == ids(400)
        before = [time for time in when if time <= READ]
        assert len(before) == 4
        assert min(time for time in when if time > READ) >= 4 + READ
        assert dataverse.most_under_way == 4

    run(story())


def test_a_long_refusal_is_handed_back() -> None:
    async def story() -> None:
        dataverse = Dataverse(*ids(3))
        dataverse.instead = lambda _: answer(429, "0x80072322", retry_after="120")
        assert [type(one) for one in await read(reader(dataverse), *ids(3))] == [ThrottledError] * 3
        assert len(dataverse.lists) == 1

    run(story())

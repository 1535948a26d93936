"""Service protection: what one user may ask of one web server; all in virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from sandbox.cloud import Cloud
from sandbox.dataverse.routes import Dataverse
from sandbox.directory import Directory
from sandbox.http import Response
from sandbox.seed import Contoso, seed_contoso
from tests.sandbox.loops import VIRTUAL_TIME
from tests.sandbox_dataverse.clients import Client, a_booking
from tests.sandbox_dataverse.test_batch import ACTION, BOOKINGS, TYPE, answers, part, send

pytestmark = VIRTUAL_TIME

REQUESTS_LEFT = "x-ms-ratelimit-burst-remaining-xrm-requests"
TIME_LEFT = "x-ms-ratelimit-time-remaining-xrm-requests"


def statuses(found: list[Response]) -> Counter[int]:
    return Counter(answer.status for answer in found)


async def read(client: Client, **headers: str) -> Response:
    return await client.call("GET", "bookingstatuses?$select=name", headers=headers)


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_every_answer_says_what_is_left(planner: Client, cloud: Cloud) -> None:
    cloud.settings.change({"dataverse.latency": {"read": 0.54, "write": 0}})
    answer = await read(planner)
    assert (answer.headers[REQUESTS_LEFT], answer.headers[TIME_LEFT]) == ("5999", "1,199.46")
    assert answer.headers["x-ms-dop-hint"] == "4"
    missing = await planner.call("GET", f"{BOOKINGS}(00000000-0000-0000-0000-000000000000)")
    assert (missing.status, missing.headers[REQUESTS_LEFT]) == (404, "5998")
    assert "x-ms-service-request-id" in missing.headers
    cloud.clock.advance(timedelta(seconds=300))
    assert (await read(planner)).headers[REQUESTS_LEFT] == "5999"


async def test_too_many_requests_in_five_minutes(planner: Client, sync: Client, cloud: Cloud) -> None:
    cloud.settings.change({"dataverse.requests": 3})
    for _ in range(3):
        assert (await read(planner)).status == 200
        await asyncio.sleep(50)
    refused = await read(planner)
    assert refused.status == 429
    assert refused.json() == {
        "error": {
            "code": "0x80072322",
            "message": "Number of requests exceeded the limit of 3 over time window of 300 seconds.",
        }
    }
    assert refused.headers["Content-Type"] == "application/json; odata.metadata=minimal"
    assert refused.headers["OData-Version"] == "4.0"
    assert (refused.headers["Retry-After"], refused.headers[REQUESTS_LEFT]) == ("200", "0")
    assert (await read(sync)).status == 200, "every user has limits of its own"
    assert int((await read(planner)).headers["Retry-After"]) == 250, "who keeps pushing waits longer"
    await asyncio.sleep(250)
    assert (await read(planner)).status == 200


async def test_six_thousand_requests_are_the_limit(planner: Client, cloud: Cloud) -> None:
    for _ in range(6000):
        assert (await planner.call("GET", "WhoAmI")).status == 200
    refused = await planner.call("GET", "WhoAmI")
    assert refused.json()["error"]["message"].startswith("Number of requests exceeded the limit of 6000 over")
    cloud.settings.change({"dataverse.requests": None})
    answer = await planner.call("GET", "WhoAmI")
    assert answer.status == 200
    assert REQUESTS_LEFT not in answer.headers


async def test_too_much_execution_time(planner: Client, cloud: Cloud) -> None:
    cloud.settings.change({"dataverse.latency": {"read": 60, "write": 0}})
    assert statuses(await asyncio.gather(*(read(planner) for _ in range(20)))) == {200: 20}
    cloud.settings.change({"dataverse.latency": {"read": 1, "write": 0}})
    last = await read(planner)
    assert (last.status, last.headers[TIME_LEFT]) == (200, "0.00"), "1,200 seconds are not over the limit yet"
    refused = await read(planner)
    assert refused.status == 429
    assert refused.json() == {
        "error": {
            "code": "0x80072321",
            "message": "Combined execution time of incoming requests exceeded limit of 1,200,000  milliseconds over "
            "time window of 300 seconds. Decrease number of concurrent requests or reduce the duration of requests and "
            "try again later.",
        }
    }
    assert refused.headers["Retry-After"] == "299"
    await asyncio.sleep(299)
    assert (await read(planner)).status == 200


async def test_too_many_requests_at_once(planner: Client, sync: Client, cloud: Cloud) -> None:
    cloud.settings.change({"dataverse.latency": "realistic"})
    found = await asyncio.gather(*(read(planner) for _ in range(53)), read(sync))
    assert statuses(found) == {200: 53, 429: 1}
    refused = found[52]
    assert refused.json() == {
        "error": {"code": "0x80072326", "message": "Number of concurrent requests exceeded the limit of 52."}
    }
    assert refused.headers["Retry-After"] == "5"
    assert statuses(await asyncio.gather(*(read(planner) for _ in range(52)))) == {200: 52}


async def test_a_batch_is_one_request_whose_parts_take_their_time_in_turn(
    planner: Client, contoso: Contoso, cloud: Cloud
) -> None:
    booking = f"{BOOKINGS}({await planner.create(BOOKINGS, a_booking(contoso))})"
    await asyncio.sleep(300)
    cloud.settings.change({"dataverse.latency": {"read": 1, "write": 4}})
    began = now()
    parts = [part("GET", f"{booking}?$select=name"), *(part("PATCH", booking, {"name": "x"}) for _ in range(2))]
    response = await send(planner, *parts)
    assert now() - began == pytest.approx(9)
    assert (response.headers[REQUESTS_LEFT], response.headers[TIME_LEFT]) == ("5999", "1,191.00")
    assert [status for status, _, _ in answers(response)] == [200, 204, 204]
    assert REQUESTS_LEFT.encode() not in response.body


async def test_a_bulk_action_takes_the_time_of_all_its_rows(planner: Client, contoso: Contoso, cloud: Cloud) -> None:
    cloud.settings.change({"dataverse.latency": {"read": 0, "write": 2}})
    targets = [{**TYPE, **a_booking(contoso)} for _ in range(3)]
    assert (await planner.call("POST", f"{ACTION}.CreateMultiple", {"Targets": targets})).status == 200
    assert now() == pytest.approx(6)


async def test_the_affinity_cookie_leads_back_and_without_it_the_load_spreads(planner: Client, cloud: Cloud) -> None:
    cloud.settings.change({"dataverse.web_servers": 3, "dataverse.requests": 10})
    first = await read(planner)
    name, _, rest = first.headers["Set-Cookie"].partition("=")
    value, *attributes = rest.split("; ")
    assert (name, attributes) == ("ARRAffinity", ["path=/", "secure", "HttpOnly"])
    cookie = {"Cookie": f"a=b; ARRAffinity={value}"}
    for _ in range(9):
        answer = await read(planner, **cookie)
        assert answer.status == 200
        assert "Set-Cookie" not in answer.headers
    assert (await read(planner, **cookie)).status == 429
    spread = [await read(planner) for _ in range(12)]
    assert statuses(spread)[200] > 6
    assert len({answer.headers["Set-Cookie"] for answer in spread}) == 3
    assert "Set-Cookie" in (await read(planner, Cookie="ARRAffinity=of-a-server-that-is-gone")).headers


async def test_refused_requests_are_counted_and_named_in_the_log(planner: Client, cloud: Cloud) -> None:
    cloud.settings.change({"dataverse.requests": 2})
    for _ in range(3):
        await read(planner)
    await send(planner, part("GET", "bookingstatuses"))
    assert [call.limit for call in cloud.recorder.calls] == ["", "", "requests", "requests"]
    assert cloud.recorder.counts()["dataverse"] == {"http": 4, "logical": 3, "refused": 2}


async def test_reset_forgets_what_was_counted(
    planner: Client, cloud: Cloud, directory: Directory, dataverse: Dataverse
) -> None:
    cloud.settings.change({"dataverse.requests": 1})
    assert [(await read(planner)).status for _ in range(2)] == [200, 429]
    dataverse.reset()
    seed_contoso(directory, None, dataverse)
    assert (await read(planner)).status == 200

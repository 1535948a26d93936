"""Batches: envelopes, their parts, and who waits for whom."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from sandbox.cloud import Cloud
from sandbox.directory import known_id
from sandbox.http import Json, Response
from tests.sandbox.apps import ALICE, BOB, App, an_event, code

JSON = {"Content-Type": "application/json"}


def part(number: int, method: str = "GET", url: str = f"/users/{ALICE}/events", **more: Json) -> dict[str, Any]:
    return {"id": str(number), "method": method, "url": url, **more}


async def send(app: App, *parts: Json) -> Response:
    return await app.call("POST", "/$batch", {"requests": list(parts)})


async def by_id(app: App, *parts: Json) -> dict[str, Json]:
    answer = await send(app, *parts)
    assert answer.status == 200, answer.body
    return {found["id"]: found for found in answer.json()["responses"]}


async def test_parts_are_calls_of_their_own(app: App, cloud: Cloud) -> None:
    create = part(1, "POST", headers={**JSON, "Prefer": 'IdType="ImmutableId"'}, body=an_event())
    answers = await by_id(
        app, create, part(2, url=f"users/{BOB}/events?$select=subject"), part(3, url="/users/nobody/events")
    )
    assert {number: answer["status"] for number, answer in answers.items()} == {"1": 201, "2": 200, "3": 404}
    assert answers["1"]["body"]["id"].startswith("AAkAL")
    assert answers["3"]["body"]["error"]["code"] == "ErrorInvalidUser"
    envelope, *inner = cloud.recorder.calls
    assert (envelope.envelope, envelope.inner, envelope.app) == (True, False, app.application.client_id)
    assert [(call.inner, call.mailbox) for call in inner[:2]] == [
        (True, known_id("user", ALICE)),
        (True, known_id("user", BOB)),
    ]
    assert cloud.recorder.counts()["graph"] == {"http": 1, "logical": 3, "refused": 0}


async def test_part_without_content_has_a_null_body(app: App) -> None:
    event = await app.create()
    answers = await by_id(app, part(1, "DELETE", f"/users/{ALICE}/events/{event['id']}"))
    assert (answers["1"]["status"], answers["1"]["body"]) == (204, None)


async def test_throttled_part_is_an_answer_inside_a_good_envelope(app: App, cloud: Cloud) -> None:
    cloud.faults.add(
        {
            "service": "graph",
            "inner": True,
            "do": "refuse",
            "status": 429,
            "retry_after": 2.5,
            "code": "ApplicationThrottled",
        }
    )
    answers = await by_id(app, part(1), part(2))
    assert sorted(answer["status"] for answer in answers.values()) == [200, 429]
    throttled = next(answer for answer in answers.values() if answer["status"] == 429)
    assert throttled["headers"]["Retry-After"] == "2.5"
    assert throttled["body"]["error"]["code"] == "ApplicationThrottled"


async def test_part_whose_connection_breaks_is_a_gateway_timeout(app: App, cloud: Cloud) -> None:
    cloud.faults.add({"service": "graph", "inner": True, "do": "drop_after_commit"})
    answers = await by_id(app, part(1, "POST", headers=JSON, body=an_event()))
    assert answers["1"]["status"] == 504
    assert len(await app.list(f"/users/{ALICE}/events")) == 1


@pytest.mark.parametrize("effect", ["fail_after_commit", "drop_after_commit"])
async def test_a_batch_may_fail_with_some_of_its_parts_carried_out(app: App, cloud: Cloud, effect: str) -> None:
    cloud.faults.add({"path": "/v1.0/$batch", "do": effect, "status": 503, "parts": 7})
    creates = [part(number, "POST", headers=JSON, body=an_event(subject=str(number))) for number in range(20)]
    answer = await send(app, *creates)
    assert (answer.dropped, answer.status) == ((True, 0) if effect == "drop_after_commit" else (False, 503))
    found = {event["subject"] for event in await app.list(f"/users/{ALICE}/events", top="50")}
    assert found == {str(number) for number in range(7)}
    inner = [call for call in cloud.recorder.calls if call.inner]
    assert [call.fault for call in inner if call.status != 201] == ["not_reached"] * 13
    assert len(await by_id(app, *creates)) == 20, "the next one is whole"


async def test_concurrency_may_be_refused_with_503(app: App, cloud: Cloud) -> None:
    concurrency = {"code": "ApplicationThrottled", "message": "Application is over its MailboxConcurrency limit."}
    cloud.faults.add({"inner": True, "do": "refuse", "status": 503, "retry_after": 1, **concurrency})
    answers = await by_id(app, part(1))
    assert (answers["1"]["status"], answers["1"]["headers"]["Retry-After"]) == (503, "1")
    assert answers["1"]["body"]["error"] | concurrency == answers["1"]["body"]["error"]


async def test_answers_come_in_any_order(app: App) -> None:
    numbers = range(1, 21)
    answer = await send(app, *(part(number) for number in numbers))
    ids = [found["id"] for found in answer.json()["responses"]]
    assert sorted(ids, key=int) == [str(number) for number in numbers]
    assert ids != sorted(ids, key=int)


async def test_four_parts_run_at_a_time(app: App, cloud: Cloud) -> None:
    cloud.faults.add({"service": "graph", "inner": True, "do": "delay", "seconds": 1000, "times": None})
    sending = asyncio.create_task(send(app, *(part(number) for number in range(10))))
    waves: list[int] = []
    for _ in range(3):
        for _ in range(100):  # time for more of them to start, if they could
            await asyncio.sleep(0)
        waves.append(len([call for call in cloud.recorder.calls if call.inner]))
        cloud.clock.advance(timedelta(seconds=1000))
    await sending
    assert waves == [4, 8, 10]


async def test_dependants_wait_and_fall_with_their_predecessor(app: App, cloud: Cloud) -> None:
    answers = await by_id(
        app,
        part(1, "POST", headers=JSON, body=an_event()),
        part(2, "POST", headers=JSON, body={"subject": "no times"}, dependsOn=["1"]),
        part(3, "POST", headers=JSON, body=an_event(), dependsOn=["2"]),
    )
    assert {number: answer["status"] for number, answer in answers.items()} == {"1": 201, "2": 400, "3": 424}
    assert [call.status for call in cloud.recorder.calls if call.inner] == [201, 400]


async def test_all_may_depend_on_the_same_one(app: App) -> None:
    answers = await by_id(app, part(3, dependsOn=["1"]), part(1), part(2, dependsOn=["1"]))
    assert {answer["status"] for answer in answers.values()} == {200}


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([], id="nothing"),
        pytest.param([part(number) for number in range(21)], id="21 parts"),
        pytest.param([part(1), part(1)], id="an id twice"),
        pytest.param([part(1, url="/$batch")], id="a batch in a batch"),
        pytest.param([part(1, "POST", body=an_event())], id="a body without content type"),
        pytest.param([part(1, "JUMP")], id="no method"),
        pytest.param([part(1, url="https://elsewhere.test/v1.0/users")], id="absolute url of another host"),
        pytest.param([{"method": "GET", "url": "/users"}], id="no id"),
        pytest.param([part(1, dependsOn=["9"])], id="dependence on nobody"),
        pytest.param([part(1, dependsOn=["2"]), part(2, dependsOn=["1"])], id="circle"),
        pytest.param([part(1), part(2, dependsOn=["1"]), part(3)], id="partly dependent"),
        pytest.param(["x"], id="no object"),
    ],
)
async def test_malformed_envelopes_are_refused_as_a_whole(app: App, cloud: Cloud, parts: list[Json]) -> None:
    assert code(await send(app, *parts)) == (400, "BadRequest")
    assert not [call for call in cloud.recorder.calls if call.inner]


async def test_what_is_not_modelled_is_refused_loudly(app: App) -> None:
    assert code(await send(app, part(1, atomicityGroup="a"))) == (501, "NotImplemented")
    assert code(await send(app, part(1, headers={"Authorization": "Bearer x"}))) == (501, "NotImplemented")


async def test_python_sdk_s_way_of_writing_parts_is_understood(app: App) -> None:
    answers = await by_id(app, part(1, url="https://localhost:4444/v1.0/users", depends_on=[]))
    assert answers["1"]["status"] == 200
    assert code(await send(app, part(1), part(2, depends_on=["1"]))) == (501, "NotImplemented")


async def test_envelope_needs_a_token(app: App) -> None:
    answer = await app.call("POST", "/$batch", {"requests": [part(1)]}, headers={"Authorization": ""})
    assert code(answer) == (401, "InvalidAuthenticationToken")

"""What Graph and Outlook refuse as too much, and for how long; all in virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from sandbox.cloud import Cloud
from sandbox.graph.routes import Graph
from sandbox.http import Json, Response
from tests.sandbox.apps import ALICE, BOB, App, an_event
from tests.sandbox.loops import VIRTUAL_TIME
from tests.sandbox.test_graph_batch import JSON, by_id, part

pytestmark = VIRTUAL_TIME

EVENTS = f"/users/{ALICE}/events"


def a_write(number: int, user: str = ALICE, **more: Json) -> dict[str, Any]:
    return part(number, "POST", f"/users/{user}/events", headers=JSON, body=an_event(), **more)


def statuses(answers: list[Response]) -> Counter[int]:
    return Counter(answer.status for answer in answers)


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_operations_take_no_time_unless_told(app: App) -> None:
    assert statuses(await asyncio.gather(*(app.get(EVENTS) for _ in range(20)))) == {200: 20}
    assert now() == 0


async def test_an_operation_takes_the_time_of_its_kind(app: App, cloud: Cloud) -> None:
    cloud.settings.change({"graph.latency": {"read": 2, "write": 5}})
    await app.get(EVENTS)
    assert now() == pytest.approx(2)
    await app.create()
    assert now() == pytest.approx(7)


async def test_others_see_a_write_before_its_caller_does(app: App, cloud: Cloud, graph: Graph) -> None:
    cloud.settings.change({"graph.latency": {"read": 0, "write": 100}})
    seen: list[float] = []
    graph.state.listeners.append(lambda _mailbox, _change: seen.append(now()))
    created = await app.create()
    assert now() == pytest.approx(100)
    assert 0 < seen[0] < 100
    at = cloud.clock.now() - timedelta(seconds=100 - seen[0])
    assert created["createdDateTime"][:19] == f"{at:%Y-%m-%dT%H:%M:%S}"


async def test_a_fifth_request_to_a_mailbox_at_once_is_refused(app: App, cloud: Cloud) -> None:
    cloud.settings.change({"graph.latency": "realistic"})
    answers = await asyncio.gather(*(app.get(EVENTS) for _ in range(5)))
    assert [answer.status for answer in answers] == [200, 200, 200, 200, 429]
    refused = answers[4]
    assert refused.headers["Retry-After"] == "1"
    assert refused.headers["Content-Type"] == "application/json"
    error = refused.json()["error"]
    assert error == {
        "code": "ApplicationThrottled",
        "message": "Application is over its MailboxConcurrency limit.",
        "innerError": {
            "date": "2026-03-01T08:00:00",
            "request-id": refused.headers["request-id"],
            "client-request-id": refused.headers["client-request-id"],
        },
    }
    assert (await app.get(EVENTS)).status == 200


async def test_concurrency_counts_by_mailbox_and_by_application(app: App, app_with: Any, cloud: Cloud) -> None:
    cloud.settings.change({"graph.latency": "realistic"})
    other = app_with("Calendars.ReadWrite")
    four = [caller.get(f"/users/{user}/events") for caller in (app, other) for user in (ALICE, BOB) for _ in range(4)]
    assert statuses(await asyncio.gather(*four)) == {200: 16}
    spellings = (ALICE.upper(), cloud.recorder.calls[0].mailbox)
    mixed = [app.get(f"/users/{spellings[number % 2]}/calendar") for number in range(6)]
    assert statuses(await asyncio.gather(*mixed)) == {200: 4, 429: 2}
    users = [app.get(f"/users/{ALICE}") for _ in range(10)]
    assert statuses(await asyncio.gather(*users)) == {200: 10}


async def test_a_failed_request_gives_its_slot_back(app: App, cloud: Cloud) -> None:
    cloud.settings.change({"graph.latency": "realistic"})
    missing = [app.get(f"{EVENTS}/AAMkA{'A' * 131}") for _ in range(4)]
    assert statuses(await asyncio.gather(*missing)) == {404: 4}
    assert statuses(await asyncio.gather(*(app.get(EVENTS) for _ in range(4)))) == {200: 4}


async def test_what_a_caller_gave_up_is_finished_and_keeps_its_slot_until_then(app: App, cloud: Cloud) -> None:
    cloud.settings.change({"graph.latency": {"read": 1, "write": 8}})
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await by_id(app, *(a_write(number) for number in range(5)))
    assert [call.status for call in cloud.recorder.calls] == [0, 0, 0, 0, 0]
    assert (await app.get(EVENTS)).status == 429
    await asyncio.sleep(8)
    assert (await app.get(EVENTS)).status == 200
    await asyncio.sleep(8)
    assert len(await app.list(EVENTS)) == 5


async def test_one_mailbox_takes_twelve_writes_a_second(app: App, cloud: Cloud) -> None:
    cloud.settings.change({"graph.latency": "realistic"})

    async def lane() -> None:
        for _ in range(30):
            await app.create()

    await asyncio.gather(*(lane() for _ in range(4)))
    assert 120 / now() == pytest.approx(12, abs=0.5)


async def test_a_batch_runs_in_waves_of_four_and_is_never_too_much_by_itself(app: App, cloud: Cloud) -> None:
    cloud.settings.change({"graph.latency": {"read": 0, "write": 1}})
    answers = await by_id(app, *(a_write(number) for number in range(20)))
    assert {answer["status"] for answer in answers.values()} == {201}
    assert now() == pytest.approx(5)
    spread = await by_id(app, *(a_write(number, (ALICE, BOB)[number % 2]) for number in range(20)))
    assert {answer["status"] for answer in spread.values()} == {201}
    assert now() == pytest.approx(10), "four at a time, regardless of the mailboxes"


async def test_two_batches_on_one_mailbox_are_too_much_part_by_part(app: App, cloud: Cloud) -> None:
    cloud.settings.change({"graph.latency": {"read": 0, "write": 1}})
    both = await asyncio.gather(*(by_id(app, *(a_write(number) for number in range(4))) for _ in range(2)))
    found = [answer for answers in both for answer in answers.values()]
    assert Counter(answer["status"] for answer in found) == {201: 4, 429: 4}
    refused = next(answer for answer in found if answer["status"] == 429)
    assert refused["headers"]["Retry-After"] == "1"
    assert refused["body"]["error"]["code"] == "ApplicationThrottled"
    assert refused["body"]["error"]["message"] == "Application is over its MailboxConcurrency limit."


async def test_dependants_run_one_by_one_and_fall_with_a_refused_predecessor(app: App, cloud: Cloud) -> None:
    cloud.settings.change({"graph.latency": {"read": 0, "write": 1}})
    chain = [a_write(number, dependsOn=[str(number - 1)] if number else []) for number in range(3)]
    assert {answer["status"] for answer in (await by_id(app, *chain)).values()} == {201}
    assert now() == pytest.approx(3)
    blocking = [asyncio.create_task(app.create()) for _ in range(4)]
    await asyncio.sleep(0.5)
    answers = await by_id(app, *chain)
    assert [answers[str(number)]["status"] for number in range(3)] == [429, 424, 424]
    await asyncio.gather(*blocking)


async def test_requests_of_ten_minutes_are_counted_in_a_sliding_window(app: App, cloud: Cloud) -> None:
    cloud.settings.change({"graph.mailbox_requests": 3})
    for _ in range(3):
        assert (await app.get(EVENTS)).status == 200
        await asyncio.sleep(100)
    refused = await app.get(EVENTS)
    assert (refused.status, refused.headers["Retry-After"]) == (429, "400"), "being refused counts, too"
    assert refused.json()["error"]["code"] == "ApplicationThrottled"
    assert (await app.get(f"/users/{BOB}/events")).status == 200
    await asyncio.sleep(299)
    refused = await app.get(EVENTS)
    assert (refused.status, refused.headers["Retry-After"]) == (429, "201")
    cloud.clock.advance(timedelta(seconds=201))
    assert (await app.get(EVENTS)).status == 200


async def test_ten_thousand_requests_in_ten_minutes_are_the_limit(app: App, cloud: Cloud) -> None:
    for _ in range(10_000):
        assert (await app.get(f"/users/{ALICE}/calendar")).status == 200
    assert (await app.get(f"/users/{ALICE}/calendar")).status == 429
    cloud.settings.change({"graph.mailbox_requests": None})
    assert (await app.get(f"/users/{ALICE}/calendar")).status == 200


async def test_uploads_of_five_minutes_are_counted_in_bytes(app: App, cloud: Cloud) -> None:
    cloud.settings.change({"graph.mailbox_upload_bytes": 5000})
    body = an_event(subject="x" * 2000)
    assert (await app.call("POST", EVENTS, body)).status == 201
    await asyncio.sleep(60)
    assert (await app.call("POST", EVENTS, body)).status == 201
    refused = await app.call("POST", EVENTS, body)
    assert (refused.status, refused.headers["Retry-After"]) == (429, "300")
    assert refused.json()["error"]["message"] == "Application is over its IncomingBytes limit."
    assert (await app.get(EVENTS)).status == 200
    await asyncio.sleep(300)
    assert (await app.call("POST", EVENTS, body)).status == 201


async def test_an_application_is_limited_over_all_mailboxes_by_the_gateway(app: App, cloud: Cloud) -> None:
    cloud.settings.change({"graph.app_requests": 4})
    await asyncio.sleep(0.5)
    answers = await by_id(app, *(part(number, url=f"/users/{(ALICE, BOB)[number % 2]}") for number in range(4)))
    assert {answer["status"] for answer in answers.values()} == {200}, "the envelope itself does not count"
    await asyncio.sleep(7.8721)
    refused = await app.get(f"/users/{ALICE}")
    assert (refused.status, refused.headers["Retry-After"]) == (429, "2.128")
    error = refused.json()["error"]
    assert (error["code"], error["message"]) == ("TooManyRequests", "Please retry again later.")
    assert error["innerError"]["code"] == error["innerError"]["status"] == "429"
    assert error["innerError"]["message"] == "Please retry after"


async def test_refused_calls_are_counted_and_named_in_the_log(app: App, cloud: Cloud) -> None:
    cloud.settings.change({"graph.latency": "realistic"})
    cloud.faults.add({"inner": True, "do": "refuse", "status": 429})
    await asyncio.gather(by_id(app, *(a_write(number) for number in range(4))), *(app.get(EVENTS) for _ in range(4)))
    calls = cloud.recorder.calls
    envelope = next(call for call in calls if call.envelope)
    assert [call.batch for call in calls if call.inner] == [envelope.number] * 4
    assert Counter(call.limit for call in calls if call.status == 429) == {"": 1, "MailboxConcurrency": 3}
    assert cloud.recorder.counts()["graph"] == {"http": 5, "logical": 8, "refused": 4}
    assert all(call.mailbox for call in calls if call.limit)


async def test_reset_forgets_what_was_counted(app: App, cloud: Cloud, graph: Graph) -> None:
    cloud.settings.change({"graph.mailbox_requests": 1})
    assert statuses([await app.get(EVENTS) for _ in range(2)]) == {200: 1, 429: 1}
    graph.reset()
    assert (await app.get(EVENTS)).status == 200

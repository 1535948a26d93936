from __future__ import annotations

import asyncio
import base64
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from sandbox.functions.process import HostProcess

QUEUE = """
@app.queue_trigger("msg", queue_name="%QUEUE%", connection="AzureWebJobsStorage")
"""
FAST = {"extensions": {"queues": {"maxPollingInterval": "00:00:00.1", "maxDequeueCount": 3}}}


class Storage:
    """The queues of one test."""

    def __init__(self, service: QueueServiceClient) -> None:
        self.name = f"q{uuid.uuid4().hex}"
        self.settings = {"QUEUE": self.name, "OUT": f"{self.name}-out"}
        self._service = service

    def queue(self, suffix: str = "") -> QueueClient:
        return self._service.get_queue_client(self.name + suffix)

    async def send(self, *texts: str) -> None:
        for text in texts:
            await self.queue().send_message(base64.b64encode(text.encode()).decode())

    async def texts(self, suffix: str, count: int) -> list[str]:
        """The first `count` messages, awaited."""
        found: list[str] = []
        async with asyncio.timeout(20):
            while len(found) < count:
                pages = self.queue(suffix).receive_messages(messages_per_page=32, visibility_timeout=60).by_page()
                with suppress(ResourceNotFoundError, StopAsyncIteration):  # not made yet, or empty
                    found += [base64.b64decode(message.content).decode() async for message in await anext(pages)]
        return found

    async def is_empty(self) -> bool:
        """Whether nothing is left, hidden messages included."""
        properties = await self.queue().get_queue_properties()
        return properties.approximate_message_count == 0


@pytest_asyncio.fixture
async def storage(azurite: str) -> AsyncIterator[Storage]:
    async with QueueServiceClient.from_connection_string(azurite) as service:
        yield Storage(service)


async def seen(host: HostProcess, http: ClientSession, count: int) -> list[dict[str, Any]]:
    async with http.get(f"{host.url}/api/seen/{count}") as answer:
        assert answer.status == 200
        found: list[dict[str, Any]] = json.loads(await answer.text())
        return found


async def settled(storage: Storage) -> None:
    """Return when every message is handled and deleted."""
    async with asyncio.timeout(20):
        while not await storage.is_empty():
            pass


async def test_a_message_arrives_with_its_metadata_and_is_deleted(
    serve: Any, http: ClientSession, storage: Storage
) -> None:
    host = await serve(
        f"""{QUEUE}
async def on_message(msg: func.QueueMessage) -> None:
    await note(
        body=msg.get_body().decode(), id=msg.id, count=msg.dequeue_count, receipt=msg.pop_receipt,
        inserted=msg.insertion_time.isoformat(), expires=msg.expiration_time.isoformat(),
        visible=msg.time_next_visible.isoformat(),
    )
""",
        host_json=FAST,
        settings=storage.settings,
    )
    before = datetime.now(UTC).replace(microsecond=0)
    await storage.send('{"booking": "ü"}')
    [message] = await seen(host, http, 1)
    assert message["body"] == '{"booking": "ü"}'
    assert message["count"] == 1
    assert message["receipt"]
    assert uuid.UUID(message["id"])
    inserted, visible, expires = (datetime.fromisoformat(message[name]) for name in ("inserted", "visible", "expires"))
    assert before <= inserted < visible < expires
    await settled(storage)


async def test_a_binary_trigger_gets_bytes(serve: Any, http: ClientSession, storage: Storage) -> None:
    host = await serve(
        """
@app.queue_trigger("msg", queue_name="%QUEUE%", connection="AzureWebJobsStorage", data_type="binary")
async def on_message(msg: func.QueueMessage) -> None:
    await note(body=list(msg.get_body()))
""",
        host_json=FAST,
        settings=storage.settings,
    )
    await storage.queue().send_message(base64.b64encode(b"\x00\xff").decode())
    assert await seen(host, http, 1) == [{"body": [0, 255]}]


async def test_messages_are_plain_when_host_json_says_so(serve: Any, http: ClientSession, storage: Storage) -> None:
    host = await serve(
        f"""
@app.queue_output("out", queue_name="%OUT%", connection="AzureWebJobsStorage"){QUEUE}
async def on_message(msg: func.QueueMessage, out: func.Out[str]) -> None:
    out.set("<" + msg.get_body().decode() + ">")
    await note(done=True)
""",
        host_json={"extensions": {"queues": {"maxPollingInterval": "00:00:00.1", "messageEncoding": "none"}}},
        settings=storage.settings,
    )
    await storage.queue().send_message("plain & simple")
    await seen(host, http, 1)
    await settled(storage)
    message = await storage.queue("-out").receive_message()
    assert message
    assert message.content == "<plain & simple>"


@pytest.mark.parametrize(
    ("annotation", "value", "texts"),
    [
        ("func.Out[str]", '"one"', ["one"]),
        ("func.Out[bytes]", 'b"one"', ["one"]),
        ("func.Out[typing.List[str]]", '["one", "two"]', ["one", "two"]),
        ("func.Out[func.QueueMessage]", 'func.QueueMessage(id="1", body="one")', ['{"id":"1","body":"one"}']),
    ],
)
async def test_outputs_become_messages(
    serve: Any, http: ClientSession, storage: Storage, annotation: str, value: str, texts: list[str]
) -> None:
    host = await serve(
        f"""
@app.route("send")
@app.queue_output("out", queue_name="%OUT%", connection="AzureWebJobsStorage")
async def send(req: func.HttpRequest, out: {annotation}) -> func.HttpResponse:
    out.set({value})
    return func.HttpResponse("sent")
""",
        settings=storage.settings,
    )
    await storage.queue("-out").delete_queue()
    async with http.post(f"{host.url}/api/send") as answer:
        assert await answer.text() == "sent"
    assert sorted(await storage.texts("-out", len(texts))) == texts


async def test_no_output_sends_nothing_and_an_own_message_wakes_the_listener(
    serve: Any, http: ClientSession, storage: Storage
) -> None:
    host = await serve(
        f"""
@app.route("send/{{count:int}}")
@app.queue_output("out", queue_name="%QUEUE%", connection="AzureWebJobsStorage")
async def send(req: func.HttpRequest, out: func.Out[typing.List[str]]) -> func.HttpResponse:
    out.set(["x"] * int(req.route_params["count"]))
    return func.HttpResponse()
{QUEUE}
async def on_message(msg: func.QueueMessage) -> None:
    await note(body=msg.get_body().decode())
""",
        host_json={"extensions": {"queues": {"maxPollingInterval": "01:00:00"}}},
        settings=storage.settings,
    )
    for count in (0, 1):
        async with http.post(f"{host.url}/api/send/{count}") as answer:
            assert answer.status == 200
    assert await seen(host, http, 1) == [{"body": "x"}]
    await settled(storage)


async def test_a_failing_message_is_tried_again_and_ends_in_the_poison_queue(
    serve: Any, http: ClientSession, storage: Storage
) -> None:
    host = await serve(
        f"""{QUEUE}
async def on_message(msg: func.QueueMessage) -> None:
    await note(count=msg.dequeue_count)
    raise ValueError("on purpose")
""",
        host_json=FAST,
        settings=storage.settings,
    )
    await storage.send("bad")
    assert [message["count"] for message in await seen(host, http, 3)] == [1, 2, 3]
    await settled(storage)
    assert await storage.texts("-poison", 1) == ["bad"]
    assert len(await seen(host, http, 0)) == 3


async def test_a_failed_message_stays_hidden_for_the_visibility_timeout(
    serve: Any, http: ClientSession, storage: Storage
) -> None:
    host = await serve(
        f"""{QUEUE}
async def on_message(msg: func.QueueMessage) -> None:
    await note(count=msg.dequeue_count, body=msg.get_body().decode())
    if msg.dequeue_count == 1 and msg.get_body() == b"bad":
        raise ValueError("on purpose")
""",
        host_json={"extensions": {"queues": {"maxPollingInterval": "00:00:00.1", "visibilityTimeout": "00:00:02"}}},
        settings=storage.settings,
    )
    began = asyncio.get_running_loop().time()
    await storage.send("bad")
    await seen(host, http, 2)
    assert asyncio.get_running_loop().time() - began >= 1


async def test_a_value_returned_without_an_output_fails_the_invocation(serve: Any, storage: Storage) -> None:
    await serve(
        f"""{QUEUE}
async def on_message(msg: func.QueueMessage) -> None:
    return "something"
""",
        host_json=FAST,
        settings=storage.settings,
    )
    await storage.send("x")
    assert await storage.texts("-poison", 1) == ["x"]


async def test_what_is_not_base64_goes_to_the_poison_queue(serve: Any, http: ClientSession, storage: Storage) -> None:
    host = await serve(
        f"""{QUEUE}
async def on_message(msg: func.QueueMessage) -> None:
    await note(body=msg.get_body().decode())
""",
        host_json=FAST,
        settings=storage.settings,
    )
    await storage.queue().send_message("not base64!")
    await storage.send("fine")
    assert await seen(host, http, 1) == [{"body": "fine"}]
    await settled(storage)
    message = await storage.queue("-poison").receive_message()
    assert message
    assert message.content == "not base64!"
    assert "messageEncoding" in host.log.read_text()


async def test_a_batch_and_its_threshold_bound_what_runs_at_once(
    serve: Any, http: ClientSession, storage: Storage
) -> None:
    host = await serve(
        f"""
running = most = 0
release = asyncio.Event()

@app.route("release")
async def let_go(req: func.HttpRequest) -> func.HttpResponse:
    release.set()
    return func.HttpResponse()
{QUEUE}
async def on_message(msg: func.QueueMessage) -> None:
    global running, most
    running += 1
    most = max(most, running)
    if running <= 2:
        await note(most=most)
    if msg.get_body() != b"quick":
        await release.wait()
    running -= 1
    if release.is_set():
        await note(most=most)
""",
        host_json={
            "extensions": {"queues": {"maxPollingInterval": "00:00:00.1", "batchSize": 2, "newBatchThreshold": 1}}
        },
        settings=storage.settings,
    )
    await storage.send(*(["slow"] * 6))
    await seen(host, http, 2)
    async with http.post(f"{host.url}/api/release") as answer:
        assert answer.status == 200
    await settled(storage)
    assert max(entry["most"] for entry in await seen(host, http, 2)) <= 3


SLOW = f"""
@app.route("release")
async def let_go(req: func.HttpRequest) -> func.HttpResponse:
    release.set()
    return func.HttpResponse()

release = asyncio.Event()
{QUEUE}
async def on_message(msg: func.QueueMessage) -> None:
    await note(count=msg.dequeue_count)
    if msg.dequeue_count == 1:
        await release.wait()
    await note(done=True)
"""


async def test_sigterm_lets_what_runs_end(serve: Any, http: ClientSession, storage: Storage) -> None:
    host = await serve(
        SLOW.replace("await release.wait()", "await asyncio.sleep(0.5)"), host_json=FAST, settings=storage.settings
    )
    await storage.send("x")
    await seen(host, http, 1)
    assert await host.stop() == 0
    assert await storage.is_empty()


async def test_a_host_that_dies_gives_its_message_back_when_the_lease_ends(
    serve: Any, http: ClientSession, storage: Storage
) -> None:
    host = await serve(SLOW, host_json=FAST, settings=storage.settings, options=("--message-lease=2",))
    await storage.send("x")
    await seen(host, http, 1)
    url = host.url
    await host.crash()
    await host.start()
    assert host.url == url
    assert await seen(host, http, 2) == [{"count": 2}, {"done": True}]
    await settled(storage)


async def test_a_message_whose_function_takes_too_long_comes_again_once_the_worker_was_restarted(
    serve: Any, http: ClientSession, storage: Storage
) -> None:
    quick = {"functionTimeout": "00:00:01", "extensions": {"queues": {"maxPollingInterval": "00:00:00.1"}}}
    host = await serve(SLOW, host_json=quick, settings=storage.settings)
    await storage.send("x")
    assert await host.wait() == 3
    await host.start()
    assert await seen(host, http, 2) == [{"count": 2}, {"done": True}]
    await settled(storage)


async def test_the_lease_of_a_long_run_is_renewed(serve: Any, http: ClientSession, storage: Storage) -> None:
    host = await serve(
        SLOW.replace("await release.wait()", "await asyncio.sleep(3)"),
        host_json=FAST,
        settings=storage.settings,
        options=("--message-lease=2",),
    )
    await storage.send("x")
    assert await seen(host, http, 2) == [{"count": 1}, {"done": True}]
    await settled(storage)


async def test_a_queue_function_can_be_run_by_hand(serve: Any, http: ClientSession, storage: Storage) -> None:
    host = await serve(
        f"""{QUEUE}
async def on_message(msg: func.QueueMessage) -> None:
    await note(body=msg.get_body().decode())
""",
        settings=storage.settings,
    )
    url = f"{host.url}/admin/functions/on_message"
    async with http.post(url, json={"input": "by hand"}, headers={"x-functions-key": host.master_key}) as answer:
        assert answer.status == 202
    assert await seen(host, http, 1) == [{"body": "by hand"}]

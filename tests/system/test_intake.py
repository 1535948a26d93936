"""The HTTP edge of the app through the real worker: who may post, and what a wrong post is told."""

from __future__ import annotations

import io
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from sandbox.up import Up
from tests.intake.test_dataverse_post import post

pytestmark = pytest.mark.asyncio(loop_scope="package")


@pytest_asyncio.fixture(loop_scope="package")
async def session(up: Up) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of the functions host."""
    async with client_of(up) as made:
        yield made


def client_of(up: Up) -> aiohttp.ClientSession:
    tls = ssl.create_default_context(cafile=up.simulators.ca)
    return aiohttp.ClientSession(up.endpoints["functions"], connector=aiohttp.TCPConnector(ssl=tls))


async def send(
    session: aiohttp.ClientSession, body: bytes, key: str | None, content_type: str = "application/json"
) -> tuple[int, Any]:
    headers = {"Content-Type": content_type, **({"x-functions-key": key} if key else {})}
    async with session.post("/api/dataverse/changes", data=io.BytesIO(body), headers=headers) as answer:
        said = await answer.read()
        if answer.status >= 400 and answer.status != 401:
            assert answer.content_type == "application/problem+json"
            return answer.status, json.loads(said)
        return answer.status, said


@pytest.mark.parametrize("key", [None, "wrong"])
async def test_without_the_function_key_nobody_posts(up: Up, session: aiohttp.ClientSession, key: str | None) -> None:
    assert up.functions.host_key
    status, _ = await send(session, b"{}", key)
    assert status == 401


@pytest.mark.parametrize(
    ("body", "content_type", "status", "word"),
    [
        (b"{", "application/json", 400, "JSON"),
        (b"{}", "text/plain", 415, "application/json"),
        (b"[]", "application/json", 400, "object"),
        (b" " * (1024 * 1024 + 1), "application/json", 413, "bytes"),
        (json.dumps(post()).encode(), "application/json", 403, "DATAVERSE_ORGANIZATION_ID"),
    ],
    ids=["not json", "wrong type", "array", "too large", "wrong organisation (R14)"],
)
async def test_a_wrong_post_is_told_what_is_wrong(
    up: Up, session: aiohttp.ClientSession, body: bytes, content_type: str, status: int, word: str
) -> None:
    got, problem = await send(session, body, up.functions.host_key, content_type)
    assert (got, problem["status"]) == (status, status)
    assert word in problem["detail"]


async def test_an_app_that_cannot_start_answers_503_and_names_the_setting() -> None:
    """Dataverse repeats 503 and never 500: not even a wrong setting may lose a change."""
    async with Up(settings={"SYNC_SHARDS": "none"}) as broken, client_of(broken) as session:
        status, problem = await send(session, json.dumps(post()).encode(), broken.functions.host_key)
        assert (status, problem["status"]) == (503, 503)
        assert "SYNC_SHARDS must be a number" in broken.functions_log.read_text()


async def test_health_needs_no_key_and_says_nothing(session: aiohttp.ClientSession) -> None:
    async with session.get("/api/health") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ok"})

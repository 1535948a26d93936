"""HTTP over aiohttp, against a server that answers as a slow network delivers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

import shared.transport
from shared.errors import NotSentError, OutcomeUnknownError
from shared.http import HttpRequest
from shared.transport import AiohttpTransport

BODY = b'{"value":"' + b"x" * 300_000 + b'"}'


async def in_pieces(request: web.Request) -> web.StreamResponse:
    """Every piece only after the one before it has left."""
    response = web.StreamResponse(headers={"Content-Length": str(len(BODY))})
    await response.prepare(request)
    for first in range(0, len(BODY), 50_000):
        await response.write(BODY[first : first + 50_000])
        await asyncio.sleep(0)
    return response


async def never(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    return web.Response()


async def hang_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def elsewhere(_: web.Request) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": "https://example.com"})


@pytest.fixture
async def base() -> AsyncIterator[str]:
    app = web.Application()
    for path, handler in (("/pieces", in_pieces), ("/never", never), ("/hang-up", hang_up), ("/elsewhere", elsewhere)):
        app.router.add_get(path, handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def transport() -> AsyncIterator[AiohttpTransport]:
    made = AiohttpTransport()
    yield made
    await made.close()


async def test_an_answer_in_pieces_arrives_whole(base: str, transport: AiohttpTransport) -> None:
    answer = await transport.send(HttpRequest(method="GET", url=f"{base}/pieces"))
    assert answer.body == BODY


async def test_a_late_answer_is_an_unknown_outcome(base: str, transport: AiohttpTransport) -> None:
    with pytest.raises(OutcomeUnknownError):
        await transport.send(HttpRequest(method="GET", url=f"{base}/never", timeout=0.05))


async def test_a_broken_connection_is_an_unknown_outcome(base: str, transport: AiohttpTransport) -> None:
    with pytest.raises(OutcomeUnknownError):
        await transport.send(HttpRequest(method="GET", url=f"{base}/hang-up"))


async def test_no_connection_means_that_nothing_was_sent(transport: AiohttpTransport) -> None:
    with pytest.raises(NotSentError):
        await transport.send(HttpRequest(method="GET", url="http://127.0.0.1:1/"))


async def test_redirects_are_not_followed(base: str, transport: AiohttpTransport) -> None:
    answer = await transport.send(HttpRequest(method="GET", url=f"{base}/elsewhere"))
    assert answer.status == 302


async def test_an_answer_beyond_all_measure_is_not_read(
    base: str, transport: AiohttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared.transport, "MOST_BYTES", 100_000)
    with pytest.raises(OutcomeUnknownError):
        await transport.send(HttpRequest(method="GET", url=f"{base}/pieces"))

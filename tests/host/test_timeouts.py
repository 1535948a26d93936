"""A function that takes longer than the function timeout costs the worker, as in Azure, and all that runs in it."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import ClientSession

APP = """
import time

@app.route("endless")
async def endless(req: func.HttpRequest) -> func.HttpResponse:
    await note(begun=True)
    await asyncio.Event().wait()

@app.route("other")
async def other(req: func.HttpRequest) -> func.HttpResponse:
    await note(begun=True)
    await asyncio.Event().wait()

@app.route("blocked")
def blocked(req: func.HttpRequest) -> func.HttpResponse:
    time.sleep(600)
"""
QUICK = {"functionTimeout": "00:00:01"}
RESTART = 3


async def get(http: ClientSession, url: str) -> tuple[int, str]:
    async with http.get(url) as answer:
        return answer.status, await answer.text()


async def test_the_host_ends_and_starts_afresh(serve: Any, http: ClientSession) -> None:
    host = await serve(APP, host_json=QUICK)
    late = asyncio.create_task(get(http, f"{host.url}/api/endless"))
    await get(http, f"{host.url}/api/seen/1")
    assert await get(http, f"{host.url}/api/other") == (500, "")
    assert await late == (500, "")
    assert await host.wait() == RESTART
    said = host.log.read_text()
    assert "Timeout value of 0:00:01 was exceeded by function: endless" in said
    assert "The worker was restarted while it ran the function: other" in said
    assert "The worker process has to be restarted" in said
    await host.start()
    assert await get(http, f"{host.url}/api/seen/0") == (200, "[]")


async def test_a_thread_that_never_ends_does_not_hold_up_the_end(serve: Any, http: ClientSession) -> None:
    host = await serve(APP, host_json=QUICK)
    assert await get(http, f"{host.url}/api/blocked") == (500, "")
    assert await host.wait() == RESTART

"""Sample apps in a functions host of their own process."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession, ClientTimeout

from sandbox.functions.process import HostProcess

type Serve = Callable[..., Awaitable[HostProcess]]

PREAMBLE = '''
import asyncio, json, os, typing
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
seen = []
changed = asyncio.Condition()

async def note(**what):
    async with changed:
        seen.append(what)
        changed.notify_all()

@app.route("seen/{count:int}")
async def what_was_seen(req: func.HttpRequest) -> func.HttpResponse:
    """Answers as soon as so many things were noted."""
    async with changed:
        await changed.wait_for(lambda: len(seen) >= int(req.route_params["count"]))
        return func.HttpResponse(json.dumps(seen))
'''


def write_app(directory: Path, source: str, host_json: Mapping[str, Any] | None = None) -> Path:
    """An app of `source` on top of the preamble."""
    directory.mkdir()
    (directory / "function_app.py").write_text(PREAMBLE + source)
    (directory / "host.json").write_text(json.dumps({"version": "2.0", **(host_json or {})}))
    return directory


@pytest.fixture(scope="session")
def app_writer() -> Callable[..., Path]:
    return write_app


@pytest_asyncio.fixture
async def serve(tmp_path: Path, azurite: str) -> AsyncIterator[Serve]:
    """Starts an app given as source."""
    async with AsyncExitStack() as stack:

        async def start(
            source: str,
            *,
            host_json: Mapping[str, Any] | None = None,
            settings: Mapping[str, str] | None = None,
            options: tuple[str, ...] = (),
        ) -> HostProcess:
            app = write_app(tmp_path / "app", source, host_json)
            values = {"AzureWebJobsStorage": azurite, **(settings or {})}
            return await stack.enter_async_context(
                HostProcess(app, settings=values, work_dir=tmp_path, options=options)
            )

        yield start


@pytest_asyncio.fixture
async def http() -> AsyncIterator[ClientSession]:
    async with ClientSession(timeout=ClientTimeout(total=20)) as session:
        yield session

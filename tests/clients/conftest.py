"""The simulators behind TLS, a receiver of notifications, and a way to run a client in its own environment."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

import dev
from sandbox.directory import known_id
from sandbox.simulators import Simulators

HERE = Path(__file__).parent
PATIENCE = 120.0
MORE_ROLES = ("Calendars.Read", "MailboxSettings.Read", "Place.Read.All", "Bookings.ReadWrite.All")
"""What the clients ask for and a planner does not."""
SEEN: dict[str, list[str]] = {}
"""What each client did, by its name and version."""

type Run = Callable[[str], Awaitable[None]]


@pytest_asyncio.fixture
async def simulators(tmp_path: Path) -> AsyncIterator[Simulators]:
    """Contoso, fresh for every client."""
    async with Simulators(tmp_path) as simulators:
        yield simulators


@pytest_asyncio.fixture
async def receiver(simulators: Simulators) -> AsyncIterator[str]:
    """The address of somebody who validates, takes every notification, and shows them to whoever asks."""
    taken: list[object] = []

    async def show(_request: web.Request) -> web.Response:
        return web.json_response(taken)

    async def take(request: web.Request) -> web.Response:
        if "validationToken" in request.query:
            return web.Response(text=request.query["validationToken"])
        taken.extend((await request.json())["value"])
        return web.Response(status=202)

    certificate, key = simulators.write_certificate()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    app = web.Application()
    app.router.add_get("/", show)
    app.router.add_post("/", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    yield f"https://localhost:{runner.addresses[0][1]}/"
    await runner.cleanup()


@pytest.fixture
def run(simulators: Simulators, receiver: str) -> Run:
    """Runs a script in the environment of the clients; it trusts the sandbox's authority by the usual variables."""
    planner = simulators.directory.applications[known_id("application", "Planner")]
    planner = simulators.directory.register(replace(planner, graph_roles=(*planner.graph_roles, *MORE_ROLES)))
    sandbox = {
        **simulators.endpoints,
        "tenant_id": simulators.directory.tenant_id,
        "client_id": planner.client_id,
        "client_secret": planner.secrets[0],
        "user": "alice@contoso.test",
        "receiver": receiver,
    }
    environment = {
        **dev.environment(),
        "SANDBOX": json.dumps(sandbox),
        "SSL_CERT_FILE": str(simulators.ca),
        "REQUESTS_CA_BUNDLE": str(simulators.ca),
        "NODE_EXTRA_CA_CERTS": str(simulators.ca),
        "NODE_PATH": str(dev.CLIENTS_NODE_MODULES),
        "PYTHONDONTWRITEBYTECODE": "1",
    }

    async def run(script: str) -> None:
        is_python = script.endswith(".py")
        program = dev.program("python", dev.CLIENTS_VENV) if is_python else dev.find_node()
        process = await asyncio.create_subprocess_exec(
            str(program),
            str(HERE / ("python" if is_python else "node") / script),
            env={name: value for name, value in environment.items() if "proxy" not in name.lower()},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(PATIENCE):
            said, complained = await process.communicate()
        if process.returncode:
            pytest.fail(f"{script} failed\n{said.decode()}\n{complained.decode()[-8000:]}", pytrace=False)
        lines = [line.partition(" ") for line in said.decode().splitlines()]
        names = ", ".join(text for word, _, text in lines if word == "client")
        SEEN[names] = [text for word, _, text in lines if word == "step"]
        assert SEEN[names], said

    return run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the clients and what they did."""
    for names, steps in SEEN.items():
        terminalreporter.write_line(f"{names}: {len(steps)} steps passed")
        for step in steps:
            terminalreporter.write_line(f"    {step}")

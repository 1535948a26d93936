"""Everything together: Storage, simulators, functions host, the app itself."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession
from azure.storage.queue.aio import QueueClient

from sandbox.client import Client
from sandbox.directory import known_id
from sandbox.up import Up

ROOT = Path(__file__).parents[2]
KEYS = {
    *("page", "graph", "dataverse", "login", "keyvault", "functions", "control", "ca"),
    *("tenant_id", "client_id", "client_secret", "function_key", "users"),
}
IDENTITY = known_id("application", "Booking Sync Identity")
in_module_loop = pytest.mark.asyncio(loop_scope="module")


class Heard:
    """What the supervisor said, awaitable."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[str] = asyncio.Queue()


@pytest.fixture(scope="module")
def heard() -> Heard:
    return Heard()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def up(heard: Heard) -> AsyncIterator[Up]:
    async with Up(say=heard.messages.put_nowait) as running:
        yield running


async def book(client: Client, name: str) -> None:
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    status, problem, _ = await client.dataverse(
        "POST",
        "bookableresourcebookings",
        {
            "name": name,
            "starttime": start.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "endtime": (start + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "duration": 60,
            "bookingtype": 1,
            "Resource@odata.bind": f"/bookableresources({known_id('bookableresource', 'Alice Anderson')})",
            "BookingStatus@odata.bind": f"/bookingstatuses({known_id('bookingstatus', 'Committed')})",
        },
    )
    assert status == 204, problem


async def event_called(client: Client, name: str) -> dict[str, Any]:
    """The event of that subject in Alice's calendar, awaited."""
    async with asyncio.timeout(30):
        while True:
            status, content, _ = await client.graph("GET", "users/alice@contoso.test/events")
            assert status == 200, content
            for event in content["value"]:
                if event["subject"] == name:
                    found: dict[str, Any] = event
                    return found


def asked(up: Up) -> set[tuple[str, str]]:
    """The services that the app asked for tokens and secrets, and as whom."""
    services = ("login", "identity", "keyvault")
    calls = (call for call in up.simulators.cloud.recorder.calls if call.service in services)
    return {(call.service, call.app) for call in calls if call.app not in ("", up.planner.client_id)}


async def idle(up: Up) -> None:
    """Return when every wake-up was worked off and deleted."""
    async with asyncio.timeout(30), QueueClient.from_connection_string(up.storage, "bookingsync-wake") as queue:
        while (await queue.get_queue_properties()).approximate_message_count:
            pass


@in_module_loop
async def test_what_is_printed_is_where_everything_is(up: Up) -> None:
    described = up.description()
    assert set(described) == KEYS
    users = described["users"]
    assert isinstance(users, list)
    assert "alice@contoso.test" in users
    places = ("graph", "dataverse", "login", "keyvault", "functions")
    assert all(str(described[name]).startswith("https://localhost:") for name in places)


@in_module_loop
async def test_what_is_up_has_found_its_place_and_searched_every_calendar(up: Up) -> None:
    """So that the first change does not wait for it."""
    users = up.description()["users"]
    assert isinstance(users, list)
    calls = [call for call in up.simulators.cloud.recorder.calls if call.app == up.app.client_id]
    assert len({call.mailbox for call in calls if call.service == "graph"}) >= len(users)
    assert any(call.path.endswith("/bookableresourcebookings") for call in calls)


@in_module_loop
async def test_a_booking_becomes_an_event(up: Up) -> None:
    async with up.client() as client:
        await book(client, "Seen through")
        assert (await event_called(client, "Seen through"))["showAs"] == "busy"


@in_module_loop
async def test_the_certificate_comes_from_the_vault_by_the_managed_identity(up: Up) -> None:
    async with up.client() as client:
        await book(client, "By certificate")
        await event_called(client, "By certificate")
    assert asked(up) == {("identity", IDENTITY), ("keyvault", IDENTITY), ("login", up.app.client_id)}
    log = up.functions_log.read_text()
    for secret in (*up.app.secrets, up.simulators.identity.header, "PRIVATE KEY", "eyJ"):
        assert secret not in log


@in_module_loop
async def test_the_functions_host_can_be_killed_and_started_again(up: Up) -> None:
    url = up.functions.url
    await idle(up)  # killed within a drain, the shard would wait for the end of the dead host's lease
    await up.kill_functions_host()
    await up.start_functions_host()
    assert up.functions.url == url
    async with up.client() as client:
        await book(client, "After a crash")
        await event_called(client, "After a crash")


@in_module_loop
async def test_a_functions_host_that_dies_is_started_again(up: Up, heard: Heard) -> None:
    os.kill(up.functions.pid, signal.SIGKILL)
    async with asyncio.timeout(30):
        assert "ended unexpectedly with code -9" in await heard.messages.get()
        assert "runs again" in await heard.messages.get()
    trust = ssl.create_default_context(cafile=up.simulators.ca)
    async with ClientSession() as http, http.get(f"{up.functions.url}/api/health", ssl=trust) as answer:
        assert answer.status == 200


def test_the_command_prints_one_line_and_ends_at_sigterm() -> None:
    command = [sys.executable, "-m", "sandbox", "up", "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own
        assert process.stdout
        described = json.loads(process.stdout.readline())
        assert set(described) == KEYS
        process.terminate()
        assert process.wait(20) == 0
        assert process.stdout.read() == ""
    assert not Path(described["ca"]).exists(), "the work directory is removed"

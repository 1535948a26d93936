"""Data that come along with notifications, through everything that is real: vault, token keys, worker, sockets."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.client import Client
from sandbox.entra.certificates import known_key_pair
from sandbox.up import Up
from tests.host.test_up import book, event_called
from tests.system.test_intake import client_of

pytestmark = pytest.mark.asyncio(loop_scope="package")
CERTIFICATE = "notifications"


async def drag(client: Client, event: dict[str, Any], start: datetime) -> None:
    """Alice moves an event."""
    times = {
        name: {"dateTime": f"{start + timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%S}", "timeZone": "UTC"}
        for name, minutes in (("start", 0), ("end", 60))
    }
    status, said, _ = await client.graph("PATCH", f"users/alice@contoso.test/events/{event['id']}", times)
    assert status == 200, said


async def followed(client: Client, name: str, start: datetime) -> None:
    """Return when the booking has the new time."""
    path = f"bookableresourcebookings?$select=starttime&$filter=name eq '{name}'"
    async with asyncio.timeout(30):
        while True:
            status, rows, _ = await client.dataverse("GET", path.replace(" ", "%20").replace("'", "%27"))
            assert status == 200, rows
            if [row["starttime"] for row in rows["value"]] == [f"{start:%Y-%m-%dT%H:%M:%SZ}"]:
                return
            await asyncio.sleep(0.1)


async def test_r5_a_moved_event_costs_no_read_before_and_after_the_certificate_is_exchanged() -> None:
    settings = {"GRAPH_NOTIFICATION_CERTIFICATE": CERTIFICATE, "KEYVAULT_CACHE_MINUTES": "1"}
    up = Up(settings=settings)
    start = (datetime.now(UTC) + timedelta(days=5)).replace(microsecond=0)
    async with up, up.client() as client, client_of(up) as session:
        up.simulators.keyvault.put_certificate(CERTIFICATE, known_key_pair("rich one"))
        keys = {"x-functions-key": up.functions.host_key}
        async with session.post("/api/subscriptions/renew", headers=keys) as answer:
            assert answer.status == 200
            assert (await answer.json())["in_force"] > 0
        [first] = {one.rich.recipient.id for one in _in_force(up) if one.rich is not None}
        assert all(one.rich is not None for one in _in_force(up))
        await book(client, "Rich")
        event = await event_called(client, "Rich")
        await up.quiet()
        await _moved_without_reading(up, client, event, start)

        up.simulators.keyvault.put_certificate(CERTIFICATE, known_key_pair("rich two"))
        await up.stop_functions_host()  # what it remembers of the vault goes
        await up.start_functions_host()
        async with session.post("/api/subscriptions/renew", headers=keys) as answer:
            assert answer.status == 200
        [second] = {one.rich.recipient.id for one in _in_force(up) if one.rich is not None}
        assert first != second
        await _moved_without_reading(up, client, event, start + timedelta(hours=3))
        log = up.functions_log.read_text()
        assert "PRIVATE KEY" not in log
        assert "cannot be read" not in log


def _in_force(up: Up) -> list[Any]:
    return list(up.simulators.graph.notifications._subscriptions.all(up.simulators.cloud.clock.now()))


async def _moved_without_reading(up: Up, client: Client, event: dict[str, Any], start: datetime) -> None:
    up.simulators.cloud.recorder.clear()
    await drag(client, event, start)
    await followed(client, "Rich", start)
    await up.quiet()
    calls = [call for call in up.simulators.cloud.recorder.calls if call.app == up.app.client_id]
    assert [call for call in calls if call.service == "graph"] == []

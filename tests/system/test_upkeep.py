"""What the platform runs beside the work itself, on the real worker: house-keeping, and wake-ups that were given up."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
from azure.storage.queue.aio import QueueClient

from sandbox.up import Up
from shared.tables.azure import AzureTables
from shared.tables.housekeeping import TableHousekeeping
from tests.system.burst import Burst
from tests.system.test_intake import client_of

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_house_is_kept_in_the_real_storage(up: Up) -> None:
    tables = AzureTables.from_connection_string(up.storage, "bookingsync")
    house = TableHousekeeping(tables, 8)
    await up.functions.run_function("keep_house")
    async with asyncio.timeout(30):
        while (last := await house.round()) is None or last.position < len(house.places()):
            pass
    await tables.close()


async def test_an_administrator_has_everything_compared(up: Up) -> None:
    address = "/api/sweep"
    async with up.client() as client, client_of(up) as session:
        burst = Burst(up, client)
        await burst.book(3)
        async with asyncio.timeout(60):
            await up.quiet()

        async def asked(method: str, address: str) -> tuple[int, Any]:
            async with session.request(method, address, headers={"x-functions-key": up.functions.host_key}) as answer:
                return answer.status, await answer.json()

        status, report = await asked("POST", f"{address}?repair=true")
        async with asyncio.timeout(60):
            while report["ended"] is None:
                assert status == 202
                await up.functions.run_function("go_on_sweeping")
                status, report = await asked("GET", address)
        assert status == 200
        assert report["pairs"] >= len(burst.visits)
        assert (report["drift"], report["findings"]) == (0, [])
        async with session.get(address) as answer:
            assert answer.status == 401
        [booking, *_] = burst.visits
        assert await asked("GET", f"/api/conflicts?booking={booking}") == (200, {"conflicts": []})
        assert (await asked("POST", f"/api/conflicts/restore?booking={booking}"))[0] == 404
        assert (await asked("POST", "/api/conflicts/restore?booking=no-id"))[0] == 400


async def test_a_wake_up_that_was_given_up_is_reported_and_does_not_pile_up(up: Up) -> None:
    async with QueueClient.from_connection_string(up.storage, "bookingsync-wake-poison") as queue:
        await queue.send_message(base64.b64encode(b"03").decode())
        async with asyncio.timeout(30):
            while (await queue.get_queue_properties()).approximate_message_count:
                pass
    assert "shard b'03' could not be drained, time and again" in up.functions_log.read_text()


async def test_the_log_of_the_host_holds_no_content_no_address_and_no_secret(up: Up) -> None:
    async with up.client() as client:
        await Burst(up, client).book(5)
        async with asyncio.timeout(60):
            await up.quiet()
    said = up.functions_log.read_text()
    assert "created (applied)" in said
    for name in ("Visit 0", "@contoso.test", "Bearer", "eyJ", up.functions.host_key, up.app.secrets[0]):
        assert name not in said

from __future__ import annotations

import os
import select
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from azure.data.tables.aio import TableServiceClient
from azure.storage.queue.aio import QueueServiceClient

from sandbox.azurite import Azurite

PARENT = """
import asyncio
from sandbox.azurite import Azurite

async def main():
    async with Azurite() as storage:
        print(storage._child.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_tables_and_queues_answer(azurite: str) -> None:
    name = f"t{uuid.uuid4().hex}"
    async with TableServiceClient.from_connection_string(azurite) as tables:
        table = await tables.create_table(name)
        await table.create_entity({"PartitionKey": "p", "RowKey": "r", "value": 1})
        assert (await table.get_entity("p", "r"))["value"] == 1
    async with QueueServiceClient.from_connection_string(azurite) as queues:
        queue = await queues.create_queue(name)
        await queue.send_message("hello")
        message = await queue.receive_message()
        assert message is not None
        assert message.content == "hello"


async def test_what_is_on_disk_survives_a_stop(tmp_path: Path) -> None:
    storage = Azurite(location=tmp_path)
    async with storage, TableServiceClient.from_connection_string(storage.connection_string) as tables:
        await tables.create_table("kept")
    async with storage, TableServiceClient.from_connection_string(storage.connection_string) as tables:
        assert [table.name async for table in tables.list_tables()] == ["kept"]


@pytest.mark.skipif(sys.platform != "linux", reason="only the Linux kernel ends a child with its parent")
def test_azurite_ends_with_its_killed_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:  # noqa: S603
        assert parent.stdout
        azurite = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
        parent.wait()
        ended, _, _ = select.select([azurite], [], [], 10)
        os.close(azurite)
        assert ended, "Azurite outlived its parent by ten seconds"

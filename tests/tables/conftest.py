"""Both implementations of the port `Tables`: what is built on it must work on each."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest

from shared.tables.azure import AzureTables
from shared.tables.memory import MemoryTables
from shared.tables.tables import Tables


@pytest.fixture(params=["memory", "azure"])
async def tables(request: pytest.FixtureRequest, azurite: str) -> AsyncIterator[Tables]:
    if request.param == "memory":
        yield MemoryTables()
        return
    table = AzureTables.from_connection_string(azurite, f"t{uuid.uuid4().hex}")
    await table.create()
    yield table
    await table.close()

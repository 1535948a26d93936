"""What all tests share: one Azurite for the whole run (every test takes tables and queues of its own)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from hypothesis import HealthCheck, settings

from sandbox.azurite import Azurite

pytest_plugins = ["tests.schema.plugin"]

# A busy machine makes examples slow; that says nothing about the code under test.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def azurite() -> AsyncIterator[str]:
    """The connection string of a fresh Storage account."""
    async with Azurite() as storage:
        yield storage.connection_string

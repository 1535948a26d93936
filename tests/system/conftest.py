"""The whole thing, once for all system tests: Azurite, the simulators, the app on the real worker runtime."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from sandbox.up import Up


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def up() -> AsyncIterator[Up]:
    """Everything up and installed."""
    async with Up() as everything:
        yield everything

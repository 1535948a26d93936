"""The simulators as an app on Azure sees them: a vault, and an identity of the platform that may read it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbox.simulators import Simulators


@pytest.fixture
async def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Simulators]:
    """The simulators, with the environment that Azure Functions gives to an app with a managed identity."""
    async with Simulators(tmp_path) as simulators:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(simulators.ca))
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{simulators.endpoints['identity']}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", simulators.identity.header)
        yield simulators

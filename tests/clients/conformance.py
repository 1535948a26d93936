"""The simulators, judged by clients that others wrote. `python3 dev.py test --clients` makes their environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.conftest import Run

SCRIPTS = sorted(
    path.name for place in ("python", "node") for path in Path(__file__).parent.joinpath(place).glob("with_*")
)


@pytest.mark.parametrize("script", SCRIPTS)
async def test_a_client_of_others_does_its_round_trip(run: Run, script: str) -> None:
    await run(script)

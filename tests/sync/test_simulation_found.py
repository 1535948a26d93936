"""What the simulation has found stays found: the shrunk scripts of defects that are mended."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation.play import play
from tests.simulation.script import Script

FOUND = sorted((Path(__file__).parents[1] / "simulation" / "found").glob("*.jsonl"))


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.stem)
def test_r1_what_was_found_once(path: Path) -> None:
    assert play(Script.parse(path.read_text())).violations == ()

"""The switches of the simulators."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sandbox.cloud import Cloud
from sandbox.graph.routes import Graph
from sandbox.settings import Settings, count, flag, limit
from sandbox.simulators import LATENCY, Simulators

PAGE = Path(__file__).parents[2] / "docs" / "sandbox.md"


def test_every_setting_is_on_the_page_as_it_is_in_the_code(tmp_path: Path) -> None:
    declared = Simulators(tmp_path).cloud.settings.declared
    rows = [
        f"| `{name}` | `{json.dumps(one.default)}` | {one.values} | {one.meaning} |" for name, one in declared.items()
    ]
    assert [
        line for line in PAGE.read_text().splitlines() if line.startswith(("| `graph.", "| `data", "| `web", "| `not"))
    ] == sorted(rows)


def test_over_sockets_operations_take_a_moment_also_after_a_reset(tmp_path: Path) -> None:
    simulators = Simulators(tmp_path)
    simulators.cloud.settings.change({"graph.latency": "realistic"})
    simulators.reset()
    assert {name: simulators.cloud.settings[name] for name in LATENCY} == LATENCY


@pytest.mark.parametrize(
    "latency",
    ["fast", 1, None, {}, {"read": 1}, {"read": 1, "write": -1}, {"read": 1, "write": "1"}, {"read": 1, "write": True}],
    ids=json.dumps,
)
def test_a_latency_is_a_profile_or_two_numbers(cloud: Cloud, graph: Graph, latency: object) -> None:
    assert cloud.services["graph"] is graph
    with pytest.raises(ValueError, match='must be "none", "realistic" or '):
        cloud.settings.change({"graph.latency": latency})


def test_limits_can_be_taken_away_numbers_and_flags_cannot() -> None:
    settings = Settings()
    settings.declare({"a": limit(5, "a"), "b": count(5, "b"), "c": flag(default=True, meaning="c")})
    assert settings.limit("a") == 5
    settings.change({"a": None})
    assert settings.limit("a") == float("inf")
    for wrong in ({"a": 0}, {"a": 1.5}, {"a": True}, {"b": None}, {"b": 0}, {"c": None}, {"c": 1}):
        with pytest.raises(ValueError, match="must be"):
            settings.change(wrong)

"""What the platform sees: names, routes, rights, schedules, queues."""

from __future__ import annotations

import ast
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cronsim import CronSim

import function_app
from shared.graph.subscriptions import LIFECYCLE, NOTIFICATIONS
from shared.settings import Settings
from tests.app.test_settings import COMPLETE, ROOT


@pytest.fixture(scope="module")
def functions() -> dict[str, dict[str, dict[str, Any]]]:
    """Bindings by function and binding name."""
    return {
        str(function.get_function_name()): {
            binding["name"]: binding for binding in json.loads(function.get_function_json())["bindings"]
        }
        for function in function_app.app.get_functions()
    }


def test_the_functions(functions: dict[str, Any]) -> None:
    assert set(functions) == {
        "dataverse_changes",
        "graph_notifications",
        "graph_lifecycle",
        "drain",
        "wake_idle",
        "pull_dataverse",
        "keep_subscriptions",
        "recover_calendars",
        "renew_subscriptions",
        "go_on_sweeping",
        "sweep",
        "sweep_report",
        "conflicts",
        "restore_conflict",
        "keep_house",
        "report_poison",
        "replay_dead_letters",
        "approve_quarantine",
        "health",
    }


def test_routes_methods_and_rights(functions: dict[str, Any]) -> None:
    triggers = [
        (bindings["req"]["route"], tuple(bindings["req"]["methods"]), str(bindings["req"]["authLevel"]))
        for bindings in functions.values()
        if "req" in bindings
    ]
    assert sorted(triggers) == [
        ("conflicts", ("GET",), "FUNCTION"),
        ("conflicts/restore", ("POST",), "FUNCTION"),
        ("dataverse/changes", ("POST",), "FUNCTION"),
        ("dead-letters/replay", ("POST",), "FUNCTION"),
        ("graph/lifecycle", ("POST",), "ANONYMOUS"),
        ("graph/notifications", ("POST",), "ANONYMOUS"),
        ("health", ("GET",), "ANONYMOUS"),
        ("quarantine/approve", ("POST",), "FUNCTION"),
        ("subscriptions/renew", ("POST",), "FUNCTION"),
        ("sweep", ("GET",), "FUNCTION"),
        ("sweep", ("POST",), "FUNCTION"),
    ]


def test_every_wake_up_goes_to_the_queue_that_wakes(functions: dict[str, Any]) -> None:
    queues = {
        binding["queueName"]
        for name, bindings in functions.items()
        for binding in bindings.values()
        if "queueName" in binding and name != "report_poison"
    }
    assert queues == {"%SYNC_WAKE_QUEUE%"}


def test_wake_ups_that_were_given_up_are_not_left_lying(functions: dict[str, Any]) -> None:
    assert functions["report_poison"]["shard"]["queueName"] == "%SYNC_WAKE_QUEUE%-poison"


def test_schedules_are_settings_with_six_fields(functions: dict[str, Any]) -> None:
    defaults = Settings.from_environment(COMPLETE)
    schedules = {name: bindings["timer"]["schedule"] for name, bindings in functions.items() if "timer" in bindings}
    assert schedules == {
        "wake_idle": "%SYNC_WAKE_SCHEDULE%",
        "pull_dataverse": "%SYNC_PULL_SCHEDULE%",
        "keep_subscriptions": "%SYNC_SUBSCRIPTION_SCHEDULE%",
        "recover_calendars": "%SYNC_RECOVERY_SCHEDULE%",
        "go_on_sweeping": "%SYNC_SWEEP_SCHEDULE%",
        "keep_house": "%SYNC_HOUSEKEEPING_SCHEDULE%",
    }
    for schedule in (
        defaults.wake_schedule,
        defaults.pull_schedule,
        defaults.subscription_schedule,
        defaults.recovery_schedule,
        defaults.sweep_schedule,
        defaults.housekeeping_schedule,
    ):
        assert len(schedule.split()) == 6
        CronSim(schedule, datetime(2026, 1, 1, tzinfo=UTC))


def test_imports_run_one_way() -> None:
    """The triggers know the composition root, the errors and the shards' name, nothing deeper."""
    tree = ast.parse((ROOT / "function_app.py").read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert {name for name in imported if name and name.startswith(("shared", "azure", "sandbox"))} == {
        "azure.functions",
        "shared.app",
        "shared.errors",
        "shared.sync.model",
    }


def test_only_the_triggers_know_azure_functions() -> None:
    for path in (ROOT / "shared").rglob("*.py"):
        assert "azure.functions" not in path.read_text(), path


def test_function_app_fits_on_four_screens() -> None:
    lines = (ROOT / "function_app.py").read_text().splitlines()
    assert len(lines) <= 250


def test_the_routes_that_graph_is_told_are_those_that_are_served(functions: dict[str, Any]) -> None:
    served = {f"/api/{bindings['req']['route']}" for bindings in functions.values() if "req" in bindings}
    assert {NOTIFICATIONS, LIFECYCLE} <= served

"""What the README promises, on the real parts."""

from __future__ import annotations

import json

import pytest

from sandbox.demo import tell
from sandbox.up import Up

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_the_demo_comes_true_step_by_step(up: Up) -> None:
    said: list[str] = []
    report = await tell(up, said.append)
    assert [step["name"] for step in report["steps"] if not step["ok"]] == []
    assert report["ok"] is True
    names = {step["name"] for step in report["steps"]}
    assert {"create", "reassign", "delete", "heal", "wipe", "lost hour", "burst"} <= names
    assert {"move in Outlook", "delete in Outlook", "notifications lost", "subscription removed"} <= names
    assert {"conflict, outlook", "conflict, park", "conflict, dataverse", "echo storm", "certificate rotated"} <= names
    assert len("".join(said).splitlines()) == len(report["steps"])
    for service in ("graph", "dataverse"):
        assert report["requests"][service]["http"] > 0
        assert report["requests"][service]["logical"] >= report["requests"][service]["http"] > 0
    json.dumps(report)

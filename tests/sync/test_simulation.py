"""R12: random stories with random faults: the rules hold, a seed always takes the same way, nothing goes untested."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from shared.sync.plan import Reason
from tests.simulation.lot import script_of
from tests.simulation.play import Result, play_seeds
from tests.simulation.script import Script
from tests.simulation.shrink import shrink
from tests.simulation.steps import KINDS, LOST_ANSWERS, REFUSALS, Given, name_of_fault

ROOT = Path(__file__).parents[2]
SEEDS, CHUNK = 300, 20
"""So many that everything that may happen does."""
NEVER_IN_A_JOURNAL = frozenset({Reason.UNDER_WAY, Reason.PUT_IN_FORCE, Reason.RESTORED_BY_PEOPLE})
"""One only puts off; the others take an administrator, and a person who looks into Deleted Items: no script plays them
(`tests/sync/test_restore.py` and `test_two_way.py` do)."""
TOO_RARE = frozenset({Reason.ATTEMPTS_EXHAUSTED, Reason.KEYS_USED_UP, Reason.DELETION_BUDGET})
"""Half a day of failures; eight used keys in a row; more deletions than a script has."""


@pytest.fixture(scope="module")
def results() -> dict[int, Result]:
    return dict(play_seeds(range(SEEDS), os.cpu_count() or 1))


@pytest.fixture(scope="module")
def seen(results: dict[int, Result]) -> Counter[str]:
    return sum((result.seen for result in results.values()), Counter[str]())


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_r1_to_r11_hold_whatever_happens(results: dict[int, Result], first: int) -> None:
    violations = {seed: results[seed].violations for seed in range(first, first + CHUNK) if results[seed].violations}
    assert violations == {}, f"repeat one by: python3 dev.py simulate --from {next(iter(violations))} --seeds 1"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_step_takes_effect(seen: Counter[str], kind: str) -> None:
    assert seen[f"step {kind}"] > 0


@pytest.mark.parametrize("service", ["graph", "dataverse"])
@pytest.mark.parametrize("effect", REFUSALS + LOST_ANSWERS, ids=lambda effect: name_of_fault("", effect))
def test_every_fault_of_a_service_takes_effect(seen: Counter[str], service: str, effect: Given) -> None:
    assert seen[name_of_fault(service, effect)] > 0


@pytest.mark.parametrize(
    "what",
    [
        "crash before a call",
        "crash after a call",
        "frozen call",
        "lost wake-up",
        "fault graph touch",
        "fault graph refuse 401",
        "fault graph refuse 403",
        "fault dataverse expire_cursor",
        "fault login refuse",
        "fault storage refuse",
        "fault storage fail_after_commit",
        "fault storage repeat",
        "fault graph expire_cursor",
        "fault dataverse refuse 400",
        *(f"fault {service} delay" for service in ("graph", "dataverse", "storage", "webhook", "notification")),
        *(
            f"fault {service} {do}"
            for service in ("webhook", "notification")
            for do in ("lose", "duplicate", "hold", "reorder", "drop", "drop_after_commit")
        ),
        *(f"fault {service} refuse {status}" for service in ("webhook", "notification") for status in (429, 500, 503)),
    ],
)
def test_every_other_trouble_takes_effect(seen: Counter[str], what: str) -> None:
    assert seen[what] > 0


@pytest.mark.parametrize("reason", sorted(set(Reason) - NEVER_IN_A_JOURNAL - TOO_RARE))
def test_every_reason_occurs(seen: Counter[str], reason: Reason) -> None:
    assert any(name.startswith(f"journal {reason} ") for name in seen)


def test_excuses_are_rare(seen: Counter[str]) -> None:
    """What the rules let pass because somebody was told why."""
    excused = sum(count for name, count in seen.items() if name.startswith("excused"))
    assert 0 < excused < seen["step book"] / 10


def simulate(hash_seed: int, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 - this very project
        [sys.executable, "-m", "tests.simulation", "--seeds", "8", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()[-1]


def test_r12_the_same_seeds_leave_the_same_trace_in_every_process() -> None:
    said = [simulate(1, "--processes", "1"), simulate(2, "--processes", "2")]
    assert all(line.startswith("8 seeds, 0 violations, ") for line in said)
    traces = {line.partition(", trace ")[2] for line in said}
    assert len(traces) == 1
    assert len(traces.pop()) == 64
    assert simulate(1, "--from", "1").partition(", trace ")[2] not in traces


def test_a_script_is_read_as_it_was_written() -> None:
    for seed in range(20):
        script = script_of(seed)
        assert Script.parse(str(script)) == script


def test_shrinking_finds_the_step_that_matters() -> None:
    script = script_of(3)
    chosen = script.steps[len(script.steps) // 2]
    small = shrink(script, lambda one: any((step.do, step.given) == (chosen.do, chosen.given) for step in one.steps))
    assert [(step.do, step.given, step.wait) for step in small.steps] == [(chosen.do, chosen.given, 0)]
    assert not list(small.config.gentler())

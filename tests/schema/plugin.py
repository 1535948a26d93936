"""For pytest: every answer of a Graph simulator, in whatever test, is compared with Microsoft's schema.

A test whose answers do not fit fails and says which operation and which property; the end of the run says how many
answers were looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sandbox.cloud import WATCHERS
from sandbox.http import Request, Response
from sandbox.recorder import Call
from tests.schema.metadata import Metadata
from tests.schema.validator import Validator, Violation

MADE_UP = frozenset({"html"})
"""Faults that answer in a gateway's name."""
SHOWN = 20


@dataclass(slots=True)
class Watch:
    """Looks at the answers and keeps what is wrong with them until a test is told."""

    validator: Validator
    seen: int = 0
    failed: int = 0
    waiting: list[Violation] = field(default_factory=list)

    def look(self, call: Call, request: Request, response: Response) -> None:
        """Check one answer; what a fault broke off or invented says nothing about the simulator."""
        if call.service != "graph" or response.dropped or call.fault in MADE_UP:
            return
        _version, *segments = request.segments
        select = {name for key, value in request.query if key.lower() == "$select" for name in value.split(",")}
        found = self.validator.check(request.method, segments, select, response.status, response.body)
        self.waiting += found
        self.failed += len(found)
        self.seen += 1

    def take(self) -> list[Violation]:
        """What was found since the last time."""
        found, self.waiting = self.waiting, []
        return found


SCHEMA = Path(__file__).with_name("graph-v1.0.csdl")
_watch = Watch(Validator(Metadata(SCHEMA)))


def pytest_configure() -> None:
    """Begin."""
    WATCHERS.append(_watch.look)


def pytest_unconfigure() -> None:
    """End."""
    WATCHERS.remove(_watch.look)


@pytest.fixture(autouse=True)
def _answers_fit_the_schema() -> Iterator[None]:
    yield
    if found := _watch.take():
        shown = "\n".join(sorted({str(violation) for violation in found})[:SHOWN])
        pytest.fail(f"answers of Graph that do not fit Microsoft's schema:\n{shown}", pytrace=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much was looked at."""
    terminalreporter.write_line(f"{_watch.seen} Graph answers validated, {_watch.failed} violations")
    for violation in _watch.waiting:  # of what runs longer than a test
        terminalreporter.write_line(str(violation))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run for what no test was told."""
    if _watch.waiting and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED

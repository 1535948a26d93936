"""For pytest: every answer of a Graph simulator, in whatever test, is compared with Microsoft's schema.

A test whose answers do not fit fails and says which operation and which property; the end of the run says how many
answers were looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.schema.watch import Watch

SHOWN = 20
_watch = Watch()
_watching = ExitStack()


def pytest_configure() -> None:
    """Begin."""
    _watching.enter_context(_watch.watching())


def pytest_unconfigure() -> None:
    """End."""
    _watching.close()


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

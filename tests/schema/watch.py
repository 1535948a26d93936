"""Looks at the answers of Graph simulators while they are given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from sandbox.cloud import WATCHERS
from sandbox.http import Request, Response
from sandbox.recorder import Call
from tests.schema.metadata import Metadata
from tests.schema.validator import Validator, Violation

SCHEMA = Path(__file__).with_name("graph-v1.0.csdl")
MADE_UP = frozenset({"html"})
"""Faults that answer in a gateway's name."""


@cache
def validator() -> Validator:
    """The one that knows the copy of Microsoft's schema; it is compiled once."""
    return Validator(Metadata(SCHEMA))


class Watch:
    """Keeps what is wrong with answers until it is asked; `seen` and `failed` count answers and violations."""

    def __init__(self) -> None:
        """Watch nothing yet."""
        self.seen = 0
        self.failed = 0
        self.waiting: list[Violation] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch all clouds of this process."""
        WATCHERS.append(self._look)
        try:
            yield
        finally:
            WATCHERS.remove(self._look)

    def take(self) -> list[Violation]:
        """What was found since the last time."""
        found, self.waiting = self.waiting, []
        return found

    def _look(self, call: Call, request: Request, response: Response) -> None:
        """Check one answer; what a fault broke off or invented says nothing about the simulator."""
        if call.service != "graph" or response.dropped or call.fault in MADE_UP:
            return
        select = {name for key, value in request.query if key.lower() == "$select" for name in value.split(",")}
        found = validator().check(request.method, request.segments[1:], select, response.status, response.body)
        self.waiting += found
        self.failed += len(found)
        self.seen += 1

"""An event loop on virtual time: waiting costs nothing, and the same program always runs in the same order (R12).

The loop's time stands still while anything can run, and jumps to the next timer when nothing can. Nothing on it may
wait for the real world: that would never end, so it fails at once.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class StuckError(Exception):
    """Every task waits, and no timer is set that could wake one."""


class _NothingToWaitFor(selectors.SelectSelector):
    """A selector that reports how long the loop wanted to wait instead of waiting."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise StuckError("nothing is left to run and no timer is set")
        self._loop.jump(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose clock starts at 0 and only moves when nothing can run."""

    def __init__(self) -> None:
        """Make an idle loop."""
        self._now = 0.0
        super().__init__(_NothingToWaitFor(self))

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def jump(self, seconds: float) -> None:
        """Let time pass."""
        self._now += max(seconds, 0.0)


def run[T](main: Coroutine[Any, Any, T]) -> T:
    """Run `main` on a virtual loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)

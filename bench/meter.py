"""Whose CPU time it is, when the app and its simulators share one thread and one loop."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any


class Meter:
    """Charges every step of every task to a side. A task belongs to the side that started it.

    What runs outside of tasks, the loop itself included, is charged to the `app`.
    """

    def __init__(self, now: Callable[[], float] = time.process_time) -> None:
        self._now = now
        self._seconds: dict[str, float] = defaultdict(float)
        self._side = "app"
        self._since = now()

    def reset(self) -> None:
        """Forget what was charged so far."""
        self.switch(self._side)
        self._seconds.clear()

    def of(self, side: str) -> float:
        """The CPU seconds charged to `side`."""
        self.switch(self._side)
        return self._seconds[side]

    def switch(self, side: str) -> str:
        """From now on `side` is charged; gives the one that was before."""
        now = self._now()
        self._seconds[self._side] += now - self._since
        self._since, before, self._side = now, self._side, side
        return before

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let tasks inherit their side."""

        def task(
            loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **options: Any
        ) -> asyncio.Task[Any]:
            return asyncio.Task(self.charged(self._side, coroutine), loop=loop, **options)

        loop.set_task_factory(task)

    def at_border[**P, T](self, side: str, function: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        """The function, charged to `side` whoever calls it."""

        def charged(*args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
            return self.charged(side, function(*args, **kwargs))

        return charged

    async def charged[T](self, side: str, work: Awaitable[T]) -> T:
        """Do `work`, each of its steps charged to `side`."""
        return await _Steps(self._steps(side, work.__await__()))

    def _steps[T](self, side: str, work: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        thrown: BaseException | None = None
        while True:
            before = self.switch(side)
            try:
                waits_for = work.send(None) if thrown is None else work.throw(thrown)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            finally:
                self.switch(before)
            thrown = None
            try:
                yield waits_for
            except BaseException as error:  # noqa: BLE001 - a cancellation has to reach the work, too
                thrown = error


class _Steps[T]:
    """A generator of steps that can be awaited."""

    def __init__(self, steps: Generator[Any, Any, T]) -> None:
        self._steps = steps

    def __await__(self) -> Generator[Any, Any, T]:
        return self._steps

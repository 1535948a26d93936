"""Values that are fetched when somebody needs them and renewed ahead of their end: one fetch at a time for each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from shared.errors import BookingSyncError
from shared.sync.ports import Clock

PAUSE = timedelta(seconds=30)
"""A renewal that failed is tried again after this time; until then the value that is held serves on."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched[T]:
    """A value. From `renew` on a fresh one is fetched while this one still serves, from `until` on it does not."""

    value: T = field(repr=False)
    renew: datetime
    until: datetime


class Cache[T]:
    """Values by name. Needs a running loop."""

    def __init__(self, fetch: Callable[[str], Awaitable[Fetched[T]]], clock: Clock) -> None:
        """`fetch` gets one value; what it raises goes to everybody who waited for that fetch."""
        self._fetch = fetch
        self._clock = clock
        self._held: dict[str, Fetched[T]] = {}
        self._running: dict[str, asyncio.Task[T]] = {}

    async def get(self, name: str) -> T:
        """The value of `name`. Waits for a fetch only when none that still serves is held."""
        held, now = self._held.get(name), self._clock.now()
        running = self._running.get(name)
        if held is not None and now < held.until:
            if now >= held.renew and running is None:
                self._start(name)
            return held.value
        # Shielded, because a waiter that gives up must not end the fetch that others wait for.
        return await asyncio.shield(running or self._start(name))

    def discard(self, name: str, value: T) -> None:
        """Forget `value` unless it was replaced already."""
        held = self._held.get(name)
        if held is not None and held.value == value:
            del self._held[name]

    def _start(self, name: str) -> asyncio.Task[T]:
        task = asyncio.create_task(self._renewed(name))
        self._running[name] = task
        task.add_done_callback(_seen)
        return task

    async def _renewed(self, name: str) -> T:
        try:
            fetched = await self._fetch(name)
        except BookingSyncError as error:
            log.warning("%s. %s", error, error.next_step)
            if held := self._held.get(name):
                self._held[name] = replace(held, renew=self._clock.now() + PAUSE)
            raise
        finally:
            del self._running[name]
        self._held[name] = fetched
        return fetched.value


def _seen[T](task: asyncio.Task[T]) -> None:
    """Nobody may be waiting for a renewal; its failure was logged."""
    if not task.cancelled():
        task.exception()

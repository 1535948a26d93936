"""The sandbox's time: it runs with the event loop and can be pushed forward.

Under a loop with virtual time the clock is virtual, too, because it reads `loop.time()` only.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta


class Clock:
    """UTC time that can be advanced; whoever sleeps on it wakes when the advanced time passes the end of the sleep."""

    def __init__(self, start: datetime | None = None) -> None:
        """Begin at `start`, or at the machine's present time."""
        self._start = start or datetime.now(UTC)
        self._origin: float | None = None
        self._offset = timedelta()
        self._moved = asyncio.Event()

    def now(self) -> datetime:
        """The present time of the sandbox, aware, in UTC."""
        loop_time = asyncio.get_running_loop().time()
        if self._origin is None:
            self._origin = loop_time
        return self._start + timedelta(seconds=loop_time - self._origin) + self._offset

    def elsewhere(self) -> datetime:
        """The time on clocks that nobody pushed forward with this one: those of the clients."""
        return self.now() - self._offset

    def advance(self, by: timedelta) -> datetime:
        """Push the time forward and wake the sleepers that are due. Raises `ValueError` for a negative step."""
        if by < timedelta():
            raise ValueError("the clock only moves forward: 'seconds' must not be negative")
        self._offset += by
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
        return self.now()

    async def sleep(self, seconds: float) -> None:
        """Return when `seconds` of sandbox time have passed."""
        until = self.now() + timedelta(seconds=seconds)
        while (left := (until - self.now()).total_seconds()) > 0:
            try:
                async with asyncio.timeout(left):
                    await self._moved.wait()
            except TimeoutError:
                return

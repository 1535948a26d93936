"""What services have in common when they say "too much": sliding windows, and operations that take their time."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from sandbox.cloud import Cloud
from sandbox.http import Json
from sandbox.settings import Setting


class Window:
    """What was used in the last `seconds`. It slides: every amount leaves it exactly that long after it came."""

    def __init__(self, seconds: float) -> None:
        """Start empty."""
        self.length = timedelta(seconds=seconds)
        self._entries: deque[tuple[datetime, float]] = deque()
        self._total = 0.0

    def used(self, at: datetime) -> float:
        """The sum of what is in the window at `at`."""
        while self._entries and at - self._entries[0][0] >= self.length:
            self._total -= self._entries.popleft()[1]
        if not self._entries:
            self._total = 0.0  # no rounding errors are carried on
        return self._total

    def add(self, at: datetime, amount: float = 1) -> None:
        """Use `amount`."""
        self.used(at)
        self._entries.append((at, amount))
        self._total += amount

    def wait(self, at: datetime, limit: float, amount: float = 1) -> float:
        """The seconds from `at` until `amount` fits below `limit`; 0 when it does now.

        More than the limit itself fits never; then it is the time until the window is empty.
        """
        left = self.used(at)
        if left + amount <= limit:
            return 0.0
        free = at
        for since, used in self._entries:
            left -= used
            free = since + self.length
            if left + amount <= limit:
                break
        return (free - at).total_seconds()

    def take(self, at: datetime, limit: float, amount: float = 1) -> float:
        """Use `amount` if it fits: 0. Else the seconds until it would; being refused counts as use, too."""
        fits = self.used(at) + amount <= limit
        self.add(at, amount)
        return 0.0 if fits else self.wait(at, limit, amount)


class ServiceTime:
    """How long `service` works on one operation: its setting `latency`.

    Without it every operation is over in no time, so that two of them are never under way at once.
    """

    def __init__(self, cloud: Cloud, service: str, *, realistic: Mapping[str, float]) -> None:
        """Declare the setting; `realistic` gives the seconds of a `read` and of a `write`."""
        self._cloud = cloud
        self._name = f"{service}.latency"
        self._profiles: dict[str, Mapping[str, float]] = {"none": dict.fromkeys(realistic, 0.0), "realistic": realistic}
        words = " and ".join(f"{seconds:g} for a {kind}" for kind, seconds in realistic.items())
        setting = Setting(
            default="none",
            accepts=lambda value: value in self._profiles if isinstance(value, str) else _is_profile(value),
            values='"none", "realistic" or {"read": seconds, "write": seconds}',
            meaning=f"how long an operation takes; realistic are {words}",
        )
        cloud.settings.declare({self._name: setting})

    def of(self, method: str) -> float:
        """The seconds that an operation with this HTTP method takes."""
        value = self._cloud.settings[self._name]
        profile = self._profiles[value] if isinstance(value, str) else value
        return float(profile["read" if method == "GET" else "write"])

    @asynccontextmanager
    async def spent(self, seconds: float) -> AsyncIterator[None]:
        """Let `seconds` pass round what is done inside.

        The work itself falls on a random moment in between, so that others may see what it did before its caller
        gets the answer. A refusal is answered at that moment.
        """
        before = self._cloud.random.uniform(0, seconds) if seconds else 0.0
        if before:
            await self._cloud.clock.sleep(before)
        yield
        if seconds:
            await self._cloud.clock.sleep(seconds - before)


def _is_profile(value: Json) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == {"read", "write"}
        and all(type(seconds) in (int, float) and 0 <= seconds < float("inf") for seconds in value.values())
    )

"""Timer triggers: NCRONTAB schedules of six fields in UTC, one run of a timer at a time.

Follows azure-webjobs-sdk-extensions `TimerListener.cs` and `ScheduleMonitor.cs`: ticks that fall into a run are left
out, and a tick that was missed while the host was down is made up for at the start, marked as past due.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cronsim import CronSim, CronSimError

from sandbox.functions.settings import SettingsError
from sandbox.functions.worker import InvocationError, TypedData

log = logging.getLogger("Host.Triggers.Timer")

_FIELDS = 6
_DAY_OF_MONTH, _DAY_OF_WEEK = 3, 5
_NOT_NCRONTAB = re.compile(r"[#?]|(?:\b|\d)(?:L|W|LW)\b")

type Run = Callable[[TypedData], Awaitable[object]]

type Pause = Callable[[asyncio.Event, float], Awaitable[None]]
"""Returns after so many seconds, or as soon as the event is set."""


def _now() -> datetime:
    return datetime.now(UTC)


async def _pause(stopped: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopped.wait()


class Schedule:
    """An NCRONTAB expression: second, minute, hour, day, month, day of week."""

    def __init__(self, text: str, where: str) -> None:
        """Read an expression. Raises `SettingsError` naming `where`."""
        fields = text.split()
        if len(fields) != _FIELDS:
            raise SettingsError(f"{where}: the schedule '{text}' must have six fields, seconds first")
        if _NOT_NCRONTAB.search(text.upper()):
            raise SettingsError(f"{where}: the schedule '{text}' uses a sign that NCRONTAB does not know")
        if fields[_DAY_OF_MONTH] != "*" and fields[_DAY_OF_WEEK] != "*":
            raise SettingsError(f"{where}: the schedule '{text}' sets the day twice, of the month and of the week")
        self._text = text
        try:
            self.next_after(datetime.now(UTC))
        except (CronSimError, StopIteration):
            raise SettingsError(f"{where}: '{text}' is no schedule") from None

    @property
    def is_monitored(self) -> bool:
        """Whether ticks are a minute or more apart: then the platform remembers them (documentation: "useMonitor")."""
        first = self.next_after(datetime.now(UTC))
        return self.next_after(first) - first >= timedelta(minutes=1)

    def next_after(self, moment: datetime) -> datetime:
        """The first tick after `moment`."""
        return next(CronSim(self._text, moment))


@dataclass(frozen=True, slots=True)
class Status:
    """What the platform remembers of a timer."""

    last: datetime
    next: datetime
    updated: datetime


class StatusFile:
    """The memory of all timers of an app. It stands in for the blobs that the platform keeps; `None` forgets."""

    def __init__(self, path: Path | None) -> None:
        """Keep it in the file `path`."""
        self._path = path
        self._all: dict[str, Status] = {}
        if path and path.exists():
            for name, moments in json.loads(path.read_text()).items():
                self._all[name] = Status(**{key: datetime.fromisoformat(value) for key, value in moments.items()})

    def load(self, name: str) -> Status | None:
        """What is known of a timer."""
        return self._all.get(name)

    def save(self, name: str, status: Status) -> None:
        """Remember it."""
        self._all[name] = status
        if self._path:
            content = {name: asdict(status) for name, status in self._all.items()}
            self._path.write_text(json.dumps(content, default=datetime.isoformat))


class Timer:
    """One timer function."""

    def __init__(  # noqa: D107 - the class says it
        self,
        name: str,
        schedule: Schedule,
        *,
        run: Run,
        memory: StatusFile,
        run_on_startup: bool = False,
        use_monitor: bool | None = None,
        now: Callable[[], datetime] = _now,
        pause: Pause = _pause,
    ) -> None:
        self._name = name
        self._schedule = schedule
        self._run = run
        is_monitored = schedule.is_monitored if use_monitor is None else use_monitor
        self._memory = memory if is_monitored else StatusFile(None)
        self._run_on_startup = run_on_startup
        self._now = now
        self._pause = pause
        self._stopped = asyncio.Event()

    def info(self, *, past_due: bool = False) -> TypedData:
        """The timer's state as its function gets it."""
        known = self._memory.load(self._name)
        status = (
            {
                "Last": known.last.isoformat(),
                "Next": known.next.isoformat(),
                "LastUpdated": known.updated.isoformat(),
            }
            if known
            else None
        )
        content = {"IsPastDue": past_due, "ScheduleStatus": status, "Schedule": {"AdjustForDST": True}}
        return TypedData(json=json.dumps(content))

    def stop(self) -> None:
        """Let no further tick run."""
        self._stopped.set()

    async def listen(self) -> None:
        """Run at every tick until `stop`; a run that has begun is awaited."""
        known = self._memory.load(self._name)
        missed = known is not None and known.next <= self._now()
        if missed or self._run_on_startup:
            await self._tick(self._now(), past_due=missed)
        while not self._stopped.is_set():
            tick = self._schedule.next_after(self._now())
            while not self._stopped.is_set() and (left := (tick - self._now()).total_seconds()) > 0:
                await self._pause(self._stopped, left)
            if not self._stopped.is_set():
                await self._tick(tick)

    async def _tick(self, tick: datetime, *, past_due: bool = False) -> None:
        if past_due:
            log.warning("the timer '%s' is past due", self._name)
        with suppress(InvocationError):  # logged with the invocation; the next tick is the next try
            await self._run(self.info(past_due=past_due))
        now = self._now()
        self._memory.save(self._name, Status(last=tick, next=self._schedule.next_after(now), updated=now))

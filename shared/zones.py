"""Time zones by the names of Windows, which every calendar of Exchange knows, and by those of IANA."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Self
from zoneinfo import ZoneInfo

from tzlocal.windows_tz import tz_win, win_tz


@dataclass(frozen=True, slots=True)
class Zone:
    """A time zone: its `name` in Windows, and its rules."""

    name: str
    rules: ZoneInfo

    @classmethod
    def named(cls, name: str) -> Self:
        """The zone of this Windows or IANA name. Raises `ValueError`."""
        windows = name if name in win_tz else tz_win.get(name)
        if windows is None:
            raise ValueError("must be a time zone such as UTC, Europe/Berlin or W. Europe Standard Time")
        return cls(windows, ZoneInfo(win_tz[windows]))

    def wall(self, instant: datetime) -> datetime | None:
        """What clocks in this zone show at `instant`; `None` in an hour that comes twice, which no clock can tell."""
        wall = instant.astimezone(self.rules)
        is_told_twice = wall.replace(fold=0).utcoffset() != wall.replace(fold=1).utcoffset()
        return None if is_told_twice else wall.replace(tzinfo=None)


UTC_ZONE = Zone.named("UTC")

"""How the posts of a service travel, as settings of the cloud: control plane and tests turn the same switches."""

from __future__ import annotations

from datetime import timedelta

from sandbox.settings import Settings, count, flag, seconds


class Delivery:
    """How long a post waits first, whether the order is kept, how many posts are on their way at once.

    The settings are called `{service}.delay_seconds`, `{service}.shuffle` and `{service}.in_flight`.
    """

    def __init__(self, settings: Settings, service: str, *, waits: str, in_flight: int) -> None:
        """Declare the settings; `waits` says in words what waits, `in_flight` is the default."""
        self._settings = settings
        self._delay, self._shuffle, self._in_flight = (
            f"{service}.{name}" for name in ("delay_seconds", "shuffle", "in_flight")
        )
        self._declared = {
            self._delay: seconds(0, f"how long {waits}"),
            self._shuffle: flag(default=False, meaning="whether posts that wait go in any order"),
            self._in_flight: count(in_flight, "how many posts are on their way at once"),
        }
        settings.declare(self._declared)

    def reset(self) -> None:
        """Put the switches back to their defaults."""
        self._settings.change({name: setting.default for name, setting in self._declared.items()})

    @property
    def delay(self) -> timedelta:
        """The wait before a post; a change is for those that come."""
        return timedelta(seconds=self._settings[self._delay])

    @delay.setter
    def delay(self, value: timedelta) -> None:
        self._settings.change({self._delay: value.total_seconds()})

    @property
    def shuffle(self) -> bool:
        """Whether the order is any."""
        return bool(self._settings[self._shuffle])

    @shuffle.setter
    def shuffle(self, value: bool) -> None:
        self._settings.change({self._shuffle: value})

    @property
    def in_flight(self) -> int:
        """How many posts are on their way at once."""
        return int(self._settings[self._in_flight])

    @in_flight.setter
    def in_flight(self, value: int) -> None:
        self._settings.change({self._in_flight: value})

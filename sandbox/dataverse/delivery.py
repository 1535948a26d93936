"""How webhook posts travel, as settings of the cloud: the control plane and the tests turn the same switches."""

from __future__ import annotations

from datetime import timedelta

from sandbox.settings import Settings, count, flag, seconds

DELAY, SHUFFLE, IN_FLIGHT = "webhook.delay_seconds", "webhook.shuffle", "webhook.in_flight"
SETTINGS = {
    DELAY: seconds(0, "how long a system job waits before its post goes"),
    SHUFFLE: flag(default=False, meaning="whether posts that wait go in any order"),
    IN_FLIGHT: count(1, "how many posts are on their way at once"),
}


class Delivery:
    """How long a job waits first, whether the order is kept, how many posts are on their way at once."""

    def __init__(self, settings: Settings) -> None:
        """Read and write `settings`, where the switches are declared."""
        self._settings = settings
        settings.declare(SETTINGS)

    def reset(self) -> None:
        """Put the switches back to their defaults."""
        self._settings.change({name: setting.default for name, setting in SETTINGS.items()})

    @property
    def delay(self) -> timedelta:
        """The wait before a post; a change is for the jobs that come."""
        return timedelta(seconds=self._settings[DELAY])

    @delay.setter
    def delay(self, value: timedelta) -> None:
        self._settings.change({DELAY: value.total_seconds()})

    @property
    def shuffle(self) -> bool:
        """Whether the order is any."""
        return bool(self._settings[SHUFFLE])

    @shuffle.setter
    def shuffle(self, value: bool) -> None:
        self._settings.change({SHUFFLE: value})

    @property
    def in_flight(self) -> int:
        """How many posts are on their way at once."""
        return int(self._settings[IN_FLIGHT])

    @in_flight.setter
    def in_flight(self, value: int) -> None:
        self._settings.change({IN_FLIGHT: value})

"""Switches of the simulators: behaviour of the real services that is unknown, or that a test wants otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from sandbox.http import Json


@dataclass(frozen=True, slots=True)
class Setting:
    """One switch: what it is without being told, which values it takes (in words and as a check), what it is for."""

    default: Json
    accepts: Callable[[Json], bool]
    values: str
    meaning: str


def flag(default: bool, meaning: str) -> Setting:  # noqa: FBT001 - the value of the switch
    """A switch that is on or off."""
    return Setting(
        default=default, accepts=lambda value: isinstance(value, bool), values="true or false", meaning=meaning
    )


def count(default: int, meaning: str) -> Setting:
    """A number of things, of which there is at least one."""
    return Setting(
        default=default,
        accepts=lambda value: type(value) is int and value > 0,
        values="a whole number of 1 or more",
        meaning=meaning,
    )


def seconds(default: float, meaning: str) -> Setting:
    """A time to wait."""
    longest = timedelta(days=365).total_seconds()
    return Setting(
        default=default,
        accepts=lambda value: type(value) in (int, float) and 0 <= value <= longest,
        values="a number of seconds, a year at most",
        meaning=meaning,
    )


def limit(default: int, meaning: str) -> Setting:
    """A limit that can be changed or taken away."""
    return Setting(
        default=default,
        accepts=lambda value: value is None or (type(value) is int and value > 0),
        values="null for no limit, or a whole number of 1 or more",
        meaning=meaning,
    )


class Settings:
    """The switches that the services have declared, by name (`graph.transaction_memory`)."""

    def __init__(self) -> None:
        """Start without any."""
        self.declared: dict[str, Setting] = {}
        self._initial: dict[str, Json] = {}
        self._changed: dict[str, Json] = {}

    def declare(self, settings: Mapping[str, Setting]) -> None:
        """A service makes its switches known."""
        self.declared.update(settings)

    def __getitem__(self, name: str) -> Json:
        return self._changed.get(name, self._initial.get(name, self.declared[name].default))

    def limit(self, name: str) -> float:
        """A limit's present value; infinite when it was taken away."""
        value = self[name]
        return float("inf") if value is None else float(value)

    def change(self, values: Json) -> None:
        """Set switches. Raises `ValueError` naming what is wrong, and then changes none."""
        if not isinstance(values, dict):
            raise ValueError("settings are a JSON object of names and values")
        for name, value in values.items():
            if name not in self.declared:
                raise ValueError(f"unknown setting '{name}'; there are: {', '.join(sorted(self.declared))}")
            if not self.declared[name].accepts(value):
                raise ValueError(f"'{name}' must be {self.declared[name].values}")
        self._changed.update(values)

    def begin_with(self, values: Json) -> None:
        """Set switches for good: what is not changed has these values, also after a reset. Raises `ValueError`."""
        self.change(values)
        self._initial.update(values)

    def reset(self) -> None:
        """Put every switch back to what it was in the beginning."""
        self._changed.clear()

    def as_json(self) -> dict[str, Json]:
        """All switches with their present values."""
        return {name: self[name] for name in sorted(self.declared)}

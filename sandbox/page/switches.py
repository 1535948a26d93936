"""Troubles that a person can switch on: rules of `sandbox.faults`, each with a name and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sandbox.faults import Faults, Rule
from sandbox.http import Json


@dataclass(frozen=True, slots=True)
class Switch:
    """One trouble. Rules for calls of the app are `about_the_app`, so that people can go on working."""

    title: str
    words: str
    rule: Mapping[str, Json]
    about_the_app: bool = True


SWITCHES: Mapping[str, Switch] = {
    "graph-down": Switch(
        "Graph is down", "503 for every call of the app", {"service": "graph", "inner": False, "do": "refuse"}
    ),
    "graph-throttles": Switch(
        "Graph throttles",
        "429, come back in two seconds",
        {
            "service": "graph",
            "inner": False,
            "do": "refuse",
            "status": 429,
            "code": "TooManyRequests",
            "retry_after": 2,
        },
    ),
    "answers-lost": Switch(
        "Graph's answers are lost",
        "it does the work, then the connection breaks",
        {"service": "graph", "inner": False, "do": "drop_after_commit"},
    ),
    "graph-slow": Switch(
        "Graph is slow",
        "every answer takes two seconds longer",
        {"service": "graph", "inner": False, "do": "delay", "seconds": 2},
    ),
    "dataverse-down": Switch(
        "Dataverse is down", "503 for every call of the app", {"service": "dataverse", "inner": False, "do": "refuse"}
    ),
    "posts-lost": Switch(
        "Dynamics' posts are lost",
        "no change there is heard of",
        {"service": "webhook", "do": "lose"},
        about_the_app=False,
    ),
    "posts-twice": Switch(
        "Dynamics' posts repeat",
        "each change is told again",
        {"service": "webhook", "do": "duplicate"},
        about_the_app=False,
    ),
    "notifications-lost": Switch(
        "Outlook's posts are lost",
        "no change there is heard of",
        {"service": "notification", "do": "lose"},
        about_the_app=False,
    ),
}


class Panel:
    """The switches and their positions."""

    def __init__(self, faults: Faults, app: str) -> None:
        """Trouble the application with the client id `app`."""
        self._faults = faults
        self._app = app
        self._on: dict[str, Rule] = {}

    def as_json(self) -> Json:
        """Every switch and how many calls it has hit, and how many rules from elsewhere can still hit."""
        in_force = self._in_force()
        switches = [
            {
                "name": name,
                "title": switch.title,
                "words": switch.words,
                "on": name in in_force,
                "hits": in_force[name].hits if name in in_force else 0,
            }
            for name, switch in SWITCHES.items()
        ]
        others = [rule for rule in self._faults.rules if all(rule is not own for own in in_force.values())]
        lasting = [rule for rule in others if rule.times is None or rule.hits < rule.times]
        return {"switches": switches, "others": len(lasting)}

    def turn(self, name: str, *, on: bool) -> None:
        """Turn a switch. Raises `ValueError` for one that does not exist."""
        if name not in SWITCHES:
            raise ValueError(f"there is no switch '{name}'; there are: {', '.join(SWITCHES)}")
        rule = self._in_force().get(name)
        if on and rule is None:
            switch = SWITCHES[name]
            wanted = {**switch.rule, "times": None, **({"app": self._app} if switch.about_the_app else {})}
            [self._on[name]] = self._faults.add(wanted)
        if not on and rule is not None:
            self._faults.remove(rule)

    def _in_force(self) -> dict[str, Rule]:
        """The switches that are on: somebody else may have cleared all rules."""
        return {name: rule for name, rule in self._on.items() if any(rule is one for one in self._faults.rules)}

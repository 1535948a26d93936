"""What a simulation plays: a configuration and a list of steps. Data only, the same in every process.

Steps are self-contained: each names a slot for a booking, a person, a time, and does nothing where it makes no sense
(an empty slot). So every part of a script is a script, which is what makes shrinking possible.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How the world is. The defaults are the gentlest one.

    `salt` decides everything that is left to chance while the script is played. `memory` is how many seconds Graph
    remembers a `transactionId` (`None` = ever). With `own_leases` every worker believes it holds each shard alone.
    `network` and `storage` name how long calls take (`stage.LATENCIES`). `winner` and `on_deleted` are the policy on
    people's edits; with `is_told` Graph notifies the app of them, every `recover_seconds` it asks by itself.
    """

    salt: int = 0
    memory: int | None = None
    workers: int = 1
    own_leases: bool = False
    shards: int = 8
    is_filtered: bool = False
    network: str = "none"
    storage: str = "none"
    pull_seconds: int = 0
    webhook_delay: int = 0
    webhook_shuffle: bool = False
    webhook_in_flight: int = 1
    duplicate_status: int = 400
    duplicate_named: bool = True
    deleted_readable: bool = False
    winner: str = "dataverse"
    on_deleted: str = "cancel"
    is_told: bool = False
    recover_seconds: int = 0
    notification_delay: int = 0
    notification_shuffle: bool = False

    def gentler(self) -> Iterator[Config]:
        """The same with one thing as by default, for each thing that is not."""
        for one in fields(self):
            if one.name != "salt" and getattr(self, one.name) != getattr(Config(), one.name):
                yield replace(self, **{one.name: getattr(Config(), one.name)})


@dataclass(frozen=True, slots=True)
class Step:
    """After `wait` seconds do what the kind `do` means (`steps.KINDS`) with `given`."""

    wait: float
    do: str
    given: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """One line of JSON."""
        return json.dumps({"wait": self.wait, "do": self.do, **self.given})


@dataclass(frozen=True, slots=True)
class Script:
    """A configuration and the steps, in order."""

    config: Config
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        """One JSON object on each line, the configuration first; only what is not gentle in it."""
        gentle = asdict(Config())
        changed = {name: value for name, value in asdict(self.config).items() if value != gentle[name]}
        return "\n".join([json.dumps(changed), *map(str, self.steps)])

    @classmethod
    def parse(cls, text: str) -> Script:
        """Read what `str` writes. Raises `ValueError`, `TypeError`."""
        first, *rest = [json.loads(line) for line in text.splitlines() if line.strip()]
        return cls(Config(**first), tuple(Step(line.pop("wait"), line.pop("do"), line) for line in rest))

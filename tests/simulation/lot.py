"""From a seed to a script."""

from __future__ import annotations

from random import Random

from tests.simulation.script import Config, Script, Step
from tests.simulation.steps import KINDS

FEWEST, MOST = 6, 45
ALWAYS = ("book", "reassign", "status")
LIKELY, AT_HAND = 0.9, 3
"""Most changes are to one of the latest bookings."""
WAITS = (0.0, 0.0, 0.05, 0.3, 0.3, 1.0, 3.0, 12.0, 30.0)
LONG_WAITS = (30.0, 90.0, 600.0, 4000.0)


def script_of(seed: int) -> Script:
    """The script of `seed`. Each has only some of the kinds, so that those come close upon each other."""
    lot = Random(seed)
    config = _config(lot, seed)
    share = lot.uniform(0.3, 0.9)
    kinds = [name for name in KINDS if name in ALWAYS or lot.random() < share]
    weights = [KINDS[name].weight * lot.uniform(0.3, 2) for name in kinds]
    hurry = lot.choice((0.1, 0.3, 1.0))
    steps: list[Step] = []
    booked: list[int] = []
    for name in lot.choices(kinds, weights, k=lot.randint(FEWEST, MOST)):
        wait = lot.choice(LONG_WAITS) if name == "time_passes" else lot.choice(WAITS) * hurry
        given = dict(KINDS[name].draw(lot))
        if name == "book":
            booked.append(given["slot"])
        elif "slot" in given and booked and lot.random() < LIKELY:
            given["slot"] = lot.choice(booked[-AT_HAND:])
        steps.append(Step(round(wait, 3), name, given))
    return Script(config, tuple(steps))


def _config(lot: Random, seed: int) -> Config:
    return Config(
        salt=seed,
        memory=lot.choice((None, 0)),
        workers=lot.choice((1, 2, 2, 3)),
        own_leases=lot.choice((True, False)),
        shards=lot.choice((1, 2, 8)),
        is_filtered=lot.random() < 0.3,
        network=lot.choice(("none", "quick", "usual", "slow", "wild")),
        storage=lot.choice(("none", "quick", "quick", "usual", "wild")),
        pull_seconds=lot.choice((0, 60, 300)),
        webhook_delay=lot.choice((0, 0, 0, 2, 20)),
        webhook_shuffle=lot.choice((True, False)),
        webhook_in_flight=lot.choice((1, 4, 16)),
        duplicate_status=lot.choice((400, 409)),
        duplicate_named=lot.choice((True, False)),
        deleted_readable=lot.choice((True, False)),
        winner=lot.choice(("dataverse", "outlook", "park")),
        on_deleted=lot.choice(("cancel", "restore", "park")),
        is_told=lot.random() < 0.7,
        recover_seconds=lot.choice((0, 60, 300)),
        notification_delay=lot.choice((0, 0, 0, 2, 20)),
        notification_shuffle=lot.choice((True, False)),
    )

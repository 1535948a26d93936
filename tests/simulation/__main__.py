"""`python3 dev.py simulate`: play seeds, judge each, shrink what fails."""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
import time
from collections import Counter
from pathlib import Path

from tests.simulation import mutations
from tests.simulation.lot import script_of
from tests.simulation.play import play, play_seeds
from tests.simulation.script import Script
from tests.simulation.shrink import shrink

PROGRESS = 5.0
"""Seconds between two lines of progress."""
MOST_SHRUNK = 3
"""How many failing seeds are shrunk: more of them mostly say the same."""


def main(arguments: list[str]) -> int:
    """Run the command and give the exit code: 0 without violations, 1 with any."""
    parser = argparse.ArgumentParser(prog="dev.py simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, metavar="N", help="how many seeds to play")
    parser.add_argument("--from", type=int, default=0, dest="first", metavar="K", help="the first of them")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, metavar="P", help="how many to play in")
    parser.add_argument("--verbose", action="store_true", help="count what happened")
    parser.add_argument("--script", type=Path, metavar="FILE", help="play this script, and print every call")
    parser.add_argument("--first-only", action="store_true", help="stop at the first violation, and shrink nothing")
    parser.add_argument("--mutations", action="store_true", help="seed faults into the app: each must be noticed")
    given = parser.parse_args(arguments)
    if given.mutations:
        return mutations.run(say=print)
    if given.script is not None:
        return _play_file(given.script)
    began = time.monotonic()
    digest, seen, failing = hashlib.sha256(), Counter[str](), list[int]()
    seeds = range(given.first, given.first + given.seeds)
    shown = began
    for number, (seed, result) in enumerate(play_seeds(seeds, given.processes), 1):
        digest.update(result.trace.encode())
        seen += result.seen
        if result.violations:
            failing.append(seed)
            say(f"seed {seed}: {result.violations[0]}")
            if given.first_only:
                return 1
        if time.monotonic() - shown > PROGRESS:
            shown = time.monotonic()
            say(f"{number} of {given.seeds} seeds, {len(failing)} with violations")
    seconds = time.monotonic() - began
    if given.verbose:
        for name, count in sorted(seen.items()):
            say(f"{count:8} {name}")
    for seed in failing[:MOST_SHRUNK]:
        explain(seed)
    print(
        f"{given.seeds} seeds, {len(failing)} violations, {given.seeds / seconds:.1f} seeds/s, "
        f"trace {digest.hexdigest()}",
        flush=True,
    )
    return 1 if failing else 0


def explain(seed: int) -> None:
    """Shrink a failing seed's script and print it with what it violates."""
    script = script_of(seed)
    wanted = kind_of(play(script).violations[0])
    small = shrink(script, lambda one: wanted in map(kind_of, play(one).violations))
    say(
        f"\nseed {seed}, shrunk from {len(script.steps)} to {len(small.steps)} steps "
        f"(put it into a file to play it by `python3 dev.py simulate --script FILE`):\n\n{small}\n"
    )
    for violation in play(small).violations:
        say(f"violates {violation}")
    say(f"\nrepeat: python3 dev.py simulate --from {seed} --seeds 1\n")


def kind_of(violation: str) -> str:
    """A violation without ids and numbers: what two that are alike have in common."""
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]+|AA\S+|\d+", "#", violation)


def _play_file(path: Path) -> int:
    result = play(Script.parse(path.read_text()), show=print)
    for violation in result.violations:
        print(f"violates {violation}")
    print(f"{len(result.violations)} violations, trace {result.trace}")
    return 1 if result.violations else 0


def say(text: str) -> None:
    """Tell a person; the result alone goes to standard output."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`python3 dev.py bench [--save]`: what a change costs the app, compared with the stored baseline.

`--idle` measures the sandbox instead: what it costs while nobody asks it for anything, against its limits.

Storage and services are in memory and time is virtual. So it shows what our own code costs and how much it asks for.
Not in it are sockets and TLS, MSAL, the Azure Tables SDK (a call costs milliseconds), and the functions host.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

from bench.idle import report
from bench.workloads import CPU, WORKLOADS, Figures

BASELINE = Path(__file__).with_name("baseline.json")
RUNS = 3


def unit() -> float:
    """CPU seconds of a fixed piece of work: with it, figures of different machines can be compared."""
    began = time.process_time()
    for number in range(20_000):
        json.loads(json.dumps({"number": number, "text": "x" * 50, "list": list(range(20))}))
    return time.process_time() - began


def best_of(name: str) -> Figures:
    """The run with the least CPU time: what is more was the machine's."""
    runs = [WORKLOADS[name]() for _ in range(RUNS)]
    return min(runs, key=lambda figures: figures[CPU])


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="dev.py bench", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--save", action="store_true", help="make these figures the baseline")
    parser.add_argument("--idle", action="store_true", help="measure what the sandbox costs at rest (40 seconds)")
    given = parser.parse_args(argv)
    if given.idle:
        return report()
    logging.disable(logging.WARNING)
    speed = min(unit() for _ in range(RUNS))
    found = {name: best_of(name) for name in WORKLOADS}
    before: dict[str, Any] = json.loads(BASELINE.read_text()) if BASELINE.exists() else {"unit": speed, "figures": {}}
    for name, figures in found.items():
        print(f"{name:<44}{'now':>10}{'baseline':>10}{'ratio':>8}")
        for figure, value in figures.items():
            was = before["figures"].get(name, {}).get(figure, value)
            expected = was * speed / before["unit"] if figure == CPU else was
            print(f"  {figure:<42}{value:>10.3f}{expected:>10.3f}{value / expected:>8.2f}")
    if given.save:
        BASELINE.write_text(json.dumps({"unit": speed, "figures": found}, indent=2) + "\n")
    return 0


sys.exit(main(sys.argv[1:]))

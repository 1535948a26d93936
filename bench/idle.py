"""What the sandbox costs while nobody asks it for anything, and how long it takes to fill it with many bookings."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aiohttp import ClientSession, ClientTimeout

from sandbox.process import Child

SETTLE, WATCHED = 5.0, 30.0
MAILBOXES, BOOKINGS = 500, 10_000
LIMITS = {
    "simulators, resident MB": 150.0,
    "all of up, resident MB": 450.0,
    f"CPU seconds in {WATCHED:g} idle seconds": 3.0,
    f"seconds to seed {BOOKINGS:,} bookings over {MAILBOXES} mailboxes": 10.0,
    f"simulators with {BOOKINGS:,} bookings, resident MB": 300.0,
}
_START = 60.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process holds and has used."""

    megabytes: float
    seconds: float


def usage(pid: int) -> dict[int, Usage]:
    """The process and all that it has started, by their ids, itself first. Reads Linux's /proc."""
    return {each: _usage(each) for each in _family(pid)}


def _family(pid: int) -> Iterator[int]:
    yield pid
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in (thread / "children").read_text().split():
            yield from _family(int(child))


def _usage(pid: int) -> Usage:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    pages, ticks = int(fields[21]), int(fields[11]) + int(fields[12])
    return Usage(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, ticks / os.sysconf("SC_CLK_TCK"))


async def measure() -> dict[str, float]:
    """Start everything, watch it, fill it, and give the figures by the names of their limits."""
    up = Child([sys.executable, "-m", "sandbox", "up", "--json"])
    try:
        said = json.loads(await up.read_line(within=_START))
        await asyncio.sleep(SETTLE)
        before = usage(up.pid)
        await asyncio.sleep(WATCHED)
        after = usage(up.pid)
        seconds = await _seed(said["control"])
        filled = usage(up.pid)[up.pid].megabytes
    finally:
        await up.stop()
    used = sum(use.seconds for use in after.values()) - sum(use.seconds for use in before.values())
    held = sum(use.megabytes for use in after.values())
    return dict(zip(LIMITS, [after[up.pid].megabytes, held, used, seconds, filled], strict=True))


async def _seed(control: str) -> float:
    body = {"organization": "contoso", "mailboxes": MAILBOXES, "bookings": BOOKINGS}
    began = time.perf_counter()
    async with (
        ClientSession(timeout=ClientTimeout(total=_START)) as session,
        session.post(f"{control}/seed", json=body, ssl=False) as answer,
    ):
        assert answer.status == 204, await answer.text()
    return time.perf_counter() - began


def report() -> int:
    """Print the figures with their limits; 1 when one is over."""
    if not Path("/proc/self/task").exists():
        print("This reads memory and CPU time from /proc, which only Linux has.")
        return 1
    found = asyncio.run(measure())
    print(f"{'the sandbox at rest':<66}{'now':>8}{'limit':>8}")
    for name, value in found.items():
        print(f"  {name:<64}{value:>8.1f}{LIMITS[name]:>8.1f}{'  OVER' if value > LIMITS[name] else ''}")
    return int(any(value > LIMITS[name] for name, value in found.items()))

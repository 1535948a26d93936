"""`dev.py demo`: plays the story on the real parts and tells what happened in Dynamics, in Outlook, and how soon."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from sandbox.hands import Hands
from sandbox.http import Json
from sandbox.steps import Played, Step, StoryError, play
from sandbox.story import Story
from sandbox.technicians import Technicians
from sandbox.up import Up


def steps(hands: Hands, now: datetime) -> Iterable[Step]:
    """Both stories, in the order in which the least has to be waited for; at the end the app loses its tables."""
    planner, technicians = Story(hands, now), Technicians(hands, now)
    yield from planner.one_booking()
    yield technicians.first()
    yield from planner.lost_answer()
    yield from technicians.steps()
    yield from planner.hard_times()


async def tell(up: Up, write: Callable[[str], None]) -> dict[str, Json]:
    """Play the story, to its end or to the first step that does not come true; the report that `--json` prints."""
    played: list[Played] = []
    last = up.simulators.cloud.recorder.last
    async with up.client() as client:
        for step in steps(Hands(up, client), up.simulators.cloud.clock.now()):
            write(f"{step.name:>20}  {f'{step.where}: {step.deed}':<82}  ")
            result, seen = await play(step, up.simulators.cloud.recorder)
            played.append(result)
            write(f"{step.shows_in if result.ok else 'FAILED'} after {result.ms:>4} ms: {seen}\n")
            if not result.ok:
                break
    counts = up.simulators.cloud.recorder.counts(app=up.app.client_id, after=last)
    return {
        "ok": all(result.ok for result in played),
        "steps": [{"name": result.name, "ok": result.ok, "ms": result.ms} for result in played],
        "requests": {name: counts.get(name, {"http": 0, "logical": 0}) for name in ("graph", "dataverse")},
    }


async def run(argv: Sequence[str]) -> int:
    """`python -m sandbox demo [--once] [--json]`: 0 when every step came true, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="dev.py demo", description="Watch bookings of Dynamics appear in Outlook.")
    parser.add_argument("--once", action="store_true", help="end when the story is told")
    parser.add_argument("--json", action="store_true", help="print the report as the last line, in JSON")
    given = parser.parse_args(argv)
    telling = asyncio.create_task(_tell_and_stay(once=given.once, as_json=given.json))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, telling.cancel)
    try:
        return await telling
    except (RuntimeError, StoryError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except asyncio.CancelledError:
        return 0


async def _tell_and_stay(*, once: bool, as_json: bool) -> int:
    async with Up() as up:
        _print(f"Watch it at {up.endpoints['page']}\n")
        report = await tell(up, _write)
        graph, dataverse = (report["requests"][name]["http"] for name in ("graph", "dataverse"))
        _print(f"\nThe app made {graph} requests to Graph and {dataverse} to Dataverse.")
        if as_json:
            _print(json.dumps(report))
        if not once:
            _print("\nThe sandbox stays up; Ctrl-C ends it. Where everything is:")
            for name, address in up.endpoints.items():
                _print(f"  {name:10} {address}")
            _print(f"  {'log':10} {up.functions_log}")
            await asyncio.Event().wait()
        return 0 if report["ok"] else 1


def _print(line: str) -> None:
    _write(line + "\n")


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()

"""Play scripts from their beginning to rest, and say what was violated."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import PurePath

from sandbox.cloud import WATCHERS
from sandbox.http import Request, Response
from sandbox.recorder import Call
from tests.schema.watch import Watch
from tests.simulation.loop import StuckError, run
from tests.simulation.lot import script_of
from tests.simulation.rules import Rules
from tests.simulation.script import Script
from tests.simulation.stage import Stage
from tests.simulation.steps import Play

LONGEST = 14 * 24 * 3600.0
"""Virtual seconds after which a script counts as one that never ends."""


@dataclass(frozen=True, slots=True)
class Result:
    """How it went: `trace` is a hash over every call with its answer and the journal, `seen` counts what happened."""

    violations: tuple[str, ...]
    trace: str
    seen: Counter[str]


class _Defects(logging.Handler):
    """Collects what the app reports as a defect of its own."""

    def __init__(self, into: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._into = into

    def emit(self, record: logging.LogRecord) -> None:
        """Note one record, with the place where the exception came from."""
        error = record.exc_info[1] if record.exc_info else None
        at = error.__traceback__ if error is not None else None
        while at is not None and at.tb_next is not None:
            at = at.tb_next
        place = f" at {PurePath(at.tb_frame.f_code.co_filename).name}:{at.tb_lineno}" if at is not None else ""
        self._into.append(f"defect: {record.getMessage()}: {error!r}{place}")


def play_seeds(seeds: range, processes: int) -> Iterator[tuple[int, Result]]:
    """Play the scripts of `seeds` in so many processes; the results come in the order of the seeds."""
    with get_context("spawn").Pool(processes) as pool:
        yield from zip(seeds, pool.imap(_play_seed, seeds, chunksize=4), strict=True)


def _play_seed(seed: int) -> Result:
    return play(script_of(seed))


def play(script: Script, show: Callable[[str], None] = lambda _: None) -> Result:
    """Play `script` on a virtual loop of its own; `show` gets every call, a line each, once it is over."""
    log = logging.getLogger("shared")
    level, propagates = log.level, log.propagate
    defects: list[str] = []
    handler = _Defects(defects)
    log.addHandler(handler)
    log.setLevel(logging.ERROR)
    log.propagate = False
    try:
        return run(_play(script, defects, show))
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagates


async def _play(script: Script, defects: list[str], show: Callable[[str], None]) -> Result:
    stage = Stage(script.config)
    rules = Rules(stage)
    now = Play(stage, rules)
    answers = hashlib.sha256()

    def listen(call: Call, _request: Request, response: Response) -> None:
        body = b"" if call.service == "login" else response.body  # tokens are signed with a key of the day
        answers.update(f"{call.number} {response.status} {sorted(response.headers.items())}".encode() + body)

    watch = Watch()
    WATCHERS.append(listen)
    try:
        with watch.watching():
            async with asyncio.timeout(LONGEST):
                await stage.open()
                for step in script.steps:
                    await now.perform(step)
                    if rules.violations or stage.defects or defects:
                        break
                else:
                    await now.calm()
    except (TimeoutError, StuckError) as error:
        rules.violations.append(f"R1: it never ends: {error!r}")
    finally:
        now.count_faults()
        await stage.close()
        WATCHERS.remove(listen)
    for reason, outcome in stage.journal():
        stage.seen[f"journal {reason} {outcome}"] += 1
    lines = [_line(call) for call in stage.cloud.recorder.calls]
    for line in lines:
        show(line)
    lines += [json.dumps(dict(entry), sort_keys=True) for entry in stage.rows("journal")]
    lines.append(answers.hexdigest())
    trace = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    stage.seen["Graph answers validated"] += watch.seen
    unfit = (f"an answer of Graph does not fit Microsoft's schema: {violation}" for violation in watch.take())
    return Result((*rules.violations, *stage.defects, *defects, *unfit), trace, stage.seen)


def _line(call: Call) -> str:
    tags = " ".join(f"{name}={value}" for name, value in call.tags.items())
    status = call.status if call.answered else "-"
    return f"{call.at:%d %H:%M:%S.%f} {call.service} {call.method} {call.path} {status} {call.fault} {tags}"

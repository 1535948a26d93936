"""From a failing script to a small one that fails alike: fewer steps, a gentler configuration, shorter waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.simulation.script import Script, Step

type Fails = Callable[[Script], bool]

SALTS = 5
"""With how many other salts a candidate is tried: without some step, chance falls otherwise everywhere after it."""
MOST_TRIES = 1500


def shrink(script: Script, fails: Fails) -> Script:
    """The smallest script that was found; `fails` says whether one violates the same."""
    tries = iter(range(MOST_TRIES))
    for others in ((), tuple(range(SALTS))):
        while (smaller := _first_failing(script, fails, others, tries)) is not None:
            script = smaller
    return script


def _first_failing(script: Script, fails: Fails, others: tuple[int, ...], tries: Iterator[int]) -> Script | None:
    for candidate in _smaller(script):
        for salt in dict.fromkeys((candidate.config.salt, *others)):
            if next(tries, None) is None:
                return None
            salted = Script(replace(candidate.config, salt=salt), candidate.steps)
            if fails(salted):
                return salted
    return None


def _smaller(script: Script) -> Iterator[Script]:
    """Candidates, the boldest first (delta debugging: Zeller and Hildebrandt, 2002)."""
    steps = script.steps
    size = len(steps) // 2
    while size:
        for first in range(0, len(steps), size):
            rest = steps[first + size :]
            yield Script(script.config, steps[:first] + rest)
            if rest and size == 1 and steps[first].wait:  # perhaps only its time was needed
                waited = Step(round(steps[first].wait + rest[0].wait, 3), rest[0].do, rest[0].given)
                yield Script(script.config, (*steps[:first], waited, *rest[1:]))
        size //= 2
    for gentler in script.config.gentler():
        yield Script(gentler, steps)
    for place, step in enumerate(steps):
        for wait in (0.0, 1.0, 10.0):
            if wait < step.wait:
                yield Script(script.config, (*steps[:place], Step(wait, step.do, step.given), *steps[place + 1 :]))
                break

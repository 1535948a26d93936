"""The steps of a story: what somebody does on one side, and what then must be seen on the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from sandbox.recorder import Recorder

PATIENCE = 20.0
"""Seconds until a step that does not come true has failed."""
LOOK_AGAIN = 0.1
"""Seconds until people look again, even if nothing was heard in between."""

DYNAMICS, OUTLOOK, BOTH = "Dynamics", "Outlook", "both sides"
GRAPH, APP = "Graph", "the app"
"""Where something is done, or seen."""

type Act = Callable[[], Awaitable[object]]
type Look = Callable[[], Awaitable[str]]


class StoryError(Exception):
    """A call of the people in the story was refused, so the story cannot go on."""


async def nothing() -> None:
    """Nothing."""


async def no_objection() -> str:
    """Everything is right."""
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: where somebody does what, in words and in deeds, and where it must show.

    `look` gives what is seen, in words; empty while it is not the expected.
    """

    name: str
    where: str
    deed: str
    act: Act
    shows_in: str
    look: Look
    then: Act = nothing
    """What has to happen before it can be seen; its time counts."""
    objection: Look = no_objection
    """What is wrong although it is seen, in words; empty when nothing is."""
    patience: float = PATIENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """How a step went; `ms` from the answer to what was done to the first look that showed the expected."""

    name: str
    ok: bool
    ms: int


async def play(step: Step, recorder: Recorder) -> tuple[Played, str]:
    """Do it, then look until it shows; what was seen, in words, or what is wrong. Calls in `recorder` are news."""
    await step.act()
    began = time.perf_counter()
    seen = ""
    with suppress(TimeoutError):
        async with asyncio.timeout(step.patience):
            await step.then()
            while not (seen := await step.look()):
                await recorder.wait_for_traffic(LOOK_AGAIN)
    ms = round((time.perf_counter() - began) * 1000)
    objection = await step.objection() if seen else f"not in {step.shows_in}"
    return Played(name=step.name, ok=not objection, ms=ms), objection or seen

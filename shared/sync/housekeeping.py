"""House-keeping: what nobody will ask for again is removed, by timer, some of it with each run.

| what | until when it is kept |
| --- | --- |
| a month of the journal | so many whole months as the administrator says |
| a tombstone | 90 days: so long no generation of the booking is used twice (R2) |
| where a resource's bookings go | until it has expired |
| a dead letter | for ever, or as many days as the administrator says; how many wait is told after every round |

Links and claims are left alone, also those of events that ended long ago. They prove which event is ours: without them
the deletion of an old booking would leave its event behind, and a reassign would double it. A year of them is small.

A round passes over all these rows once a day, in as many slices as it needs; how far it has come is stored. Whatever is
removed must still be as it was read, so a claim that is taken again meanwhile stays.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol

from shared.errors import PreconditionError, TransientError
from shared.sync.model import Shard
from shared.sync.ports import Clock

SLICE = timedelta(seconds=60)
"""How long one run works."""
PAUSE = 0.2
"""Seconds between two pages: reconciling bookings comes first."""
TOMBSTONE_LIFE = timedelta(days=90)
NEVER = datetime.min.replace(tzinfo=UTC)

log = logging.getLogger(__name__)


class Kind(StrEnum):
    """What house-keeping looks at."""

    JOURNAL = "journal"
    TOMBSTONE = "tombstones"
    GONE_EVENT = "gone events"
    RESOURCE = "resources"
    DEAD_LETTER = "dead letters"


@dataclass(frozen=True, slots=True)
class Place:
    """Where rows of one kind stand together."""

    kind: Kind
    partition: Shard


@dataclass(frozen=True, slots=True, kw_only=True)
class Tidied:
    """What became of one page of rows: `last` is the last one that was looked at, empty when there are no more."""

    removed: int
    kept: int
    last: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """How far a round has come: the `position` of its place, and the row there it goes on `after`.

    `waiting` counts what waits for an administrator. `row` is the stored row's own version.
    """

    began: datetime
    position: int = 0
    after: str = ""
    removed: int = 0
    waiting: int = 0
    row: str = ""


class HousekeepingStore(Protocol):
    """Table Storage."""

    def places(self) -> Sequence[Place]:
        """All places, always in the same order."""

    async def tidy(self, place: Place, after: str, before: datetime) -> Tidied:
        """Remove from one page of rows what is of a time before that; of the journal whole months."""

    async def round(self) -> Round | None:
        """The last round."""

    async def save_round(self, done: Round) -> Round:
        """Write it if its row is as it was read, or still absent. Raises `PreconditionError`."""


class Housekeeping:
    """Keeps the table small. Any number of them may run on one storage."""

    def __init__(
        self, *, store: HousekeepingStore, clock: Clock, journal_months: int, dead_letter_life: timedelta
    ) -> None:
        """Take the ports; a `dead_letter_life` of nothing means that dead letters are never removed."""
        self._store = store
        self._clock = clock
        self._journal_months = journal_months
        self._dead_letter_life = dead_letter_life

    async def go_on(self) -> None:
        """Go on with the round for at most a slice; begin one unless there was one today."""
        now = self._clock.now()
        try:
            last = await self._store.round()
            is_over = last is not None and last.position >= len(self._store.places())
            if last is None or is_over:
                if last is not None and last.began.date() >= now.date():
                    return
                last = Round(began=now, row=last.row if last is not None else "")
            await self._work(last, now + SLICE)
        except PreconditionError:
            log.info("another host keeps house")
        except TransientError as error:
            log.warning("house-keeping goes on with its next run: %s", error)

    async def _work(self, now: Round, end: datetime) -> None:
        places, before = self._store.places(), self._before(now.began)
        while now.position < len(places):
            place = places[now.position]
            tidied = await self._store.tidy(place, now.after, before[place.kind])
            now = replace(
                now,
                position=now.position if tidied.last else now.position + 1,
                after=tidied.last,
                removed=now.removed + tidied.removed,
                waiting=now.waiting + (tidied.kept if place.kind is Kind.DEAD_LETTER else 0),
            )
            is_late = self._clock.now() >= end
            if is_late or not tidied.last:
                now = await self._store.save_round(now)
            if is_late:
                return
            await self._clock.sleep(PAUSE)
        self._report(now)

    def _before(self, began: datetime) -> Mapping[Kind, datetime]:
        """From when on rows of each kind are kept."""
        months = began.year * 12 + began.month - 1 - self._journal_months
        return {
            Kind.JOURNAL: datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC),
            Kind.TOMBSTONE: began - TOMBSTONE_LIFE,
            Kind.GONE_EVENT: began - TOMBSTONE_LIFE,
            Kind.RESOURCE: began,
            Kind.DEAD_LETTER: began - self._dead_letter_life if self._dead_letter_life else NEVER,
        }

    def _report(self, done: Round) -> None:
        log.info("house-keeping is done: %d rows removed", done.removed)
        if done.waiting:
            log.warning(
                "%d bookings wait for an administrator: read 'reason' and 'detail' of the rows 'dead:' in the table, "
                "remove the causes, then POST /api/dead-letters/replay or /api/quarantine/approve",
                done.waiting,
            )

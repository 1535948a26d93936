"""The deletion budget: when too many events would go at once, an administrator has to say that it is meant (R4).

It counts, too, when people delete events: a calendar that somebody empties does not cancel every visit.

Whatever the cause is - a filter with a typo, users that lost their mailboxes, a bulk deletion in Dynamics - a calendar
is not emptied within minutes. Deletions for a canceled booking and those after a reassign do not count: for each of
them somebody has decided, and the booking was read.

A deletion is noted before it is carried out, then all notes are counted. So workers that delete at the same time see
each other, and none of them deletes too much.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from shared.errors import QuarantinedError
from shared.sync.facts import Snapshot
from shared.sync.model import Link, MailboxId, Shard
from shared.sync.plan import DeleteEvent, Plan, Reason, Unlink
from shared.sync.ports import Clock

PERIOD = timedelta(hours=1)
COUNTED = frozenset({Reason.DELETED, Reason.FILTERED_OUT, Reason.NO_MAILBOX, Reason.EVENT_DELETED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may go within an hour: of a mailbox over `events` only up to `percent` of those it has; and `altogether`."""

    events: int = 20
    percent: int = 20
    altogether: int = 200


class BudgetStore(Protocol):
    """Table Storage. A link is noted once, however often its deletion is tried."""

    async def note_deletion(self, link: Link, now: datetime, since: datetime) -> Mapping[MailboxId, int]:
        """Note that `link` is about to go; gives how many of each mailbox were noted since then, this one included."""

    async def forget_deletion(self, link: Link) -> None:
        """Take the note back."""

    async def count_links(self, shard: Shard, mailbox: MailboxId) -> int:
        """How many events of the mailbox are linked."""


class Budget:
    """Counts deletions."""

    def __init__(self, *, store: BudgetStore, clock: Clock, limits: Limits) -> None:
        """Take the ports and the limits."""
        self._store = store
        self._clock = clock
        self._limits = limits

    async def spend(self, plan: Plan, seen: Snapshot) -> None:
        """Account for the events that `plan` deletes. Raises `QuarantinedError` when that would be too many."""
        if plan.reason not in COUNTED or any(mark.is_approved for mark in seen.marks):
            return
        for action in plan.actions:
            if isinstance(action, DeleteEvent | Unlink):
                await self._spend(seen.shard, action.link)

    async def _spend(self, shard: Shard, link: Link) -> None:
        now = self._clock.now()
        noted = await self._store.note_deletion(link, now, now - PERIOD)
        here, total = noted[link.mailbox], sum(noted.values())
        said = ""
        if total > self._limits.altogether:
            said = f"this would be deletion number {total} within an hour, in all calendars"
        elif here > self._limits.events:
            links = await self._store.count_links(shard, link.mailbox)
            if here * 100 > self._limits.percent * links:
                said = f"this would be deletion number {here} within an hour, in a calendar with {links} of our events"
        if said:
            await self._store.forget_deletion(link)
            raise QuarantinedError(f"{said} (SYNC_DELETION_BUDGET).")

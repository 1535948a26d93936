"""What the sweep does on request about what it has found: marks, and links for events that no link knows.

Nothing here writes to a calendar or to Dataverse. The engine does what follows from the marks, by its own rules.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from shared.errors import PreconditionError
from shared.sync.compare import Difference, Drift, Pair
from shared.sync.marks import hand_over, look_again
from shared.sync.model import Cause, Claim, Event, Field, Link, Mark, Shard, shard_of
from shared.sync.ports import Clock, Commit, Store
from shared.sync.rebuild import restored

log = logging.getLogger(__name__)


class Links(Protocol):
    """Table Storage, as far as only this needs it."""

    async def restore_link(self, shard: Shard, link: Link) -> None:
        """Write a link that must not exist, in a shard with an epoch. Raises `PreconditionError`."""


class Mending:
    """Sees to it that the engine repairs what differs."""

    def __init__(self, *, store: Store, links: Links, clock: Clock, shards: int) -> None:
        """Take the ports."""
        self._store = store
        self._links = links
        self._clock = clock
        self._shards = shards

    async def mend(self, found: Difference, pair: Pair, wake: set[Shard], *, is_deleted: bool) -> str:
        """Have the engine look at the pair; gives in words what was done, nothing when that is for people to do.

        `is_deleted`: an administrator vouches for the deletion of a booking whose row is gone (R3).
        """
        seen, now = pair.seen, self._clock.now()
        look = look_again(seen.booking_id, now, now)
        if found.drift is Drift.UNREADABLE or (found.drift is Drift.BOOKING_GONE and not is_deleted):
            return ""
        has_new_link = await self.restore(seen.shard, pair.events, seen.links, wake)
        if found.drift is Drift.CLAIM and pair.link is not None:
            await self._take_claim(pair.link)
        if found.drift is Drift.FIELDS:
            await self._forget_agreement(pair, found.fields)
        if found.drift is Drift.BOOKING_GONE:
            marks = [replace(look, cause=Cause.DELETED)]
        elif found.drift is Drift.WRONG_CALENDAR:
            marks = await self._send_home(pair, look, wake)
        else:
            hint = replace(look, cause=Cause.EVENT_CHANGED, mailbox=pair.mailbox)
            marks = [look, *(replace(hint, event=link.event) for link in seen.links if link.event is not None)]
        await self._put(seen.shard, marks, wake)
        return "link restored and marked" if has_new_link else "marked"

    async def _send_home(self, pair: Pair, look: Mark, wake: set[Shard]) -> list[Mark]:
        """The booking is looked at where its resource is; if its event stands there, the one here is given up (R10)."""
        booking = pair.seen.booking
        home = booking.resource.mailbox if booking is not None else None
        if home is None:
            return [look]
        await self._put(shard_of(home, self._shards), [look], wake)
        claim = await self._store.claim(look.booking)
        if claim is None or not claim.is_live or claim.mailbox != home:
            return [look]
        return [hand_over(look.booking, claim.generation, look.due_at)]

    async def _forget_agreement(self, pair: Pair, fields: Collection[Field]) -> None:
        """Where the sides differ although they are said to agree, nothing is known: then Dataverse wins (R2a)."""
        link = pair.link
        silent = [one for one in fields if one not in pair.facts.verdicts]
        if link is None or link.base is None or not silent:
            return
        booking = {one: there for one, there in link.base.booking.items() if one not in silent}
        unsure = replace(link, base=replace(link.base, booking=booking))
        try:
            await self._store.commit(pair.seen.shard, Commit(settled=(), save=(unsure,)))
        except PreconditionError:
            log.info("booking %s was written meanwhile", link.booking)

    async def restore(
        self, shard: Shard, events: Iterable[Event], links: Iterable[Link], wake: set[Shard]
    ) -> list[Link]:
        """Give each of a booking's events here that no link knows one; what the claim says of it is for the engine.

        The newest event is the booking's unless there is a claim of a later generation: then it is handed over to that
        (R10). An event whose generation has an intent is left to whoever looks after that.
        """
        taken = {link.generation for link in links}
        fresh: list[Link] = []
        for event in events:
            if event.marker is None or event.marker.generation in taken:
                continue
            link = restored(event, event.marker, self._clock.now())
            try:
                await self._links.restore_link(shard, link)
            except PreconditionError:
                continue  # somebody else was faster
            taken.add(link.generation)
            fresh.append(link)
        for link in fresh:
            now, claim = self._clock.now(), await self._take_claim(link)
            is_older = claim is not None and claim.is_live and claim.generation > link.generation
            order = hand_over(link.booking, claim.generation, now) if claim is not None and is_older else None
            await self._put(shard, [order or look_again(link.booking, now, now)], wake)
        return fresh

    async def _take_claim(self, link: Link) -> Claim | None:
        """The claim as it is once the link has it, if no later generation has."""
        claim = await self._store.claim(link.booking)
        if claim is not None and claim.generation >= link.generation:
            return claim
        fresh = Claim(
            booking=link.booking,
            generation=link.generation,
            mailbox=link.mailbox,
            claimed_at=self._clock.now(),
            row=claim.row if claim is not None else "",
        )
        try:
            return await self._store.save_claim(fresh)
        except PreconditionError:
            return await self._store.claim(link.booking)

    async def _put(self, shard: Shard, marks: Sequence[Mark], wake: set[Shard]) -> None:
        await self._store.put_marks(shard, marks)
        wake.add(shard)

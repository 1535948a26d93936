"""What lost a conflict is put in force after all, by an administrator's word (R6).

The journal keeps what lost. Here it is found again and becomes a mark, one for each field; what is then written, to the
booking or to its event, is decided by the engine, which looks at both as they are by then.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from shared.errors import InvalidPostError
from shared.sync.marks import put_in_force
from shared.sync.merge import Edit
from shared.sync.model import BookingId, Claim, Field, Mark, Shard, shard_of
from shared.sync.ports import Clock, Loss

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class RestoreStore(Protocol):
    """Table Storage."""

    async def losses(self, booking: BookingId, now: datetime) -> Sequence[Loss]:
        """What the journal keeps of values that lost, oldest first."""

    async def claim(self, booking: BookingId) -> Claim | None:
        """The booking's claim."""

    async def put_marks(self, shard: Shard, marks: Sequence[Mark]) -> None:
        """Add marks."""


class Restoring:
    """Finds what lost, and puts it in force."""

    def __init__(self, *, store: RestoreStore, clock: Clock, edits: Mapping[Field, Edit], shards: int) -> None:
        """Take the ports; `edits` is the administrator's word on people's edits."""
        self._store = store
        self._clock = clock
        self._edits = edits
        self._shards = shards

    async def conflicts(self, booking: str) -> list[dict[str, Any]]:
        """What lost of one booking, ready for JSON; of times the value, of other fields the name only.

        Raises `InvalidPostError` for what is no booking's id.
        """
        return [self._told(loss) for loss in await self._losses(booking)]

    async def restore(self, booking: str, at: str | None) -> tuple[dict[str, Any], frozenset[Shard]]:
        """Put in force what lost at that time, or last; gives what was asked for, and the shards to wake.

        Raises `InvalidPostError` when there is nothing to restore.
        """
        losses = [loss for loss in await self._losses(booking) if at in (None, _text(loss.at))]
        if not losses:
            raise InvalidPostError(404, "Nothing of this booking has lost then: GET /api/conflicts lists what has.")
        loss, now = losses[-1], self._clock.now()
        obstacles = {one: self._obstacle(one) for one in loss.lost}
        if all(obstacles.values()):
            raise InvalidPostError(409, " ".join(obstacles.values()))
        claim = await self._store.claim(BookingId(booking.lower()))
        if claim is None or not claim.is_live:
            raise InvalidPostError(409, "The booking has no event any more: save it in Dynamics 365.")
        shard = shard_of(claim.mailbox, self._shards)
        marks = [put_in_force(claim.booking, one, loss.lost[one], now) for one in loss.lost if not obstacles[one]]
        await self._store.put_marks(shard, marks)
        return self._told(loss), frozenset({shard})

    async def _losses(self, booking: str) -> Sequence[Loss]:
        if not _GUID.fullmatch(booking.lower()):
            raise InvalidPostError(400, "'booking' must be the id of a booking.")
        return await self._store.losses(BookingId(booking.lower()), self._clock.now())

    def _told(self, loss: Loss) -> dict[str, Any]:
        fields = {
            one.value: {"value": text if one is Field.TIME else None, "obstacle": self._obstacle(one)}
            for one, text in loss.lost.items()
        }
        return {"at": _text(loss.at), "reason": loss.reason, "fields": fields}

    def _obstacle(self, one: Field) -> str:
        """Why a field cannot be restored, in words; empty when it can."""
        if one is Field.TIME or self._edits[one] is Edit.KEEP:
            return ""
        return f"Dynamics 365 owns {one.value}: SYNC_EDITS must say {one.value}=keep for people's text to stay."


def _text(at: datetime) -> str:
    """A time that can stand in an address as it is."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"

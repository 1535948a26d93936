"""Events that an older program made: recognised when the table is new, and taken over instead of doubled.

The older program left a booking's id in each of its events. While a mailbox is searched because the table is new
(`shared.sync.rebuild`), such an event gets a marker of ours if it can only be the booking's: the booking exists, its
resource has this mailbox, no person has been invited, and it is the first of its kind. From then on it is ours like
any other, and Dataverse wins. All others are left as they are (R9).

Its generation is older than any that this app creates: should the booking have an event of ours, too, the adopted one
is handed over to it and goes, as after a reassign.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import batched
from typing import Protocol

from shared.errors import GoneError, OutcomeUnknownError, PreconditionError, RefusedError, TransientError
from shared.sync.model import BookingId, Event, MailboxId, Marker
from shared.sync.ports import BookingSide, Clock

GENERATION = 0
TOGETHER = 20
"""How many events of a mailbox are looked at together."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Legacy:
    """An event with the booking's id that the older program left in it.

    `is_plain`: it does not repeat, lasts no whole day, is not canceled, and nobody was invited.
    """

    event: Event
    booking: BookingId
    created_at: datetime
    is_plain: bool


class LegacySide(Protocol):
    """Microsoft 365 calendars, as far as adoption needs them."""

    async def find_legacy(self, mailbox: MailboxId) -> Sequence[Legacy]:
        """The events that the older program made in a mailbox."""

    async def mark_event(self, event: Event, marker: Marker) -> Event:
        """Write a marker into an event that is still as it was read. Raises `PreconditionError`, `GoneError`."""


class Adoption:
    """Takes over what the older program made."""

    def __init__(
        self, *, bookings: BookingSide, legacy: LegacySide, clock: Clock, organization: str, past: timedelta
    ) -> None:
        """Take the ports; what ended longer than `past` ago is history and left alone."""
        self._bookings = bookings
        self._legacy = legacy
        self._clock = clock
        self._organization = organization
        self._past = past

    async def adopt(self, mailbox: MailboxId, marked: Sequence[Event], end: datetime) -> list[Event]:
        """Mark what can be adopted in a mailbox and give it as it is then; `marked` are the events with some marker.

        Raises `TransientError` when not all could be done by `end`; what is marked by then is found by its marker.
        """
        found = await self._legacy.find_legacy(mailbox)
        since = self._clock.now() - self._past
        known = {event.id for event in marked}
        recent = [one for one in found if one.event.id not in known and one.event.content.end >= since]
        markers = [event.marker for event in marked if event.marker is not None]
        adopted_before = {marker.booking for marker in markers if marker.generation == GENERATION}
        first: dict[BookingId, Legacy] = {}
        for one in sorted(recent, key=lambda one: (one.created_at, one.event.id)):
            if one.is_plain and one.booking not in adopted_before:
                first.setdefault(one.booking, one)
        adopted: list[Event] = []
        for some in batched(first.values(), TOGETHER, strict=False):
            if self._clock.now() >= end:
                raise TransientError(f"{len(adopted)} of {len(first)} events of an older program are adopted so far")
            adopted += filter(None, await asyncio.gather(*(self._adopt(mailbox, one) for one in some)))
        if recent:
            left = len(recent) - len(adopted)
            log.warning("mailbox %s: %d events of an older program adopted, %d left alone", mailbox, len(adopted), left)
        return adopted

    async def _adopt(self, mailbox: MailboxId, one: Legacy) -> Event | None:
        """The event with a marker of ours; `None` when it has to be left alone."""
        try:
            row = await self._bookings.get_booking(one.booking)
            if row is None or row.resource.mailbox != mailbox:
                return None
            marker = Marker(organization=self._organization, booking=one.booking, generation=GENERATION)
            return await self._legacy.mark_event(one.event, marker)
        except (PreconditionError, OutcomeUnknownError) as error:
            raise TransientError(f"an event was changed while it was adopted: {error}") from error
        except GoneError:
            return None
        except RefusedError as error:
            log.warning("an event for booking %s cannot be adopted: %s", one.booking, error)
            return None

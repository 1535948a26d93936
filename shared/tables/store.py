"""What the rows mean. Implements the port `shared.sync.ports.Store` and the inbox of `shared.intake` over `Tables`.

| partition | row | what |
| --- | --- | --- |
| shard (`03`, `unrouted`) | `head:epoch` | that the links here are complete; else they are rebuilt first (R2a) |
| | `head:lease` | who works on the shard, until when, and whether somebody asked for another look |
| | `head:rebuilding` | that links are being restored here (`shared.tables.rebuilding`) |
| | `mark:{due}:{id}` | a mark, oldest due first |
| | `link:{booking}:{generation}` | a link; an intent while it has no event |
| | `journal:{month}:{booking}:{time}:{id}` | what was done and why; a month is dropped whole |
| | `dead:{booking}:{time}:{id}` | the same entry once more with its marks, when an administrator has to look |
| `claim-{0..f}` | booking | the claim or, once retired, the tombstone |
| `resources` | resource | where the bookings of a resource go, with an expiry |
| `rebuild` | | how far a rebuild has come (`shared.tables.rebuilding`) |
| `deletions` | | what counts against the deletion budget (`shared.tables.budget`) |
| `cursors` | | where reading goes on (`shared.tables.cursors`) |
| `subscriptions` | | who tells of changes in which mailbox (`shared.tables.subscriptions`) |
| `housekeeping` | | how far house-keeping has come (`shared.tables.housekeeping`) |

Everything that one reconciliation changes in its shard goes into one transaction; that is why marks, links and journal
share a partition.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import batched
from random import Random

from shared.errors import EpochMissingError, PreconditionError, SettingsError
from shared.sync.marks import coalesce
from shared.sync.model import BookingId, Claim, EventId, Link, MailboxId, Mark, ResourceId, Shard, all_shards
from shared.sync.plan import Outcome
from shared.sync.ports import Commit, JournalEntry, Known, Lease
from shared.tables.leases import HEAD, Heads, Leases
from shared.tables.rows import (
    AFTER,
    claim_of,
    claim_partition,
    claim_values,
    entry_values,
    event_key,
    known_of,
    known_values,
    link_key,
    link_of,
    link_values,
    mark_of,
    mark_values,
    text_of_time,
    time_of,
)
from shared.tables.tables import (
    MOST_OPERATIONS,
    Delete,
    Insert,
    Operation,
    Put,
    Replace,
    Stored,
    Tables,
    write_as_read,
)

FOLDED = MOST_OPERATIONS // 2
"""How many marks one transaction can fold into no more."""
RESOURCE_LIFE = timedelta(hours=12)
"""How long it is remembered where a resource's bookings go."""
RESOURCES = "resources"
EPOCH = f"{HEAD}epoch"
_NEEDS_A_LOOK = frozenset({Outcome.DEAD_LETTER, Outcome.PARKED, Outcome.QUARANTINED})


class TableStore:
    """The app's rows."""

    def __init__(self, tables: Tables, random: Random, shards: int) -> None:
        """`random` makes row keys unique; `shards` is into how many parts the mailboxes are divided."""
        self._tables = tables
        self._random = random
        self._shards = shards
        self._leases = Leases(tables)
        self._resources: dict[ResourceId, tuple[MailboxId | None, datetime]] = {}

    # Epochs and leases.

    async def without_epoch(self) -> frozenset[Shard]:
        """The shards that must not work yet. Raises `SettingsError` when the table counts its shards differently."""
        shards = all_shards(self._shards)
        epochs = await asyncio.gather(*(self._tables.get(shard, EPOCH) for shard in shards))
        for epoch in filter(None, epochs):
            self._check_epoch({EPOCH: epoch})
        return frozenset(shard for shard, epoch in zip(shards, epochs, strict=True) if epoch is None)

    def _check_epoch(self, heads: Heads) -> None:
        """Raises `EpochMissingError` for a shard whose links are not known to be complete (R2a)."""
        epoch = heads.get(EPOCH)
        if epoch is None:
            raise EpochMissingError("the table does not say that it knows every event of this shard")
        if epoch.values["shards"] != self._shards:
            raise SettingsError(
                f"SYNC_SHARDS was {epoch.values['shards']} when the table was filled and is {self._shards} now: set it "
                "back, or stop the app and delete the table; it is restored from the calendars then"
            )

    async def acquire(self, shard: Shard, holder: str, now: datetime) -> Lease | None:
        """The lease, or `None` when another holder has it: then he is told to look again before he stops."""
        return await self._leases.acquire(shard, holder, now, self._check_epoch)

    async def has_epoch(self, shard: Shard) -> bool:
        """Whether the links of the shard are known to be complete (R2a)."""
        return await self._tables.get(shard, EPOCH) is not None

    async def release(self, lease: Lease) -> bool:
        """Give the lease back; true when somebody asked for another look, or took the lease over."""
        return await self._leases.release(lease)

    # Marks.

    async def due_marks(self, shard: Shard, now: datetime, limit: int) -> Sequence[Mark]:
        """The oldest marks that are due."""
        rows = await self._tables.query(shard, "mark:", f"mark:{text_of_time(now)}{AFTER}", limit)
        return [mark_of(row) for row in rows]

    async def has_due_marks(self, shard: Shard, now: datetime) -> bool:
        """Whether any mark of the shard is due."""
        return bool(await self.due_marks(shard, now, 1))

    async def put_marks(self, shard: Shard, marks: Sequence[Mark]) -> None:
        """Add marks."""
        for first in range(0, len(marks), MOST_OPERATIONS):
            await self._tables.transact(
                shard, [self._new_mark(mark) for mark in marks[first : first + MOST_OPERATIONS]]
            )

    def _new_mark(self, mark: Mark) -> Insert:
        return Insert(f"mark:{text_of_time(mark.due_at)}:{self._unique()}", mark_values(mark))

    async def _fold(self, shard: Shard, marks: Sequence[Mark]) -> list[Mark]:
        """Put few marks in the place of many that say as much together."""
        folded = coalesce(marks)
        rows = [self._new_mark(mark) for mark in folded]
        await self._tables.transact(shard, [*(Delete(mark.key) for mark in marks), *rows])
        return [replace(mark, key=row.row) for mark, row in zip(folded, rows, strict=True)]

    # Links and claims.

    async def links(self, shard: Shard, booking: BookingId) -> tuple[Link, ...]:
        """The links of one booking in this shard, oldest generation first."""
        rows = await self._tables.query(shard, f"link:{booking}:", f"link:{booking}:{AFTER}")
        return tuple(link_of(row) for row in rows)

    async def known_events(self, shard: Shard, events: Collection[EventId]) -> Mapping[EventId, Known]:
        """Of those events, the ones that are or were linked in this shard."""
        rows = await asyncio.gather(*(self._tables.get(shard, event_key(event)) for event in events))
        return {event: known_of(row) for event, row in zip(events, rows, strict=True) if row is not None}

    async def save_intent(self, shard: Shard, link: Link, look: Mark) -> tuple[Link, Mark]:
        """Write the link and the mark that looks after it, in a shard with an epoch."""
        values, mark = link_values(link), self._new_mark(look)
        epoch = Replace(EPOCH, {"shards": self._shards})
        write = write_as_read(link_key(link), values, link.row)
        etag, *_ = await self._tables.transact(shard, [write, mark, epoch])
        return link_of(Stored(link_key(link), values, etag)), replace(look, key=mark.row)

    async def claim(self, booking: BookingId) -> Claim | None:
        """The booking's claim."""
        stored = await self._tables.get(claim_partition(booking), booking)
        return None if stored is None else claim_of(stored)

    async def save_claim(self, claim: Claim) -> Claim:
        """Write the claim if its row is as it was read, or still absent."""
        values = claim_values(claim)
        write = write_as_read(claim.booking, values, claim.row)
        [etag] = await self._tables.transact(claim_partition(claim.booking), [write])
        return claim_of(Stored(claim.booking, values, etag))

    # What a reconciliation leaves.

    async def commit(self, shard: Shard, commit: Commit) -> None:
        """Everything of `commit`, or nothing; more marks than a transaction holds are folded into few before it."""
        operations = [write_as_read(link_key(link), link_values(link), link.row) for link in commit.save]
        operations += [Delete(link_key(link), link.row) for link in commit.remove]
        operations += _index_rows(commit)
        operations += [self._new_mark(mark) for mark in commit.deferred]
        operations += self._entry_rows(commit.entry, commit.settled) if commit.entry is not None else []
        settled = list(commit.settled)
        while len(operations) + len(settled) > MOST_OPERATIONS:
            settled = settled[FOLDED:] + await self._fold(shard, settled[:FOLDED])
        await self._tables.transact(shard, [*operations, *(Delete(mark.key) for mark in settled)])

    def _entry_rows(self, entry: JournalEntry, settled: Sequence[Mark]) -> list[Operation]:
        values = entry_values(entry)
        tail = f"{entry.booking}:{text_of_time(entry.at)}:{self._unique()}"
        rows: list[Operation] = [Insert(f"journal:{entry.at:%Y-%m}:{tail}", values)]
        if entry.outcome in _NEEDS_A_LOOK:
            marks = json.dumps([mark_values(replace(mark, posts=0)) for mark in coalesce(settled)])
            rows.append(Insert(f"dead:{tail}", {**values, "marks": marks}))
        return rows

    # Dead letters.

    async def replay(self, shard: Shard, outcomes: Collection[Outcome], now: datetime) -> int:
        """Turn what ended so back into marks and say how much there was; its posts stay accounted.

        What was quarantined is approved by that (R4).
        """
        found = await self._tables.query(shard, "dead:", f"dead:{AFTER}")
        rows = [row for row in found if row.values["outcome"] in outcomes]
        for row in rows:
            is_approved = row.values["outcome"] == Outcome.QUARANTINED
            values = [Stored("", mark, "") for mark in json.loads(str(row.values["marks"]))]
            marks = [replace(mark_of(stored), due_at=now, attempts=0, is_approved=is_approved) for stored in values]
            with suppress(PreconditionError):  # another replay was faster
                await self._tables.transact(shard, [Delete(row.row), *(self._new_mark(mark) for mark in marks)])
        return len(rows)

    # Routing.

    async def remember_resources(self, resources: Mapping[ResourceId, MailboxId | None], now: datetime) -> None:
        """Keep where the resources' bookings go; writes only what is new or about to expire."""

        def is_known(resource: ResourceId, mailbox: MailboxId | None) -> bool:
            known, expires = self._resources.get(resource, (None, now))
            return known == mailbox and expires - now > RESOURCE_LIFE / 2

        expires = now + RESOURCE_LIFE
        news = [one for one in resources.items() if not is_known(*one)]
        for some in batched(news, MOST_OPERATIONS, strict=False):
            puts = [
                Put(resource, {"mailbox": mailbox or "", "expires": text_of_time(expires)})
                for resource, mailbox in some
            ]
            await self._tables.transact(RESOURCES, puts)
            self._resources |= {resource: (mailbox, expires) for resource, mailbox in some}

    async def mailbox_of_resource(self, resource: ResourceId, now: datetime) -> MailboxId | None:
        """Where the resource's bookings go, as far as it was seen; `None` when it is not known."""
        if resource not in self._resources:
            stored = await self._tables.get(RESOURCES, resource)
            if stored is None:
                return None
            mailbox = str(stored.values["mailbox"])
            self._resources[resource] = (MailboxId(mailbox) if mailbox else None, time_of(stored.values["expires"]))
        mailbox_id, expires = self._resources[resource]
        if expires <= now:
            del self._resources[resource]
            return None
        return mailbox_id

    async def mailbox_of_booking(self, booking: BookingId) -> MailboxId | None:
        """The mailbox that holds the booking's event."""
        claim = await self.claim(booking)
        return claim.mailbox if claim is not None and claim.is_live else None

    def _unique(self) -> str:
        return f"{self._random.getrandbits(64):016x}"


def _index_rows(commit: Commit) -> list[Operation]:
    """Whose the events of the saved links are; those of removed ones are known to have been ours."""
    at = commit.entry.at if commit.entry is not None else None
    rows = {link.event: known_values(link, gone_at=at) for link in commit.remove}
    rows |= {link.event: known_values(link) for link in commit.save}
    return [Put(event_key(event), values) for event, values in rows.items() if event is not None]

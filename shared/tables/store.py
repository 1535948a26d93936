"""What the rows mean. Implements the port `shared.sync.ports.Store` and the inbox of `shared.intake` over `Tables`.

| partition | row | what |
| --- | --- | --- |
| shard (`03`, `unrouted`) | `lease` | who works on the shard, until when, and whether somebody asked for another look |
| | `mark:{due}:{id}` | a mark, oldest due first |
| | `link:{booking}:{generation}` | a link; an intent while it has no event |
| | `journal:{month}:{booking}:{time}:{id}` | what was done and why; a month is dropped whole |
| | `dead:{booking}:{time}:{id}` | the same entry once more, when an administrator has to look |
| `claim-{0..f}` | booking | the claim or, once retired, the tombstone |
| `resources` | resource | where the bookings of a resource go, with an expiry |

Everything that one reconciliation changes in its shard goes into one transaction; that is why marks, links and journal
share a partition.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from random import Random

from shared.errors import PreconditionError
from shared.sync.model import (
    Base,
    BookingId,
    Cause,
    Claim,
    EventId,
    Field,
    Fingerprint,
    Link,
    MailboxId,
    Mark,
    Resource,
    ResourceId,
    Shard,
)
from shared.sync.plan import Outcome
from shared.sync.ports import Commit, JournalEntry, Lease
from shared.tables.tables import (
    MOST_OPERATIONS,
    Delete,
    Insert,
    Operation,
    Put,
    Replace,
    Stored,
    Tables,
    Value,
    write_as_read,
)

LEASE_TIME = timedelta(seconds=40)
"""Longer than a drain's slice; a worker that dies or freezes is followed by another after this time."""
RESOURCE_LIFE = timedelta(hours=12)
"""How long it is remembered where a resource's bookings go."""
_AFTER = "\x7e"
"""Sorts behind every character used in keys, so `prefix + _AFTER` ends the range of a prefix."""
_NEEDS_A_LOOK = frozenset({Outcome.DEAD_LETTER, Outcome.PARKED})


class TableStore:
    """The app's rows."""

    def __init__(self, tables: Tables, random: Random) -> None:
        """`random` makes row keys unique."""
        self._tables = tables
        self._random = random
        self._resources: dict[ResourceId, tuple[MailboxId | None, datetime]] = {}

    # Leases.

    async def acquire(self, shard: Shard, holder: str, now: datetime) -> Lease | None:
        """The lease, or `None` when another holder has it: then he is told to look again before he stops."""
        until = now + LEASE_TIME
        values: dict[str, Value] = {"holder": holder, "until": _text(until), "again": False}
        stored = await self._tables.get(shard, "lease")
        try:
            if stored is None:
                [etag] = await self._tables.transact(shard, [Insert("lease", values)])
            elif _time(stored.values["until"]) <= now:
                [etag] = await self._tables.transact(shard, [Replace("lease", values, stored.etag)])
            else:
                asked = Replace("lease", {**stored.values, "again": True}, stored.etag)
                if not stored.values["again"]:
                    await self._tables.transact(shard, [asked])
                return None
        except PreconditionError:
            return await self.acquire(shard, holder, now)
        return Lease(shard=shard, holder=holder, until=until, row=etag)

    async def release(self, lease: Lease) -> bool:
        """Give the lease back; true when somebody asked for another look, or took the lease over."""
        try:
            await self._tables.transact(lease.shard, [Delete("lease", lease.row)])
        except PreconditionError:
            stored = await self._tables.get(lease.shard, "lease")
            is_mine = stored is not None and stored.values["until"] == _text(lease.until)
            if stored is not None and is_mine and stored.values["holder"] == lease.holder:
                with suppress(PreconditionError):
                    await self._tables.transact(lease.shard, [Delete("lease", stored.etag)])
            return True
        return False

    # Marks.

    async def due_marks(self, shard: Shard, now: datetime, limit: int) -> Sequence[Mark]:
        """The oldest marks that are due."""
        rows = await self._tables.query(shard, "mark:", f"mark:{_text(now)}{_AFTER}", limit)
        return [_mark(row) for row in rows]

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
        return Insert(f"mark:{_text(mark.due_at)}:{self._unique()}", _mark_values(mark))

    # Links and claims.

    async def links(self, shard: Shard, booking: BookingId) -> tuple[Link, ...]:
        """The links of one booking in this shard, oldest generation first."""
        rows = await self._tables.query(shard, f"link:{booking}:", f"link:{booking}:{_AFTER}")
        return tuple(_link(row) for row in rows)

    async def save_intent(self, shard: Shard, link: Link) -> Link:
        """Add the link of an event about to be created."""
        [etag] = await self._tables.transact(shard, [Insert(_link_key(link), _link_values(link))])
        return _link(Stored(_link_key(link), _link_values(link), etag))

    async def claim(self, booking: BookingId) -> Claim | None:
        """The booking's claim."""
        stored = await self._tables.get(_claim_partition(booking), booking)
        return None if stored is None else _claim(stored)

    async def save_claim(self, claim: Claim) -> Claim:
        """Write the claim if its row is as it was read, or still absent."""
        values = _claim_values(claim)
        write = write_as_read(claim.booking, values, claim.row)
        [etag] = await self._tables.transact(_claim_partition(claim.booking), [write])
        return _claim(Stored(claim.booking, values, etag))

    # What a reconciliation leaves.

    async def commit(self, shard: Shard, commit: Commit) -> None:
        """Everything of `commit`, or nothing.

        Only a booking with more marks than a transaction holds takes several: plain hints go first, so that a crash in
        between leaves behind what has to be done, and above all every proof of a deletion (R3).
        """
        operations = [write_as_read(_link_key(link), _link_values(link), link.row) for link in commit.save]
        operations += [Delete(_link_key(link), link.row) for link in commit.remove]
        operations += [self._new_mark(mark) for mark in commit.deferred]
        operations += self._entry_rows(commit.entry) if commit.entry is not None else []
        hints_last = sorted(commit.settled, key=lambda mark: mark.cause in (Cause.CREATED, Cause.UPDATED))
        settled: list[Operation] = [Delete(mark.key) for mark in hints_last]
        room = MOST_OPERATIONS - len(operations)
        for first in range(room, len(settled), MOST_OPERATIONS):
            await self._tables.transact(shard, settled[first : first + MOST_OPERATIONS])
        await self._tables.transact(shard, operations + settled[:room])

    def _entry_rows(self, entry: JournalEntry) -> list[Operation]:
        values = _entry_values(entry)
        tail = f"{entry.booking}:{_text(entry.at)}:{self._unique()}"
        rows: list[Operation] = [Insert(f"journal:{entry.at:%Y-%m}:{tail}", values)]
        if entry.outcome in _NEEDS_A_LOOK:
            rows.append(Insert(f"dead:{tail}", values))
        return rows

    # Routing.

    async def remember_resource(self, resource: Resource, now: datetime) -> None:
        """Keep where the resource's bookings go; writes only what is new or about to expire."""
        known, expires = self._resources.get(resource.id, (None, now))
        if known == resource.mailbox and expires - now > RESOURCE_LIFE / 2:
            return
        expires = now + RESOURCE_LIFE
        values: dict[str, Value] = {"mailbox": resource.mailbox or "", "expires": _text(expires)}
        await self._tables.transact("resources", [Put(resource.id, values)])
        self._resources[resource.id] = (resource.mailbox, expires)

    async def mailbox_of_resource(self, resource: ResourceId, now: datetime) -> MailboxId | None:
        """Where the resource's bookings go, as far as it was seen; `None` when it is not known."""
        if resource not in self._resources:
            stored = await self._tables.get("resources", resource)
            if stored is None:
                return None
            mailbox = str(stored.values["mailbox"])
            self._resources[resource] = (MailboxId(mailbox) if mailbox else None, _time(stored.values["expires"]))
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


# Rows to values and back. Times are text that sorts; numbers above 32 bits are text.


def _text(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y%m%dT%H%M%S.%f}"


def _time(value: Value) -> datetime:
    return datetime.strptime(str(value), "%Y%m%dT%H%M%S.%f").replace(tzinfo=UTC)


def _optional_time(value: Value | None) -> datetime | None:
    return _time(value) if value else None


def _without_nothing(values: Mapping[str, Value | None]) -> dict[str, Value]:
    return {name: value for name, value in values.items() if value is not None}


def _mark_values(mark: Mark) -> dict[str, Value]:
    return _without_nothing(
        {
            "booking": mark.booking,
            "cause": mark.cause.value,
            "accepted": _text(mark.accepted_at),
            "due": _text(mark.due_at),
            "posts": mark.posts,
            "attempts": mark.attempts,
            "version": None if mark.version is None else str(mark.version),
            "generation": mark.generation,
            "correlation": mark.correlation,
        }
    )


def _mark(stored: Stored) -> Mark:
    values = stored.values
    return Mark(
        booking=BookingId(str(values["booking"])),
        cause=Cause(str(values["cause"])),
        accepted_at=_time(values["accepted"]),
        due_at=_time(values["due"]),
        posts=int(values["posts"]),
        attempts=int(values["attempts"]),
        version=int(values["version"]) if "version" in values else None,
        generation=int(values["generation"]),
        correlation=str(values["correlation"]),
        key=stored.row,
    )


def _link_key(link: Link) -> str:
    return f"link:{link.booking}:{link.generation:06d}"


def _link_values(link: Link) -> dict[str, Value]:
    return _without_nothing(
        {
            "booking": link.booking,
            "generation": link.generation,
            "mailbox": link.mailbox,
            "written": _text(link.written_at),
            "noted_by": link.noted_by,
            "event": link.event,
            "etag": link.etag,
            "version": str(link.version),
            "base": None if link.base is None else json.dumps([dict(link.base.booking), dict(link.base.event)]),
            "start": None if link.start is None else _text(link.start),
            "end": None if link.end is None else _text(link.end),
            "predecessor": link.predecessor,
        }
    )


def _link(stored: Stored) -> Link:
    values = stored.values
    return Link(
        booking=BookingId(str(values["booking"])),
        generation=int(values["generation"]),
        mailbox=MailboxId(str(values["mailbox"])),
        written_at=_time(values["written"]),
        noted_by=str(values["noted_by"]),
        event=EventId(str(values["event"])) if "event" in values else None,
        etag=str(values["etag"]),
        version=int(values["version"]),
        base=_base(str(values["base"])) if "base" in values else None,
        start=_optional_time(values.get("start")),
        end=_optional_time(values.get("end")),
        predecessor=MailboxId(str(values["predecessor"])) if "predecessor" in values else None,
        row=stored.etag,
    )


def _base(text: str) -> Base:
    booking, event = json.loads(text)
    return Base(booking=_fingerprints(booking), event=_fingerprints(event))


def _fingerprints(values: Mapping[str, str]) -> dict[Field, Fingerprint]:
    return {Field(name): Fingerprint(value) for name, value in values.items()}


def _claim_partition(booking: BookingId) -> str:
    return f"claim-{booking[0]}"


def _claim_values(claim: Claim) -> dict[str, Value]:
    return _without_nothing(
        {
            "generation": claim.generation,
            "mailbox": claim.mailbox,
            "claimed": _text(claim.claimed_at),
            "retired": None if claim.retired_at is None else _text(claim.retired_at),
        }
    )


def _claim(stored: Stored) -> Claim:
    values = stored.values
    return Claim(
        booking=BookingId(stored.row),
        generation=int(values["generation"]),
        mailbox=MailboxId(str(values["mailbox"])),
        claimed_at=_time(values["claimed"]),
        retired_at=_optional_time(values.get("retired")),
        row=stored.etag,
    )


def _entry_values(entry: JournalEntry) -> dict[str, Value]:
    return {
        "booking": entry.booking,
        "at": _text(entry.at),
        "reason": entry.reason.value,
        "outcome": entry.outcome.value,
        "posts": entry.posts,
        "attempts": entry.attempts,
        "actions": ",".join(entry.actions),
        "fields": ",".join(entry.fields),
        "generation": entry.generation,
        "version": str(entry.version),
        "correlation": entry.correlation,
        "detail": entry.detail,
    }

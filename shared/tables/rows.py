"""Rows as values and back. Times are text that sorts, in UTC; numbers above 32 bits are text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

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
    Told,
)
from shared.sync.ports import JournalEntry, Known, Loss
from shared.tables.tables import Stored, Value

AFTER = "\x7e"
"""Sorts behind every character used in keys, so `prefix + AFTER` ends the range of a prefix."""


def text_of_time(time: datetime) -> str:
    """A time as text that sorts."""
    return f"{time.astimezone(UTC):%Y%m%dT%H%M%S.%f}"


def time_of(value: Value) -> datetime:
    """And back."""
    return datetime.strptime(str(value), "%Y%m%dT%H%M%S.%f").replace(tzinfo=UTC)


def _optional_time(value: Value | None) -> datetime | None:
    return time_of(value) if value else None


def _without_nothing(values: Mapping[str, Value | None]) -> dict[str, Value]:
    return {name: value for name, value in values.items() if value is not None}


def mark_values(mark: Mark) -> dict[str, Value]:
    """A mark; its key says only when it is due."""
    return _without_nothing(
        {
            "booking": mark.booking,
            "cause": mark.cause.value,
            "accepted": text_of_time(mark.accepted_at),
            "due": text_of_time(mark.due_at),
            "posts": mark.posts,
            "attempts": mark.attempts,
            "version": None if mark.version is None else str(mark.version),
            "generation": mark.generation,
            "mailbox": mark.mailbox,
            "event": mark.event,
            "etag": mark.etag or None,
            "told": None if mark.told is None else _told_text(mark.told),
            "correlation": mark.correlation,
            "field": None if mark.field is None else mark.field.value,
            "text": mark.text or None,
            "approved": True if mark.is_approved else None,
        }
    )


def mark_of(stored: Stored) -> Mark:
    """And back."""
    values = stored.values
    return Mark(
        booking=BookingId(str(values["booking"])),
        cause=Cause(str(values["cause"])),
        accepted_at=time_of(values["accepted"]),
        due_at=time_of(values["due"]),
        posts=int(values["posts"]),
        attempts=int(values["attempts"]),
        version=int(values["version"]) if "version" in values else None,
        generation=int(values["generation"]),
        mailbox=MailboxId(str(values["mailbox"])) if "mailbox" in values else None,
        event=EventId(str(values["event"])) if "event" in values else None,
        etag=str(values.get("etag", "")),
        told=_told(str(values["told"])) if "told" in values else None,
        correlation=str(values["correlation"]),
        field=Field(str(values["field"])) if "field" in values else None,
        text=str(values.get("text", "")),
        is_approved=bool(values.get("approved")),
        key=stored.row,
    )


def _told_text(told: Told) -> str:
    times = (told.modified_at, told.start, told.end)
    return json.dumps([told.etag, *map(text_of_time, times), dict(told.prints)])


def _told(text: str) -> Told:
    etag, modified_at, start, end, prints = json.loads(text)
    return Told(
        etag=etag,
        modified_at=time_of(modified_at),
        start=time_of(start),
        end=time_of(end),
        prints=_fingerprints(prints),
    )


def link_key(link: Link) -> str:
    """The row of a link: all of a booking stand together, oldest generation first."""
    return f"link:{link.booking}:{link.generation:06d}"


def link_values(link: Link) -> dict[str, Value]:
    """A link; an intent while it has no event."""
    return _without_nothing(
        {
            "booking": link.booking,
            "generation": link.generation,
            "mailbox": link.mailbox,
            "written": text_of_time(link.written_at),
            "noted_by": link.noted_by,
            "event": link.event,
            "etag": link.etag,
            "etags": " ".join(link.etags) or None,
            "meeting": True if link.is_meeting else None,
            "read": None if link.read_at is None else text_of_time(link.read_at),
            "modified": None if link.modified_at is None else text_of_time(link.modified_at),
            "preview": link.preview,
            "version": str(link.version),
            "base": None if link.base is None else json.dumps([dict(link.base.booking), dict(link.base.event)]),
            "start": None if link.start is None else text_of_time(link.start),
            "end": None if link.end is None else text_of_time(link.end),
            "predecessor": link.predecessor,
        }
    )


def link_of(stored: Stored) -> Link:
    """And back."""
    values = stored.values
    return Link(
        booking=BookingId(str(values["booking"])),
        generation=int(values["generation"]),
        mailbox=MailboxId(str(values["mailbox"])),
        written_at=time_of(values["written"]),
        noted_by=str(values["noted_by"]),
        event=EventId(str(values["event"])) if "event" in values else None,
        etag=str(values["etag"]),
        etags=tuple(str(values.get("etags", "")).split()),
        is_meeting=bool(values.get("meeting")),
        read_at=_optional_time(values.get("read")),
        modified_at=_optional_time(values.get("modified")),
        preview=Fingerprint(str(values["preview"])) if "preview" in values else None,
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


def event_key(event: EventId) -> str:
    """The row that says which booking an event of ours belongs to."""
    return f"event:{event}"


def known_values(link: Link, *, gone_at: datetime | None = None) -> dict[str, Value]:
    """What has to be known of an event before its link is read; for a while also after it was removed."""
    return _without_nothing(
        {
            "booking": link.booking,
            "etags": " ".join((link.etag, *link.etags)).strip(),
            "read": None if link.read_at is None else text_of_time(link.read_at),
            "gone": None if gone_at is None else text_of_time(gone_at),
        }
    )


def known_of(stored: Stored) -> Known:
    """And back."""
    values = stored.values
    return Known(
        booking=BookingId(str(values["booking"])),
        etags=frozenset(str(values["etags"]).split()),
        read_at=_optional_time(values.get("read")),
        gone_at=_optional_time(values.get("gone")),
    )


CLAIM_PARTITIONS = tuple(f"claim-{digit:x}" for digit in range(16))


def claim_partition(booking: BookingId) -> str:
    """Claims are spread over sixteen partitions by the first digit of the booking."""
    return f"claim-{booking[0]}"


def claim_values(claim: Claim) -> dict[str, Value]:
    """A claim, or the tombstone that it became."""
    return _without_nothing(
        {
            "generation": claim.generation,
            "mailbox": claim.mailbox,
            "claimed": text_of_time(claim.claimed_at),
            "retired": None if claim.retired_at is None else text_of_time(claim.retired_at),
        }
    )


def claim_of(stored: Stored) -> Claim:
    """And back."""
    values = stored.values
    return Claim(
        booking=BookingId(stored.row),
        generation=int(values["generation"]),
        mailbox=MailboxId(str(values["mailbox"])),
        claimed_at=time_of(values["claimed"]),
        retired_at=_optional_time(values.get("retired")),
        row=stored.etag,
    )


LONGEST_LOSS = 10_000
"""Characters of one value that lost a conflict; a longer one is not kept, for a row has no room for it."""


def _lost_text(lost: Mapping[Field, str]) -> str:
    kept = {one: text for one, text in lost.items() if len(text) <= LONGEST_LOSS}
    return json.dumps(kept, ensure_ascii=False) if kept else ""


def loss_of(stored: Stored) -> Loss | None:
    """What an entry of the journal tells of values that lost; `None` when none did."""
    values = stored.values
    if not values.get("lost"):
        return None
    lost = {Field(name): str(text) for name, text in json.loads(str(values["lost"])).items()}
    return Loss(at=time_of(values["at"]), reason=str(values["reason"]), lost=lost)


def entry_values(entry: JournalEntry) -> dict[str, Value]:
    """What was done and why."""
    return {
        "booking": entry.booking,
        "at": text_of_time(entry.at),
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
        "lost": _lost_text(entry.lost),
    }

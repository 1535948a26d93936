"""Whether a booking, its event and what is stored about them agree: the comparison of the sweep. Pure.

`DIFFERENCES` is the whole truth, the first fitting row wins. What a booking should have is asked of the same `Facts`
that the engine decides on; what is there was read from both sides, whatever the base remembers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import cached_property

from shared.sync.facts import Facts, Snapshot
from shared.sync.merge import Edit, Verdict
from shared.sync.model import Event, Field, Link, MailboxId
from shared.sync.translate import Policy

_PLAIN = frozenset({Field.TIME, Field.SHOW_AS})
"""Fields that no service rewrites: they are compared as they are, and not by what both sides last agreed on."""


class Drift(StrEnum):
    """How a pair differs; the first ones are found by comparing, the last two instead of it."""

    BOOKING_GONE = "booking_gone"
    TWO_EVENTS = "two_events"
    NOT_WANTED = "not_wanted"
    WRONG_CALENDAR = "wrong_calendar"
    NO_LINK = "no_link"
    NO_SUCH_EVENT = "no_such_event"
    NO_EVENT = "no_event"
    CLAIM = "claim"
    FIELDS = "fields"
    UNREADABLE = "unreadable"
    NOT_SEARCHED = "not_searched"


@dataclass(frozen=True, slots=True)
class Difference:
    """One finding; `fields` names what differs, never how."""

    drift: Drift
    fields: tuple[Field, ...] = ()


class Pair:
    """One booking and one mailbox: what is there, and what should be.

    Of the snapshot, `links` are those of this mailbox, `found` are all live events there with the booking's marker, and
    the booking was read.
    """

    def __init__(self, seen: Snapshot, mailbox: MailboxId, policy: Policy) -> None:
        """Take what was read."""
        self.seen = seen
        self.mailbox = mailbox
        self.policy = policy

    @property
    def events(self) -> tuple[Event, ...]:
        """What stands in the calendar."""
        return self.seen.found

    @cached_property
    def link(self) -> Link | None:
        """The link of the event, if there is one of each."""
        known = {event.id for event in self.events}
        return next((link for link in self.seen.links if link.event in known), None)

    @cached_property
    def facts(self) -> Facts:
        """The pair as the engine would see it after reading both sides."""
        event = next((event for event in self.events if self.link is not None and event.id == self.link.event), None)
        return Facts(replace(self.seen, event=event), self.policy)

    @property
    def versions(self) -> tuple[object, ...]:
        """What changes whenever anything of the pair does."""
        row, claim = self.seen.booking, self.seen.claim
        of_table = (*(link.row for link in self.seen.links), claim.row if claim is not None else "")
        return (row.version if row is not None else 0, *(event.etag for event in self.events), *of_table)

    @property
    def is_here(self) -> bool:
        """Whether the booking's resource has this mailbox."""
        return self.seen.booking is not None and self.seen.booking.resource.mailbox == self.mailbox

    @property
    def may_have_an_event(self) -> bool:
        """Whether the booking may have an event at all, whenever it is."""
        facts = self.facts
        if facts.has_no_mailbox or facts.is_filtered_out:
            return False
        return not facts.is_canceled or (self.policy.keeps_canceled and self.is_here)

    @property
    def should_have_an_event(self) -> bool:
        """Whether an event of the booking has to stand in this calendar."""
        if not self.is_here or self.facts.is_canceled or not self.may_have_an_event:
            return False
        return self.policy.is_in_window(self.facts.booking, self.seen.now)

    @property
    def is_pair(self) -> bool:
        """Whether there is anything to compare."""
        return bool(self.events or self.seen.links) or self.should_have_an_event

    @property
    def has_idle_link(self) -> bool:
        """Whether a link names no event that stands here; an intent does as long as nobody has fulfilled it."""
        known = {event.id for event in self.events}
        return any(link.event not in known for link in self.seen.links)

    @property
    def is_claimed(self) -> bool:
        """Whether the claim promises the very event that is linked."""
        claim = self.seen.claim
        return self.link is not None and claim is not None and claim.stands_on(self.link)

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """The fields in which the event is not as it has to be."""
        event = self.facts.seen.event
        if event is None:
            return ()
        differ = {one for one, verdict in self.facts.verdicts.items() if verdict is not Verdict.KEEP}
        wants, shows = self.facts.content.fingerprints(), event.content.fingerprints()
        plain = {one for one in _PLAIN if wants[one] != shows[one]}
        allowed = {one for one in _PLAIN if self.facts.rules.edits[one] is Edit.KEEP}
        allowed |= {Field.SHOW_AS} if self.facts.is_meeting else set()
        differ |= plain - allowed
        if event.unsuitable:
            differ.add(Field.TIME)
        return tuple(one for one in Field if one in differ)


@dataclass(frozen=True, slots=True)
class Row:
    """One way to differ: what it is called, in words, and when it `applies`."""

    drift: Drift
    meaning: str
    applies: Callable[[Pair], bool]


DIFFERENCES: tuple[Row, ...] = (
    Row(
        Drift.BOOKING_GONE,
        "event without booking: the row is gone, and nothing proves that it was deleted",
        lambda pair: bool(pair.events) and pair.seen.booking is None,
    ),
    Row(
        Drift.TWO_EVENTS,
        "two events of one booking in one calendar",
        lambda pair: len(pair.events) > 1,
    ),
    Row(
        Drift.NOT_WANTED,
        "event of a booking that should have none: canceled, filtered out, or its resource has no mailbox",
        lambda pair: bool(pair.events) and not pair.may_have_an_event,
    ),
    Row(
        Drift.WRONG_CALENDAR,
        "event in a wrong calendar: the booking's resource has another mailbox",
        lambda pair: bool(pair.events) and not pair.is_here,
    ),
    Row(
        Drift.NO_LINK,
        "event without link",
        lambda pair: bool(pair.events) and pair.link is None,
    ),
    Row(
        Drift.NO_SUCH_EVENT,
        "link to an event that is not there",
        lambda pair: pair.has_idle_link,
    ),
    Row(
        Drift.NO_EVENT,
        "booking without event",
        lambda pair: not pair.events and pair.should_have_an_event,
    ),
    Row(
        Drift.CLAIM,
        "claim and link disagree",
        lambda pair: bool(pair.events) and not pair.is_claimed,
    ),
    Row(
        Drift.FIELDS,
        "fields differ",
        lambda pair: bool(pair.fields),
    ),
)
"""The comparison; a pair that fits no row agrees."""

WORDS = {row.drift: row.meaning for row in DIFFERENCES} | {
    Drift.UNREADABLE: "the booking cannot be read or shown",
    Drift.NOT_SEARCHED: "the mailbox cannot be searched",
}
"""Every finding in words."""


def compare(pair: Pair) -> Difference | None:
    """How the pair differs; `None` when it agrees. Raises `RefusedError` when a template fails on the booking."""
    for row in DIFFERENCES:
        if row.applies(pair):
            return Difference(row.drift, pair.fields if row.drift is Drift.FIELDS else ())
    return None


def touches(start: datetime | None, end: datetime | None, policy: Policy, now: datetime) -> bool:
    """Whether any part of that time lies in the policy window; an unknown one may."""
    if start is None or end is None:
        return True
    return end >= now - policy.past and start <= now + policy.future

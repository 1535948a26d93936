"""Arithmetic of marks: fold many hints about one booking into few, and decide when to try again. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import groupby
from random import Random

from shared.sync.model import OF_EVENTS, BookingId, Cause, Field, Mark, Told

FIRST_DELAY = timedelta(seconds=2)
LONGEST_DELAY = timedelta(minutes=15)
MOST_ATTEMPTS = 110
"""With full jitter on the delays above: about half a day on average before a change becomes a dead letter."""


def by_booking(marks: Iterable[Mark]) -> dict[BookingId, tuple[Mark, ...]]:
    """The marks of each booking, oldest booking first."""
    grouped: dict[BookingId, list[Mark]] = {}
    for mark in marks:
        grouped.setdefault(mark.booking, []).append(mark)
    return {booking: tuple(group) for booking, group in grouped.items()}


def coalesce(marks: Iterable[Mark]) -> tuple[Mark, ...]:
    """At most one mark for each cause, and each event or field, saying as much as all of `marks` together."""

    def about(mark: Mark) -> tuple[str, str]:
        return mark.cause, mark.event or mark.field or ""

    return tuple(_fold(tuple(group)) for _, group in groupby(sorted(marks, key=about), key=about))


def _fold(marks: tuple[Mark, ...]) -> Mark:
    versions = [mark.version for mark in marks]
    etags = {mark.etag for mark in marks}
    return replace(
        marks[0],
        accepted_at=min(mark.accepted_at for mark in marks),
        due_at=max(mark.due_at for mark in marks),
        posts=sum(mark.posts for mark in marks),
        attempts=max(mark.attempts for mark in marks),
        version=None if None in versions else max(version for version in versions if version is not None),
        generation=max(mark.generation for mark in marks),
        etag=etags.pop() if len(etags) == 1 else "",
        told=newest_told(mark.told for mark in marks),
        text=max(marks, key=lambda mark: mark.accepted_at).text,
        is_approved=any(mark.is_approved for mark in marks),
        key="",
    )


def newest_told(told: Iterable[Told | None]) -> Told | None:
    """What the newest hint brought along; nothing as soon as one brought nothing, for that may be the newest."""
    newest: Told | None = None
    for one in told:
        if one is None:
            return None
        if newest is None or newest.modified_at < one.modified_at:
            newest = one
    return newest


def put_off(
    marks: Iterable[Mark], now: datetime, random: Random, at_least: timedelta | None = None
) -> tuple[Mark, ...]:
    """The same marks, later: exponential back-off with full jitter, never before the service's own wish."""

    def later(mark: Mark) -> Mark:
        longest = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(mark.attempts, 16))
        delay = max(longest * random.random(), at_least or timedelta())
        return replace(mark, due_at=now + delay, attempts=mark.attempts + 1)

    return tuple(later(mark) for mark in coalesce(marks))


def passed_on(marks: Iterable[Mark]) -> tuple[Mark, ...]:
    """The marks for another shard. What they say of an event stays behind: that is in a mailbox of this one.

    The posts end here, with the outcome "forwarded": a copy that came twice must not count them twice.
    """
    about_booking = [mark for mark in marks if mark.cause not in OF_EVENTS]
    if about_booking:
        return coalesce(replace(mark, posts=0) for mark in about_booking)
    return tuple(look_again(mark.booking, mark.accepted_at, mark.due_at) for mark in coalesce(marks)[:1])


def hand_over(booking: BookingId, generation: int, now: datetime) -> Mark:
    """The order to give up every generation of `booking` before `generation` (R10)."""
    return Mark(booking=booking, cause=Cause.HANDED_OVER, generation=generation, accepted_at=now, due_at=now, posts=0)


def look_again(booking: BookingId, now: datetime, due_at: datetime) -> Mark:
    """A hint of our own that `booking` has to be compared once more, at `due_at`; no post stands behind it."""
    return Mark(booking=booking, cause=Cause.UPDATED, accepted_at=now, due_at=due_at, posts=0)


def put_in_force(booking: BookingId, field: Field, text: str, now: datetime) -> Mark:
    """An administrator's word that `text`, which had lost a conflict, is what `field` has to be (R6)."""
    return replace(look_again(booking, now, now), cause=Cause.RESTORED, field=field, text=text)

"""Booking to calendar content. Pure: the texts come from renderers that the policy brings along."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from shared.sync.merge import Rules
from shared.sync.model import Booking, Content, ShowAs, Status, StatusKind

MOST_SUBJECT = 255
"""Characters of an event's subject (Exchange)."""


def _everything(_: Booking) -> bool:
    return True


def _nothing(_: Booking) -> bool:
    return False


class Deleted(StrEnum):
    """What follows when people delete the event of a booking that nobody has changed."""

    CANCEL = "cancel"
    RESTORE = "restore"
    PARK = "park"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the administrator decided, as values and pure functions.

    `show_as` and `categories` are asked by a status' id, then its detail (`in_progress`), then its kind (`committed`).
    `is_wanted` is the filter. The window reaches from `past` before to `future` after the present; it decides what gets
    an event, never what loses one. `keeps_canceled`: a canceled booking keeps the event that it has, and
    `canceled_prefix` then stands before its subject. Of a booking that `is_masked` neither its subject nor its body is
    made, let alone sent (R7). `depends_on_times`: what else an event shows, or whether there is one, may follow from
    when the booking is. `rules` say whose edits count, field by field, `on_deleted` what follows when people delete an
    event.
    """

    organization: str
    subject: Callable[[Booking], str]
    body: Callable[[Booking], str]
    show_as: Mapping[str, ShowAs]
    past: timedelta
    future: timedelta
    categories: Mapping[str, str] = field(default_factory=dict)
    is_wanted: Callable[[Booking], bool] = _everything
    keeps_canceled: bool = False
    canceled_prefix: str = ""
    is_masked: Callable[[Booking], bool] = _nothing
    masked_subject: str = ""
    depends_on_times: bool = False
    rules: Rules = field(default_factory=Rules)
    on_deleted: Deleted = Deleted.CANCEL

    def is_in_window(self, booking: Booking, now: datetime) -> bool:
        """Whether any part of the booking lies between `past` before and `future` after `now`."""
        return booking.end >= now - self.past and booking.start <= now + self.future


DEFAULT_SHOW_AS: Mapping[str, ShowAs] = {
    StatusKind.PROPOSED: ShowAs.TENTATIVE,
    StatusKind.COMMITTED: ShowAs.BUSY,
    StatusKind.CANCELED: ShowAs.FREE,
}


def translate(booking: Booking, policy: Policy) -> Content:
    """What the booking's event has to show. Raises `RefusedError` when a template or a condition fails on it."""
    is_masked = policy.is_masked(booking)
    return Content(
        start=booking.start,
        end=booking.end,
        subject=_subject(booking, policy, is_masked=is_masked),
        body="" if is_masked else policy.body(booking),
        show_as=_of_status(booking.status, policy.show_as) or DEFAULT_SHOW_AS[booking.status.kind],
        is_private=is_masked,
        category="" if is_masked else _of_status(booking.status, policy.categories) or "",
    )


def _subject(booking: Booking, policy: Policy, *, is_masked: bool) -> str:
    subject = policy.masked_subject if is_masked else policy.subject(booking)
    if booking.status.kind is StatusKind.CANCELED:
        subject = f"{policy.canceled_prefix} {subject}".strip()
    return subject[:MOST_SUBJECT]


def _of_status[T](status: Status, rules: Mapping[str, T]) -> T | None:
    """What the rule says that names the status most exactly; the detail of a canceled one counts for nothing."""
    detail = None if status.kind is StatusKind.CANCELED else status.detail
    for key in (status.id, detail, status.kind):
        if key is not None and key in rules:
            return rules[key]
    return None

"""Field-by-field comparison of a booking and its event with the base they last agreed on. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from shared.sync.model import PRIVATE, Base, Content, Field, Fingerprint


class Edit(StrEnum):
    """What becomes of a person's edit in the calendar, while the booking stays as it was."""

    ACCEPT = "accept"
    """It is written to the booking; only times can be."""
    KEEP = "keep"
    """It stays in the calendar until the booking itself changes there."""
    UNDO = "undo"
    """What the booking says is put back: Dataverse owns the field."""


class Winner(StrEnum):
    """Whose value stays when both sides changed a field since they last agreed on it (R6)."""

    DATAVERSE = "dataverse"
    OUTLOOK = "outlook"
    PARK = "park"
    """Nobody's: the pair is left as it is until people agree."""


DEFAULT_EDITS: Mapping[Field, Edit] = {
    Field.TIME: Edit.ACCEPT,
    Field.SUBJECT: Edit.UNDO,
    Field.BODY: Edit.UNDO,
    Field.SHOW_AS: Edit.UNDO,
    Field.SENSITIVITY: Edit.KEEP,
    Field.CATEGORY: Edit.UNDO,
}
DEFAULT_WINNERS: Mapping[Field, Winner] = dict.fromkeys(Field, Winner.DATAVERSE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The administrator's word on every field."""

    edits: Mapping[Field, Edit] = field(default_factory=lambda: DEFAULT_EDITS)
    winners: Mapping[Field, Winner] = field(default_factory=lambda: DEFAULT_WINNERS)


class Verdict(StrEnum):
    """What has to be done about one field."""

    WRITE_EVENT = "write_event"
    WRITE_BOOKING = "write_booking"
    OVERRULE_EVENT = "overrule_event"
    """Write the event; both sides changed, and the event's value is lost."""
    OVERRULE_BOOKING = "overrule_booking"
    """Write the booking; both sides changed, and the booking's value is lost."""
    KEEP = "keep"
    """The sides differ, and may."""
    PARK = "park"


TO_EVENT = frozenset({Verdict.WRITE_EVENT, Verdict.OVERRULE_EVENT})
TO_BOOKING = frozenset({Verdict.WRITE_BOOKING, Verdict.OVERRULE_BOOKING})


def merge(base: Base, wanted: Content, event: Content | None, rules: Rules) -> Mapping[Field, Verdict]:
    """The verdict on every field in which the sides have come to differ since they last agreed.

    `wanted` is what the booking says now. `event` is the event as read now, or `None` when it was not read: then it is
    taken to be as the base remembers it, and the etag condition of the write proves or refutes that.

    Where the base does not know the booking's side, because the table was lost, Dataverse wins (R2a). But an event that
    people made private never becomes public, unless it was the policy that hid it.
    """
    if event is None:
        return dict.fromkeys(_unseen(base, wanted), Verdict.WRITE_EVENT)
    wants, shows = wanted.fingerprints(), event.fingerprints()
    return {
        one: _verdict(one, base, wants[one], shows[one], rules)
        for one in Field
        if wants[one] != shows[one] and (wants[one], shows[one]) != (base.booking.get(one), base.event.get(one))
    }


def _verdict(one: Field, base: Base, wants: Fingerprint, shows: Fingerprint, rules: Rules) -> Verdict:
    known = base.booking.get(one)
    if one is Field.SENSITIVITY and (wants == PRIVATE or known is None):
        return Verdict.WRITE_EVENT if wants == PRIVATE else Verdict.KEEP
    if known is None:
        # Nobody knows who has changed it. Times are worth remembering, whose ever they were.
        return Verdict.OVERRULE_EVENT if one is Field.TIME else Verdict.WRITE_EVENT
    if shows == base.event.get(one):
        return Verdict.WRITE_EVENT
    match rules.edits[one]:
        case Edit.UNDO:
            return Verdict.WRITE_EVENT
        case edit if wants == known:
            return Verdict.WRITE_BOOKING if edit is Edit.ACCEPT else Verdict.KEEP
        case edit:
            return _conflict(edit, rules.winners[one])


def _conflict(edit: Edit, winner: Winner) -> Verdict:
    match winner:
        case Winner.DATAVERSE:
            return Verdict.OVERRULE_EVENT
        case Winner.OUTLOOK:
            return Verdict.OVERRULE_BOOKING if edit is Edit.ACCEPT else Verdict.KEEP
        case Winner.PARK:
            return Verdict.PARK


def _unseen(base: Base, wanted: Content) -> frozenset[Field]:
    prints = wanted.fingerprints()
    fields = frozenset(one for one in Field if prints[one] not in (base.booking.get(one), base.event.get(one)))
    was_hidden = base.booking.get(Field.SENSITIVITY) not in (None, prints[Field.SENSITIVITY])
    return fields if wanted.is_private or was_hidden else fields - {Field.SENSITIVITY}

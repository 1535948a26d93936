"""Field-by-field comparison of a booking and its event with the base they last agreed on. Pure."""

from __future__ import annotations

from shared.sync.model import Base, Content, Field


def fields_to_write(base: Base, wanted: Content, event: Content | None) -> frozenset[Field]:
    """The fields that must be written to the event for both sides to agree; empty when they do.

    `wanted` is what the booking says now. `event` is the event as read now, or `None` when it was not read: then it is
    taken to be as the base remembers it, and the etag condition of the write proves or refutes that. Dataverse owns
    every field: what a person changed in the calendar is put back once it is seen. What is equal is never written.

    One thing is left to people: an event that they made private stays so, unless it was the policy that hid it.
    """
    wanted_prints = wanted.fingerprints()
    if event is None:
        fields = frozenset(
            field for field in Field if wanted_prints[field] not in (base.booking.get(field), base.event.get(field))
        )
    else:
        event_prints = event.fingerprints()
        fields = frozenset(
            field
            for field in Field
            if wanted_prints[field] != event_prints[field]
            and not (wanted_prints[field] == base.booking.get(field) and event_prints[field] == base.event.get(field))
        )
    was_hidden = base.booking.get(Field.SENSITIVITY) not in (None, wanted_prints[Field.SENSITIVITY])
    return fields if wanted.is_private or was_hidden else fields - {Field.SENSITIVITY}

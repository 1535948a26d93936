"""A large organisation: many people with many bookings, for whoever wants to know how something fares with them."""

from __future__ import annotations

from datetime import datetime, timedelta

from sandbox.dataverse.routes import Dataverse
from sandbox.dataverse.schema import Reference, Value
from sandbox.directory import Directory, known_id
from sandbox.seed import Contoso, seed_person

MOST_MAILBOXES, MOST_BOOKINGS = 5_000, 200_000
"""What still fits into the memory of a developer's machine."""
_BOOKED_HOURS = 8
_SOLID = 1


def seed_crowd(
    contoso: Contoso, directory: Directory, dataverse: Dataverse, *, mailboxes: int, bookings: int
) -> tuple[str, ...]:
    """Add so many people to Contoso, and deal so many committed bookings out to them; gives the people's addresses.

    The bookings lie one hour apart, from eight to four, from tomorrow on. Like everything that is seeded they are there
    as if they always had been. Raises `ValueError` for numbers that make no sense.
    """
    if not 0 < mailboxes <= MOST_MAILBOXES or not 0 <= bookings <= MOST_BOOKINGS:
        raise ValueError(
            f"'mailboxes' must be from 1 to {MOST_MAILBOXES:,}, and 'bookings' from 0 to {MOST_BOOKINGS:,}"
        )
    people = [seed_person(directory, dataverse, f"Crowd-{number:04} Contoso") for number in range(1, mailboxes + 1)]
    committed = Reference("bookingstatus", contoso.statuses["Committed"])
    day = dataverse.cloud.clock.now().replace(hour=8, minute=0, second=0, microsecond=0) + timedelta(days=1)
    orders = [Reference("msdyn_workorder", order) for order in contoso.work_orders.values()]
    for number in range(bookings):
        turn, who = divmod(number, mailboxes)
        values: dict[str, Value] = {
            "name": f"Booking {number + 1}",
            "resource": Reference("bookableresource", people[who].resource_id),
            "bookingstatus": committed,
            "bookingtype": _SOLID,
            "msdyn_workorder": orders[number % len(orders)],
            **_hour(day, turn),
        }
        dataverse.load("bookableresourcebooking", known_id("booking", str(number)), values)
    return tuple(person.account.address for person in people)


def _hour(day: datetime, turn: int) -> dict[str, Value]:
    days, hours = divmod(turn, _BOOKED_HOURS)
    start = day + timedelta(days=days, hours=hours)
    return {"starttime": start, "endtime": start + timedelta(hours=1), "duration": 60}

"""Contoso's business in Microsoft Bookings: what customers can book, and who comes then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sandbox.directory import DOMAIN, known_id
from sandbox.graph.businesses import Business, Customer, Service, Staff
from sandbox.seed import Contoso

ADDRESS, NAME = f"fieldservice@{DOMAIN}", "Contoso Field Service"
STAFF = ("alice", "bob", "carol")
SERVICES = {"Boiler service": 60, "Safety check": 30}
"""By name, in minutes."""
FOUNDED = datetime(2026, 1, 1, tzinfo=UTC)
TRAVEL = timedelta(minutes=15)


def seed_bookings(contoso: Contoso, businesses: dict[str, Business]) -> None:
    """Open the business; one that is open keeps its appointments."""
    if ADDRESS in businesses:
        return
    staff = {known_id("staff", name): contoso.account(name) for name in STAFF}
    services = [
        Service(
            id=known_id("service", name),
            name=name,
            duration=timedelta(minutes=minutes),
            before=TRAVEL,
            after=TRAVEL,
            staff=tuple(staff),
        )
        for name, minutes in SERVICES.items()
    ]
    customers = [Customer(id=known_id("customer", name), name=name, created_at=FOUNDED) for name in contoso.customers]
    businesses[ADDRESS] = Business(
        address=ADDRESS,
        name=NAME,
        services={one.id: one for one in services},
        staff={key: Staff(id=key, name=account.name, address=account.address) for key, account in staff.items()},
        customers={one.id: one for one in customers},
    )

"""A secret or certificate is replaced while a burst runs and the old one ends at once: no booking fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from sandbox.directory import Application, known_id
from sandbox.entra.certificates import known_key_pair
from sandbox.simulators import Simulators
from tests.app.burst import Burst

BOOKINGS = 100


def registration(cloud: Simulators) -> Application:
    return cloud.directory.applications[known_id("application", "Booking Sync")]


def from_vault(cloud: Simulators, name: str) -> dict[str, str]:
    """The settings of an app whose registration proves itself by something in the vault."""
    return {
        "IDENTITY_CLIENT_ID": registration(cloud).client_id,
        "IDENTITY_CREDENTIAL_NAME": name,
        "KEYVAULT_URL": cloud.endpoints["keyvault"],
    }


def rotate_secret(cloud: Simulators) -> None:
    cloud.directory.register(replace(registration(cloud), secrets=("the-new-secret",)))
    cloud.keyvault.put_secret("booking-sync-secret", "the-new-secret")


def rotate_certificate(cloud: Simulators) -> None:
    pair = known_key_pair("fresh")
    cloud.directory.register(replace(registration(cloud), certificates=(pair.certificate,)))
    cloud.keyvault.put_certificate("booking-sync", pair)


ROTATIONS = pytest.mark.parametrize(
    ("name", "rotate"), [("booking-sync-secret", rotate_secret), ("booking-sync", rotate_certificate)]
)


@ROTATIONS
async def test_a_rotation_in_the_middle_of_a_burst_fails_no_booking(
    cloud: Simulators, name: str, rotate: Callable[[Simulators], None]
) -> None:
    burst = Burst(cloud, from_vault(cloud, name), BOOKINGS)

    def rotate_and_expire() -> None:
        """All tokens end in this moment, or nobody would notice the rotation before the next hour."""
        rotate(cloud)
        cloud.cloud.clock.advance(timedelta(hours=1))

    burst.midway = rotate_and_expire
    await burst.play()
    assert burst.events() == BOOKINGS
    # Creates that were under way when the clock jumped are not sent an hour late, but looked at once more.
    outcomes = burst.outcomes()
    assert (outcomes.pop("applied"), set(outcomes) <= {"unchanged"}) == (BOOKINGS, True)
    asked = burst.tokens_asked()
    assert asked.pop("login 200") in (3, 4)  # two audiences before, after it those that are still needed
    assert asked == {"login 401": 1, "identity 200": 2, "keyvault 200": 2}


async def test_a_rotation_that_reaches_the_vault_late_is_waited_for(cloud: Simulators) -> None:
    """Entra has ended the old secret, the vault does not have the new one yet: nothing is given up."""
    burst = Burst(cloud, from_vault(cloud, "booking-sync-secret"), bookings=5)
    old = registration(cloud)
    cloud.directory.register(replace(old, secrets=("the-new-secret",)))
    await burst.post()
    await burst.work()
    assert (burst.events(), burst.outcomes()) == (0, {})
    cloud.keyvault.put_secret("booking-sync-secret", "the-new-secret")
    cloud.cloud.clock.advance(timedelta(hours=1))
    await burst.finish()
    assert (burst.events(), burst.outcomes()) == (5, {"applied": 5})


async def test_a_burst_without_any_stored_secret(cloud: Simulators) -> None:
    """The managed identity itself: Entra's token endpoint and the vault are never asked."""
    burst = Burst(cloud, {}, BOOKINGS)
    await burst.play()
    assert burst.events() == BOOKINGS
    assert burst.outcomes() == {"applied": BOOKINGS}
    assert burst.tokens_asked() == {"identity 200": 2}

"""No secret, token or private key reaches a log, at any level, whoever logs."""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import batched

import pytest

from sandbox.directory import Application, known_id
from sandbox.entra.certificates import KeyPair, known_key_pair
from sandbox.simulators import Simulators
from tests.app.burst import Burst

CERTIFICATES = ("booking-sync", "fresh")
SECRETS = ("first-s3cret-value", "second-s3cret-value", "wrong-s3cret-value")


class Everything(logging.Handler):
    """All that is logged, in words, with its arguments and its tracebacks."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.text = ""
        self.loggers: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.loggers.add(record.name.partition(".")[0])
        self.text += f"{self.format(record)} {record.args} {record.__dict__}\n"


@pytest.fixture
def logged() -> Iterator[Everything]:
    """Every logger of the process at its most talkative."""
    everything, root = Everything(), logging.getLogger()
    before = {
        logger: logger.level for logger in (root, *map(logging.getLogger, ("azure", "msal", "urllib3", "shared")))
    }
    root.addHandler(everything)
    for logger in before:
        logger.setLevel(logging.DEBUG)
    yield everything
    root.removeHandler(everything)
    for logger, level in before.items():
        logger.setLevel(level)


def planted(cloud: Simulators) -> Iterator[str]:
    """Whatever must not be read anywhere, in the pieces in which it would be recognised."""
    yield from SECRETS
    yield cloud.identity.header
    for name in CERTIFICATES:
        yield from pieces(known_key_pair(name))
    # Tokens and assertions: signed texts all begin with the same letters.
    yield "eyJ"


def pieces(pair: KeyPair) -> Iterator[str]:
    """A line of the private key, and one of the PKCS #12 file."""
    yield pair.pem.splitlines()[3]
    yield "".join(next(batched(b64encode(pair.pfx).decode()[100:], 60, strict=False)))
    yield str(pair.key.private_numbers().d)


def register(cloud: Simulators, *secrets: str) -> Application:
    application = cloud.directory.applications[known_id("application", "Booking Sync")]
    return cloud.directory.register(replace(application, secrets=secrets))


@pytest.mark.parametrize(
    ("name", "in_settings"),
    [
        pytest.param("booking-sync", "", id="certificate"),
        pytest.param("booking-sync-secret", "", id="secret of the vault"),
        pytest.param("", SECRETS[0], id="secret in the settings"),
        pytest.param("", "", id="managed identity"),
    ],
)
async def test_nothing_secret_is_logged(cloud: Simulators, logged: Everything, name: str, in_settings: str) -> None:
    application = register(cloud, SECRETS[0])
    cloud.keyvault.put_secret("booking-sync-secret", SECRETS[0])
    burst = Burst(
        cloud,
        {
            "IDENTITY_CLIENT_ID": application.client_id if name or in_settings else "",
            "IDENTITY_CREDENTIAL_NAME": name,
            "IDENTITY_CLIENT_SECRET": in_settings,
            "KEYVAULT_URL": cloud.endpoints["keyvault"],
        },
        bookings=3,
    )
    await burst.play()

    # Refusals say more than successes: of the token endpoint, of the vault, of the identity.
    fresh = known_key_pair("fresh")
    register(cloud, SECRETS[1])
    cloud.keyvault.put_secret("booking-sync-secret", SECRETS[2])
    cloud.keyvault.put_certificate("booking-sync", fresh)
    cloud.identity.user.clear()
    cloud.cloud.clock.advance(timedelta(hours=25))
    cloud.cloud.faults.add({"service": "keyvault", "do": "refuse", "status": 500, "retry_after": 0.001})
    await burst.post()
    await burst.work()

    assert logged.loggers >= {"msal", "shared"} | (set() if in_settings else {"azure"})
    for secret in planted(cloud):
        assert secret not in logged.text

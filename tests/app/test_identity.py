"""Tokens against the simulated Entra ID, over real TLS: by secret, by certificate, and by the managed identity."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import jwt
import pytest

from sandbox.directory import Application, known_id
from sandbox.entra.certificates import known_key_pair
from sandbox.keyvault.routes import PEM, PKCS12
from sandbox.simulators import Simulators
from shared.azure_sdk import managed_identity
from shared.errors import CredentialError, NotSentError, UnavailableError
from shared.identity import AccessToken, CachedTokens, IdentityTokens, RegistrationTokens
from shared.secrets import GivenSecret, KeyVault, Secrets
from tests.app.burst import next_turn

GRAPH = "https://graph.microsoft.com/.default"
IDENTITY = partial(managed_identity, known_id("application", "Booking Sync Identity"))


def registration(cloud: Simulators) -> Application:
    return cloud.directory.applications[known_id("application", "Booking Sync")]


def vault(cloud: Simulators) -> KeyVault:
    keep = timedelta(hours=8)
    return KeyVault(cloud.endpoints["keyvault"], IDENTITY, clock=cloud.cloud.clock, keep=keep, ca=str(cloud.ca))


def tokens(
    cloud: Simulators, secrets: Secrets | None = None, name: str = "", authority: str | None = None
) -> CachedTokens:
    """Tokens of the registration; by its secret as it stands in the settings, if not told otherwise."""
    made = RegistrationTokens(
        authority=authority or cloud.endpoints["login"],
        tenant=cloud.directory.tenant_id,
        client_id=registration(cloud).client_id,
        secrets=secrets or GivenSecret(registration(cloud).secrets[0]),
        name=name,
        clock=cloud.cloud.clock,
    )
    return CachedTokens(made.fetch, cloud.cloud.clock)


def asked(cloud: Simulators, service: str = "login") -> list[int]:
    """The answers to the requests for tokens."""
    calls = (call for call in cloud.cloud.recorder.calls if call.service == service)
    return [call.status for call in calls if call.method == "POST" or service != "login"]


def read(cloud: Simulators) -> int:
    """How often a secret was read."""
    return sum(call.service == "keyvault" and call.status == 200 for call in cloud.cloud.recorder.calls)


def proof(token: str) -> tuple[str, str]:
    """Who has got the token, and how it proved itself (1 by secret, 2 by certificate)."""
    claims = jwt.decode(token, options={"verify_signature": False})
    return claims["app_displayname"], claims["appidacr"]


async def test_many_callers_make_one_request(cloud: Simulators) -> None:
    held = tokens(cloud)
    got = await asyncio.gather(*(held.token(GRAPH) for _ in range(50)))
    assert len(set(got)) == 1
    assert asked(cloud) == [200]


async def test_a_refused_token_is_replaced_once(cloud: Simulators) -> None:
    held = tokens(cloud)
    old = await held.token(GRAPH)
    held.discard(GRAPH, old)
    new = await held.token(GRAPH)
    held.discard(GRAPH, old)
    assert await held.token(GRAPH) == new
    assert asked(cloud) == [200, 200]


async def test_each_audience_has_its_own_token(cloud: Simulators) -> None:
    held = tokens(cloud)
    dataverse = f"{cloud.endpoints['dataverse']}/.default"
    assert await held.token(GRAPH) != await held.token(dataverse)


async def test_a_token_is_renewed_ahead_of_its_end(cloud: Simulators) -> None:
    held = tokens(cloud)
    old = await held.token(GRAPH)
    cloud.cloud.clock.advance(timedelta(minutes=45))
    async with asyncio.timeout(5):
        while await held.token(GRAPH) == old:
            await next_turn()
    assert asked(cloud) == [200, 200]


async def test_a_short_token_is_used_for_half_its_life(cloud: Simulators) -> None:
    fetched = 0

    async def fetch(_: str) -> AccessToken:
        nonlocal fetched
        fetched += 1
        return AccessToken(value=str(fetched), expires=cloud.cloud.clock.now() + timedelta(minutes=4))

    held = CachedTokens(fetch, cloud.cloud.clock)
    assert [await held.token(GRAPH) for _ in range(3)] == ["1", "1", "1"]
    cloud.cloud.clock.advance(timedelta(minutes=2))
    assert await held.token(GRAPH) == "2"


async def test_a_wrong_secret_is_named_by_its_code_and_not_quoted(cloud: Simulators) -> None:
    held = tokens(cloud, GivenSecret("wrong-secret"))
    with pytest.raises(CredentialError) as caught:
        await held.token(GRAPH)
    assert "7000215" in str(caught.value)
    assert "wrong-secret" not in str(caught.value)
    assert asked(cloud) == [401]


async def test_an_authority_that_is_down_is_transient(cloud: Simulators) -> None:
    held = tokens(cloud, authority="https://localhost:1")
    with pytest.raises(NotSentError):
        await held.token(GRAPH)


async def test_an_authority_with_trouble_is_transient(cloud: Simulators) -> None:
    cloud.cloud.faults.add({"service": "login", "method": "POST", "do": "refuse", "status": 503})
    held = tokens(cloud)
    with pytest.raises(UnavailableError):
        await held.token(GRAPH)


# From the vault.


@pytest.mark.parametrize("content_type", [PKCS12, PEM])
async def test_a_certificate_of_the_vault_is_proof(cloud: Simulators, content_type: str) -> None:
    cloud.keyvault.put_certificate("booking-sync", known_key_pair("booking-sync"), content_type=content_type)
    held = tokens(cloud, vault(cloud), "booking-sync")
    assert proof(await held.token(GRAPH)) == ("Booking Sync", "2")


async def test_issuers_beside_the_certificate_do_not_matter(cloud: Simulators) -> None:
    own, issuer = known_key_pair("booking-sync"), known_key_pair("issuer")
    end = own.pem.index("-----BEGIN CERTIFICATE")
    issuers = issuer.pem[issuer.pem.index("-----BEGIN CERTIFICATE") :]
    cloud.keyvault.put_secret("chain", own.pem[:end] + issuers + own.pem[end:], content_type=PEM)
    held = tokens(cloud, vault(cloud), "chain")
    assert proof(await held.token(GRAPH)) == ("Booking Sync", "2")


async def test_a_secret_of_the_vault_is_proof(cloud: Simulators) -> None:
    held = tokens(cloud, vault(cloud), "booking-sync-secret")
    assert proof(await held.token(GRAPH)) == ("Booking Sync", "1")


@pytest.mark.parametrize(
    ("value", "content_type", "word"),
    [
        ("bm90aGluZw==", PKCS12, "cannot be read"),
        ("-----BEGIN NOTHING-----", PEM, "cannot be read"),
    ],
)
async def test_a_broken_certificate_is_said_to_be_one(
    cloud: Simulators, value: str, content_type: str, word: str
) -> None:
    cloud.keyvault.put_secret("broken", value, content_type=content_type)
    held = tokens(cloud, vault(cloud), "broken")
    with pytest.raises(CredentialError, match=word):
        await held.token(GRAPH)


async def test_a_key_without_its_certificate_is_no_proof(cloud: Simulators) -> None:
    pem = known_key_pair("booking-sync").pem
    cloud.keyvault.put_secret("key", pem[: pem.index("-----BEGIN CERTIFICATE")], content_type=PEM)
    held = tokens(cloud, vault(cloud), "key")
    with pytest.raises(CredentialError):
        await held.token(GRAPH)


# Rotation.


def rotate_secret(cloud: Simulators) -> None:
    """A new secret; the old one ends at once."""
    application = registration(cloud)
    fresh = f"fresh-{application.secrets[0]}"
    cloud.directory.register(replace(application, secrets=(fresh,)))
    cloud.keyvault.put_secret("booking-sync-secret", fresh)


def expire_secret(cloud: Simulators) -> None:
    """A new secret; the old one has come to its end."""
    application = registration(cloud)
    old, fresh = application.secrets[0], f"fresh-{application.secrets[0]}"
    ended = {old: cloud.cloud.clock.now()}
    cloud.directory.register(replace(application, secrets=(old, fresh), ends=ended))
    cloud.keyvault.put_secret("booking-sync-secret", fresh)


def rotate_certificate(cloud: Simulators) -> None:
    """A new certificate; the old one is taken from the registration at once."""
    pair = known_key_pair("fresh")
    cloud.directory.register(replace(registration(cloud), certificates=(pair.certificate,)))
    cloud.keyvault.put_certificate("booking-sync", pair)


@pytest.mark.parametrize(
    ("name", "rotate"),
    [
        ("booking-sync-secret", rotate_secret),
        ("booking-sync-secret", expire_secret),
        ("booking-sync", rotate_certificate),
    ],
)
async def test_after_a_rotation_the_new_proof_is_read_at_once(
    cloud: Simulators, name: str, rotate: Callable[[Simulators], None]
) -> None:
    held = tokens(cloud, vault(cloud), name)
    old = await held.token(GRAPH)
    rotate(cloud)
    held.discard(GRAPH, old)
    assert len(set(await asyncio.gather(*(held.token(GRAPH) for _ in range(20))))) == 1
    assert asked(cloud) == [200, 401, 200]
    assert read(cloud) == 2


async def test_without_a_newer_secret_nothing_is_asked_twice(cloud: Simulators) -> None:
    cloud.directory.register(replace(registration(cloud), secrets=()))
    held = tokens(cloud, vault(cloud), "booking-sync-secret")
    failed = await asyncio.gather(*(held.token(GRAPH) for _ in range(20)), return_exceptions=True)
    assert {type(error) for error in failed} == {CredentialError}
    assert asked(cloud) == [401]
    assert read(cloud) == 2


async def test_a_refused_secret_is_given_up_after_the_second(cloud: Simulators) -> None:
    held = tokens(cloud, vault(cloud), "booking-sync-secret")
    held.discard(GRAPH, await held.token(GRAPH))
    cloud.keyvault.put_secret("booking-sync-secret", "of something else")
    cloud.directory.register(replace(registration(cloud), secrets=()))
    with pytest.raises(CredentialError, match="7000215"):
        await held.token(GRAPH)
    assert asked(cloud) == [200, 401, 401]
    assert read(cloud) == 2


# The managed identity itself.


async def test_the_managed_identity_needs_nothing_stored(cloud: Simulators) -> None:
    held = CachedTokens(IdentityTokens(IDENTITY).fetch, cloud.cloud.clock)
    got = await asyncio.gather(*(held.token(GRAPH) for _ in range(20)))
    assert {proof(token) for token in got} == {("Booking Sync Identity", "2")}
    assert proof(await held.token(f"{cloud.endpoints['dataverse']}/.default")) == ("Booking Sync Identity", "2")
    assert (asked(cloud), asked(cloud, "identity"), read(cloud)) == ([], [200, 200], 0)


@pytest.mark.usefixtures("cloud")
async def test_an_identity_that_is_not_assigned_is_the_operators() -> None:
    stranger = partial(managed_identity, "7a1d0000-0000-4000-8000-0000000000aa")
    with pytest.raises(CredentialError, match="the managed identity got no token for https://graph"):
        await IdentityTokens(stranger).fetch(GRAPH)


def test_no_token_shows() -> None:
    assert "t0ken" not in repr(AccessToken(value="t0ken", expires=datetime(2026, 3, 1, tzinfo=UTC)))

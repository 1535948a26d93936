"""Secrets from Key Vault, by Microsoft's client against the sandbox's vault, over real TLS."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest

from sandbox.directory import known_id
from sandbox.simulators import Simulators
from shared.azure_sdk import managed_identity
from shared.errors import CredentialError, NotSentError, ThrottledError, TransientError, UnavailableError
from shared.secrets import GivenSecret, KeyVault, Secret
from tests.app.burst import next_turn

KEEP = timedelta(hours=8)
IDENTITY = known_id("application", "Booking Sync Identity")


@pytest.fixture
def vault(cloud: Simulators) -> KeyVault:
    return vault_of(cloud)


def vault_of(cloud: Simulators, *, url: str = "", identity: str = IDENTITY) -> KeyVault:
    return KeyVault(
        url or cloud.endpoints["keyvault"],
        partial(managed_identity, identity),
        clock=cloud.cloud.clock,
        keep=KEEP,
        ca=str(cloud.ca),
    )


def read(cloud: Simulators) -> list[str]:
    """What was asked of the vault with a token, after the secret's name."""
    calls = (call for call in cloud.cloud.recorder.calls if call.service == "keyvault" and call.status != 401)
    return [call.path.removeprefix("/secrets/") for call in calls]


async def test_a_secret_is_read_once_for_all_who_wait(cloud: Simulators, vault: KeyVault) -> None:
    put = cloud.keyvault.put_secret("s", "value", content_type="text/plain")
    got = await asyncio.gather(*(vault.get("s") for _ in range(20)))
    assert set(got) == {Secret(value="value", content_type="text/plain", version=put.id)}
    assert read(cloud) == ["s/"]


async def test_a_failed_reading_is_shared_too(cloud: Simulators, vault: KeyVault) -> None:
    failed = await asyncio.gather(*(vault.get("nothing") for _ in range(20)), return_exceptions=True)
    assert {type(error) for error in failed} == {CredentialError}
    assert read(cloud) == ["nothing/"]


async def test_a_secret_is_read_again_when_its_time_is_over(cloud: Simulators, vault: KeyVault) -> None:
    cloud.keyvault.put_secret("s", "one")
    await vault.get("s")
    cloud.keyvault.put_secret("s", "two")
    assert (await vault.get("s")).value == "one"
    cloud.cloud.clock.advance(KEEP)
    async with asyncio.timeout(5):
        while (await vault.get("s")).value == "one":
            await next_turn()
    assert read(cloud) == ["s/", "s/"]


async def test_a_secret_serves_on_while_the_vault_is_down(
    cloud: Simulators, vault: KeyVault, caplog: pytest.LogCaptureFixture
) -> None:
    cloud.keyvault.put_secret("s", "one")
    await vault.get("s")
    cloud.cloud.clock.advance(KEEP)
    cloud.cloud.faults.add({"service": "keyvault", "do": "refuse", "status": 403, "times": None})
    async with asyncio.timeout(5):
        while not [record for record in caplog.records if "Key Vault did not give 's': 403" in record.message]:
            assert (await vault.get("s")).value == "one"
            await next_turn()
    assert (await vault.get("s")).value == "one"


async def test_a_discarded_secret_is_read_at_once(cloud: Simulators, vault: KeyVault) -> None:
    cloud.keyvault.put_secret("s", "one")
    old = await vault.get("s")
    cloud.keyvault.put_secret("s", "two")
    vault.discard("s", old)
    new = await vault.get("s")
    vault.discard("s", old)
    assert (await vault.get("s")) == new
    assert new.value == "two"
    assert read(cloud) == ["s/", "s/"]


@pytest.mark.parametrize(
    "latest",
    [
        pytest.param(lambda _: {"enabled": False}, id="disabled"),
        pytest.param(lambda now: {"not_before": now + 60}, id="not yet valid"),
        pytest.param(lambda now: {"expires": now - 60}, id="expired"),
    ],
)
async def test_the_newest_enabled_version_in_force_counts(
    cloud: Simulators, vault: KeyVault, latest: Callable[[int], dict[str, int | bool]]
) -> None:
    now = int(cloud.cloud.clock.now().timestamp())
    for age, value in ((30, "oldest"), (20, "older"), (10, "newest")):
        cloud.keyvault.put_secret("s", value).created = now - age
    cloud.keyvault.put_secret("s", "not now", **latest(now))
    assert (await vault.get("s")).value == "newest"


async def test_dates_alone_do_not_take_the_last_secret_away(cloud: Simulators, vault: KeyVault) -> None:
    """Whether it is still good is for the one to say who takes it."""
    cloud.keyvault.put_secret("s", "old", expires=int(cloud.cloud.clock.now().timestamp()) - 60)
    cloud.keyvault.put_secret("s", "off", enabled=False)
    assert (await vault.get("s")).value == "old"


async def test_without_any_enabled_version_it_says_so(cloud: Simulators, vault: KeyVault) -> None:
    cloud.keyvault.put_secret("s", "off", enabled=False)
    with pytest.raises(CredentialError, match="Key Vault has no enabled version of 's'"):
        await vault.get("s")


@pytest.mark.parametrize(("status", "error"), [(429, ThrottledError), (500, UnavailableError), (400, CredentialError)])
async def test_errors_are_ours(cloud: Simulators, vault: KeyVault, status: int, error: type[TransientError]) -> None:
    refusal = {"service": "keyvault", "do": "refuse", "status": status, "code": "Why", "times": None}
    cloud.cloud.faults.add(refusal if status == 400 else {**refusal, "retry_after": 0.001})
    with pytest.raises(error, match=f"Key Vault did not give 's': {status} Why"):
        await vault.get("s")
    assert len(read(cloud)) == (1 if status == 400 else 4)


async def test_an_identity_without_the_role_is_told_what_it_lacks(cloud: Simulators, vault: KeyVault) -> None:
    cloud.keyvault.roles.clear()
    with pytest.raises(CredentialError, match="403 ForbiddenByRbac") as refused:
        await vault.get("booking-sync")
    assert "grant the app's identity" in refused.value.next_step


async def test_an_identity_that_the_app_does_not_have_is_named(cloud: Simulators) -> None:
    with pytest.raises(CredentialError, match="Key Vault did not give 's': 400"):
        await vault_of(cloud, identity="7a1d0000-0000-4000-8000-0000000000aa").get("s")


async def test_a_vault_that_cannot_be_reached_is_waited_for(cloud: Simulators, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.azure_sdk.LONGEST", 0.2)  # the package repeats for some seconds
    with pytest.raises((NotSentError, UnavailableError)):
        await vault_of(cloud, url="https://localhost:1").get("s")


async def test_another_service_cannot_pose_as_the_vault(cloud: Simulators, monkeypatch: pytest.MonkeyPatch) -> None:
    """A challenge is taken only from a host below the name of the service that it wants a token for."""
    monkeypatch.setattr("shared.azure_sdk.LONGEST", 5.0)
    elsewhere = cloud.endpoints["keyvault"].replace("localhost", "127.0.0.1")
    with pytest.raises(CredentialError, match="challenge"):
        await vault_of(cloud, url=elsewhere).get("booking-sync")
    assert [call for call in cloud.cloud.recorder.calls if call.service == "identity"] == []


async def test_the_given_secret_is_always_the_same() -> None:
    given = GivenSecret("value")
    given.discard("", await given.get(""))
    assert (await given.get("")).value == "value"


def test_no_secret_shows() -> None:
    assert "s3cret" not in repr(Secret(value="s3cret"))

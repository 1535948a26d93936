"""The vault: its laws call by call, and Microsoft's own client in front of it."""

from __future__ import annotations

import json
import ssl
from base64 import b64decode
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.core.pipeline.transport import AioHttpTransport
from azure.identity.aio import ClientSecretCredential, ManagedIdentityCredential
from azure.keyvault.secrets import KeyVaultSecret
from azure.keyvault.secrets.aio import SecretClient
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12
from cryptography.x509 import load_pem_x509_certificate

from sandbox.cloud import Cloud
from sandbox.directory import Application, known_id
from sandbox.entra.certificates import known_key_pair
from sandbox.entra.routes import Entra
from sandbox.http import Request, Response
from sandbox.keyvault.routes import PEM, RESOURCE, KeyVault, Role
from sandbox.simulators import Simulators

TENANT = known_id("tenant")


class Caller:
    """Calls the vault as one application."""

    def __init__(self, cloud: Cloud, entra: Entra, audience: str = RESOURCE) -> None:
        self._cloud = cloud
        self.application = Application(client_id="app-id", object_id="object-id", name="Caller", secrets=())
        self.headers = {"Authorization": f"Bearer {entra.tokens.issue(self.application, audience)}"}

    async def __call__(self, method: str, path: str, body: Any = None, version: str = "7.5") -> Response:
        url = f"https://localhost:4444{path}{'&' if '?' in path else '?'}api-version={version}"
        content = b"" if body is None else json.dumps(body).encode()
        request = Request.of(method, url, headers=self.headers, body=content)
        return await self._cloud.serve("keyvault", request)


@pytest.fixture
def vault(cloud: Cloud, entra: Entra) -> KeyVault:
    vault = KeyVault(cloud, entra.tokens, TENANT)
    vault.authority = "https://localhost:5555"
    cloud.add(vault)
    return vault


@pytest.fixture
async def call(cloud: Cloud, entra: Entra, vault: KeyVault) -> Caller:
    caller = Caller(cloud, entra)
    vault.roles[caller.application.object_id] = Role.SECRETS_OFFICER
    return caller


def refusal(answer: Response) -> tuple[int, str, str]:
    """Status, code and inner code."""
    error = answer.json()["error"]
    return answer.status, error["code"], error.get("innererror", {}).get("code", "")


# Who may do what.


async def test_a_call_without_a_token_is_challenged(cloud: Cloud, vault: KeyVault) -> None:
    answer = await cloud.serve(vault.name, Request.of("GET", "https://localhost:4444/secrets/a?api-version=7.5"))
    assert refusal(answer) == (401, "Unauthorized", "")
    assert answer.headers["WWW-Authenticate"] == (
        f'Bearer authorization="https://localhost:5555/{TENANT}", resource="https://vault.azure.net"'
    )


async def test_a_token_for_something_else_is_challenged_too(cloud: Cloud, entra: Entra, vault: KeyVault) -> None:
    assert vault.name in cloud.services
    answer = await Caller(cloud, entra, "https://graph.microsoft.com")("GET", "/secrets/a")
    assert answer.status == 401
    assert answer.json()["error"]["message"] == (
        "AKV10022: Invalid audience. Expected https://vault.azure.net, found: https://graph.microsoft.com."
    )
    assert "WWW-Authenticate" in answer.headers


async def test_an_old_token_is_challenged(cloud: Cloud, call: Caller) -> None:
    cloud.clock.advance(timedelta(hours=1))
    assert (await call("GET", "/secrets")).json()["error"]["message"] == "Error validating token: IDX10223"


@pytest.mark.parametrize(
    ("method", "path", "body", "user_may"),
    [
        ("GET", "/secrets/a", None, True),
        ("GET", "/secrets", None, True),
        ("GET", "/secrets/a/versions", None, True),
        ("PUT", "/secrets/a", {"value": "x"}, False),
        ("PATCH", "/secrets/a", {"attributes": {"enabled": False}}, False),
        ("DELETE", "/secrets/a", None, False),
        ("POST", "/secrets/a/backup", None, False),
    ],
)
async def test_roles_decide(
    call: Caller, vault: KeyVault, method: str, path: str, body: Any, *, user_may: bool
) -> None:
    vault.put_secret("a", "x")
    vault.roles.clear()
    assert refusal(await call(method, path, body)) == (403, "Forbidden", "ForbiddenByRbac")
    vault.roles[call.application.object_id] = Role.SECRETS_USER
    assert ((await call(method, path, body)).status == 200) is user_may
    vault.roles[call.application.object_id] = Role.SECRETS_OFFICER
    assert (await call(method, path, body)).status == 200


# Versions.


async def test_the_latest_version_counts_and_older_ones_stay(call: Caller) -> None:
    first = (await call("PUT", "/secrets/My-Secret", {"value": "one"})).json()
    second = (await call("PUT", "/secrets/my-secret", {"value": "two", "contentType": "text/plain"})).json()
    assert first["id"].startswith("https://localhost:4444/secrets/My-Secret/")
    assert len(first["id"].rpartition("/")[2]) == 32
    assert first["attributes"] == {
        "enabled": True,
        "created": first["attributes"]["created"],
        "updated": first["attributes"]["created"],
        "recoveryLevel": "Recoverable+Purgeable",
        "recoverableDays": 90,
    }
    assert (await call("GET", "/secrets/MY-SECRET/")).json() == second
    assert (await call("GET", first["id"].removeprefix("https://localhost:4444"))).json() == first


async def test_a_disabled_latest_version_hides_the_older_ones(call: Caller) -> None:
    """The service does not fall back: a client that wants the newest enabled version has to look for it."""
    first = (await call("PUT", "/secrets/a", {"value": "one"})).json()
    await call("PUT", "/secrets/a", {"value": "two", "attributes": {"enabled": False}})
    assert refusal(await call("GET", "/secrets/a")) == (403, "Forbidden", "SecretDisabled")
    older = first["id"].removeprefix("https://localhost:4444")
    assert (await call("GET", older)).json()["value"] == "one"
    assert (await call("PATCH", older, {"attributes": {"enabled": False}})).status == 200
    assert refusal(await call("GET", older)) == (403, "Forbidden", "SecretDisabled")


async def test_dates_are_kept_and_do_not_stop_anybody_from_reading(call: Caller) -> None:
    await call("PUT", "/secrets/a", {"value": "x", "attributes": {"nbf": 10, "exp": 20}})
    answer = await call("GET", "/secrets/a")
    assert (answer.status, answer.json()["value"]) == (200, "x")
    assert (answer.json()["attributes"]["nbf"], answer.json()["attributes"]["exp"]) == (10, 20)


async def test_properties_change_without_a_new_version(cloud: Cloud, call: Caller) -> None:
    made = (await call("PUT", "/secrets/a", {"value": "x"})).json()
    cloud.clock.advance(timedelta(seconds=5))
    changed = (await call("PATCH", "/secrets/a", {"tags": {"for": "tests"}, "contentType": "text/plain"})).json()
    assert "value" not in changed
    assert (changed["id"], changed["tags"], changed["contentType"]) == (made["id"], {"for": "tests"}, "text/plain")
    assert changed["attributes"]["updated"] == made["attributes"]["updated"] + 5


async def test_lists_come_in_pages_without_values(call: Caller, vault: KeyVault) -> None:
    for number in range(30):
        vault.put_secret(f"s-{number:02}", f"value-{number}")
    first = (await call("GET", "/secrets")).json()
    assert len(first["value"]) == 25
    assert first["value"][0]["id"] == "https://localhost:4444/secrets/s-00"
    second = await call("GET", first["nextLink"].removeprefix("https://localhost:4444").replace("api-version=7.5&", ""))
    assert [item["id"][-4:] for item in second.json()["value"]] == [f"s-{number}" for number in range(25, 30)]
    assert second.json()["nextLink"] is None
    assert b"value-" not in second.body


async def test_versions_are_listed_by_id_not_by_age(call: Caller, vault: KeyVault) -> None:
    made = [vault.put_secret("a", str(number)).id for number in range(8)]
    assert made != sorted(made)
    listed = (await call("GET", "/secrets/a/versions")).json()["value"]
    assert [item["id"].rpartition("/")[2] for item in listed] == sorted(made)


# Certificates.


async def test_a_certificate_is_the_secret_of_its_name(call: Caller, vault: KeyVault) -> None:
    pair = known_key_pair("test")
    vault.put_certificate("cert", pair)
    found = (await call("GET", "/secrets/cert")).json()
    assert (found["contentType"], found["managed"]) == ("application/x-pkcs12", True)
    assert found["kid"].endswith("/keys/cert/" + found["id"].rpartition("/")[2])
    key, certificate, others = pkcs12.load_key_and_certificates(b64decode(found["value"]), None)
    assert key is not None
    assert (certificate, others) == (pair.certificate, [])

    vault.put_certificate("cert", pair, content_type=PEM)
    found = (await call("GET", "/secrets/cert")).json()
    assert found["contentType"] == "application/x-pem-file"
    assert load_pem_x509_certificate(found["value"].encode()) == pair.certificate
    load_pem_private_key(found["value"].encode(), None)


# Deleting.


async def test_a_deleted_secret_can_be_recovered_but_its_name_not_be_used(call: Caller) -> None:
    await call("PUT", "/secrets/a", {"value": "x"})
    deleted = (await call("DELETE", "/secrets/a")).json()
    assert deleted["recoveryId"] == "https://localhost:4444/deletedsecrets/a"
    assert deleted["scheduledPurgeDate"] - deleted["deletedDate"] == 90 * 86400
    assert "value" not in deleted
    assert refusal(await call("GET", "/secrets/a")) == (404, "SecretNotFound", "")
    assert refusal(await call("PUT", "/secrets/a", {"value": "y"})) == (
        409,
        "Conflict",
        "ObjectIsDeletedButRecoverable",
    )
    assert (await call("GET", "/deletedsecrets/a")).json() == deleted
    assert [item["recoveryId"] for item in (await call("GET", "/deletedsecrets")).json()["value"]] == [
        deleted["recoveryId"]
    ]
    await call("POST", "/deletedsecrets/a/recover")
    assert (await call("GET", "/secrets/a")).json()["value"] == "x"


async def test_a_deleted_secret_ends_by_purging_or_in_time(cloud: Cloud, call: Caller, entra: Entra) -> None:
    for name in ("a", "b"):
        await call("PUT", f"/secrets/{name}", {"value": "x"})
        await call("DELETE", f"/secrets/{name}")
    assert (await call("DELETE", "/deletedsecrets/a")).status == 204
    assert refusal(await call("GET", "/deletedsecrets/a")) == (404, "SecretNotFound", "")
    cloud.clock.advance(timedelta(days=90))
    call.headers = Caller(cloud, entra).headers
    assert refusal(await call("GET", "/deletedsecrets/b")) == (404, "SecretNotFound", "")


# What is refused.


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        pytest.param("GET", "/secrets/nothing", None, 404, "SecretNotFound", id="no such secret"),
        pytest.param("GET", "/secrets/a/0123", None, 404, "SecretNotFound", id="no such version"),
        pytest.param("GET", "/secrets/a_b", None, 400, "BadParameter", id="underscore in the name"),
        pytest.param("PUT", "/secrets/a", {}, 400, "BadParameter", id="no value"),
        pytest.param("PUT", "/secrets/a", {"value": 1}, 400, "BadParameter", id="number as value"),
        pytest.param("PUT", "/secrets/a", [], 400, "BadParameter", id="array as body"),
        pytest.param("PUT", "/secrets/a", {"value": "x" * 25601}, 400, "BadParameter", id="too large"),
        pytest.param("PATCH", "/secrets/a", {"attributes": {"enabled": 1}}, 400, "BadParameter", id="1 for true"),
        pytest.param("GET", "/secrets?maxresults=26", None, 400, "BadParameter", id="too large a page"),
        pytest.param("GET", "/secrets/a?surprise=1", None, 501, "NotImplemented", id="unknown parameter"),
        pytest.param("PUT", "/secrets/a", {"value": "x", "surprise": 1}, 501, "NotImplemented", id="unknown property"),
        pytest.param("GET", "/certificates/a", None, 501, "NotImplemented", id="certificates"),
        pytest.param("POST", "/keys/a/create", {}, 501, "NotImplemented", id="keys"),
        pytest.param(
            "GET", "/secrets/cert?outContentType=application/x-pem-file", None, 501, "NotImplemented", id="conversion"
        ),
        pytest.param(
            "PUT", "/secrets/cert", {"value": "x"}, 501, "NotImplemented", id="writing a certificate's secret"
        ),
        pytest.param("POST", "/secrets/restore", {"value": "bm9uZQ"}, 400, "BadParameter", id="no backup"),
    ],
)
async def test_what_cannot_be_is_refused(
    call: Caller, vault: KeyVault, method: str, path: str, body: Any, status: int, code: str
) -> None:
    vault.put_secret("a", "x")
    vault.put_certificate("cert", known_key_pair("test"))
    assert refusal(await call(method, path, body))[:2] == (status, code)


@pytest.mark.parametrize("version", ["", "7.7", "2026-04-02"])
async def test_the_api_version_is_checked(call: Caller, version: str) -> None:
    assert refusal(await call("GET", "/secrets", version=version)) == (400, "BadParameter", "")


# Microsoft's client.


@pytest.fixture
async def simulators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Simulators]:
    """The simulators, with the environment that Azure Functions gives to an app with a managed identity."""
    async with Simulators(tmp_path) as running:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{running.endpoints['identity']}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", running.identity.header)
        yield running


@pytest.fixture
async def client_of(simulators: Simulators) -> AsyncIterator[Callable[..., SecretClient]]:
    """Microsoft's client; as the app's identity, or with another credential."""
    async with AsyncExitStack() as stack:
        identity = ManagedIdentityCredential(client_id=known_id("application", "Booking Sync Identity"))
        await stack.enter_async_context(identity)
        made: list[SecretClient] = []

        def make(credential: Any = identity, **options: Any) -> SecretClient:
            settings = {"connection_verify": str(simulators.ca), "verify_challenge_resource": False, "retry_total": 0}
            url = options.pop("url", simulators.endpoints["keyvault"])
            made.append(SecretClient(url, credential, **{**settings, **options}))
            return made[-1]

        yield make
        for client in made:
            await client.close()


def planner(simulators: Simulators) -> ClientSecretCredential:
    application = simulators.directory.applications[known_id("application", "Planner")]
    return ClientSecretCredential(
        simulators.directory.tenant_id,
        application.client_id,
        application.secrets[0],
        authority=simulators.endpoints["login"],
        disable_instance_discovery=True,
        connection_verify=str(simulators.ca),
    )


async def test_the_apps_identity_reads_its_certificate_and_writes_nothing(
    client_of: Callable[..., SecretClient],
) -> None:
    client = client_of()
    found = await client.get_secret("booking-sync")
    assert found.properties.content_type == "application/x-pkcs12"
    assert found.value
    assert pkcs12.load_key_and_certificates(b64decode(found.value), None)[0] is not None
    with pytest.raises(HttpResponseError) as refused:
        await client.set_secret("other", "value")
    assert refused.value.status_code == HTTPStatus.FORBIDDEN


async def test_the_client_makes_its_whole_round(simulators: Simulators, client_of: Callable[..., SecretClient]) -> None:
    async with planner(simulators) as credential:
        client = client_of(credential)
        begins, ends = datetime(2026, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)
        made = await client.set_secret(
            "round", "one", content_type="text/plain", tags={"a": "b"}, not_before=begins, expires_on=ends
        )
        assert (made.properties.not_before, made.properties.expires_on) == (begins, ends)
        second = await client.set_secret("round", "two")
        assert (await client.get_secret("round")).value == "two"
        assert made.properties.version
        assert (await client.get_secret("round", made.properties.version)).value == "one"
        versions = [one.version async for one in client.list_properties_of_secret_versions("round", max_page_size=1)]
        assert set(versions) == {made.properties.version, second.properties.version}
        updated = await client.update_secret_properties("round", second.properties.version, enabled=False)
        assert updated.enabled is False
        with pytest.raises(HttpResponseError, match="disabled"):
            await client.get_secret("round")
        names = {one.name async for one in client.list_properties_of_secrets(max_page_size=1)}
        assert names == {"round", "booking-sync", "booking-sync-secret"}
        backup = await client.backup_secret("round")
        with pytest.raises(ResourceExistsError):
            await client.restore_secret_backup(backup)
        assert (await client.delete_secret("round")).deleted_date is not None
        assert [one.name async for one in client.list_deleted_secrets()] == ["round"]
        assert (await client.recover_deleted_secret("round")).name == "round"
        await client.delete_secret("round")
        await client.purge_deleted_secret("round")
        with pytest.raises(ResourceNotFoundError):
            await client.get_secret("round")
        assert (await client.restore_secret_backup(backup)).name == "round"
        restored = await client.get_secret("round", made.properties.version)
        assert isinstance(restored, KeyVaultSecret)
        assert restored.value == "one"


class ToTheSandbox(AbstractResolver):
    """Finds every host on one port of this machine."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:  # noqa: ARG002
        return [ResolveResult(hostname=host, host="127.0.0.1", port=self._port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        pass


async def test_the_challenge_stands_the_clients_own_check(
    simulators: Simulators, client_of: Callable[..., SecretClient]
) -> None:
    """The client takes a challenge only from a host below its resource; `localhost` is below nothing."""
    with pytest.raises(ValueError, match="does not match the requested domain"):
        await client_of(verify_challenge_resource=True).get_secret("booking-sync")

    trust = ssl.create_default_context(cafile=simulators.ca)
    trust.check_hostname = False  # the certificate is for localhost
    port = int(simulators.endpoints["keyvault"].rpartition(":")[2])
    async with ClientSession(connector=TCPConnector(ssl=trust, resolver=ToTheSandbox(port))) as session:
        transport = AioHttpTransport(session=session, session_owner=False)
        client = client_of(
            url="https://contoso.vault.azure.net",
            transport=transport,
            verify_challenge_resource=True,
            connection_verify=True,
        )
        assert (await client.get_secret("booking-sync-secret")).value

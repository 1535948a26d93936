"""The managed identity endpoint of the functions host."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlencode

import pytest

from sandbox.cloud import Cloud
from sandbox.directory import Application, known_id
from sandbox.entra.managed_identity import ManagedIdentity
from sandbox.entra.routes import Entra
from sandbox.http import Request, Response

VAULT = "https://vault.azure.net"
IDENTITY = Application(
    client_id=known_id("app", "identity"), object_id=known_id("object", "identity"), name="Identity", secrets=()
)
GOOD = {"api-version": "2019-08-01", "resource": VAULT, "client_id": IDENTITY.client_id}


@pytest.fixture
def endpoint(cloud: Cloud, entra: Entra) -> ManagedIdentity:
    endpoint = ManagedIdentity(cloud, entra.tokens)
    endpoint.assign(IDENTITY)
    cloud.add(endpoint)
    entra.resources[VAULT] = "keyvault"
    return endpoint


async def ask(cloud: Cloud, endpoint: ManagedIdentity, header: str | None = None, **query: str) -> Response:
    url = f"http://localhost:4444/msi/token?{urlencode({name: value for name, value in query.items() if value})}"
    headers = {"X-IDENTITY-HEADER": endpoint.header if header is None else header}
    return await cloud.serve(endpoint.name, Request.of("GET", url, headers=headers))


async def test_the_identity_gets_a_token(cloud: Cloud, entra: Entra, endpoint: ManagedIdentity) -> None:
    answer = (await ask(cloud, endpoint, **GOOD)).json()
    assert (answer["resource"], answer["token_type"], answer["client_id"]) == (VAULT, "Bearer", IDENTITY.client_id)
    assert int(answer["expires_on"]) == int((cloud.clock.now() + timedelta(hours=24)).timestamp())
    bearing = Request.of("GET", "/", headers={"Authorization": f"Bearer {answer['access_token']}"})
    assert entra.tokens.check(bearing, {VAULT}).object_id == IDENTITY.object_id
    assert [call.app for call in cloud.recorder.calls] == [IDENTITY.client_id]


async def test_an_identity_can_be_named_by_its_object_id(cloud: Cloud, endpoint: ManagedIdentity) -> None:
    answer = await ask(cloud, endpoint, **{**GOOD, "client_id": "", "principal_id": IDENTITY.object_id})
    assert answer.json()["client_id"] == IDENTITY.client_id


async def test_the_system_assigned_identity_is_the_one_without_a_name(cloud: Cloud, endpoint: ManagedIdentity) -> None:
    unnamed = {**GOOD, "client_id": ""}
    assert (await ask(cloud, endpoint, **unnamed)).status == 400
    endpoint.system = Application(client_id="system", object_id="system-object", name="System", secrets=())
    assert (await ask(cloud, endpoint, **unnamed)).json()["client_id"] == "system"


async def test_a_token_is_given_out_again_until_it_is_nearly_over(cloud: Cloud, endpoint: ManagedIdentity) -> None:
    first = (await ask(cloud, endpoint, **GOOD)).json()
    cloud.clock.advance(timedelta(hours=23))
    assert (await ask(cloud, endpoint, **GOOD)).json() == first
    cloud.clock.advance(timedelta(minutes=56))
    assert (await ask(cloud, endpoint, **GOOD)).json()["access_token"] != first["access_token"]


@pytest.mark.parametrize(
    ("header", "changes", "status", "word"),
    [
        pytest.param("wrong", {}, 401, "X-IDENTITY-HEADER", id="wrong header"),
        pytest.param(None, {"api-version": "2017-09-01"}, 400, "api-version", id="other version"),
        pytest.param(None, {"resource": ""}, 400, "resource", id="no resource"),
        pytest.param(None, {"resource": "https://other.test"}, 400, "AADSTS500011", id="unknown resource"),
        pytest.param(None, {"client_id": "other"}, 400, "No User Assigned or Delegated", id="not assigned"),
        pytest.param(None, {"mi_res_id": "/subscriptions/x"}, 501, "mi_res_id", id="by resource id"),
    ],
)
async def test_refusals(
    cloud: Cloud, endpoint: ManagedIdentity, header: str | None, changes: dict[str, str], status: int, word: str
) -> None:
    answer = await ask(cloud, endpoint, header, **{**GOOD, **changes})
    assert (answer.status, answer.json()["statusCode"]) == (status, status)
    assert word in answer.json()["message"]

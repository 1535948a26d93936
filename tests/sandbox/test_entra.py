"""The token endpoint and the check of tokens."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlencode

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from sandbox.cloud import Cloud
from sandbox.directory import Application, Directory, known_id
from sandbox.entra.routes import Entra
from sandbox.entra.tokens import Rejection, TokenRejected
from sandbox.http import Request, Response

GRAPH = "https://graph.microsoft.com"
GOOD = {
    "grant_type": "client_credentials",
    "client_id": known_id("app", "sync"),
    "client_secret": "good-secret",
    "scope": f"{GRAPH}/.default",
}


@pytest.fixture(autouse=True)
def graph_is_registered(entra: Entra) -> None:
    entra.resources[GRAPH] = "graph"


@pytest.fixture
def application(directory: Directory) -> Application:
    return directory.applications[GOOD["client_id"]]


async def ask(cloud: Cloud, form: Mapping[str, str], *, tenant: str | None = None, **headers: str) -> Response:
    url = f"https://localhost:5555/{tenant or known_id('tenant')}/oauth2/v2.0/token"
    return await cloud.serve("login", Request.of("POST", url, headers=headers, body=urlencode(form).encode()))


def bearing(token: str) -> Request:
    return Request.of("GET", "https://localhost/", headers={"Authorization": f"Bearer {token}"})


async def test_secret_buys_a_token_with_the_granted_roles(cloud: Cloud, entra: Entra, application: Application) -> None:
    answer = await ask(cloud, GOOD)
    assert answer.status == 200
    assert (answer.json()["token_type"], answer.json()["expires_in"]) == ("Bearer", 3599)
    claims = entra.tokens.check(bearing(answer.json()["access_token"]), {GRAPH})
    assert claims.client_id == application.client_id
    assert claims.object_id == application.object_id
    assert claims.roles == {"Calendars.Read", "Calendars.ReadWrite", "User.Read.All"}
    assert claims.audience == GRAPH


async def test_token_verifies_with_the_published_key(cloud: Cloud) -> None:
    token = (await ask(cloud, GOOD)).json()["access_token"]
    keys_url = f"https://localhost/{known_id('tenant')}/discovery/v2.0/keys"
    keys = jwt.PyJWKSet.from_dict((await cloud.serve("login", Request.of("GET", keys_url))).json())
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(
        token,
        key,
        algorithms=["RS256"],
        audience=GRAPH,
        options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
    )
    now = int(cloud.clock.now().timestamp())
    assert claims["iss"] == f"https://sts.windows.net/{known_id('tenant')}/"
    assert claims["tid"] == known_id("tenant")
    assert claims["ver"] == "1.0"
    assert (claims["iat"], claims["nbf"], claims["exp"]) == (now, now, now + 3599)


async def test_metadata_names_the_endpoints_under_the_caller_s_authority(cloud: Cloud, entra: Entra) -> None:
    assert entra.name == "login"
    url = "https://localhost:5555/contoso.test/v2.0/.well-known/openid-configuration"
    metadata = (await cloud.serve("login", Request.of("GET", url))).json()
    tenant = f"https://localhost:5555/{known_id('tenant')}"
    assert metadata["token_endpoint"] == f"{tenant}/oauth2/v2.0/token"
    assert metadata["issuer"] == f"{tenant}/v2.0"


async def test_other_resources_get_no_graph_roles(cloud: Cloud, entra: Entra) -> None:
    entra.resources["https://localhost:7777"] = "dataverse"
    answer = await ask(cloud, {**GOOD, "scope": "https://localhost:7777/.default"})
    claims = entra.tokens.check(bearing(answer.json()["access_token"]), {"https://localhost:7777"})
    assert claims.roles == frozenset()


async def test_capabilities_of_the_client_are_in_the_token(cloud: Cloud) -> None:
    answer = await ask(cloud, {**GOOD, "claims": '{"access_token": {"xms_cc": {"values": ["CP1"]}}}'})
    claims = jwt.decode(answer.json()["access_token"], options={"verify_signature": False})
    assert claims["xms_cc"] == ["CP1"]


async def test_secret_in_the_basic_header_is_taken(cloud: Cloud) -> None:
    credential = base64.b64encode(f"{GOOD['client_id']}:{GOOD['client_secret']}".encode()).decode()
    form = {"grant_type": GOOD["grant_type"], "scope": GOOD["scope"]}
    assert (await ask(cloud, form, Authorization=f"Basic {credential}")).status == 200


@pytest.mark.parametrize(
    ("changes", "status", "error", "number"),
    [
        pytest.param({"client_secret": "bad"}, 401, "invalid_client", 7000215, id="wrong secret"),
        pytest.param({"client_secret": ""}, 401, "invalid_client", 7000218, id="no secret"),
        pytest.param({"client_id": "nobody"}, 400, "unauthorized_client", 700016, id="unknown application"),
        pytest.param({"client_id": ""}, 400, "invalid_request", 900144, id="no client id"),
        pytest.param({"grant_type": "password"}, 400, "unsupported_grant_type", 70003, id="other grant"),
        pytest.param({"scope": f"{GRAPH}/Calendars.Read"}, 400, "invalid_scope", 70011, id="single scope"),
        pytest.param({"scope": "https://other.test/.default"}, 400, "invalid_resource", 500011, id="unknown resource"),
    ],
)
async def test_refusals_carry_their_aadsts_number(
    cloud: Cloud, changes: dict[str, str], status: int, error: str, number: int
) -> None:
    answer = await ask(cloud, {**GOOD, **changes})
    assert (answer.status, answer.json()["error"]) == (status, error)
    assert answer.json()["error_codes"] == [number]
    assert answer.json()["error_description"].startswith(f"AADSTS{number}: ")


async def test_unknown_tenant_is_refused(cloud: Cloud) -> None:
    answer = await ask(cloud, GOOD, tenant="elsewhere")
    assert (answer.status, answer.json()["error_codes"]) == (400, [90002])


@pytest.mark.parametrize(
    "form",
    [
        pytest.param({**GOOD, "client_secret": "", "client_assertion": "x.y.z"}, id="assertion"),
        pytest.param({**GOOD, "surprise": "1"}, id="unknown field"),
        pytest.param({**GOOD, "claims": '{"id_token": {"name": null}}'}, id="claims other than capabilities"),
        pytest.param({**GOOD, "claims": "[]"}, id="claims that are none"),
    ],
)
async def test_what_is_not_modelled_is_refused_loudly(cloud: Cloud, form: dict[str, str]) -> None:
    assert (await ask(cloud, form)).status == 501


async def test_log_learns_the_application(cloud: Cloud) -> None:
    await ask(cloud, GOOD)
    assert [(call.service, call.app, call.status) for call in cloud.recorder.calls] == [
        ("login", GOOD["client_id"], 200)
    ]


async def test_advancing_the_clock_expires_a_token(cloud: Cloud, entra: Entra, application: Application) -> None:
    request = bearing(entra.tokens.issue(application, GRAPH))
    cloud.clock.advance(timedelta(seconds=3590))
    entra.tokens.check(request, {GRAPH})
    cloud.clock.advance(timedelta(seconds=10))
    assert rejection(entra, request) == Rejection.EXPIRED


async def test_tokens_are_rejected_for_the_right_reason(entra: Entra, application: Application) -> None:
    good = entra.tokens.issue(application, GRAPH)
    foreign = jwt.encode(
        jwt.decode(good, options={"verify_signature": False}), generate_private_key(65537, 2048), algorithm="RS256"
    )
    assert rejection(entra, replace(bearing(good), headers={})) == Rejection.MISSING
    assert rejection(entra, bearing("no-token")) == Rejection.MALFORMED
    assert rejection(entra, bearing(foreign)) == Rejection.SIGNATURE
    assert rejection(entra, bearing(entra.tokens.issue(application, "https://other.test"))) == Rejection.AUDIENCE


def rejection(entra: Entra, request: Request) -> Rejection:
    with pytest.raises(TokenRejected) as rejected:
        entra.tokens.check(request, {GRAPH})
    return rejected.value.reason

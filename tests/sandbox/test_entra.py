"""The token endpoint and the check of tokens."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from sandbox.cloud import Cloud
from sandbox.directory import Application, Directory, known_id
from sandbox.entra.certificates import KeyPair, known_key_pair, self_signed
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
ASSERTED = {
    "client_secret": "",
    "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    "client_assertion": "none",
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
        pytest.param(ASSERTED, 401, "invalid_client", 50027, id="no assertion"),
        pytest.param(
            {**ASSERTED, "client_assertion_type": ""}, 400, "invalid_request", 900144, id="no type of assertion"
        ),
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


async def test_several_secrets_are_good_at_once_and_each_ends_at_its_time(
    cloud: Cloud, directory: Directory, application: Application
) -> None:
    end = cloud.clock.now() + timedelta(hours=1)
    directory.register(replace(application, ends={"old-secret": end}))
    assert (await ask(cloud, {**GOOD, "client_secret": "old-secret"})).status == 200
    assert (await ask(cloud, GOOD)).status == 200
    cloud.clock.advance(timedelta(hours=1))
    answer = await ask(cloud, {**GOOD, "client_secret": "old-secret"})
    assert (answer.status, answer.json()["error"]) == (401, "invalid_client")
    assert answer.json()["error_codes"] == [7000222]
    assert (await ask(cloud, GOOD)).status == 200


def signed(cloud: Cloud, pair: KeyPair, *, alg: str = "PS256", by: str = "x5t#S256", **claims: object) -> str:
    """An assertion as an application with a certificate sends it."""
    digest = hashes.SHA256() if by == "x5t#S256" else hashes.SHA1()  # noqa: S303 - what clients send
    thumbprint = base64.urlsafe_b64encode(pair.certificate.fingerprint(digest)).decode().rstrip("=")
    said: dict[str, object] = {
        "aud": f"https://localhost:5555/{known_id('tenant')}/oauth2/v2.0/token",
        "iss": GOOD["client_id"],
        "sub": GOOD["client_id"],
        "jti": "once",
        "exp": cloud.clock.now().timestamp() + 600,
        **claims,
    }
    return jwt.encode(said, pair.key, algorithm=alg, headers={by: thumbprint} if by else {})


@pytest.fixture
def certified(directory: Directory, application: Application) -> None:
    pairs = (known_key_pair("first"), known_key_pair("second"))
    directory.register(replace(application, certificates=tuple(pair.certificate for pair in pairs)))


async def ask_asserting(cloud: Cloud, assertion: str) -> Response:
    return await ask(cloud, {**GOOD, **ASSERTED, "client_assertion": assertion})


@pytest.mark.parametrize(("alg", "by"), [("PS256", "x5t#S256"), ("RS256", "x5t"), ("RS256", "x5t#S256")])
@pytest.mark.parametrize("name", ["first", "second"])
@pytest.mark.usefixtures("certified")
async def test_every_registered_certificate_buys_a_token(cloud: Cloud, alg: str, by: str, name: str) -> None:
    answer = await ask_asserting(cloud, signed(cloud, known_key_pair(name), alg=alg, by=by))
    assert answer.status == 200, answer.body
    claims = jwt.decode(answer.json()["access_token"], options={"verify_signature": False})
    assert (claims["appid"], claims["appidacr"]) == (GOOD["client_id"], "2")


@pytest.mark.parametrize(
    ("changes", "number", "word"),
    [
        pytest.param({"by": ""}, 50027, "No certificate thumbprint", id="no thumbprint"),
        pytest.param({"exp": 1}, 700024, "valid time range", id="too old"),
        pytest.param({"nbf": 4_000_000_000, "exp": 4_000_000_600}, 700024, "valid time range", id="too early"),
        pytest.param({"iss": "another"}, 700021, "client_id", id="of another application"),
        pytest.param({"aud": "https://login.microsoftonline.com"}, 700023, "audience", id="for another endpoint"),
    ],
)
@pytest.mark.usefixtures("certified")
async def test_assertions_are_refused_for_the_right_reason(
    cloud: Cloud, changes: dict[str, Any], number: int, word: str
) -> None:
    answer = await ask_asserting(cloud, signed(cloud, known_key_pair("first"), **changes))
    assert (answer.status, answer.json()["error"], answer.json()["error_codes"]) == (401, "invalid_client", [number])
    assert word in answer.json()["error_description"]


@pytest.mark.usefixtures("certified")
async def test_other_keys_than_the_registered_are_refused(cloud: Cloud) -> None:
    answer = await ask_asserting(cloud, signed(cloud, known_key_pair("unknown")))
    assert answer.json()["error_codes"] == [700027]
    assert "The key was not found" in answer.json()["error_description"]
    mixed = KeyPair(known_key_pair("first").certificate, known_key_pair("second").key)
    answer = await ask_asserting(cloud, signed(cloud, mixed))
    assert answer.json()["error_codes"] == [700027]
    assert "did not match the expected signature" in answer.json()["error_description"]


async def test_an_expired_certificate_is_refused(cloud: Cloud, directory: Directory, application: Application) -> None:
    pair = self_signed("past", begins=datetime(2020, 1, 1, tzinfo=UTC), ends=datetime(2021, 1, 1, tzinfo=UTC))
    directory.register(replace(application, certificates=(pair.certificate,)))
    answer = await ask_asserting(cloud, signed(cloud, pair))
    assert answer.json()["error_codes"] == [700027]
    assert "The key used is expired" in answer.json()["error_description"]


@pytest.mark.usefixtures("certified")
async def test_advancing_the_sandbox_does_not_make_a_clients_assertions_old(cloud: Cloud) -> None:
    assertion = signed(cloud, known_key_pair("first"))
    cloud.clock.advance(timedelta(days=5))
    assert (await ask_asserting(cloud, assertion)).status == 200


async def test_unknown_tenant_is_refused(cloud: Cloud) -> None:
    answer = await ask(cloud, GOOD, tenant="elsewhere")
    assert (answer.status, answer.json()["error_codes"]) == (400, [90002])


@pytest.mark.parametrize(
    "form",
    [
        pytest.param({**GOOD, **ASSERTED, "client_assertion_type": "saml"}, id="other kind of assertion"),
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

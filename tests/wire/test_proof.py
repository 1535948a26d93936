"""Only tokens of Entra ID, for this app, asked for by Graph, prove what came along; and what was sealed stays so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from types import MappingProxyType
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm

from sandbox.entra.certificates import known_key_pair
from sandbox.graph.encryption import Recipient
from shared.certificates import in_base64
from shared.errors import NotSentError, UnavailableError
from shared.http import HttpRequest, HttpResponse
from shared.proof import PUBLISHER, STALE, Proof
from shared.sealed import Sealed, unseal

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
TENANT, APP = "7a1d0000-0000-4000-8000-0000000000aa", "a0000000-0000-4000-8000-0000000000aa"
AUTHORITY = "https://login.example"
OLD, NEW, STRANGER = (known_key_pair(f"signing {name}").key for name in ("old", "new", "stranger"))


class Clock:
    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class Entra:
    """Implements `Transport`: publishes keys."""

    def __init__(self, **keys: RSAPrivateKey) -> None:
        self.keys = keys
        self.asked = 0
        self.is_down = False

    async def send(self, request: HttpRequest) -> HttpResponse:
        assert (request.method, request.url) == ("GET", f"{AUTHORITY}/common/discovery/v2.0/keys")
        assert "Authorization" not in request.headers
        self.asked += 1
        if self.is_down:
            raise NotSentError("down")
        published: list[Any] = [
            {**json.loads(RSAAlgorithm.to_jwk(key.public_key())), "kid": name} for name, key in self.keys.items()
        ]
        broken = [None, {}, {"kid": "ec", "kty": "EC"}, {"kid": "x", "kty": "RSA", "n": "!", "e": "AQAB"}]
        return HttpResponse(status=200, body=json.dumps({"keys": [*broken, *published]}).encode())


def token(key: RSAPrivateKey = OLD, kid: str = "old", **changes: Any) -> str:
    """What comes with encrypted data; what is changed to `...` is left out."""
    claims = {
        "aud": APP,
        "iss": f"https://sts.windows.net/{TENANT}/",
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + timedelta(hours=8),
        "appid": PUBLISHER,
        "tid": TENANT,
        **changes,
    }
    return jwt.encode(
        {name: value for name, value in claims.items() if value is not ...}, key, "RS256", headers={"kid": kid}
    )


def proof(entra: Entra, clock: Clock | None = None) -> Proof:
    return Proof(entra, clock or Clock(), authority=AUTHORITY, tenant=TENANT, app=APP)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"iss": f"{AUTHORITY}/{TENANT}/v2.0", "appid": ..., "azp": PUBLISHER},
        {"nbf": ...},
        {"nbf": NOW + timedelta(minutes=4)},
        {"exp": NOW - timedelta(minutes=4)},
    ],
)
async def test_a_good_token(changes: Mapping[str, Any]) -> None:
    assert await proof(Entra(old=OLD)).is_given([token(**changes)])


@pytest.mark.parametrize(
    "tokens",
    [
        pytest.param([], id="none"),
        pytest.param([token()] * 17, id="too many"),
        pytest.param(["", token()], id="one is none"),
        pytest.param([token(), token(aud="other")], id="one of two is for another app"),
        pytest.param([token(aud="other")], id="for another app"),
        pytest.param([token(aud=...)], id="for nobody"),
        pytest.param([token(iss="https://sts.windows.net/other/")], id="of another tenant"),
        pytest.param([token(iss=...)], id="of nobody"),
        pytest.param([token(appid=APP)], id="asked for by another app"),
        pytest.param([token(appid=...)], id="asked for by nobody"),
        pytest.param([token(exp=NOW - timedelta(minutes=6))], id="expired"),
        pytest.param([token(exp=...)], id="for ever"),
        pytest.param([token(nbf=NOW + timedelta(minutes=6))], id="not yet"),
        pytest.param([token(STRANGER)], id="signed by somebody else"),
        pytest.param([token(STRANGER, "stranger")], id="signed with an unknown key"),
        pytest.param([jwt.encode({"aud": APP}, "", "none")], id="not signed"),
        pytest.param([jwt.encode({"aud": APP}, "x" * 32, "HS256", headers={"kid": "old"})], id="another algorithm"),
        pytest.param([token()[:-8] + "AAAAAAAA"], id="changed"),
        pytest.param(["a.b.c"], id="rubbish"),
    ],
)
async def test_what_is_no_proof(tokens: list[str]) -> None:
    assert not await proof(Entra(old=OLD)).is_given(tokens)


async def test_keys_are_read_once_and_again_for_a_new_name_but_not_for_every_stranger() -> None:
    entra, clock = Entra(old=OLD), Clock()
    proving = proof(entra, clock)
    for _ in range(3):
        assert await proving.is_given([token()])
    assert entra.asked == 1
    entra.keys = {"old": OLD, "new": NEW}
    assert await proving.is_given([token(NEW, "new")])
    assert entra.asked == 2
    for number in range(20):
        assert not await proving.is_given([token(STRANGER, f"stranger {number}")])
    assert entra.asked == 2
    clock.time += timedelta(minutes=5)
    assert not await proving.is_given([token(STRANGER, "stranger")])
    assert await proving.is_given([token()])
    assert entra.asked == 3


async def test_what_is_known_serves_while_the_keys_cannot_be_read() -> None:
    entra, clock = Entra(old=OLD), Clock()
    proving = proof(entra, clock)
    assert await proving.is_given([token()])
    entra.is_down = True
    clock.time += STALE - timedelta(hours=1)
    assert await proving.is_given([token(exp=clock.time + timedelta(hours=1))])
    clock.time += timedelta(hours=1)
    with pytest.raises(UnavailableError):
        await proving.is_given([token(exp=clock.time + timedelta(hours=1))])


# What was sealed.

MINE, OTHERS = known_key_pair("mine"), known_key_pair("somebody else's")
RECIPIENT = Recipient.of(in_base64(MINE.certificate), "v1")


def sealed(content: bytes, seed: int = 0, changes: Mapping[str, str] = MappingProxyType({})) -> Sealed:
    found = {**RECIPIENT.seal(content, Random(seed).randbytes(32)), **changes}
    return Sealed(
        data=found["data"],
        key=found["dataKey"],
        signature=found["dataSignature"],
        certificate=found["encryptionCertificateId"],
    )


@given(st.binary(max_size=200), st.integers())
@settings(max_examples=30, deadline=None)
def test_what_was_sealed_comes_out_as_it_was(content: bytes, seed: int) -> None:
    assert unseal(sealed(content, seed), MINE.key) == content


@given(st.sampled_from(["data", "dataKey", "dataSignature"]), st.data())
@settings(max_examples=40, deadline=None)
def test_whatever_was_changed_on_the_way_does_not_come_out(name: str, data: st.DataObject) -> None:
    whole = RECIPIENT.seal(b'{"id": "e"}', bytes(32))[name]
    place = data.draw(st.integers(0, len(whole) - 3))
    other = "A" if whole[place] != "A" else "B"
    with pytest.raises(ValueError):  # noqa: PT011 - whichever check notices it first
        unseal(sealed(b'{"id": "e"}', changes={name: whole[:place] + other + whole[place + 1 :]}), MINE.key)


@pytest.mark.parametrize("changes", [{"data": ""}, {"data": "?"}, {"dataKey": ""}, {"dataSignature": ""}])
def test_what_is_missing_or_no_base64_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        unseal(sealed(b"x", changes=changes), MINE.key)


def test_what_is_for_somebody_else_stays_closed() -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        unseal(sealed(b"x"), OTHERS.key)


def test_neither_key_nor_content_shows() -> None:
    assert repr(sealed(b"x")) == "Sealed(certificate='v1')"

"""Access tokens: issued by the sandbox's Entra ID, checked by the services that they are for.

They are real RS256 tokens with the claims of the app-only v1.0 tokens that Microsoft's own resources get (Microsoft
identity platform docs, "Access token claims reference"), so that clients which look inside find what they expect. Only
the time is the sandbox's: advancing the clock expires them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import cache

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from sandbox.clock import Clock
from sandbox.directory import Application
from sandbox.http import Json, Request

LIFETIME = timedelta(seconds=3599)
KEY_ID = "sandbox-signing-key"


class Rejection(StrEnum):
    """Why a token is not accepted."""

    MISSING = "missing"
    MALFORMED = "malformed"
    SIGNATURE = "signature"
    EXPIRED = "expired"
    AUDIENCE = "audience"


class TokenRejected(Exception):  # noqa: N818 - read as a sentence: `except TokenRejected`
    """The call carries no token that its receiver accepts."""

    def __init__(self, reason: Rejection) -> None:
        """Say why."""
        super().__init__(f"access token rejected: {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """Who calls: an application by its client id and by the object id of its service principal, and what it may do."""

    client_id: str
    object_id: str
    roles: frozenset[str]
    audience: str


class Tokens:
    """Issues and checks the tokens of one tenant.

    `resources` are the URLs that tokens can be had for, each with the name of the service behind it; services enter
    themselves.
    """

    def __init__(self, clock: Clock, tenant_id: str) -> None:
        """Start without resources; the signing key is shared by the whole process, because making one takes long."""
        self._clock = clock
        self._tenant_id = tenant_id
        self.resources: dict[str, str] = {}
        self._verified: dict[str, Json] = {}
        self._issued = 0

    @property
    def issuer(self) -> str:
        """The `iss` of every token: resources of Microsoft get v1.0 tokens from the v2.0 endpoint, too."""
        return f"https://sts.windows.net/{self._tenant_id}/"

    def issue(
        self,
        application: Application,
        audience: str,
        roles: Collection[str] = (),
        *,
        capabilities: Collection[str] = (),
        proof: str = "1",
        lifetime: timedelta = LIFETIME,
    ) -> str:
        """A fresh token that lets `application` speak to `audience`; `capabilities` are those of the client.

        `proof` is how it proved itself: 1 by a secret, 2 by a certificate.
        """
        now = int(self._clock.now().timestamp())
        self._issued += 1
        claims = {
            "uti": f"{self._issued:022d}",
            "aud": audience,
            "iss": self.issuer,
            "iat": now,
            "nbf": now,
            "exp": now + int(lifetime.total_seconds()),
            "app_displayname": application.name,
            "appid": application.client_id,
            "appidacr": proof,
            "idp": self.issuer,
            "idtyp": "app",
            "oid": application.object_id,
            "sub": application.object_id,
            "tid": self._tenant_id,
            "ver": "1.0",
        }
        if roles:
            claims["roles"] = list(roles)
        if capabilities:
            claims["xms_cc"] = list(capabilities)
        return jwt.encode(claims, signing_key(), algorithm="RS256", headers={"kid": KEY_ID, "x5t": KEY_ID})

    def check(self, request: Request, audiences: Collection[str]) -> Claims:
        """Who sent `request`. Raises `TokenRejected` unless its bearer token is ours, in force and for an audience."""
        scheme, _, token = request.header("authorization").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise TokenRejected(Rejection.MISSING)
        claims = self._verify(token.strip())
        if not claims["nbf"] <= self._clock.now().timestamp() < claims["exp"]:
            raise TokenRejected(Rejection.EXPIRED)
        if claims["aud"].rstrip("/") not in {audience.rstrip("/") for audience in audiences}:
            raise TokenRejected(Rejection.AUDIENCE)
        return Claims(
            client_id=claims["appid"],
            object_id=claims["oid"],
            roles=frozenset(claims.get("roles", ())),
            audience=claims["aud"],
        )

    def _verify(self, token: str) -> Json:
        """The claims under a good signature; remembered, since every call of a client brings the same token."""
        if token not in self._verified:
            try:
                claims = jwt.decode(
                    token,
                    signing_key().public_key(),
                    algorithms=["RS256"],
                    issuer=self.issuer,
                    options={
                        "require": ["aud", "iss", "nbf", "exp", "appid", "oid"],
                        "verify_aud": False,
                        "verify_exp": False,
                        "verify_iat": False,
                        "verify_nbf": False,
                    },
                )
            except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError, jwt.InvalidIssuerError):
                raise TokenRejected(Rejection.SIGNATURE) from None
            except jwt.InvalidTokenError:
                raise TokenRejected(Rejection.MALFORMED) from None
            self._verified[token] = claims
        return self._verified[token]


@cache
def signing_key() -> RSAPrivateKey:
    """The key of this process."""
    return generate_private_key(public_exponent=65537, key_size=2048)

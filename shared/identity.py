"""Access tokens: how the app proves who it is to Microsoft Graph and Dataverse."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msal
import requests
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from shared.azure_sdk import own_errors
from shared.cache import Cache, Fetched
from shared.certificates import is_certificate, key_pair
from shared.errors import CredentialError, NotSentError, UnavailableError
from shared.secrets import OpenIdentity, Secret, Secrets
from shared.sync.ports import Clock

EARLY = timedelta(minutes=5)
"""A token is not used any more this long before it expires."""
FRESH = 0.8
"""The part of its useful time after which a token is renewed while it still serves."""
TIMEOUT = 15.0
"""Seconds for one request to the authority."""

_PASSING = frozenset({"temporarily_unavailable", "server_error", "request_timeout", "throttled", "too_many_requests"})
"""Errors of the token endpoint that are no verdict about the app; MSAL gives them like any other 4xx."""

type ClientCredential = str | dict[str, RSAPrivateKey | str]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A token and its end."""

    value: str = field(repr=False)
    expires: datetime


class CachedTokens:
    """Implements `shared.http.Tokens`: however many ask at once, one request for each audience goes out."""

    def __init__(self, fetch: Callable[[str], Awaitable[AccessToken]], clock: Clock) -> None:
        """Keep what `fetch` gets for a scope, and renew it ahead of its end."""
        self._fetch = fetch
        self._clock = clock
        self._cache = Cache(self._fetched, clock)

    async def token(self, scope: str) -> str:
        """A token that is valid for some minutes. Raises `CredentialError`, or another `TransientError`."""
        return await self._cache.get(scope)

    def discard(self, scope: str, token: str) -> None:
        """Forget `token` unless it was replaced already."""
        self._cache.discard(scope, token)

    async def _fetched(self, scope: str) -> Fetched[str]:
        token = await self._fetch(scope)
        now = self._clock.now()
        lifetime = token.expires - now
        useful = lifetime - min(EARLY, lifetime / 2)
        return Fetched(value=token.value, renew=now + useful * FRESH, until=now + useful)


class IdentityTokens:
    """Tokens of the managed identity itself: no registration, nothing stored."""

    def __init__(self, identity: OpenIdentity) -> None:
        """Nothing is asked for yet."""
        self._identity = identity

    async def fetch(self, scope: str) -> AccessToken:
        """Ask the platform, with a credential of its own: a kept one would give a refused token again."""
        async with own_errors(f"the managed identity got no token for {scope}"), self._identity() as credential:
            got = await credential.get_token(scope)
        return AccessToken(value=got.token, expires=datetime.fromtimestamp(got.expires_on, UTC))


class RegistrationTokens:
    """Tokens of an app registration, by MSAL with its secret or certificate.

    MSAL blocks, so it runs in a thread, one request at a time. When Entra refuses the secret, a newer one is looked for
    once: so a rotation does not stop the app, even when the old secret ends at once.
    """

    def __init__(
        self, *, authority: str, tenant: str, client_id: str, secrets: Secrets, name: str, clock: Clock
    ) -> None:
        """`name` is that of the secret or certificate in `secrets`. Nothing is fetched yet."""
        self._authority = f"{authority.rstrip('/')}/{tenant}"
        self._client_id = client_id
        self._secrets = secrets
        self._name = name
        self._clock = clock
        self._lock = asyncio.Lock()
        self._proof: tuple[Secret, ClientCredential] | None = None

    async def fetch(self, scope: str) -> AccessToken:
        """A fresh token. Raises `CredentialError`, or another `TransientError`."""
        async with self._lock:
            secret = await self._secrets.get(self._name)
            try:
                answer = await asyncio.to_thread(self._ask, secret, scope)
            except CredentialError:
                self._secrets.discard(self._name, secret)
                newer = await self._secrets.get(self._name)
                if newer == secret:
                    raise
                answer = await asyncio.to_thread(self._ask, newer, scope)
            lifetime = timedelta(seconds=int(answer["expires_in"]))
            return AccessToken(value=answer["access_token"], expires=self._clock.now() + lifetime)

    def _ask(self, secret: Secret, scope: str) -> dict[str, Any]:
        """Runs in a thread. Once an hour MSAL is set up anew: it would keep tokens, failures and stale connections."""
        said = f"no token for {scope}"
        if self._proof is None or self._proof[0] != secret:
            self._proof = secret, _client_credential(self._name, secret)
        try:
            with requests.Session() as session:
                # MSAL asks without a time-out when it is given a session.
                session.request = functools.partial(session.request, timeout=TIMEOUT)  # type: ignore[method-assign]
                app = msal.ConfidentialClientApplication(
                    self._client_id,
                    client_credential=self._proof[1],
                    authority=self._authority,
                    # The authority is the administrator's own setting: asking a public endpoint whether it is known
                    # adds nothing, and fails in clouds that this endpoint does not know.
                    instance_discovery=False,
                    http_client=session,
                )
                answer: dict[str, Any] = app.acquire_token_for_client([scope])
        except requests.RequestException as error:
            raise NotSentError(f"{said}: {type(error).__name__}") from error
        except (msal.exceptions.MsalError, ValueError) as error:
            raise UnavailableError(f"{said}: {type(error).__name__}") from error
        if "access_token" in answer:
            return answer
        said += f": {answer.get('error')} {answer.get('error_codes')}"
        if answer.get("error") in _PASSING:
            raise UnavailableError(said)
        raise CredentialError(said)


def _client_credential(name: str, secret: Secret) -> ClientCredential:
    """What MSAL wants: the secret itself, or a private key (which is slow to read) and its certificate."""
    if not is_certificate(secret):
        return secret.value
    key, certificate = key_pair(name, secret)
    return {"private_key": key, "public_certificate": certificate.public_bytes(Encoding.PEM).decode()}

"""Whether a post comes from Microsoft Graph: the tokens that come with encrypted data.

Microsoft Graph docs, "Set up change notifications that include resource data": each token is a JWT, signed with a key
that Entra ID publishes, issued by the tenant's token service for this app, and says that the publisher of notifications
asked for it. Version 1 of tokens names that in `appid`, version 2 in `azp`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import jwt

from shared.cache import Cache, Fetched
from shared.errors import BookingSyncError, UnavailableError
from shared.http import HttpRequest, Transport
from shared.sync.ports import Clock

PUBLISHER = "0bf30f3b-4a52-48df-9a82-234910c4a086"
"""The application id of Microsoft Graph Change Tracking."""
KEEP, STALE = timedelta(hours=12), timedelta(days=3)
"""When the keys are read again, and how long they serve when they cannot be."""
PAUSE = timedelta(minutes=5)
"""How long a key that is not published is not looked for again."""
LEEWAY = timedelta(minutes=5)
"""By how much clocks may differ."""
MOST_TOKENS, MOST_KEYS = 16, 64
TIMEOUT = 2.0

log = logging.getLogger(__name__)


class Proof:
    """Checks the tokens of posts to one app of one tenant."""

    def __init__(self, transport: Transport, clock: Clock, *, authority: str, tenant: str, app: str) -> None:
        """`app` is the client id of the application that owns the subscriptions."""
        self._transport = transport
        self._clock = clock
        self._url = f"{authority.rstrip('/')}/common/discovery/v2.0/keys"
        self._issuers = [f"https://sts.windows.net/{tenant}/", f"{authority.rstrip('/')}/{tenant}/v2.0"]
        self._app = app
        self._keys = Cache(self._fetch, clock)
        self._looked_at = clock.now() - PAUSE

    async def is_given(self, tokens: Sequence[str]) -> bool:
        """Whether there are tokens, and each is good. Raises `TransientError` when the keys cannot be read."""
        if not 0 < len(tokens) <= MOST_TOKENS:
            return False
        return all([await self._is_good(token) for token in tokens])

    async def _is_good(self, token: str) -> bool:
        try:
            name = str(jwt.get_unverified_header(token).get("kid"))
            key = await self._key(name)
            if key is None:
                return False
            claims = jwt.decode(
                token,
                key,
                algorithms=["RS256"],
                audience=self._app,
                issuer=self._issuers,
                options={
                    "require": ["aud", "iss", "exp"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.InvalidTokenError as error:
            log.warning("a post of Graph has a token that is not good: %s", type(error).__name__)
            return False
        return self._is_in_force(claims) and PUBLISHER in (claims.get("appid"), claims.get("azp"))

    def _is_in_force(self, claims: Mapping[str, Any]) -> bool:
        """By the app's own clock, which the package does not know."""
        now = self._clock.now()
        begins, ends = claims.get("nbf", 0), claims["exp"]
        if not isinstance(begins, int) or not isinstance(ends, int):
            return False
        return begins <= (now + LEEWAY).timestamp() and (now - LEEWAY).timestamp() < ends

    async def _key(self, name: str) -> jwt.PyJWK | None:
        """The published key of that name; one that is not known may be new."""
        keys = await self._keys.get(self._url)
        now = self._clock.now()
        if name not in keys and now >= self._looked_at + PAUSE:
            self._looked_at = now
            self._keys.discard(self._url, keys)
            keys = await self._keys.get(self._url)
        return keys.get(name)

    async def _fetch(self, url: str) -> Fetched[Mapping[str, jwt.PyJWK]]:
        try:
            answer = await self._transport.send(HttpRequest(method="GET", url=url, timeout=TIMEOUT))
        except BookingSyncError as error:
            raise UnavailableError(f"the keys of Entra ID cannot be read: {error}") from error
        body = answer.json()
        found = body.get("keys") if isinstance(body, dict) else None
        if answer.status != 200 or not isinstance(found, list) or not found:  # noqa: PLR2004 - HTTP
            raise UnavailableError(f"the keys of Entra ID cannot be read: {answer.status}")
        now = self._clock.now()
        return Fetched(value=_keys(found[:MOST_KEYS]), renew=now + KEEP, until=now + STALE)


def _keys(published: Sequence[Any]) -> dict[str, jwt.PyJWK]:
    """The keys by their names; what cannot be read is none of those that sign."""
    keys = {}
    for one in published:
        with suppress(AttributeError, KeyError, TypeError, jwt.PyJWTError):
            keys[str(one["kid"])] = jwt.PyJWK(one, algorithm="RS256")
    return keys

"""Access tokens by MSAL. MSAL blocks, so it runs in a thread, one refresh at a time."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msal
import requests

from shared.errors import DeniedError, NotSentError, UnavailableError
from shared.sync.ports import Clock

EARLY = timedelta(minutes=5)
"""A token is replaced this long before it expires."""
TIMEOUT = 15.0
"""Seconds for one request to the authority."""


_PASSING = frozenset({"temporarily_unavailable", "server_error", "request_timeout", "throttled", "too_many_requests"})
"""Errors of the token endpoint that are no verdict about the app; MSAL gives them like any other 4xx."""


@dataclass(frozen=True, slots=True)
class _Held:
    token: str = field(repr=False)
    until: datetime


class MsalTokens:
    """Implements `shared.http.Tokens` with the client credentials flow."""

    def __init__(self, *, authority: str, tenant: str, client_id: str, secret: str, clock: Clock) -> None:
        """Nothing is fetched before the first token is asked for."""
        self._authority = f"{authority.rstrip('/')}/{tenant}"
        self._client_id = client_id
        self._secret = secret
        self._clock = clock
        self._lock = asyncio.Lock()
        self._held: dict[str, _Held] = {}
        self._app: msal.ConfidentialClientApplication | None = None
        self._session = requests.Session()
        # MSAL asks without a time-out when it is given a session.
        self._session.request = functools.partial(self._session.request, timeout=TIMEOUT)  # type: ignore[method-assign]

    async def token(self, scope: str) -> str:
        """A token that is valid for some minutes; however many ask at once, one request goes out."""
        held = self._held.get(scope)
        if held is not None and held.until - EARLY > self._clock.now():
            return held.token
        async with self._lock:
            held = self._held.get(scope)
            if held is None or held.until - EARLY <= self._clock.now():
                answer = await asyncio.to_thread(self._fetch, scope)
                held = _Held(answer["access_token"], self._clock.now() + timedelta(seconds=int(answer["expires_in"])))
                self._held[scope] = held
        return held.token

    def discard(self, scope: str, token: str) -> None:
        """Forget `token` unless it was replaced already."""
        held = self._held.get(scope)
        if held is not None and held.token == token:
            del self._held[scope]

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _fetch(self, scope: str) -> dict[str, Any]:
        """Runs in a thread. MSAL's own cache is emptied first: what is still valid is held here."""
        try:
            if self._app is None:
                # The authority is the administrator's own setting: asking a public endpoint whether it is known adds
                # nothing, and fails in clouds that this endpoint does not know.
                self._app = msal.ConfidentialClientApplication(
                    self._client_id,
                    client_credential=self._secret,
                    authority=self._authority,
                    instance_discovery=False,
                    http_client=self._session,
                )
            self._app.remove_tokens_for_client()
            answer: dict[str, Any] = self._app.acquire_token_for_client([scope])
        except requests.RequestException as error:
            raise NotSentError(f"no token: {type(error).__name__}") from error
        except (msal.exceptions.MsalError, ValueError) as error:
            raise UnavailableError(f"no token: {type(error).__name__}") from error
        if answer.get("error") in _PASSING:
            raise UnavailableError(f"no token: {answer['error']} {answer.get('error_codes')}")
        if "access_token" not in answer:
            raise DeniedError(f"no token: {answer.get('error')} {answer.get('error_codes')}")
        return answer

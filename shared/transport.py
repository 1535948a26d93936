"""HTTP over aiohttp: one session for the whole process."""

from __future__ import annotations

import aiohttp
from yarl import URL

from shared.errors import NotSentError, OutcomeUnknownError
from shared.http import HttpRequest, HttpResponse

CONNECT_SECONDS = 5.0
MOST_BYTES = 16 * 1024 * 1024
"""The largest answer that is read."""


class AiohttpTransport:
    """Implements `shared.http.Transport`."""

    def __init__(self) -> None:
        """Open the session; needs a running loop.

        Cookies are not kept: Dataverse's affinity cookie would tie the app to one of its servers (Microsoft docs,
        Service protection API limits).
        """
        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(), connector=aiohttp.TCPConnector(limit=100)
        )

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send one request; redirects are not followed, no Microsoft API answers with one."""
        try:
            # Links that a service gave out are opaque: they go back to it to the letter.
            url = URL(request.url, encoded=True)
            async with self._session.request(
                request.method,
                url,
                headers=request.headers,
                data=request.body,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=request.timeout, sock_connect=CONNECT_SECONDS),
            ) as response:
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > MOST_BYTES:
                        raise OutcomeUnknownError(f"{request.method}: an answer of more than {MOST_BYTES} bytes")
                headers = {name.lower(): value for name, value in response.headers.items()}
                return HttpResponse(status=response.status, headers=headers, body=bytes(body))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotSentError(f"{request.method}: no connection, {type(error).__name__}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise OutcomeUnknownError(f"{request.method}: no answer, {type(error).__name__}") from error

    async def close(self) -> None:
        """Close the session."""
        await self._session.close()

"""HTTP over aiohttp: one session for the whole process."""

from __future__ import annotations

import aiohttp
from yarl import URL

from shared.errors import NotSentError, OutcomeUnknownError
from shared.http import HttpRequest, HttpResponse

TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=5)
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
            timeout=TIMEOUT, cookie_jar=aiohttp.DummyCookieJar(), connector=aiohttp.TCPConnector(limit=100)
        )

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send one request; redirects are not followed, no Microsoft API answers with one."""
        try:
            # Links that a service gave out are opaque: they go back to it to the letter.
            url = URL(request.url, encoded=True)
            async with self._session.request(
                request.method, url, headers=request.headers, data=request.body, allow_redirects=False
            ) as response:
                body = await response.content.read(MOST_BYTES)
                headers = {name.lower(): value for name, value in response.headers.items()}
                return HttpResponse(status=response.status, headers=headers, body=body)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotSentError(f"{request.method}: no connection, {type(error).__name__}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise OutcomeUnknownError(f"{request.method}: no answer, {type(error).__name__}") from error

    async def close(self) -> None:
        """Close the session."""
        await self._session.close()

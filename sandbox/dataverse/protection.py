"""Service protection: how much one user may ask of one web server.

Microsoft docs, "Service protection API limits" and "Send parallel requests": in a sliding window of 300 seconds 6,000
requests and 1,200 seconds of combined execution time, and 52 requests at once; each web server counts by itself, and
who sends its affinity cookie back stays with it. A batch is one request; what its parts take is execution time, and so
is the business logic that a request sets off. Headers and cookie: the sample response in "Use PowerShell and Visual
Studio Code with the Dataverse Web API".

Unverified: that a limit bites with the first request over it (the docs let a client expect some delay) and that refused
requests count; how long a refusal for concurrency asks to wait; that only a client without the cookie gets one; that an
impersonating application is counted as itself.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from http.cookies import SimpleCookie
from math import ceil, isfinite

from sandbox.cloud import Cloud
from sandbox.dataverse import errors
from sandbox.http import HttpError, Request, Response
from sandbox.limits import Window
from sandbox.recorder import Call
from sandbox.settings import count, limit

SECONDS = 300
REQUESTS, EXECUTION = "dataverse.requests", "dataverse.execution_seconds"
CONCURRENCY, SERVERS, PARALLELISM = "dataverse.concurrency", "dataverse.web_servers", "dataverse.parallelism_hint"
SETTINGS = {
    REQUESTS: limit(6000, f"requests of a user to one web server in {SECONDS} seconds"),
    EXECUTION: limit(1200, f"seconds that one web server works for a user in {SECONDS} seconds"),
    CONCURRENCY: limit(52, "requests of a user to one web server that are under way at once"),
    SERVERS: count(1, "how many web servers there are; a trial environment has one"),
    PARALLELISM: count(4, "how many requests at once the environment recommends (x-ms-dop-hint)"),
}
AFFINITY = "ARRAffinity"
WAIT_FOR_A_SLOT = 5
"""Seconds that a refusal for concurrency asks to wait."""


@dataclass(slots=True)
class _Use:
    """What one user has lately asked of one web server."""

    requests: Window = field(default_factory=lambda: Window(SECONDS))
    seconds: Window = field(default_factory=lambda: Window(SECONDS))
    under_way: int = 0


class Protection:
    """Counts requests by user and web server, and refuses those that are too many."""

    def __init__(self, cloud: Cloud) -> None:
        """The limits are settings of `cloud`."""
        self._cloud = cloud
        self._settings = cloud.settings
        cloud.settings.declare(SETTINGS)
        self.reset()

    def reset(self) -> None:
        """Forget what was counted."""
        self._uses = defaultdict[tuple[str, int], _Use](_Use)

    async def around(
        self, call: Call, request: Request, user_id: str, work: Callable[[], Awaitable[Response]]
    ) -> Response:
        """The answer of `work`, or a refusal; with the headers that tell the client where it stands."""
        server, is_affine = self._server(request)
        use = self._uses[user_id, server]
        answer = self._refusal(use, call) or await _worked(use, self._cloud, work)
        headers = self._headers(use)
        if not is_affine:
            headers["Set-Cookie"] = f"{AFFINITY}={_affinity(server)}; path=/; secure; HttpOnly"
        return replace(answer, headers={**headers, **answer.headers})

    def _server(self, request: Request) -> tuple[int, bool]:
        """The web server that takes the request, and whether the request asked for it."""
        servers = range(self._settings[SERVERS])
        asked = SimpleCookie(request.header("cookie")).get(AFFINITY)
        if asked is not None:
            for server in servers:
                if asked.value == _affinity(server):
                    return server, True
        return self._cloud.random.choice(servers) if len(servers) > 1 else 0, False

    def _refusal(self, use: _Use, call: Call) -> Response | None:
        at, settings = self._cloud.clock.now(), self._settings
        if wait := use.requests.take(at, settings.limit(REQUESTS)):
            call.limit = "requests"
            return errors.too_many_requests(settings[REQUESTS], SECONDS, ceil(wait))
        if wait := use.seconds.wait(at, settings.limit(EXECUTION), 0):
            call.limit = "execution time"
            return errors.too_much_time(settings[EXECUTION], SECONDS, ceil(wait))
        if use.under_way >= settings.limit(CONCURRENCY):
            call.limit = "concurrency"
            return errors.too_many_at_once(settings[CONCURRENCY], WAIT_FOR_A_SLOT)
        return None

    def _headers(self, use: _Use) -> dict[str, str]:
        """Where the user stands on this web server; without a limit there is nothing to say."""
        at = self._cloud.clock.now()
        requests = self._settings.limit(REQUESTS) - use.requests.used(at)
        seconds = self._settings.limit(EXECUTION) - use.seconds.used(at)
        headers = {"x-ms-dop-hint": str(self._settings[PARALLELISM])}
        if isfinite(requests):
            headers["x-ms-ratelimit-burst-remaining-xrm-requests"] = f"{max(requests, 0):.0f}"
        if isfinite(seconds):
            headers["x-ms-ratelimit-time-remaining-xrm-requests"] = f"{max(seconds, 0):,.2f}"
        return headers


async def _worked(use: _Use, cloud: Cloud, work: Callable[[], Awaitable[Response]]) -> Response:
    """The answer of `work`, whose time is counted. Time that the sandbox's clock was advanced by is no work."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    use.under_way += 1
    try:
        return await work()
    except HttpError as refused:
        return refused.response
    finally:
        use.under_way -= 1
        use.seconds.add(cloud.clock.now(), loop.time() - began)


def _affinity(server: int) -> str:
    """What the cookie says of a web server."""
    return sha256(f"web server {server}".encode()).hexdigest()

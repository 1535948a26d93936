"""One way to call a remote service: tokens, retry by meaning, and errors by what they mean.

`Caller` is what the Graph and Dataverse clients stand on. Below it is a `Transport`, above it nothing knows HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from random import Random
from typing import Any, Protocol
from urllib.parse import urlsplit

from shared.errors import (
    BookingSyncError,
    DeniedError,
    GoneError,
    NotSentError,
    OutcomeUnknownError,
    PreconditionError,
    RefusedError,
    ThrottledError,
    TokenRefusedError,
    TransientError,
    UnavailableError,
)
from shared.sync.ports import Clock

LONGEST_WAIT = timedelta(seconds=10)
"""A service that asks for more patience than this gets its change put off instead."""
FIRST_WAIT = timedelta(milliseconds=500)
MOST_TRIES = 5
MOST_SECONDS = 24 * 3600.0
"""No service is waited for longer than this, whatever it asks for."""

_THROTTLED = frozenset({"ApplicationThrottled"})
"""What Exchange says of too many requests at once to a mailbox, with 503, too: nothing happened."""

type Json = Any
"""A value that came from or goes to JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request as it goes out."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    timeout: float = 30.0
    """Seconds until the answer counts as lost."""
    latest: datetime | None = None
    """It is never begun after this instant."""
    lane: str = ""
    """What the service counts it against, a mailbox or a row. A request with a lane may share an envelope."""
    is_urgent: bool = False
    """Whether somebody waits for it: it never shares an envelope with many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """An answer as it came in; header names are lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)

    def json(self) -> Json:
        """The body as JSON; `None` for an empty one or for what a gateway put in its place (an HTML page)."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


type Refine = Callable[[HttpResponse, str], BookingSyncError | None]
"""A client's own reading of an error answer; the text is the message for whatever it makes of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait for one `answer`, and until when, in `total`, another try may begin."""

    answer: timedelta
    total: timedelta


PATIENCE = Patience(answer=timedelta(seconds=30), total=timedelta(seconds=20))
"""For nearly all calls: both together are well below the function time-out."""


class Transport(Protocol):
    """Sends one request. Raises `NotSentError` when it never left, `OutcomeUnknownError` when no answer came back."""

    async def send(self, request: HttpRequest) -> HttpResponse:
        """The answer, whatever its status."""


class Tokens(Protocol):
    """Access tokens for one audience."""

    async def token(self, scope: str) -> str:
        """A token that is valid for some minutes. Raises `CredentialError`, or another `TransientError`."""

    def discard(self, scope: str, token: str) -> None:
        """Forget `token`, which a service refused; the next call gets a fresh one."""


class Caller:
    """Calls one service."""

    def __init__(
        self, *, base: str, scope: str, transport: Transport, tokens: Tokens, clock: Clock, random: Random
    ) -> None:
        """`base` is put before every path; `scope` names the audience of the tokens."""
        self._base = base.rstrip("/")
        self._scope = scope
        self._transport = transport
        self._tokens = tokens
        self._clock = clock
        self._random = random

    async def call(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Json = None,
        repeatable: bool = False,
        patience: Patience = PATIENCE,
        refine: Refine | None = None,
        lane: str = "",
        is_urgent: bool = False,
    ) -> HttpResponse:
        """One call with its repetitions; `path` begins with a slash, `lane` and `is_urgent` are as in `HttpRequest`.

        A read may always be repeated. A write may be `repeatable` because it carries an idempotency key or an etag;
        else a lost answer raises `OutcomeUnknownError`. A 429 means that nothing happened and is always repeated.
        Nothing is begun after `patience.total`: then it is a `NotSentError`.
        Answers from 400 up raise `TransientError`, `PreconditionError`, `GoneError`, `DeniedError` or `RefusedError`,
        unless `refine` knows better what the service's own code means.
        """
        deadline = self._clock.now() + patience.total
        request = HttpRequest(
            method=method,
            url=self._base + path,
            headers={"Accept": "application/json", **(headers or {})},
            timeout=patience.answer.total_seconds(),
            latest=deadline,
            lane=lane,
            is_urgent=is_urgent,
        )
        if body is not None:
            content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
            request = replace(request, headers={**request.headers, "Content-Type": "application/json"}, body=content)
        return await self._repeat(request, refine, deadline, is_safe=repeatable or method == "GET")

    async def _repeat(
        self, request: HttpRequest, refine: Refine | None, deadline: datetime, *, is_safe: bool
    ) -> HttpResponse:
        has_refreshed = False
        tries = 0
        while True:
            tries += 1
            token = await self._tokens.token(self._scope)
            try:
                response = await self._send(request, token, deadline)
            except OutcomeUnknownError as lost:
                if not is_safe:
                    raise
                failure: TransientError = UnavailableError(str(lost))
            except NotSentError as not_sent:
                failure = not_sent
            else:
                if response.status == 401 and not has_refreshed:  # noqa: PLR2004 - HTTP
                    has_refreshed = True
                    self._tokens.discard(self._scope, token)
                    continue
                error = error_of(request, response, self._clock.now(), refine)
                if error is None:
                    return response
                if isinstance(error, UnavailableError) and not is_safe:
                    raise OutcomeUnknownError(str(error)) from error
                if not isinstance(error, TransientError):
                    raise error
                failure = error
            await self._wait(failure, tries, deadline)

    async def _send(self, request: HttpRequest, token: str, deadline: datetime) -> HttpResponse:
        if self._clock.now() > deadline:
            raise NotSentError(f"{request.method}: there was no token in time")
        return await self._transport.send(
            replace(request, headers={**request.headers, "Authorization": f"Bearer {token}"})
        )

    async def _wait(self, failure: TransientError, tries: int, deadline: datetime) -> None:
        """Wait before the next try, or raise `failure` when there will be none."""
        backoff = FIRST_WAIT * 2 ** (tries - 1) * (0.5 + self._random.random() / 2)
        pause = max(failure.retry_after or timedelta(), backoff)
        if tries >= MOST_TRIES or pause > LONGEST_WAIT or self._clock.now() + pause > deadline:
            raise failure
        await self._clock.sleep(pause.total_seconds())


def error_of(
    request: HttpRequest, response: HttpResponse, now: datetime, refine: Refine | None = None
) -> BookingSyncError | None:
    """What an answer means for the one who asked; `None` when it is a success. Never quotes content."""
    status = response.status
    if status < 300:  # noqa: PLR2004 - HTTP; a redirect is no success, no Microsoft API answers with one
        return None
    said = f"{request.method} answered {status} {' '.join(error_codes(response))}".rstrip()
    said += f" (request {response.headers.get('request-id') or response.headers.get('x-ms-service-request-id') or '?'})"
    if refine is not None and (refined := refine(response, said)) is not None:
        return refined
    if status == 429 or _THROTTLED.intersection(error_codes(response)):  # noqa: PLR2004 - HTTP
        return ThrottledError(said, retry_after=retry_after(response, now))
    match status:
        case 401:
            return TokenRefusedError(said)
        case 403:
            return DeniedError(said)
        case 404 | 410:
            return GoneError(said)
        case 412:
            return PreconditionError(said)
        case 408 | 423 | 500 | 502 | 503 | 504 | 509 | 520:
            return UnavailableError(said, retry_after=retry_after(response, now))
    return RefusedError(said)


def error_codes(response: HttpResponse) -> list[str]:
    """The error codes in the body, outermost first: services nest them, and spell `innerError` in two ways."""
    codes: list[str] = []
    body = response.json()
    error = body.get("error") if isinstance(body, dict) else None
    while isinstance(error, dict):
        if isinstance(error.get("code"), str):
            codes.append(error["code"])
        error = error.get("innerError") or error.get("innererror")
    return codes


def without_host(link: str) -> str:
    """A link that a service gave out, to the letter but for its host: tokens only go to the address in the settings."""
    parts = urlsplit(link)
    return link[len(f"{parts.scheme}://{parts.netloc}") :]


def retry_after(response: HttpResponse, now: datetime) -> timedelta | None:
    """`Retry-After` in seconds, which Graph may give with a fraction, or as an HTTP date."""
    text = response.headers.get("retry-after", "")
    try:
        return timedelta(seconds=min(max(float(text), 0.0), MOST_SECONDS))
    except ValueError:
        pass
    try:
        return max(parsedate_to_datetime(text).astimezone(UTC) - now, timedelta())
    except ValueError:
        return None

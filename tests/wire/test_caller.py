"""Retry by meaning, on virtual time and a scripted line."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from shared.errors import (
    BookingSyncError,
    DeniedError,
    GoneError,
    NotSentError,
    OutcomeUnknownError,
    PreconditionError,
    RefusedError,
    ThrottledError,
    UnavailableError,
)
from shared.http import Caller, HttpRequest, HttpResponse

type Step = HttpResponse | BookingSyncError


class StoppedClock:
    """Time that passes only while somebody sleeps on it."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 21, 12, tzinfo=UTC)
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += timedelta(seconds=seconds)


class Line:
    """A transport that follows a script; asking for more than it holds fails the test."""

    def __init__(self, *script: Step) -> None:
        self.script = list(script)
        self.sent: list[HttpRequest] = []

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.sent.append(request)
        step = self.script.pop(0)
        if isinstance(step, BookingSyncError):
            raise step
        return step


class Counted:
    """Tokens that are numbered."""

    def __init__(self) -> None:
        self.number = 1

    async def token(self, scope: str) -> str:
        return f"{scope}-{self.number}"

    def discard(self, scope: str, token: str) -> None:
        assert token == f"{scope}-{self.number}"
        self.number += 1


def answer(status: int, code: str = "", **headers: str) -> HttpResponse:
    body = f'{{"error":{{"code":"{code}","message":"secret subject"}}}}' if code else ""
    return HttpResponse(
        status=status, headers={name.replace("_", "-"): value for name, value in headers.items()}, body=body.encode()
    )


OK = HttpResponse(status=200, body=b"{}")
UNKNOWN = OutcomeUnknownError("no answer")
NOT_SENT = NotSentError("no connection")


def caller(line: Line) -> tuple[Caller, StoppedClock]:
    clock = StoppedClock()
    made = Caller(base="https://service", scope="s", transport=line, tokens=Counted(), clock=clock, random=Random(1))
    return made, clock


@pytest.mark.parametrize(
    ("method", "repeatable", "failure"),
    [
        ("GET", False, answer(503)),
        ("GET", False, UNKNOWN),
        ("GET", False, NOT_SENT),
        ("PATCH", True, answer(504)),
        ("PATCH", True, UNKNOWN),
        ("POST", False, answer(429)),
        ("POST", False, NOT_SENT),
    ],
    ids=str,
)
async def test_repeated_because_it_cannot_harm(method: str, failure: Step, *, repeatable: bool) -> None:
    line = Line(failure, OK)
    call, clock = caller(line)
    assert (await call.call(method, "/x", repeatable=repeatable)).status == 200
    assert len(line.sent) == 2
    assert len(clock.slept) == 1


@pytest.mark.parametrize("failure", [answer(500), answer(503), answer(504), UNKNOWN], ids=str)
async def test_r2_a_write_that_may_have_happened_is_not_repeated(failure: Step) -> None:
    line = Line(failure)
    with pytest.raises(OutcomeUnknownError):
        await caller(line)[0].call("POST", "/x", body={})
    assert len(line.sent) == 1


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, RefusedError),
        (403, DeniedError),
        (404, GoneError),
        (409, RefusedError),
        (410, GoneError),
        (412, PreconditionError),
        (413, RefusedError),
        (501, RefusedError),
    ],
)
async def test_what_cannot_get_better_is_not_repeated(status: int, error: type[Exception]) -> None:
    line = Line(answer(status))
    with pytest.raises(error):
        await caller(line)[0].call("GET", "/x")
    assert len(line.sent) == 1


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [("2.128", 2.128), ("7", 7.0), ("Sat, 21 Nov 2026 12:00:09 GMT", 9.0)],
    ids=["fraction", "whole", "date"],
)
async def test_retry_after_is_the_least_it_waits(retry_after: str, seconds: float) -> None:
    call, clock = caller(Line(answer(429, retry_after=retry_after), OK))
    await call.call("GET", "/x")
    assert clock.slept == [pytest.approx(seconds)]


async def test_more_patience_than_a_call_has_is_handed_back() -> None:
    line = Line(answer(429, retry_after="120"))
    call, clock = caller(line)
    with pytest.raises(ThrottledError) as caught:
        await call.call("GET", "/x")
    assert caught.value.retry_after == timedelta(seconds=120)
    assert clock.slept == []


async def test_attempts_are_bounded() -> None:
    line = Line(*[answer(503)] * 10)
    with pytest.raises(UnavailableError):
        await caller(line)[0].call("GET", "/x")
    assert len(line.sent) == 5


async def test_a_401_gets_one_fresh_token() -> None:
    line = Line(answer(401), OK)
    await caller(line)[0].call("POST", "/x", body={})
    assert [request.headers["Authorization"] for request in line.sent] == ["Bearer s-1", "Bearer s-2"]


async def test_a_second_401_is_final() -> None:
    line = Line(answer(401), answer(401))
    with pytest.raises(DeniedError):
        await caller(line)[0].call("GET", "/x")


@pytest.mark.parametrize(
    "make",
    [
        lambda: answer(400, "ErrorInvalidRequest"),
        lambda: HttpResponse(status=500, body=b"<html>secret subject</html>"),
        lambda: HttpResponse(status=400, body=b'["secret subject"]'),
    ],
    ids=["json", "html", "odd json"],
)
async def test_an_error_names_codes_and_never_content(make: Callable[[], HttpResponse]) -> None:
    with pytest.raises(BookingSyncError) as caught:
        await caller(Line(*[make()] * 5))[0].call("GET", "/x?subject=secret subject")
    assert "secret" not in str(caught.value)

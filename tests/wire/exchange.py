"""A Graph of a few lines on virtual time: it holds clients to the laws of envelopes and mailboxes, and nothing else.

The sandbox knows what an event is; this one knows only addresses, so that thousands of operations cost nothing, and it
breaks envelopes in ways that a test chooses.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from sandbox.clock import Clock
from shared.dispatch import Dispatcher
from shared.errors import BookingSyncError
from shared.graph.envelope import JsonBatch
from shared.graph.lanes import Mailboxes
from shared.http import Caller, HttpRequest, HttpResponse
from tests.simulation.world import START

BASE = "https://graph"
type Answered = dict[str, Any]


@dataclass
class Sent:
    """One HTTP request and the names of the operations in it, `mailbox/name`."""

    at: float
    names: list[str]
    token: str
    timeout: float
    until: float = 0.0

    @property
    def mailboxes(self) -> Counter[str]:
        return Counter(name.partition("/")[0] for name in self.names)


@dataclass
class Exchange:
    """Implements `Transport`. Operations are `METHOD /v1.0/users/{mailbox}/events/{name}`."""

    seconds: Callable[[str], float] = lambda _: 0.33
    """How long an operation takes, by its name."""
    bears: int = 4
    """How many operations a mailbox bears at once."""
    retry_after: float = 1.0
    spoil: Callable[[list[Answered]], object] = list
    """What becomes of the answers of an envelope: JSON, a response, or an error to be raised."""
    before: Callable[[Sent], HttpResponse | BookingSyncError | None] = lambda _: None
    """What happens to a request before anything in it is done."""
    refuses_tokens: set[str] = field(default_factory=set)
    sent: list[Sent] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    refused: int = 0
    busy: Counter[str] = field(default_factory=Counter)
    most_busy: Counter[str] = field(default_factory=Counter)
    most_open: int = 0
    open: int = 0

    async def send(self, request: HttpRequest) -> HttpResponse:
        loop = asyncio.get_running_loop()
        parts = self._parts(request)
        token = request.headers["Authorization"].removeprefix("Bearer ")
        sent = Sent(loop.time(), [name_of(part["url"]) for part in parts], token, request.timeout)
        self.sent.append(sent)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            return await self._answer(request, parts, sent)
        finally:
            self.open -= 1
            sent.until = loop.time()

    async def _answer(self, request: HttpRequest, parts: list[Answered], sent: Sent) -> HttpResponse:
        if sent.token in self.refuses_tokens:
            return answer(401, "InvalidAuthenticationToken")
        match self.before(sent):
            case HttpResponse() as instead:
                return instead
            case BookingSyncError() as error:
                raise error
        if not is_envelope(request):
            [part] = parts
            return as_response(await self._serve(part))
        gate = asyncio.Semaphore(4)

        async def one(part: Answered) -> Answered:
            async with gate:
                return {"id": part["id"], **await self._serve(part)}

        answers = list(await asyncio.gather(*map(one, parts)))
        Random(len(self.sent)).shuffle(answers)
        match self.spoil(answers):
            case HttpResponse() as instead:
                return instead
            case BookingSyncError() as error:
                raise error
            case body:
                return HttpResponse(status=200, body=json.dumps({"responses": body}).encode())

    def _parts(self, request: HttpRequest) -> list[Answered]:
        if not is_envelope(request):
            assert request.url.startswith(f"{BASE}/v1.0/users/"), request.url
            return [{"id": "", "method": request.method, "url": request.url.removeprefix(f"{BASE}/v1.0")}]
        assert request.method == "POST"
        assert request.headers["Content-Type"] == "application/json"
        parts: list[Answered] = json.loads(request.body or b"")["requests"]
        assert 2 <= len(parts) <= 20, "an envelope of one is a waste, more than twenty are refused"
        assert len({part["id"] for part in parts}) == len(parts)
        for part in parts:
            assert part["url"].startswith("/users/"), part["url"]
            assert ("body" in part) <= (part["headers"].get("Content-Type") == "application/json")
            assert not {"authorization", "accept"} & {name.lower() for name in part["headers"]}
        return parts

    async def _serve(self, part: Answered) -> Answered:
        name = name_of(part["url"])
        mailbox = name.partition("/")[0]
        if self.busy[mailbox] >= self.bears:
            self.refused += 1
            error = {"code": "ApplicationThrottled", "message": "Application is over its MailboxConcurrency limit."}
            return {"status": 429, "headers": {"Retry-After": f"{self.retry_after:g}"}, "body": {"error": error}}
        self.busy[mailbox] += 1
        self.most_busy[mailbox] = max(self.most_busy[mailbox], self.busy[mailbox])
        try:
            await asyncio.sleep(self.seconds(name))
        finally:
            self.busy[mailbox] -= 1
        self.done.append(name)
        return {"status": 200, "headers": {"Content-Type": "application/json"}, "body": {"name": name}}


def name_of(url: str) -> str:
    """`mailbox/name` of an operation's address."""
    _, _, mailbox, _, name = url.split("/")
    return f"{mailbox}/{name}"


def is_envelope(request: HttpRequest) -> bool:
    return request.url == f"{BASE}/v1.0/$batch"


def as_response(answered: Answered) -> HttpResponse:
    headers = {name.lower(): value for name, value in answered["headers"].items()}
    return HttpResponse(status=answered["status"], headers=headers, body=json.dumps(answered["body"]).encode())


def answer(status: int, code: str = "", **headers: str) -> HttpResponse:
    """An error in Graph's words."""
    body = json.dumps({"error": {"code": code, "message": "words"}}).encode() if code else b""
    return HttpResponse(
        status=status, headers={name.replace("_", "-"): value for name, value in headers.items()}, body=body
    )


class Numbered:
    """Implements `Tokens`: t1, and the next one whenever the last was refused."""

    def __init__(self) -> None:
        self.number = 1

    async def token(self, _scope: str) -> str:
        return f"t{self.number}"

    def discard(self, _scope: str, token: str) -> None:
        if token == f"t{self.number}":
            self.number += 1


class Client:
    """What stands before an `Exchange` in the app."""

    def __init__(self, exchange: Exchange, *, most: int = 16) -> None:
        self.exchange = exchange
        self.clock = Clock(START)
        self.tokens = Numbered()
        self.dispatcher = Dispatcher(exchange, lanes=Mailboxes(most), form=JsonBatch(BASE), clock=self.clock)
        self.caller = Caller(
            base=BASE, scope="s", transport=self.dispatcher, tokens=self.tokens, clock=self.clock, random=Random(1)
        )

    async def call(self, name: str, method: str = "PATCH", **options: Any) -> str:
        """Carry out `mailbox/name` and give what the answer names."""
        mailbox, _, event = name.partition("/")
        options = {"repeatable": method == "PATCH", "body": None if method == "GET" else {"a": "ä"}, **options}
        path = f"/v1.0/users/{mailbox}/events/{event}"
        response = await self.caller.call(method, path, lane=mailbox, **options)
        return str(response.json()["name"])

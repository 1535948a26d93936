"""The other end of notifications."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from sandbox.cloud import Cloud
from sandbox.http import Json, Request, Response

URL = "https://functions.test/api/graph/notifications"
LIFECYCLE_URL = "https://functions.test/api/graph/lifecycle"
TEXT = {"Content-Type": "text/plain"}

type Answer = int | Exception | tuple[float, int]
"""A status, no answer at all, or a status after some seconds."""


def echo(request: Request) -> Response:
    """What a receiver says to a validation."""
    return Response(status=200, headers=TEXT, body=dict(request.query)["validationToken"].encode())


@dataclass(slots=True)
class Receiver:
    """Keeps every post with its time, validates, and answers what `answers` says, 202 at its end."""

    cloud: Cloud
    answers: list[Answer] = field(default_factory=list)
    validate: Callable[[Request], Response] = echo
    validations: list[Request] = field(default_factory=list)
    posts: list[tuple[datetime, Request, float]] = field(default_factory=list)

    async def send(self, request: Request, seconds: float) -> Response:
        """Take one request, which waits `seconds` for its answer."""
        if "validationToken" in dict(request.query):
            self.validations.append(request)
            return self.validate(request)
        self.posts.append((self.cloud.clock.now(), request, seconds))
        match self.answers.pop(0) if self.answers else 202:
            case Exception() as trouble:
                raise trouble
            case (float() | int() as after, int() as status):
                async with asyncio.timeout(seconds):
                    await asyncio.sleep(after)
                return Response(status=status)
            case status:
                assert isinstance(status, int)
                return Response(status=status)

    @property
    def bodies(self) -> list[Json]:
        """The posts' JSON."""
        return [request.json() for _, request, _ in self.posts]

    @property
    def items(self) -> list[Json]:
        """All notifications, whatever post they came in."""
        return [item for body in self.bodies for item in body["value"]]

    def told(self) -> list[tuple[str, str]]:
        """What was said of which item."""
        return [(item["changeType"], item["resourceData"]["id"]) for item in self.items]

    def times(self) -> list[float]:
        """When the posts came, in seconds after the first one."""
        return [(at - self.posts[0][0]).total_seconds() for at, _, _ in self.posts]

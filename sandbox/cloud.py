"""The cloud as one object: its services, its time, its request log, its faults.

`Cloud.serve` is the only way into a service, from a socket and from inside a batch alike, so nothing escapes the log
or the faults.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol

from sandbox.clock import Clock
from sandbox.faults import Faults
from sandbox.http import HttpError, Json, Request, Response, Send
from sandbox.recorder import Call, Recorder
from sandbox.settings import Settings

type Watcher = Callable[[Call, Request, Response], None]
"""Is told every answered call, whatever became of it on its way."""

WATCHERS: list[Watcher] = []
"""Who watches all clouds of this process; the tests compare the answers with Microsoft's schema."""


class Service(Protocol):
    """One simulated service."""

    name: str

    async def handle(self, request: Request, call: Call) -> Response:
        """Answer one call; what the service learns about it (mailbox, app) goes into the log entry `call`."""

    def error(self, status: int, code: str, message: str) -> Response:
        """An error answer in the shape of this service."""

    def is_envelope(self, request: Request) -> bool:
        """Whether the call is a batch, whose parts are logged on their own."""

    def reset(self) -> None:
        """Forget all state."""


class Cloud:
    """Everything the simulators share. One seed makes all ids and keys reproducible."""

    def __init__(self, *, clock: Clock | None = None, seed: int = 0) -> None:
        """Make an empty cloud; services add themselves with `add`."""
        self.clock = clock or Clock()
        self.random = random.Random(seed)  # noqa: S311 - reproducible ids, no secrets
        self.recorder = Recorder()
        self.faults = Faults(self.clock)
        self.settings = Settings()
        self.services: dict[str, Service] = {}
        self.send: Send = _nobody_listens

    def add(self, service: Service) -> None:
        """Put a service into the cloud under its name."""
        self.services[service.name] = service

    def new_id(self) -> str:
        """A fresh GUID from the cloud's seed."""
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    async def serve(self, name: str, request: Request, *, within: Call | None = None) -> Response:
        """Pass one call to the service `name`: logged, with the faults in force, errors in the service's shape.

        `within` is the batch that the call is a part of. A caller that goes away changes nothing: what a service has
        begun it finishes, and there is nobody to tell.
        """
        serving = asyncio.Task(self._serve(name, request, within), loop=asyncio.get_running_loop(), eager_start=True)
        return serving.result() if serving.done() else await asyncio.shield(serving)

    async def _serve(self, name: str, request: Request, within: Call | None) -> Response:
        service = self.services[name]
        call = self.recorder.start(
            self.clock.now(),
            name,
            request.method,
            request.path,
            within=within,
            envelope=service.is_envelope(request),
        )
        call.app = app_of(request)

        async def serve(request: Request) -> Response:
            try:
                return await service.handle(request, call)
            except HttpError as refused:
                return refused.response

        try:
            response = await self.faults.around(call, request, serve, service.error)
        except Exception:
            self.recorder.finish(call, HTTPStatus.INTERNAL_SERVER_ERROR)
            raise
        self.recorder.finish(call, response.status)
        for watch in WATCHERS:
            watch(call, request, response)
        return response

    def reset(self) -> None:
        """Forget everything but the time: the state of all services, the log, the faults, the settings."""
        for service in self.services.values():
            service.reset()
        self.faults.clear()
        self.settings.reset()
        self.recorder.clear()


async def _nobody_listens(request: Request, _seconds: float) -> Response:
    """What `Cloud.send` is until somebody connects the cloud to the outside."""
    raise ConnectionError(f"the sandbox has no way out to {request.base}")


def claims_of(request: Request) -> Json:
    """The unchecked claims of the bearer token, `{}` when there is none; services check the signature themselves."""
    scheme, _, token = request.header("authorization").partition(" ")
    parts = token.split(".")
    if scheme.lower() != "bearer" or len(parts) != 3:  # noqa: PLR2004 - header.payload.signature
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return {}
    return claims if isinstance(claims, dict) else {}


def app_of(request: Request) -> str:
    """The calling application's id as the token names it, for the log."""
    return str(claims_of(request).get("appid", ""))

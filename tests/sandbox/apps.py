"""Applications that call the simulators directly, and what they write."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from sandbox.cloud import Cloud
from sandbox.directory import Application
from sandbox.entra.tokens import Tokens
from sandbox.http import Json, Request, Response

ALICE, BOB, ROOM, UNLICENSED = (
    "alice@contoso.test",
    "bob@contoso.test",
    "room-1@contoso.test",
    "unlicensed@contoso.test",
)
BOOKING = "String {66f5a359-4659-4830-9070-00040ec6ac6e} Name BookingId"
IMMUTABLE = {"Prefer": 'IdType="ImmutableId"'}


def an_event(**changes: Json) -> dict[str, Json]:
    """The body of a create; `changes` replace or add properties."""
    return {
        "subject": "Boiler check",
        "start": {"dateTime": "2026-03-02T09:00:00", "timeZone": "UTC"},
        "end": {"dateTime": "2026-03-02T10:00:00", "timeZone": "UTC"},
        **changes,
    }


def times(start: str, end: str, zone: str = "UTC") -> dict[str, Json]:
    """The start and end of a body."""
    return {"start": {"dateTime": start, "timeZone": zone}, "end": {"dateTime": end, "timeZone": zone}}


@dataclass(slots=True)
class App:
    """One application with a token for Graph."""

    cloud: Cloud
    tokens: Tokens
    application: Application
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        token = self.tokens.issue(self.application, "https://graph.microsoft.com", self.application.graph_roles)
        self.headers = {"Authorization": f"Bearer {token}", **self.headers}

    async def call(
        self, method: str, path: str, body: Json = None, *, headers: Mapping[str, str] | None = None, **query: str
    ) -> Response:
        """Call `path` below the version root; the names of `query` are OData options without their dollar sign."""
        named = {name if name.endswith("DateTime") else f"${name}": value for name, value in query.items()}
        url = f"https://localhost:4444/v1.0{path}" + (f"?{urlencode(named)}" if named else "")
        sent = {**self.headers, **(headers or {})}
        content = b"" if body is None else json.dumps(body).encode()
        if content:
            sent.setdefault("Content-Type", "application/json")
        return await self.cloud.serve("graph", Request.of(method, url, headers=sent, body=content))

    async def get(self, path: str, *, headers: Mapping[str, str] | None = None, **query: str) -> Response:
        return await self.call("GET", path, headers=headers, **query)

    async def list(self, path: str, *, headers: Mapping[str, str] | None = None, **query: str) -> list[Json]:
        """The items of one page."""
        answer = await self.get(path, headers=headers, **query)
        assert answer.status == 200, answer.body
        found: list[Json] = answer.json()["value"]
        return found

    async def create(self, user: str = ALICE, *, headers: Mapping[str, str] | None = None, **changes: Json) -> Json:
        """A created event as the service returned it."""
        answer = await self.call("POST", f"/users/{user}/events", an_event(**changes), headers=headers)
        assert answer.status == 201, answer.body
        return answer.json()


def code(answer: Response) -> tuple[int, str]:
    """Status and code of a refusal."""
    return answer.status, answer.json()["error"]["code"]

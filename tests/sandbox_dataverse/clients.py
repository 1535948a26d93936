"""Who calls the environment, and who is called by it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from sandbox.cloud import Cloud
from sandbox.directory import Application
from sandbox.entra.tokens import Tokens
from sandbox.http import Json, Request, Response
from sandbox.install import Registration, register_webhooks
from sandbox.seed import Contoso

BASE = "https://dataverse.test"
ROOT = f"{BASE}/api/data/v9.2"
WEBHOOK = "https://functions.test/api/dataverse"
KEY = "function/key=="


@dataclass(slots=True)
class Client:
    """One application that calls the Web API."""

    cloud: Cloud
    tokens: Tokens
    application: Application
    headers: dict[str, str] = field(default_factory=dict)

    async def call(
        self, method: str, path: str, body: Json = None, *, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Call `path`, which is relative to the root of the Web API or absolute."""
        sent = {
            "Authorization": f"Bearer {self.tokens.issue(self.application, BASE)}",
            "Accept": "application/json",
            "OData-Version": "4.0",
            "OData-MaxVersion": "4.0",
            "If-None-Match": "null",
            **self.headers,
            **(headers or {}),
        }
        content = b""
        if isinstance(body, bytes):
            content = body
        elif body is not None:
            content = json.dumps(body).encode()
            sent = {"Content-Type": "application/json", **sent}
        url = path if path.startswith("https:") else f"{ROOT}/{path}"
        return await self.cloud.serve("dataverse", Request.of(method, url, headers=sent, body=content))

    async def get(self, path: str, **headers: str) -> Json:
        """The JSON of a successful read."""
        answer = await self.call("GET", path, headers={name.replace("_", "-"): one for name, one in headers.items()})
        assert answer.status == 200, answer.body
        return answer.json()

    async def create(self, entity_set: str, body: Json) -> str:
        """The id of a new row."""
        answer = await self.call("POST", entity_set, body)
        assert answer.status == 204, answer.body
        return answer.headers["OData-EntityId"].rpartition("(")[2].rstrip(")")

    async def patch(self, path: str, body: Json, **headers: str) -> None:
        """A successful update."""
        answer = await self.call("PATCH", path, body, headers={"If-Match": "*", **headers})
        assert answer.status == 204, answer.body


@dataclass(slots=True)
class Receiver:
    """The other end of the webhooks: keeps every post and answers what `answers` says, 200 at its end."""

    posts: list[Request] = field(default_factory=list)
    answers: list[int | Exception] = field(default_factory=list)

    async def send(self, request: Request, seconds: float) -> Response:
        """Take one post."""
        assert seconds == 60.0
        self.posts.append(request)
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, Exception):
            raise answer
        return Response(status=answer)

    @property
    def bodies(self) -> list[Json]:
        """The posts' JSON."""
        return [post.json() for post in self.posts]


async def register(client: Client) -> Registration:
    """Have what happens to bookings posted to `WEBHOOK`."""

    async def call(method: str, path: str, body: Json) -> tuple[int, Json, Mapping[str, str]]:
        answer = await client.call(method, path, body)
        return answer.status, answer.json() if answer.body else None, answer.headers

    return await register_webhooks(call, url=WEBHOOK, key=KEY)


def a_booking(contoso: Contoso, **changes: Json) -> dict[str, Json]:
    """The body of a create; `changes` replace or add properties, `...` takes one away."""
    body = {
        "name": "Boiler service",
        "starttime": "2026-03-02T08:00:00Z",
        "endtime": "2026-03-02T09:30:00Z",
        "duration": 90,
        "bookingtype": 1,
        "Resource@odata.bind": f"/bookableresources({contoso.resource('alice')})",
        "BookingStatus@odata.bind": f"/bookingstatuses({contoso.statuses['Scheduled']})",
        "msdyn_workorder@odata.bind": f"/msdyn_workorders({contoso.work_orders['WO-00001']})",
    }
    return {name: value for name, value in {**body, **changes}.items() if value is not ...}


def by_key(pairs: Json) -> dict[str, Json]:
    """A list of key-value pairs as a dict."""
    return {pair["key"]: pair["value"] for pair in pairs}

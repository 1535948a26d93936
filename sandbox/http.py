"""HTTP as values: what every simulator takes and gives, and a small router.

No sockets here. `sandbox.server` puts these behind TLS; a simulation calls them directly.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

type Json = Any
"""A value that came from or goes to JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call as a service receives it.

    `path` is raw (still percent-encoded), so that a slash inside an id stays distinguishable. `headers` have lower-case
    names. `base` is the scheme and authority the caller used, without a trailing slash.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    base: str = "https://localhost"

    @classmethod
    def of(
        cls, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"", base: str = ""
    ) -> Request:
        """Take a URL apart; a relative one keeps `base`."""
        parts = urlsplit(url)
        return cls(
            method=method.upper(),
            path=parts.path or "/",
            query=tuple(parse_qsl(parts.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in (headers or {}).items()},
            body=body,
            base=f"{parts.scheme}://{parts.netloc}" if parts.netloc else base,
        )

    @property
    def segments(self) -> tuple[str, ...]:
        """The decoded path segments."""
        return tuple(unquote(part) for part in self.path.split("/") if part)

    def header(self, name: str, default: str = "") -> str:
        """One header's value; names are case-insensitive."""
        return self.headers.get(name.lower(), default)

    def prefer(self) -> dict[str, str]:
        """The `Prefer` header as names to values (an empty value for a bare token), quotes taken off.

        Preferences may be joined by commas; a comma inside quotes does not separate (RFC 7240 section 2).
        """
        found: dict[str, str] = {}
        for match in re.finditer(r'([^\s,;="]+)(?:\s*=\s*(?:"([^"]*)"|([^\s,;]*)))?', self.header("prefer")):
            found[match[1].lower()] = match[2] if match[2] is not None else (match[3] or "")
        return found

    def json(self) -> Json:
        """The body as JSON. Raises `ValueError` when it is none."""
        return json.loads(self.body)

    def without_prefix(self, prefix: str) -> Request:
        """The same call below `prefix`."""
        return replace(self, path=self.path.removeprefix(prefix) or "/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One answer. `dropped` means the connection breaks instead: the caller never learns what happened."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    dropped: bool = False

    @classmethod
    def of_json(cls, status: int, value: Json, headers: Mapping[str, str] | None = None) -> Response:
        """An answer with a JSON body."""
        body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        return cls(status=status, headers={"Content-Type": "application/json", **(headers or {})}, body=body)

    def json(self) -> Json:
        """The body as JSON. Raises `ValueError` when it is none."""
        return json.loads(self.body)


class HttpError(Exception):
    """A refusal on its way out: services raise it anywhere below a handler, the service turns it into its response."""

    def __init__(self, response: Response) -> None:
        """Carry `response` to the edge."""
        super().__init__(f"HTTP {response.status}")
        self.response = response


type Handler = Callable[..., Awaitable[Response]]

type Send = Callable[[Request, float], Awaitable[Response]]
"""An outgoing call of a simulator (a webhook post, a notification), answered within the given seconds.

Raises `TimeoutError` or `ConnectionError`; `Request.base` names the receiver.
"""


@dataclass(frozen=True, slots=True)
class Route:
    """One operation: `template` has `{name}` for one segment."""

    method: str
    template: str
    handler: Handler

    def match(self, segments: tuple[str, ...]) -> dict[str, str] | None:
        """The values of the template's names, or `None` when the path is another one. Literals ignore case."""
        wanted = tuple(part for part in self.template.split("/") if part)
        if len(wanted) != len(segments):
            return None
        values: dict[str, str] = {}
        for want, got in zip(wanted, segments, strict=True):
            if want.startswith("{") and want.endswith("}"):
                values[want[1:-1]] = got
            elif want.lower() != got.lower():
                return None
        return values


@dataclass(frozen=True, slots=True)
class Matched:
    """What the router found: the route and the values of its names."""

    route: Route
    values: dict[str, str]


class Router:
    """Finds the operation of a call; templates with more literal segments win."""

    def __init__(self, routes: list[Route]) -> None:
        """Order `routes` so that the most literal template is tried first."""
        self.routes = sorted(routes, key=lambda route: route.template.count("{"))

    def find(self, request: Request) -> Matched | None:
        """The route of `request`, or `None` when no template and method fit."""
        segments = request.segments
        for route in self.routes:
            if route.method == request.method and (values := route.match(segments)) is not None:
                return Matched(route, values)
        return None

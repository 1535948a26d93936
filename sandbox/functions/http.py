"""HTTP triggers: a request becomes what the worker expects, the worker's answer a response.

The conversions are those of azure-functions-host `GrpcMessageConversionExtensions.cs`, the key check is that of its
`AuthenticationLevelHandler.cs`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from hmac import compare_digest
from http import HTTPStatus
from typing import Any, Literal

from aiohttp import web

from sandbox.functions.invocations import Invocations
from sandbox.functions.routes import ANY_METHOD, Routes, Template
from sandbox.functions.settings import HttpLimits, SettingsError
from sandbox.functions.worker import Function, InvocationError, Message, TypedData

MAX_BODY = 100 * 1024 * 1024
"""The host's limit of a request's body (documentation: "Azure Functions HTTP trigger, Limits")."""

_CONNECTION_HEADERS = frozenset({"connection", "content-length", "keep-alive", "transfer-encoding"})
_SAME_SITE: dict[int, Literal["Lax", "Strict", "None"]] = {1: "Lax", 2: "Strict", 3: "None"}


def _new_key() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The app's access keys: the master key, the host key for all functions, and keys of single functions."""

    master: str = field(default_factory=_new_key)
    host: str = field(default_factory=_new_key)
    functions: Mapping[str, str] = field(default_factory=dict)

    def allow(self, request: web.BaseRequest, level: str, function: str = "") -> bool:
        """Whether `request` may call something of this authorisation level.

        The header goes before the query: a wrong key in the header is not mended by a right one in the query.
        """
        given = request.headers.get("x-functions-key")
        if given is None:
            given = request.query.get("code", "")
        accepted = [self.master]
        if level == "function":
            accepted += [self.host, *(key for name, key in self.functions.items() if name == function)]
        return level == "anonymous" or any(compare_digest(given.encode(), key.encode()) for key in accepted)


@dataclass(frozen=True, slots=True)
class _Target:
    function: Function
    level: str


class HttpTriggers:
    """The HTTP functions of an app behind one handler."""

    def __init__(self, functions: Iterable[Function], invocations: Invocations, keys: Keys, limits: HttpLimits) -> None:
        """Lay out the routes. Raises `SettingsError` when two functions want the same calls."""
        self._invocations = invocations
        self._keys = keys
        self._outstanding = 0
        self._max_outstanding = limits.max_outstanding
        self._turn = asyncio.Semaphore(limits.max_concurrent) if limits.max_concurrent else nullcontext()
        self._routes: Routes[_Target] = Routes()
        for function in functions:
            trigger = function.trigger.properties
            level = str(trigger.get("authLevel", "function")).lower()
            template = Template(f"{limits.route_prefix}/{str(trigger.get('route', function.name)).strip('/')}")
            methods = frozenset(str(method).upper() for method in trigger.get("methods") or ()) or ANY_METHOD
            if other := self._routes.add(template, methods, _Target(function, level)):
                raise SettingsError(
                    f"the functions '{other.function.name}' and '{function.name}' share the route '/{template.text}' "
                    f"and a method of it"
                )

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one call: 404 without a route, 401 without a key, 429 above the limit, 500 when the function fails."""
        found = self._routes.find(request.method, request.rel_url.raw_path)
        if found is None:
            return web.Response(status=HTTPStatus.NOT_FOUND)
        target, values = found
        if not self._keys.allow(request, target.level, target.function.name):
            return web.Response(status=HTTPStatus.UNAUTHORIZED)
        if self._max_outstanding is not None and self._outstanding >= self._max_outstanding:
            return web.Response(status=HTTPStatus.TOO_MANY_REQUESTS)
        self._outstanding += 1
        try:
            async with self._turn:
                result = await self._invocations.run(
                    target.function,
                    await incoming(request, values),
                    trace_parent=request.headers.get("traceparent", ""),
                    trace_state=request.headers.get("tracestate", ""),
                )
        except InvocationError:
            return web.Response(status=HTTPStatus.INTERNAL_SERVER_ERROR)
        finally:
            self._outstanding -= 1
        return outgoing(result.returned)


async def incoming(request: web.Request, values: Mapping[str, str]) -> TypedData:
    """A request as the worker gets it; `values` are those of the route.

    Header names are in lower case, repeated headers and parameters are joined by commas, parameters without a value
    are dropped, the body is always bytes (the worker announces `RawHttpBodyBytes`).
    """
    return TypedData(
        http=Message(
            method=request.method,
            url=str(request.url),
            headers=_joined(request.headers.items(), lower=True),
            query={name: value for name, value in _joined(request.query.items()).items() if value},
            params=dict(values),
            body=TypedData(bytes=await request.read()),
        )
    )


def _joined(pairs: Iterable[tuple[str, str]], *, lower: bool = False) -> dict[str, str]:
    """Pairs as a mapping whose names ignore case and keep the spelling that came first."""
    spelling: dict[str, str] = {}
    found: dict[str, str] = {}
    for name, value in pairs:
        key = spelling.setdefault(name.lower(), name.lower() if lower else name)
        found[key] = f"{found[key]},{value}" if key in found else value
    return found


def outgoing(returned: TypedData | None) -> web.Response:
    """The worker's return value as a response; a plain string is a text of status 200."""
    if returned is None:
        return web.Response()
    if returned.WhichOneof() != "http":
        return web.Response(text=str(returned.value))
    http = returned.value
    headers = {name: value for name, value in http.headers.items() if name.lower() not in _CONNECTION_HEADERS}
    body = http.body.value if http.body is not None else b""
    response = web.Response(status=int(http.status_code), headers=headers, body=body)
    for cookie in http.cookies or ():
        _set_cookie(response, cookie)
    return response


def _set_cookie(response: web.Response, cookie: Any) -> None:
    expires = None
    if cookie.expires is not None:
        expires = format_datetime(datetime.fromtimestamp(cookie.expires.value.seconds, UTC), usegmt=True)
    response.set_cookie(
        cookie.name,
        cookie.value,
        domain=cookie.domain.value or None if cookie.domain else None,
        path=cookie.path.value or "/" if cookie.path else "/",
        expires=expires,
        max_age=int(cookie.max_age.value) if cookie.max_age else None,
        secure=bool(cookie.secure and cookie.secure.value),
        httponly=bool(cookie.http_only and cookie.http_only.value),
        samesite=_SAME_SITE.get(cookie.same_site),
    )

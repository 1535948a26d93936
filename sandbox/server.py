"""Sockets for the simulators: HTTPS listeners on loopback, and the way out for what a simulator sends by itself."""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import urlencode

import trustme
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web
from yarl import URL

from sandbox.http import Request, Response

log = logging.getLogger(__name__)

MAX_BODY = 4 * 1024 * 1024
"""The most that Microsoft Graph takes in one request (Graph docs, "Use the Microsoft Graph API")."""


class Handler(Protocol):
    """What stands behind a listener."""

    async def handle(self, request: Request) -> Response:
        """Answer one call."""

    def error(self, status: int, code: str, message: str) -> Response:
        """An error in the shape that this service's clients expect."""


class Authority:
    """A throw-away certificate authority; its own certificate is the PEM file `pem`."""

    def __init__(self, directory: Path) -> None:
        """Write the authority's certificate to `ca.pem` in `directory`."""
        self._ca = trustme.CA()
        self.pem = directory / "ca.pem"
        self._ca.cert_pem.write_to_path(self.pem)

    def server_context(self) -> ssl.SSLContext:
        """TLS for a listener called localhost."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._ca.issue_cert("localhost", "127.0.0.1").configure_cert(context)
        return context

    def write_certificate(self) -> tuple[Path, Path]:
        """A certificate for localhost and its key as PEM files beside `pem`, for a listener in another process."""
        issued = self._ca.issue_cert("localhost", "127.0.0.1")
        certificate, key = self.pem.with_name("localhost.pem"), self.pem.with_name("localhost.key")
        issued.cert_chain_pems[0].write_to_path(certificate)
        issued.private_key_pem.write_to_path(key)
        return certificate, key

    def client_context(self) -> ssl.SSLContext:
        """TLS for a client that trusts this authority only."""
        return ssl.create_default_context(cafile=self.pem)


@dataclass(frozen=True, slots=True)
class Listener:
    """An open port."""

    port: int
    _runner: web.ServerRunner
    scheme: str = "https"

    @property
    def base_url(self) -> str:
        """Scheme and authority, without a trailing slash."""
        return f"{self.scheme}://localhost:{self.port}"

    async def close(self) -> None:
        """Close the port and the connections."""
        await self._runner.cleanup()


async def open_listener(handler: Handler, authority: Authority | None, *, port: int = 0) -> Listener:
    """Serve `handler` by HTTPS (without an `authority` by HTTP) on `port` of 127.0.0.1, on a free one for 0.

    Raises `OSError` when the port is taken.
    """

    async def serve(received: web.BaseRequest) -> web.StreamResponse:
        return await _serve(handler, received)

    runner = web.ServerRunner(web.Server(serve, access_log=None), shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=authority.server_context() if authority else None)
    try:
        await site.start()
    except OSError:
        await runner.cleanup()
        raise
    return Listener(runner.addresses[0][1], runner, "https" if authority else "http")


async def _serve(handler: Handler, received: web.BaseRequest) -> web.StreamResponse:
    body = await _body(received)
    if body is None:
        answer = handler.error(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "RequestEntityTooLarge",
            f"The request is larger than {MAX_BODY} bytes.",
        )
    else:
        answer = await _answer(handler, _request(received, body))
    if answer.dropped and received.transport is not None:
        received.transport.abort()
    response = web.Response(status=answer.status or HTTPStatus.BAD_GATEWAY, headers=answer.headers, body=answer.body)
    if body is None:
        response.force_close()  # the rest of the body was not read
    return response


async def _answer(handler: Handler, request: Request) -> Response:
    try:
        return await handler.handle(request)
    except Exception:
        log.exception("the simulator failed at %s %s", request.method, request.path)
        return handler.error(
            HTTPStatus.INTERNAL_SERVER_ERROR, "SandboxFailed", "The simulator itself failed; its log says why."
        )


async def _body(received: web.BaseRequest) -> bytes | None:
    """The body, or `None` when it is too large."""
    body = bytearray()
    async for chunk in received.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY:
            return None
    return bytes(body)


def _request(received: web.BaseRequest, body: bytes) -> Request:
    """The call as a value. A header that was sent several times is joined by commas (RFC 9110 section 5.3)."""
    headers: dict[str, str] = {}
    for name, value in received.headers.items():
        known = headers.get(name.lower())
        headers[name.lower()] = value if known is None else f"{known}, {value}"
    base = f"{received.scheme}://{received.host}"
    return Request.of(received.method, base + received.raw_path, headers=headers, body=body)


class HttpSender:
    """The way out: posts of simulators to the app, by HTTP, or by HTTPS with the sandbox's certificates."""

    def __init__(self, authority: Authority) -> None:
        """Trust `authority` only: a sandbox has nothing to say to the internet."""
        self._authority = authority
        self._session: ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = ClientSession(connector=TCPConnector(ssl=self._authority.client_context()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def __call__(self, request: Request, seconds: float) -> Response:
        """Send one request. Raises `TimeoutError` after `seconds`, `ConnectionError` when there is no answer."""
        if self._session is None:
            raise ConnectionError("the sandbox's way out is closed")
        url = request.base + request.path + (f"?{urlencode(request.query)}" if request.query else "")
        try:
            async with self._session.request(
                request.method,
                URL(url, encoded=True),
                headers=request.headers,
                data=request.body or None,
                timeout=ClientTimeout(total=seconds),
                allow_redirects=False,
            ) as answer:
                headers = {name.lower(): value for name, value in answer.headers.items()}
                return Response(status=answer.status, headers=headers, body=await answer.read())
        except TimeoutError:
            raise
        except (ClientError, OSError) as error:
            raise ConnectionError(f"no answer from {request.base}: {error}") from error

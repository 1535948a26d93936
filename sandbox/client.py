"""A registered application that calls the simulators as any client would: with a token of its own, over HTTPS."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Self

from aiohttp import ClientSession, ClientTimeout, TCPConnector
from yarl import URL

from sandbox.directory import Application
from sandbox.http import Json

_GRAPH_SCOPE = "https://graph.microsoft.com/.default"


class Client:
    """One application in one tenant; an async context manager."""

    def __init__(self, endpoints: Mapping[str, str], ca: Path, tenant_id: str, application: Application) -> None:
        """Call the simulators at `endpoints`, trusting the authority `ca` only."""
        self._endpoints = endpoints
        self._ca = ca
        self._tenant_id = tenant_id
        self._application = application
        self._tokens: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        connector = TCPConnector(ssl=ssl.create_default_context(cafile=self._ca))
        self._session = ClientSession(connector=connector, timeout=ClientTimeout(total=60))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def graph(
        self, method: str, path: str, body: Json = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Json, Mapping[str, str]]:
        """Call Graph below `/v1.0/`: status, JSON (`None` for an empty answer) and headers."""
        return await self._call(_GRAPH_SCOPE, f"{self._endpoints['graph']}/v1.0/{path}", method, body, headers)

    async def dataverse(
        self, method: str, path: str, body: Json = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Json, Mapping[str, str]]:
        """Call the Dataverse Web API: status, JSON (`None` for an empty answer) and headers."""
        root = self._endpoints["dataverse"]
        return await self._call(f"{root}/.default", f"{root}/api/data/v9.2/{path}", method, body, headers)

    async def _call(
        self, scope: str, url: str, method: str, body: Json, headers: Mapping[str, str] | None
    ) -> tuple[int, Json, Mapping[str, str]]:
        is_new = scope not in self._tokens
        everything = {"Authorization": f"Bearer {await self._token(scope)}", **(headers or {})}
        async with self._session.request(method, URL(url, encoded=True), json=body, headers=everything) as answer:
            said = await answer.read()
        if answer.status == HTTPStatus.UNAUTHORIZED and not is_new:
            del self._tokens[scope]  # advancing the clock has ended it
            return await self._call(scope, url, method, body, headers)
        return answer.status, json.loads(said) if said else None, answer.headers

    async def _token(self, scope: str) -> str:
        if scope not in self._tokens:
            form = {
                "grant_type": "client_credentials",
                "client_id": self._application.client_id,
                "client_secret": self._application.secrets[0],
                "scope": scope,
            }
            url = f"{self._endpoints['login']}/{self._tenant_id}/oauth2/v2.0/token"
            async with self._session.post(url, data=form) as answer:
                content = await answer.json()
            if answer.status != HTTPStatus.OK:
                raise PermissionError(f"no token for {scope}: {content.get('error_description')}")
            self._tokens[scope] = content["access_token"]
        return self._tokens[scope]

"""The host's administration API, as far as the sandbox needs it; everything takes the master key.

Shapes of the documentation: "Manually run a non HTTP-triggered function", "Functions host status".
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from http import HTTPStatus
from importlib.metadata import version

from aiohttp import web

from sandbox.functions.http import Keys

type RunNow = Callable[[str, str], None]
"""Runs the named function with the given input, in the background. Raises `KeyError`, or `NotImplementedError`."""


class Admin:
    """`/admin/host/status` and `/admin/functions/{name}`."""

    def __init__(self, keys: Keys, run_now: RunNow) -> None:
        """Guard with `keys`, run functions with `run_now`."""
        self._keys = keys
        self._run_now = run_now
        self._began = time.monotonic()

    def routes(self) -> list[web.RouteDef]:
        """The routes for the host's application."""
        return [web.get("/admin/host/status", self._status), web.post("/admin/functions/{name}", self._run)]

    async def _status(self, request: web.Request) -> web.Response:
        if not self._keys.allow(request, "admin"):
            return web.Response(status=HTTPStatus.UNAUTHORIZED)
        uptime = int((time.monotonic() - self._began) * 1000)
        worker = version("azure-functions-runtime")
        return web.json_response({"id": "sandbox", "state": "Running", "version": worker, "processUptime": uptime})

    async def _run(self, request: web.Request) -> web.Response:
        if not self._keys.allow(request, "admin"):
            return web.Response(status=HTTPStatus.UNAUTHORIZED)
        try:
            content = json.loads(await request.read() or b"{}")
        except ValueError:
            return web.Response(status=HTTPStatus.BAD_REQUEST)
        if not isinstance(content, dict) or not isinstance(content.get("input", ""), str):
            return web.Response(status=HTTPStatus.BAD_REQUEST)
        try:
            self._run_now(request.match_info["name"], content.get("input", ""))
        except KeyError:
            return web.Response(status=HTTPStatus.NOT_FOUND)
        except NotImplementedError as error:
            return web.Response(status=HTTPStatus.NOT_IMPLEMENTED, text=str(error))
        return web.Response(status=HTTPStatus.ACCEPTED)

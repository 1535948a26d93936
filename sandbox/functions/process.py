"""The functions host as a child process: one that can be killed and started again under the same address and keys."""

from __future__ import annotations

import asyncio
import json
import secrets
import ssl
import sys
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from aiohttp import ClientSession, TCPConnector

from sandbox.process import Child, ChildError

_ROOT = Path(__file__).parents[2]
_START_SECONDS = 60.0
_RUN_SECONDS = 60.0
_LOOK_AGAIN = 0.05
_STOP_SECONDS = 15.0
"""More than the grace that the host gives to running functions."""


class HostProcess:
    """One functions host; an async context manager. Its log is the file `log`, appended to by every start."""

    def __init__(
        self,
        app: Path,
        *,
        settings: Mapping[str, str],
        work_dir: Path,
        tls: tuple[Path, Path] | None = None,
        ca: Path | None = None,
        keys: tuple[str, str] | None = None,
        port: int = 0,
        options: tuple[str, ...] = (),
    ) -> None:
        """Prepare to run `app` with `settings` in its environment; `options` go to `python -m sandbox.functions`.

        `tls` are its certificate and key, `ca` the authority behind them; `keys` are the host key and the master key,
        random ones if not given. Without a `port` it takes a free one. Other `settings` count from the next start on.
        """
        self.log = work_dir / "functions.log"
        self.host_key, self.master_key = keys or (secrets.token_urlsafe(16), secrets.token_urlsafe(16))
        self.url = ""
        self._port = port
        self._app = app
        self.settings = dict(settings)
        self._options = [f"--timers={work_dir / 'timers.json'}", *options]
        if tls:
            self._options += [f"--tls-cert={tls[0]}", f"--tls-key={tls[1]}"]
        self._trust = ssl.create_default_context(cafile=ca) if ca else None
        self._child: Child | None = None

    @property
    def pid(self) -> int:
        """The process id of its latest start. Raises `RuntimeError` before the first."""
        if self._child is None:
            raise RuntimeError("the functions host was not started")
        return self._child.pid

    async def __aenter__(self) -> Self:
        """Start it."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop it."""
        await self.stop()

    async def start(self) -> None:
        """Start it, on the port it had before, and wait until it serves. Raises `ChildError` with its own message."""
        began = self.log.stat().st_size if self.log.exists() else 0
        self._child = Child(
            [
                sys.executable,
                "-m",
                "sandbox.functions",
                f"--app={self._app}",
                f"--port={urlsplit(self.url).port or self._port}",
                f"--host-key={self.host_key}",
                f"--master-key={self.master_key}",
                *self._options,
            ],
            env=self.settings,
            cwd=_ROOT,
            log=self.log,
        )
        line = await self._child.read_line(within=_START_SECONDS)
        if not line:
            await self._child.stop()
            raise ChildError(self.log.read_text(encoding="utf-8")[began:].strip() or "the functions host said nothing")
        self.url = json.loads(line)["functions"]

    async def run_function(self, name: str, message: str = "") -> None:
        """Have a timer or queue function run now, as an administrator may, and return when it has ended well.

        `message` is what the queue brings. Raises `RuntimeError` when the host refuses, when the function fails and
        when it takes more than a minute.
        """
        log_read = self.log.stat().st_size
        async with ClientSession(self.url, connector=TCPConnector(ssl=self._trust or True)) as http:
            answer = await http.post(
                f"/admin/functions/{name}", json={"input": message}, headers={"x-functions-key": self.master_key}
            )
            if answer.status != HTTPStatus.ACCEPTED:
                raise RuntimeError(f"'{name}' cannot be run: the functions host answered {answer.status}")
        said = b""
        with suppress(TimeoutError):
            async with asyncio.timeout(_RUN_SECONDS):
                while f"Executed 'Functions.{name}' (".encode() not in said:
                    await asyncio.sleep(_LOOK_AGAIN)
                    said = self.log.read_bytes()[log_read:]
        if f"Executed 'Functions.{name}' (Succeeded)".encode() not in said:
            raise RuntimeError(f"'{name}' did not end well; the log of the functions host says why")

    async def stop(self) -> int:
        """End it as the platform does, with SIGTERM; its exit code, 0 when it is not running."""
        return await self._child.stop(grace=_STOP_SECONDS) if self._child else 0

    async def crash(self) -> None:
        """End it without warning."""
        if self._child:
            await self._child.crash()

    async def wait(self) -> int:
        """Its exit code, once it has ended."""
        return await self._child.wait() if self._child else 0

"""The functions host as a child process: one that can be killed and started again under the same address and keys."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from sandbox.process import Child, ChildError

_ROOT = Path(__file__).parents[2]
_START_SECONDS = 60.0
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
        options: tuple[str, ...] = (),
    ) -> None:
        """Prepare to run `app` with `settings` in its environment; `options` go to `python -m sandbox.functions`."""
        self.log = work_dir / "functions.log"
        self.host_key = secrets.token_urlsafe(16)
        self.master_key = secrets.token_urlsafe(16)
        self.url = ""
        self._app = app
        self._settings = dict(settings)
        self._options = [f"--timers={work_dir / 'timers.json'}", *options]
        if tls:
            self._options += [f"--tls-cert={tls[0]}", f"--tls-key={tls[1]}"]
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
                f"--port={urlsplit(self.url).port or 0}",
                f"--host-key={self.host_key}",
                f"--master-key={self.master_key}",
                *self._options,
            ],
            env=self._settings,
            cwd=_ROOT,
            log=self.log,
        )
        line = await self._child.read_line(within=_START_SECONDS)
        if not line:
            await self._child.stop()
            raise ChildError(self.log.read_text(encoding="utf-8")[began:].strip() or "the functions host said nothing")
        self.url = json.loads(line)["functions"]

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

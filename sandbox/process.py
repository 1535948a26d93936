"""Programs that the sandbox starts: they never outlive it.

On Linux the kernel ends them when the starting process dies, however it dies; elsewhere `stop` and the end of the
interpreter do.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

_BIND_TO_PARENT = """\
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
os.execvp(sys.argv[2], sys.argv[2:])
"""
"""Asks the kernel for SIGTERM at the parent's death (prctl(2), PR_SET_PDEATHSIG = 1), then becomes the program. A
`preexec_fn` would do the same, but is unsafe in a process with threads."""


class ChildError(RuntimeError):
    """A program of the sandbox did not come up."""


class Child:
    """One running program. Start it on a thread that lives as long as the program shall: the event loop's."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        log: Path | None = None,
    ) -> None:
        """Start `command` with `env` on top of this process's environment; stderr goes to `log`, else into stdout."""
        self.name = Path(command[0]).name
        argv = [str(part) for part in command]
        if sys.platform == "linux":
            argv = [sys.executable, "-I", "-S", "-c", _BIND_TO_PARENT, str(os.getpid()), *argv]
        errors = log.open("ab") if log else None
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the command is ours
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors or subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                text=True,
                encoding="utf-8",
                errors="replace",
            )
        finally:
            if errors:
                errors.close()
        self._output: IO[str] = self._process.stdout  # type: ignore[assignment] # a pipe, as asked for above
        atexit.register(self.kill)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, `None` while the program runs."""
        return self._process.poll()

    async def read_line(self, *, within: float) -> str:
        """The next line of its output, `""` at the end; after `within` seconds without one, it is killed."""
        reading = asyncio.create_task(asyncio.to_thread(self._output.readline))
        done, _ = await asyncio.wait([reading], timeout=within)
        if not done:
            self.kill()
            await reading
            await self._ended()
            raise ChildError(f"{self.name} said nothing for {within:g} s")
        return reading.result()

    async def wait(self) -> int:
        """The exit code, once the program has ended."""
        return await asyncio.to_thread(self._process.wait)

    async def stop(self, *, grace: float = 10.0) -> int:
        """Ask it to end, insist after `grace` seconds; the exit code. May be called again."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                await asyncio.to_thread(self._process.wait, grace)
            except subprocess.TimeoutExpired:
                self._process.kill()
        return await self._ended()

    async def crash(self) -> int:
        """End it at once, as a power cut would; the exit code."""
        self._process.kill()
        return await self._ended()

    async def _ended(self) -> int:
        code = await self.wait()
        self._output.close()
        atexit.unregister(self.kill)
        return code

    def kill(self) -> None:
        """End it at once and do not wait long; for the end of the interpreter, where nothing can be awaited."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(5)

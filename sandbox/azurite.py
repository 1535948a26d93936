"""Azurite, Microsoft's Storage emulator (npm package `azurite`), as a child process on free loopback ports.

`dev.py` installs it from `sandbox/node` and puts a fitting Node on the PATH.
"""

from __future__ import annotations

import base64
import re
import secrets
import shutil
from pathlib import Path
from typing import Self

from sandbox.process import Child, ChildError

_SCRIPT = Path(__file__).parents[1] / ".dev" / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
_SERVICES = ("Blob", "Queue", "Table")
_READY = re.compile(r"Azurite (\w+) service is successfully listening at (\S+)")
_ACCOUNT = "sandbox"


class Azurite:
    """A Storage account of its own, in memory or under `location` on disk; an async context manager.

    Disk survives a clean stop; Azurite writes every few seconds only, so a killed one loses its last writes.
    """

    def __init__(self, *, location: Path | None = None) -> None:
        """Prepare an account with a random key; nothing runs yet."""
        self._location = location
        self._key = base64.b64encode(secrets.token_bytes(32)).decode()
        self._child: Child | None = None
        self.connection_string = ""

    async def __aenter__(self) -> Self:
        """Start it and wait until its three services listen."""
        node = shutil.which("node")
        if node is None or not _SCRIPT.exists():
            raise ChildError("Azurite is not installed: start this through 'python3 dev.py'")
        where = ["--location", str(self._location)] if self._location else ["--inMemoryPersistence"]
        ports = [part for service in _SERVICES for part in (f"--{service.lower()}Port", "0")]
        quiet = ["--silent", "--skipApiVersionCheck", "--disableTelemetry"]
        self._child = Child(
            [node, "--no-deprecation", _SCRIPT, *quiet, *where, *ports],
            env={"AZURITE_ACCOUNTS": f"{_ACCOUNT}:{self._key}"},
        )
        try:
            addresses = await self._addresses(self._child)
        except BaseException:
            await self._child.stop()
            raise
        parts = ["DefaultEndpointsProtocol=http", f"AccountName={_ACCOUNT}", f"AccountKey={self._key}"]
        parts += [f"{service}Endpoint={addresses[service]}/{_ACCOUNT}" for service in _SERVICES]
        self.connection_string = ";".join(parts) + ";"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop it and wait until it has saved what it saves."""
        if self._child:
            await self._child.stop()

    async def _addresses(self, child: Child) -> dict[str, str]:
        """The address of each service, as Azurite announces them when they listen."""
        said: list[str] = []
        found: dict[str, str] = {}
        while len(found) < len(_SERVICES):
            line = await child.read_line(within=60)
            if not line:
                raise ChildError(f"Azurite did not start: {''.join(said).strip() or 'no output'}")
            said.append(line)
            if ready := _READY.search(line):
                found[ready[1]] = ready[2]
        return found

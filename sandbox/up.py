"""Everything at once: Storage, the simulated cloud and the app in its functions host, connected and installed.

`Up` is for tests, the demo and `python -m sandbox up`. The simulators run in this process, Azurite and the functions
host in processes of their own; a functions host that dies is started again, as Azure would.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Self

from sandbox.azurite import Azurite
from sandbox.client import Client
from sandbox.clock import Clock
from sandbox.dataverse.routes import ORGANIZATION_ID
from sandbox.directory import Application, known_id
from sandbox.functions.process import HostProcess
from sandbox.functions.settings import AppSettings
from sandbox.install import register_webhooks
from sandbox.process import ChildError
from sandbox.simulators import Simulators
from sandbox.storage import WAITING, AppTable

ROOT = Path(__file__).parents[1]
_LONGEST_PAUSE = 10.0
_LOOK_AGAIN = 0.1


def _to_stderr(message: str) -> None:
    sys.stderr.write(f"{message}\n")


class Up:
    """The whole thing, running between `__aenter__` and `__aexit__`."""

    def __init__(
        self,
        *,
        seed: int = 0,
        clock: Clock | None = None,
        settings: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
        say: Callable[[str], None] = _to_stderr,
    ) -> None:
        """Prepare; `settings` go over the app's sample settings, `options` to the functions host."""
        self._seed = seed
        self._clock = clock
        self._settings = dict(settings or {})
        self._options = tuple(options)
        self._say = say
        self._stack = AsyncExitStack()
        self._watching: asyncio.Task[None] | None = None
        self._tls: tuple[Path, Path]
        self._port = 0
        self.simulators: Simulators
        self.functions: HostProcess
        self.storage = ""
        self.endpoints: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        """Start everything and install the app. Raises `ChildError` with what the failing part said."""
        async with AsyncExitStack() as stack:
            work_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="booking-sync-")))
            self.storage = (await stack.enter_async_context(Azurite())).connection_string
            self.simulators = Simulators(work_dir, seed=self._seed, clock=self._clock)
            await stack.enter_async_context(self.simulators)
            self._tls = self.simulators.write_certificate()
            self._port = free_port()
            self.functions = self._host(work_dir, port=self._port)
            stack.push_async_callback(self.stop_functions_host)
            await self.start_functions_host()
            self.endpoints = {**self.simulators.endpoints, "functions": self.functions.url}
            await self.install()
            self.simulators.page.commands |= {
                "Ask Dynamics": lambda: self.functions.run_function("pull_dataverse"),
                "Ask Outlook": lambda: self.functions.run_function("recover_calendars"),
            }
            await self._get_ready()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop everything."""
        await self._stack.aclose()

    @property
    def functions_log(self) -> Path:
        """The log of the functions host, over all its starts."""
        return self.functions.log

    @property
    def table(self) -> AppTable:
        """The app's rows."""
        return AppTable(self.storage, self._app_settings()["SYNC_TABLE"])

    @property
    def app(self) -> Application:
        """The app's own registration."""
        return self.simulators.directory.applications[known_id("application", "Booking Sync")]

    @property
    def planner(self) -> Application:
        """The registration that stands for the people at their desks, in Dynamics and in Outlook."""
        return self.simulators.directory.applications[known_id("application", "Planner")]

    def client(self, application: Application | None = None) -> Client:
        """A client of the simulators that acts as `application`, as the planner if not given."""
        simulators = self.simulators
        tenant = simulators.directory.tenant_id
        return Client(simulators.endpoints, simulators.ca, tenant, application or self.planner)

    async def install(self) -> None:
        """Register the app's webhooks; also after the control plane's reset and seed."""
        async with self.client() as client:
            url = f"{self.functions.url}/api/dataverse/changes"
            await register_webhooks(client.dataverse, url=url, key=self.functions.host_key)

    async def _get_ready(self) -> None:
        """Have the app do what it does first of all.

        It finds its place in Dataverse's changes, sees what events exist, and subscribes to what happens to them. An
        app that cannot do so is up all the same.
        """
        try:
            await self.functions.run_function("pull_dataverse")
            await self.functions.run_function("drain", "00")
            await self.functions.run_function("keep_subscriptions")
        except RuntimeError as error:
            self._say(str(error))

    async def start_functions_host(self) -> None:
        """Start the functions host and keep it running."""
        await self.functions.start()
        self._watching = asyncio.create_task(self._keep_running())

    async def restart_functions_host(self, settings: Mapping[str, str]) -> None:
        """End the functions host and start it anew, as Azure does when settings change; these count from then on."""
        self._settings |= settings
        await self.stop_functions_host()
        self.functions.settings = self._app_settings()
        await self.start_functions_host()

    async def scale_out(self) -> HostProcess:
        """Start one more functions host on the same storage and with the same keys, as Azure does under load.

        It ends with the rest; nobody starts it again when it dies.
        """
        work_dir = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="booking-sync-"))
        keys = (self.functions.host_key, self.functions.master_key)
        return await self._stack.enter_async_context(self._host(Path(work_dir), keys))

    def _host(self, work_dir: Path, keys: tuple[str, str] | None = None, port: int = 0) -> HostProcess:
        return HostProcess(
            ROOT,
            settings=self._app_settings(),
            work_dir=work_dir,
            tls=self._tls,
            ca=self.simulators.ca,
            keys=keys,
            port=port,
            options=self._options,
        )

    async def quiet(self) -> None:
        """Return when Dataverse and Graph have nothing to post and the app nothing to do."""
        while True:
            await self.simulators.dataverse.webhooks.quiet()
            await self.simulators.graph.notifications.quiet()
            if not await self.table.count(WAITING):
                return
            await asyncio.sleep(_LOOK_AGAIN)

    async def stop_functions_host(self) -> int:
        """End the functions host as Azure does, leave it down; its exit code."""
        await self._stop_watching()
        return await self.functions.stop()

    async def kill_functions_host(self) -> None:
        """End the functions host without warning and leave it down."""
        await self._stop_watching()
        await self.functions.crash()

    async def _stop_watching(self) -> None:
        if self._watching:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
            self._watching = None

    async def _keep_running(self) -> None:
        pause = 0.0
        while True:
            code = await self.functions.wait()
            self._say(f"the functions host ended unexpectedly with code {code}; starting it again")
            await asyncio.sleep(pause)
            try:
                await self.functions.start()
            except ChildError as error:
                self._say(str(error))
                pause = min(pause * 2 or 1.0, _LONGEST_PAUSE)
            else:
                self._say("the functions host runs again")
                pause = 0.0

    def _app_settings(self) -> dict[str, str]:
        endpoints, ca = self.simulators.endpoints, str(self.simulators.ca)
        return {
            **AppSettings.read(ROOT / "local.settings.sample.json").values,
            "AzureWebJobsStorage": self.storage,
            "GRAPH_URL": endpoints["graph"],
            "GRAPH_NOTIFICATION_URL": f"https://localhost:{self._port}",
            "DATAVERSE_URL": endpoints["dataverse"],
            "DATAVERSE_ORGANIZATION_ID": ORGANIZATION_ID,
            "IDENTITY_AUTHORITY": endpoints["login"],
            "IDENTITY_TENANT_ID": self.simulators.directory.tenant_id,
            "IDENTITY_CLIENT_ID": self.app.client_id,
            "KEYVAULT_URL": endpoints["keyvault"],
            # What the platform sets for an app with a managed identity:
            "AZURE_CLIENT_ID": known_id("application", "Booking Sync Identity"),
            "IDENTITY_ENDPOINT": f"{endpoints['identity']}/msi/token",
            "IDENTITY_HEADER": self.simulators.identity.header,
            "SSL_CERT_FILE": ca,
            "REQUESTS_CA_BUNDLE": ca,
            **self._settings,
        }

    def description(self) -> dict[str, object]:
        """Where everything is and how to get in; a client acts as the planner."""
        people = (account for account in self.simulators.directory.accounts.values() if not account.is_room)
        return {
            **{
                name: self.endpoints[name]
                for name in ("page", "graph", "dataverse", "login", "keyvault", "functions", "control")
            },
            "ca": str(self.simulators.ca),
            "tenant_id": self.simulators.directory.tenant_id,
            "client_id": self.planner.client_id,
            "client_secret": self.planner.secrets[0],
            "function_key": self.functions.host_key,
            "users": [account.address for account in people if account.has_mailbox],
        }


async def run(argv: Sequence[str]) -> int:
    """`python -m sandbox up [--json]`: run until SIGTERM or SIGINT. 0 when it was stopped, 1 when it did not start."""
    parser = argparse.ArgumentParser(prog="dev.py up", description="Start the app and a local Microsoft cloud.")
    parser.add_argument("--json", action="store_true", help="print one line of JSON when all is ready")
    given = parser.parse_args(argv)
    serving = asyncio.create_task(_serve(as_json=given.json))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    try:
        await serving
    except ChildError as error:
        _to_stderr(str(error))
        return 1
    except asyncio.CancelledError:
        return 0
    return 0


async def _serve(*, as_json: bool) -> None:
    async with Up() as up:
        description = up.description()
        if as_json:
            lines = [json.dumps(description)]
        else:
            width = max(map(len, description))
            lines = [f"{name:{width}}  {_shown(value)}" for name, value in description.items() if value]
            page = f"Everything is up. Look at {up.endpoints['page']}; Ctrl-C ends it."
            lines += [f"{'log':{width}}  {up.functions_log}", "", page]
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def free_port() -> int:
    """A port on which nobody listens, for a server whose address others have to know before it runs."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _shown(value: object) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)

"""The whole system on one loop: simulators, inbox, queue, engine and the storage twin, with one seed (R12).

A `World` has no sockets, no threads and no real time. What the functions host does in production is three lines here:
a post goes to the inbox, a wake-up starts a drain, a timer wakes what nobody woke.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from random import Random
from typing import Any
from urllib.parse import urlencode, urlsplit

from sandbox.clock import Clock
from sandbox.cloud import Cloud
from sandbox.dataverse.routes import ORGANIZATION_ID, Dataverse
from sandbox.directory import Application, Directory
from sandbox.entra.routes import Entra
from sandbox.graph.events import Event
from sandbox.graph.routes import Graph
from sandbox.http import Request, Response
from sandbox.install import register_webhooks
from sandbox.seed import Contoso, seed_contoso
from shared.app import App, Outside, build
from shared.errors import BookingSyncError, InvalidPostError, NotSentError, OutcomeUnknownError, UnavailableError
from shared.http import HttpRequest, HttpResponse, Tokens, Transport
from shared.secrets import Secrets
from shared.settings import Settings
from shared.sync.model import UNROUTED, Shard
from shared.tables.memory import MemoryTables
from shared.tables.tables import Operation, Stored, Tables

START = datetime(2026, 11, 21, 12, tzinfo=UTC)
LOGIN, GRAPH, DATAVERSE = "https://login.sandbox", "https://graph.sandbox", "https://dataverse.sandbox"
FUNCTIONS = "https://functions.sandbox"
SERVICES = {"login.sandbox": "login", "graph.sandbox": "graph", "dataverse.sandbox": "dataverse"}
TICK = 10.0
LONGEST_PEACE = 12 * 3600.0
"""Virtual seconds within which everything must have come to rest."""


class InProcess:
    """The network between the app and the simulators. Implements `shared.http.Transport`."""

    def __init__(self, cloud: Cloud) -> None:
        """Lead to `cloud`."""
        self._cloud = cloud

    async def send(self, request: HttpRequest) -> HttpResponse:
        """One call. A broken connection is what aiohttp would make of it."""
        service = SERVICES.get(urlsplit(request.url).netloc)
        if service is None:
            raise NotSentError(f"no host {urlsplit(request.url).netloc}")
        asked = Request.of(request.method, request.url, headers=request.headers, body=request.body or b"")
        answer = await self._cloud.serve(service, asked)
        if answer.dropped:
            raise OutcomeUnknownError("the connection broke")
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return HttpResponse(status=answer.status, headers=headers, body=answer.body)


class Crash(BaseException):
    """The worker process dies here; nothing in it can catch that."""


class Fuse:
    """Lets a number of outside calls of the app happen, then kills it: before the next one, or right after it.

    If there is something that happens `instead`, the app goes on after it.
    """

    def __init__(self) -> None:
        """Let everything happen."""
        self.left: int | None = None
        self.after_the_call = False
        self.is_blown = False
        self.instead: Callable[[], None] | None = None

    @property
    def is_dead(self) -> bool:
        """Whether the worker has died."""
        return self.is_blown and self.instead is None

    async def around[T](self, call: Awaitable[T]) -> T:
        """Make one outside call, unless the fuse blows."""
        if self.is_dead:
            call.close()  # type: ignore[attr-defined]
            raise Crash
        blows = self.left == 0
        if blows and self.instead is not None:
            self.is_blown, self.left = True, None
            self.instead()
            return await call
        if self.left is not None:
            self.left -= 1
        if blows and not self.after_the_call:
            self.is_blown = True
            call.close()  # type: ignore[attr-defined]
            raise Crash
        result = await call
        if blows:
            self.is_blown = True
            raise Crash
        return result


class Fused:
    """Tables and transport of one worker process, on one fuse."""

    def __init__(self, fuse: Fuse, tables: Tables, transport: Transport) -> None:
        """Put `fuse` before both."""
        self._fuse = fuse
        self._tables = tables
        self._transport = transport

    async def get(self, partition: str, row: str) -> Stored | None:
        """As `Tables.get`."""
        return await self._fuse.around(self._tables.get(partition, row))

    async def query(self, partition: str, first: str, last: str, limit: int | None = None) -> Sequence[Stored]:
        """As `Tables.query`."""
        return await self._fuse.around(self._tables.query(partition, first, last, limit))

    async def transact(self, partition: str, operations: Sequence[Operation]) -> Sequence[str]:
        """As `Tables.transact`."""
        return await self._fuse.around(self._tables.transact(partition, operations))

    async def send(self, request: HttpRequest) -> HttpResponse:
        """As `Transport.send`."""
        return await self._fuse.around(self._transport.send(request))


class LoginTokens:
    """Tokens from the simulated Entra ID without MSAL's threads. Implements `shared.http.Tokens`."""

    def __init__(self, network: Transport, tenant: str, application: Application, clock: Clock) -> None:
        """Ask as `application`."""
        self._network = network
        self._tenant = tenant
        self._application = application
        self._clock = clock
        self._held: dict[str, tuple[str, datetime]] = {}

    async def token(self, scope: str) -> str:
        """A token that is valid for some minutes."""
        token, until = self._held.get(scope, ("", self._clock.now()))
        if (until - self._clock.now()).total_seconds() > 300:
            return token
        form = {
            "grant_type": "client_credentials",
            "client_id": self._application.client_id,
            "client_secret": self._application.secrets[0],
            "scope": scope,
        }
        try:
            answer = await self._network.send(
                HttpRequest(
                    method="POST",
                    url=f"{LOGIN}/{self._tenant}/oauth2/v2.0/token",
                    headers={"Content-Type": "application/x-www-form-urlencoded"},
                    body=urlencode(form).encode(),
                )
            )
        except OutcomeUnknownError as error:
            raise UnavailableError("no token: the connection broke") from error
        if answer.status >= 500:
            raise UnavailableError(f"no token: {answer.status}")
        assert answer.status == 200, answer.body
        token = str(answer.json()["access_token"])
        self._held[scope] = (token, datetime.fromtimestamp(self._clock.now().timestamp() + 3599, UTC))
        return token

    def discard(self, scope: str, token: str) -> None:
        """Forget a refused token."""
        if self._held.get(scope, ("",))[0] == token:
            del self._held[scope]


class Scene:
    """Contoso in the simulated cloud, and an empty storage; nobody keeps its calendars yet."""

    def __init__(self, seed: int = 0, settings: Mapping[str, str] | None = None) -> None:
        """Build everything; nothing runs yet."""
        self.clock = Clock(START)
        self.cloud = Cloud(clock=self.clock, seed=seed)
        self.directory = Directory()
        self.entra = Entra(self.cloud, self.directory)
        self.graph = Graph(self.cloud, self.directory, self.entra.tokens)
        self.dataverse = Dataverse(self.cloud, self.directory, self.entra.tokens)
        for service in (self.entra, self.graph, self.dataverse):
            self.cloud.add(service)
        self.entra.resources[DATAVERSE] = self.dataverse.name
        self.contoso: Contoso = seed_contoso(self.directory, self.graph, self.dataverse)
        self.network = InProcess(self.cloud)
        self.tables = MemoryTables()
        self.random = Random(seed)
        self.vault: Secrets | None = None
        self.settings = Settings.from_environment(self._environment(settings or {}))
        self._planner: Tokens = LoginTokens(self.network, self.directory.tenant_id, self.contoso.planner, self.clock)

    def new_secret(self) -> str:
        """What nobody can guess, but for the seed."""
        return f"{self.random.getrandbits(256):064x}"

    def _environment(self, changed: Mapping[str, str]) -> dict[str, str]:
        return {
            "AzureWebJobsStorage": "unused",
            "IDENTITY_TENANT_ID": self.directory.tenant_id,
            "IDENTITY_CLIENT_ID": self.contoso.booking_sync.client_id,
            "IDENTITY_CLIENT_SECRET": self.contoso.booking_sync.secrets[0],
            "IDENTITY_AUTHORITY": LOGIN,
            "GRAPH_URL": GRAPH,
            "DATAVERSE_URL": DATAVERSE,
            "DATAVERSE_ORGANIZATION_ID": ORGANIZATION_ID,
            **changed,
        }

    # What a test looks at.

    def rows(self, kind: str) -> list[Mapping[str, Any]]:
        """All stored rows whose key begins with `kind:`, whatever their partition, in the order they were written."""
        found = [
            stored for rows in self.tables.partitions().values() for stored in rows if stored.row.startswith(f"{kind}:")
        ]
        return [stored.values for stored in sorted(found, key=lambda stored: int(stored.etag[3:-1]))]

    def marks(self) -> list[Mapping[str, Any]]:
        """Marks that wait."""
        return self.rows("mark")

    def journal(self) -> list[tuple[str, str]]:
        """Reason and outcome of everything that was done, in order."""
        entries = sorted(self.rows("journal"), key=lambda entry: str(entry["at"]))
        return [(str(entry["reason"]), str(entry["outcome"])) for entry in entries]

    def events(self, person: str) -> list[Event]:
        """What stands in somebody's calendars."""
        account = self.directory.find(f"{person}@contoso.test")
        assert account is not None
        return list(self.graph.state.mailbox(account).events_of())

    def traffic(self, service: str, method: str = "") -> int:
        """How many operations the app has asked of a service."""
        app = self.contoso.booking_sync.client_id
        return sum(
            call.service == service and call.app == app and method in ("", call.method) and not call.envelope
            for call in self.cloud.recorder.calls
        )

    # What a planner and a technician do, with their own rights.

    async def call_dataverse(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any, Mapping[str, str]]:
        """One call of the Web API as the planner; `path` is below the version root, without a slash."""
        return await self._call(f"{DATAVERSE}/api/data/v9.2/{path}", f"{DATAVERSE}/.default", method, body, headers)

    async def call_graph(self, method: str, path: str, body: Any = None) -> tuple[int, Any, Mapping[str, str]]:
        """One call of Graph as somebody else than the app."""
        return await self._call(f"{GRAPH}/v1.0{path}", "https://graph.microsoft.com/.default", method, body)

    async def _call(
        self, url: str, scope: str, method: str, body: Any, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any, Mapping[str, str]]:
        content = {} if body is None else {"Content-Type": "application/json"}
        answer = await self.network.send(
            HttpRequest(
                method=method,
                url=url,
                headers={"Authorization": f"Bearer {await self._planner.token(scope)}", **content, **(headers or {})},
                body=None if body is None else json.dumps(body).encode(),
            )
        )
        return answer.status, answer.json(), answer.headers


class World(Scene):
    """Contoso with one app (or several, on one storage) keeping its calendars."""

    def __init__(self, seed: int = 0, settings: Mapping[str, str] | None = None) -> None:
        """Build everything; nothing runs yet."""
        super().__init__(seed, settings)
        self.cloud.send = self._deliver
        self.app = self.start_app()
        self.running: set[asyncio.Task[None]] = set()

    def start_app(self, network: Transport | None = None) -> App:
        """Another worker process on the same storage, with nothing in memory; `network` may be one with obstacles."""
        self.fuse = Fuse()
        outer = Fused(self.fuse, self.tables, network or self.network)
        tokens = LoginTokens(outer, self.directory.tenant_id, self.contoso.booking_sync, self.clock)
        outside = Outside(
            clock=self.clock,
            random=self.random,
            new_secret=self.new_secret,
            secrets=self.vault,
            transport=outer,
            tokens=tokens,
            tables=outer,
        )
        return build(self.settings, outside)

    def restart(self) -> None:
        """The worker process died and another one takes its place; what was running is gone."""
        for task in self.running:
            task.cancel()
        self.running.clear()
        self.app = self.start_app()

    async def install(self) -> None:
        """Register the webhook, as an administrator does, let the app find that its table is new, and subscribe."""
        await register_webhooks(self.call_dataverse, url=f"{FUNCTIONS}/api/dataverse/changes", key="key")
        await self.app.engine.drain(UNROUTED)  # the first drain of a new table gives the shards their epochs
        await self.app.subscribing.round()  # does nothing where no address for notifications is set

    # What the functions host does.

    async def _deliver(self, request: Request, seconds: float) -> Response:
        """A post of Dataverse or Graph reaches its HTTP function."""
        tokens = [value for name, value in request.query if name == "validationToken"]
        if tokens:
            return Response(status=200, headers={"Content-Type": "text/plain"}, body=tokens[0].encode())
        async with asyncio.timeout(seconds):
            try:
                if request.path.startswith("/api/graph/"):
                    shards = await self.app.notices.accept_post(request.body)
                else:
                    shards = await self.app.inbox.accept_post(request.body, request.header("content-type"))
            except InvalidPostError as error:
                return Response(status=error.status)
            except BookingSyncError:
                return Response(status=503)
            except Crash:
                # What stands before a dead worker answers so, and a new worker takes the next request.
                self.restart()
                return Response(status=503)
        self.wake(*sorted(shards))
        return Response(status=202)

    def wake(self, *shards: Shard) -> None:
        """Put messages on the queue."""
        for shard in shards:
            self.running.add(asyncio.create_task(self._drain(shard)))

    async def _drain(self, shard: Shard) -> None:
        try:
            wake = await self.app.engine.drain(shard)
        except (BaseExceptionGroup, Crash):
            if not self.fuse.is_dead:
                raise
        else:
            self.wake(*sorted(wake))
        finally:
            self.running -= {asyncio.current_task()}

    async def settle(self) -> None:
        """Let everything come to rest: posts delivered, drains done, no mark left, however long it has to wait."""
        loop = asyncio.get_running_loop()
        end = loop.time() + LONGEST_PEACE
        await self.clock.sleep(1)
        while True:
            await self.dataverse.webhooks.quiet()
            await self.graph.notifications.quiet()
            while self.running:
                await asyncio.gather(*self.running)
            if self.fuse.is_dead:
                self.restart()
            if not self.marks():
                return
            assert loop.time() < end, f"no rest within {LONGEST_PEACE} s: {self.marks()}"
            await self.clock.sleep(TICK)
            with suppress(Crash):
                self.wake(*await self.app.inbox.idle_shards_with_work())

    async def close(self) -> None:
        """Stop everything that still runs."""
        await self.graph.close()
        await self.dataverse.close()
        for task in self.running:
            task.cancel()


@asynccontextmanager
async def world(seed: int = 0, settings: Mapping[str, str] | None = None) -> AsyncIterator[World]:
    """A world with its webhook registered and its request log empty."""
    made = World(seed, settings)
    try:
        await made.install()
        made.cloud.recorder.clear()
        yield made
    finally:
        await made.close()

"""Where a simulation plays: worker processes with obstacles of their own, a queue and timers, on one storage.

What is asked of a service is carried out there even if the one who asked has died or given up: requests and answers
travel in tasks of their own. Everything left to chance comes from the configuration's salt (R12).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from datetime import datetime
from functools import partial
from random import Random
from typing import Any

from sandbox.dataverse.schema import Reference
from sandbox.directory import Application
from sandbox.entra.routes import GRAPH_RESOURCE, Entra
from sandbox.http import Request, Response
from sandbox.install import register_webhooks
from sandbox.recorder import Call, Recorder
from shared.app import App, Outside, build
from shared.errors import BookingSyncError, InvalidPostError, OutcomeUnknownError, UnavailableError
from shared.http import HttpRequest, HttpResponse
from shared.sync.model import UNROUTED, Shard
from shared.tables.leases import LEASE
from shared.tables.tables import Delete, Insert, Operation, Put, Replace, Stored
from tests.simulation.ledger import Ledger
from tests.simulation.script import Config
from tests.simulation.world import DATAVERSE, FUNCTIONS, TICK, Crash, LoginTokens, Scene

STORAGE = "storage"
REPEAT = "repeat"
"""A fault of the storage: the answer is lost, its client repeats the request, and that one meets what the first did."""
FILTER = "BookingStatus/name ne 'Proposed'"
LATENCIES: Mapping[str, Callable[[Random], float]] = {
    "none": lambda _: 0.0,
    "quick": lambda chance: chance.uniform(0.001, 0.02),
    "usual": lambda chance: chance.uniform(0.02, 0.4),
    "slow": lambda chance: min(chance.expovariate(1.0), 8.0),
    "wild": lambda chance: min(chance.expovariate(0.3), 15.0) if chance.random() < 0.1 else chance.uniform(0.001, 0.1),
}
"""How long one call takes, in seconds, by name."""
DOWN = 8.0
"""Seconds until a dead worker is replaced."""
CAST = ("alice", "bob", "carol", "dave", "xavier")
"""Who plays; the others cannot be booked. The last one has no mailbox."""
PEACE = 3 * 3600.0
"""Virtual seconds within which everything must have come to rest once nothing fails any more."""
MOST_DELIVERIES = 5
"""How often the functions host tries one queue message."""

BADGE_TIME = 3000.0
"""Seconds for which a person's token is used; it is good for an hour."""

A_PERSON = ""
author: ContextVar[str] = ContextVar("author", default=A_PERSON)
"""Who makes the call that is being served: the name of a worker, or a person."""


class Log(Recorder):
    """The request log, which also knows by whom."""

    def start(self, at: datetime, service: str, method: str, path: str, **more: Any) -> Call:
        """Log the arrival of a call."""
        call = super().start(at, service, method, path, **more)
        call.tags["by"] = author.get()
        return call


class Badge:
    """Tokens of somebody at a desk, whom no fault of the login concerns. Implements `shared.http.Tokens`."""

    def __init__(self, entra: Entra, application: Application) -> None:
        """Hand out tokens of `application`."""
        self._entra = entra
        self._application = application
        self._held: dict[str, tuple[str, float]] = {}

    async def token(self, scope: str) -> str:
        """A token that is good for some minutes."""
        now = asyncio.get_running_loop().time()
        token, until = self._held.get(scope, ("", now))
        if until <= now:
            audience = scope.removesuffix("/.default")
            roles = self._application.graph_roles if audience == GRAPH_RESOURCE else ()
            token = self._entra.tokens.issue(self._application, audience, roles)
            self._held[scope] = token, now + BADGE_TIME
        return token

    def discard(self, scope: str, token: str) -> None:
        """Nobody refuses these."""


class Worker:
    """One worker process: the app, and everything outside of it as it reaches this process.

    It can die or freeze, at once or at an outside call to come. While it is frozen, neither its calls nor its sleeps
    end. Implements `Clock`, `Transport` and `Tables`.
    """

    def __init__(self, stage: Stage, name: str) -> None:
        """Start a process called `name`."""
        self.name = name
        self.is_dead = False
        self.calls_left: int | None = None
        self.strikes_after_the_call = False
        self.strike: Callable[[], None] = self.die
        self._stage = stage
        self._ice: asyncio.Event | None = None
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._chance = Random(f"{stage.config.salt} {name}")
        tokens = LoginTokens(self, stage.directory.tenant_id, stage.contoso.booking_sync, stage.clock)
        outside = Outside(
            clock=self,
            random=self._chance,
            new_secret=stage.new_secret,
            secrets=stage.vault,
            transport=self,
            tokens=tokens,
            tables=self,
        )
        self.app: App = build(stage.settings, outside)

    def start[T](self, main: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run something in this process."""
        task = asyncio.create_task(main)
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        del self._tasks[task]
        retrieved(task)

    # Obstacles.

    def freeze(self) -> None:
        """Nothing in this process goes on until `thaw`."""
        self._ice = self._ice or asyncio.Event()

    def thaw(self) -> None:
        """Go on."""
        ice, self._ice = self._ice, None
        if ice is not None:
            ice.set()

    @property
    def is_frozen(self) -> bool:
        """Whether it stands still."""
        return self._ice is not None

    def die(self) -> None:
        """End the process here and now."""
        for task in self.stop():
            if task is not asyncio.current_task():
                task.cancel()
        self._stage.replace(self)

    def stop(self) -> list[asyncio.Task[Any]]:
        """Let nothing go on any more, and give what was running."""
        self.is_dead = True
        self.thaw()
        return list(self._tasks)

    async def _go_on(self) -> None:
        """Wait while frozen. Raises `Crash` in a dead process."""
        while self._ice is not None:
            self._stage.seen["frozen call"] += 1
            await self._ice.wait()
        if self.is_dead:
            raise Crash

    async def _outside[T](self, latency: str, serve: Callable[[], Coroutine[Any, Any, T]], patience: float) -> T:
        """One outside call, with whatever may come between. Raises `TimeoutError` when patience ends."""
        await self._go_on()
        is_last = self.calls_left == 0
        self.calls_left = None if is_last or self.calls_left is None else self.calls_left - 1
        if is_last and not self.strikes_after_the_call:
            await self._be_struck("before")
        task = self._stage.carry_out(self._travel(latency, serve))
        await asyncio.wait([task], timeout=patience)
        await self._go_on()
        if is_last and self.strikes_after_the_call:
            await self._be_struck("after")
        if not task.done():
            raise TimeoutError
        return task.result()

    async def _be_struck(self, when: str) -> None:
        self.strike()
        self._stage.seen[f"{'crash' if self.is_dead else 'freeze'} {when} a call"] += 1
        await self._go_on()

    async def _travel[T](self, latency: str, serve: Callable[[], Coroutine[Any, Any, T]]) -> T:
        author.set(self.name)
        if latency == "none":
            await asyncio.sleep(0)
            return await serve()
        duration = LATENCIES[latency](self._chance)
        there = self._chance.random()
        await asyncio.sleep(duration * there)
        try:
            return await serve()
        finally:
            await asyncio.sleep(duration * (1 - there))

    # What the app is given.

    def now(self) -> datetime:
        """As `Clock.now`."""
        return self._stage.clock.now()

    async def sleep(self, seconds: float) -> None:
        """As `Clock.sleep`."""
        await asyncio.sleep(seconds)
        await self._go_on()

    async def send(self, request: HttpRequest) -> HttpResponse:
        """As `Transport.send`."""
        try:
            return await self._outside(
                self._stage.config.network, lambda: self._stage.serve_app(request), request.timeout
            )
        except TimeoutError:
            raise OutcomeUnknownError("no answer in time") from None

    async def get(self, partition: str, row: str) -> Stored | None:
        """As `Tables.get`."""
        row = self._own(row)
        return await self._stored("get", f"{partition}/{row}", lambda: self._stage.tables.get(partition, row))

    async def query(self, partition: str, first: str, last: str, limit: int | None = None) -> Sequence[Stored]:
        """As `Tables.query`."""
        rows = await self._stored(
            "query", f"{partition}/{first}", lambda: self._stage.tables.query(partition, first, last, limit)
        )
        if not self._stage.config.own_leases:
            return rows
        mine = [replace(row, row=LEASE) if row.row == self._own(LEASE) else row for row in rows]
        return [row for row in mine if row.row == LEASE or not row.row.startswith(LEASE)]

    async def transact(self, partition: str, operations: Sequence[Operation]) -> Sequence[str]:
        """As `Tables.transact`."""
        own = [replace(operation, row=self._own(operation.row)) for operation in operations]
        rows = ";".join(f"{_SIGNS[type(operation)]}{operation.row}" for operation in own)
        return await self._stored(
            "transact", f"{partition}/{rows}", lambda: self._stage.tables.transact(partition, own)
        )

    def _own(self, row: str) -> str:
        """With leases of its own, this worker sees nobody else's."""
        return f"{LEASE} {self.name}" if row == LEASE and self._stage.config.own_leases else row

    async def _stored[T](self, method: str, path: str, act: Callable[[], Awaitable[T]]) -> T:
        try:
            return await self._outside(
                self._stage.config.storage, lambda: self._stage.serve_storage(method, path, act), patience=60
            )
        except TimeoutError:
            raise UnavailableError("the storage does not answer") from None


_SIGNS = {Insert: "+", Put: "!", Replace: "=", Delete: "-"}


class Stage(Scene):
    """Contoso, with as many workers as the configuration says.

    `seen` counts what happened, `defects` says what no part of the app may do whatever happens.
    """

    def __init__(self, config: Config) -> None:
        """Build everything; nothing runs yet."""
        settings = {
            "SYNC_SHARDS": str(config.shards),
            "SYNC_FILTER": FILTER if config.is_filtered else "",
            "SYNC_CONFLICTS": f"time={config.winner}",
            "SYNC_EVENT_DELETED": config.on_deleted,
            "GRAPH_NOTIFICATION_URL": FUNCTIONS if config.is_told else "",
        }
        super().__init__(seed=config.salt, settings=settings)
        self.config = config
        self.tables: Ledger = Ledger()
        self.chance = Random(f"{config.salt} stage")
        self.seen: Counter[str] = Counter()
        self.defects: list[str] = []
        self.wakes_are_lost = False
        self.on_save: Callable[[], None] = lambda: None
        self._planner = Badge(self.entra, self.contoso.planner)
        self._background: dict[asyncio.Task[Any], None] = {}
        self._busy: dict[asyncio.Task[Any], None] = {}
        self._timers: list[asyncio.Task[Any]] = []
        self._started = 0
        self.workers: list[Worker] = []
        self._someone = asyncio.Event()
        self.cloud.send = self._deliver
        self.cloud.recorder = Log()
        self.cloud.faults.declare(REPEAT)
        self.cloud.settings.change(
            {
                "graph.transaction_memory": config.memory,
                "graph.duplicate_status": config.duplicate_status,
                "graph.duplicate_names_event": config.duplicate_named,
                "graph.deleted_events_readable": config.deleted_readable,
                "webhook.delay_seconds": config.webhook_delay,
                "webhook.shuffle": config.webhook_shuffle,
                "webhook.in_flight": config.webhook_in_flight,
                "notification.delay_seconds": config.notification_delay,
                "notification.shuffle": config.notification_shuffle,
                "notification.resource": "any",
            }
        )

    async def open(self) -> None:
        """An installation that is finished: the webhook registered, the new table known as such, changes tracked."""
        await register_webhooks(self.call_dataverse, url=f"{FUNCTIONS}/api/dataverse/changes", key="key")
        self.cloud.recorder.clear()
        for person in self.contoso.people.values():
            if person.account.address.partition("@")[0] not in CAST:
                row = self.dataverse.state.must_find(Reference("bookableresource", person.resource_id))
                self.dataverse.state.remove(row)  # each mailbox more makes every rebuild longer
        for _ in range(self.config.workers):
            self._start_worker()
        await self._run(self.workers[0], partial(self.workers[0].app.engine.drain, UNROUTED))
        await self.pull()
        await self.recover()
        await self.rest(PEACE)
        self._timers.append(asyncio.create_task(self._wake_idle()))
        if self.config.pull_seconds:
            self._timers.append(asyncio.create_task(self._by_timer(self.pull, self.config.pull_seconds)))
        if self.config.recover_seconds:
            self._timers.append(asyncio.create_task(self._by_timer(self.recover, self.config.recover_seconds)))

    async def close(self) -> None:
        """Stop everything that still runs."""
        await self.dataverse.close()
        await self.graph.close()
        tasks = [*self._timers, *self._busy, *self._background]
        for worker in self.workers:
            tasks += worker.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Processes.

    def _start_worker(self) -> None:
        self._started += 1
        self.workers.append(Worker(self, f"w{self._started}"))
        self._someone.set()

    def replace(self, dead: Worker) -> None:
        """A worker died; another one takes its place after a while."""
        self.workers.remove(dead)
        if not self.workers:
            self._someone.clear()

        async def start_later() -> None:
            await asyncio.sleep(DOWN)
            self._start_worker()

        self.begin(start_later())

    async def _a_worker(self) -> Worker:
        while not self.workers:
            await self._someone.wait()
        return self.chance.choice(self.workers)

    def carry_out[T](self, action: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Something that goes on whatever becomes of the one who asked for it."""
        return self._track(action, self._background)

    def begin(self, action: Coroutine[Any, Any, None]) -> None:
        """Something that has to end before there is rest."""
        self._track(action, self._busy)

    @staticmethod
    def _track[T](action: Coroutine[Any, Any, T], among: dict[asyncio.Task[Any], None]) -> asyncio.Task[T]:
        task = asyncio.create_task(action)
        among[task] = None

        def ended(task: asyncio.Task[Any]) -> None:
            del among[task]
            retrieved(task)

        task.add_done_callback(ended)
        return task

    # The services, as people and the app reach them.

    async def call_dataverse(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any, Mapping[str, str]]:
        """One call of the Web API as the planner."""
        answer = await super().call_dataverse(method, path, body, headers)
        self.on_save()
        return answer

    async def serve_app(self, request: HttpRequest) -> HttpResponse:
        """One request of the app arrives at its service."""
        if b'"attendees"' in (request.body or b""):
            self.defects.append("R7: a request of the app names attendees")
        answer = await self.network.send(request)
        if request.url.startswith(DATAVERSE):
            self.on_save()
        if answer.status == 501:
            self.defects.append(f"the sandbox does not know {request.method} {request.url.partition('?')[0]}")
        return answer

    async def serve_storage[T](self, method: str, path: str, act: Callable[[], Awaitable[T]]) -> T:
        """One request of the app arrives at the storage."""
        call = self.cloud.recorder.start(self.clock.now(), STORAGE, method, path)
        rule = self.cloud.faults.take(call, "refuse", "fail_after_commit", "delay", REPEAT)
        effect = rule.do if rule is not None else ""
        call.fault = effect
        if effect == "refuse":
            raise UnavailableError("the storage was told to fail this call")
        if effect == "delay" and rule is not None:
            await asyncio.sleep(rule.seconds)
        try:
            result = await act()
            if effect == REPEAT:
                result = await act()
        except BookingSyncError as error:
            call.tags["error"] = type(error).__name__
            raise
        self.cloud.recorder.finish(call, 200)
        if effect == "fail_after_commit":
            raise UnavailableError("the storage was told to lose this answer")
        return result

    # The functions host.

    async def _deliver(self, request: Request, seconds: float) -> Response:
        """A post of Dataverse or Graph reaches its HTTP function in some worker."""
        if not self.workers:
            return Response(status=503)
        tokens = [value for name, value in request.query if name == "validationToken"]
        if tokens:
            return Response(status=200, headers={"Content-Type": "text/plain"}, body=tokens[0].encode())
        worker = await self._a_worker()

        async def accept() -> None:
            if request.path.startswith("/api/graph/"):
                shards = frozenset(await worker.app.notices.accept_post(request.body))
            else:
                shards = frozenset(await worker.app.inbox.accept_post(request.body, request.header("content-type")))
            self.wake(*sorted(shards))

        task = worker.start(accept())
        await asyncio.wait([task], timeout=seconds)
        if not task.done():
            raise TimeoutError
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or isinstance(error, Crash):
            raise ConnectionError("the worker died")
        if error is None:
            return Response(status=202)
        if not isinstance(error, BookingSyncError) or isinstance(error, InvalidPostError):
            self.defects.append(f"a post was answered with {error!r}")
        return Response(status=503)

    def wake(self, *shards: Shard) -> None:
        """Put messages on the queue."""
        for shard in shards:
            if self.wakes_are_lost:
                self.seen["lost wake-up"] += 1
            else:
                self.begin(self._message(shard))

    async def _message(self, shard: Shard) -> None:
        """One message on the queue, until a worker has worked it off."""
        for _ in range(MOST_DELIVERIES):
            await asyncio.sleep(self.chance.uniform(0, 0.2))
            worker = await self._a_worker()
            if await self._run(worker, partial(worker.app.engine.drain, shard)):
                return
        self.seen["poison message"] += 1

    async def pull(self) -> None:
        """The timer of change tracking, on some worker."""
        worker = await self._a_worker()
        await self._run(worker, worker.app.pull.round)

    async def recover(self) -> None:
        """The timers of subscriptions and of recovery, on some worker."""
        worker = await self._a_worker()

        async def both() -> frozenset[Shard]:
            await worker.app.subscribing.round()
            return await worker.app.recovery.round()

        await self._run(worker, both)

    async def replay(self) -> None:
        """An administrator has dead letters tried again."""
        worker = await self._a_worker()

        async def replay() -> frozenset[Shard]:
            return frozenset((await worker.app.inbox.replay_dead_letters())[1])

        await self._run(worker, replay)

    async def _run(self, worker: Worker, function: Callable[[], Awaitable[frozenset[Shard]]]) -> bool:
        """One run of a function that gives shards to wake; true unless it has to be tried again."""

        async def run() -> None:
            self.wake(*sorted(await function()))

        task = worker.start(run())
        await asyncio.wait([task])
        if task.cancelled() or worker.is_dead:
            return True
        error = task.exception()
        if error is not None and not isinstance(error, BookingSyncError):
            self.defects.append(f"a function ended with {error!r}")
        return error is None

    async def _wake_idle(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            if not self._is_due():
                continue  # asking the storage would cost time and tell the same
            worker = await self._a_worker()

            await self._run(worker, partial(self._idle_shards, worker))

    @staticmethod
    async def _idle_shards(worker: Worker) -> frozenset[Shard]:
        return frozenset(await worker.app.inbox.idle_shards_with_work())

    def _is_due(self) -> bool:
        due = self.tables.next_due
        return bool(due) and due <= f"{self.clock.now():%Y%m%dT%H%M%S.%f}"

    @staticmethod
    async def _by_timer(function: Callable[[], Awaitable[None]], seconds: int) -> None:
        while True:
            await asyncio.sleep(seconds)
            await function()

    # Rest.

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is under way and nothing waits."""
        return not (self._busy or self._background or self.tables.waiting)

    async def rest(self, seconds: float) -> bool:
        """Wait until everything has come to rest, for so long at most; whether it did."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end:
            await self.dataverse.webhooks.quiet()
            await self.graph.notifications.quiet()
            if self.is_at_rest:
                return True
            await asyncio.sleep(0.5 if self._busy or self._background else TICK)
        return False


def retrieved(task: asyncio.Task[Any]) -> None:
    """Take note of how a task ended, so that nobody complains that nobody did."""
    if not task.cancelled():
        task.exception()

"""The host: puts worker, triggers and outputs together, starts them and stops them."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Protocol, Self

from aiohttp import web
from azure.core.exceptions import AzureError

from sandbox.functions import logs
from sandbox.functions.admin import Admin
from sandbox.functions.http import MAX_BODY, HttpTriggers, Keys
from sandbox.functions.invocations import Invocations
from sandbox.functions.queues import MESSAGE_LEASE, Queue, QueueListener, Queues, send_output
from sandbox.functions.settings import AppSettings, HostConfig, SettingsError
from sandbox.functions.timers import Schedule, StatusFile, Timer
from sandbox.functions.worker import Function, TypedData, Worker, WorkerTimeoutError

log = logging.getLogger("Host.Startup")

_KNOWN_TRIGGERS = frozenset({"httpTrigger", "timerTrigger", "queueTrigger"})
_QUEUE_NAME = re.compile(r"(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*")
_KNOWN_OUTPUTS = frozenset({"http", "queue"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to run an app. `timers` is the file that remembers schedules over restarts, `grace` bounds the stop."""

    app: Path
    settings: AppSettings
    port: int = 0
    tls: tuple[Path, Path] | None = None
    keys: Keys = field(default_factory=Keys)
    timers: Path | None = None
    lease: timedelta = MESSAGE_LEASE
    grace: float = 10.0


class _Listener(Protocol):
    """A trigger that works by itself."""

    async def listen(self) -> None: ...

    def stop(self) -> None: ...


class Host:
    """One running app; the only one of its process."""

    def __init__(self, options: Options) -> None:
        """Read `host.json`. Raises `SettingsError`."""
        self._options = options
        self.config = HostConfig.read(options.app / "host.json")
        self._worker = Worker(timeout=self.config.function_timeout)
        self._invocations = Invocations(self._worker, self._send_outputs)
        self._queues = Queues(base64=self.config.queues.base64)
        self._outputs: dict[tuple[str, str], Queue] = {}
        self._timers: dict[str, Timer] = {}
        self._listeners: list[_Listener] = []
        self._listening: list[asyncio.Task[None]] = []
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        """Index the app, check what the runtime does not, open the port, start listening.

        Raises `SettingsError`, `WorkerError`, or `OSError` for a taken port.
        """
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Take no more work, let what runs end within the time of grace, close everything."""
        await self._stop()

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`. A listener that breaks ends the host: half an app is worse than none.

        Raises `WorkerTimeoutError` when a function took too long: whoever runs the host has to start a new one.
        """
        ends = [asyncio.create_task(event.wait()) for event in (stop, self._worker.timed_out)]
        done, _ = await asyncio.wait([*ends, *self._listening], return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        for task in done:
            task.result()
        if self._worker.timed_out.is_set():
            raise WorkerTimeoutError("A function timeout has occurred. The worker process has to be restarted.")

    async def _start(self) -> None:
        logs.write_logs(self.config.log_levels, self._worker.running)
        await self._worker.start(self._options.app)
        functions = list(self._worker.functions.values())
        for function in functions:
            _refuse_unknown(function)
        http = HttpTriggers(
            [function for function in functions if function.trigger.type == "httpTrigger"],
            self._invocations,
            self._options.keys,
            self.config.http,
        )
        memory = StatusFile(self._options.timers)
        opened = [queue for function in functions for queue in self._prepare(function, memory)]
        try:
            for queue in opened:
                await queue.create()
        except AzureError as error:
            raise SettingsError(f"the storage does not answer: {error}") from None
        await self._open_port(http)
        self._listening = [asyncio.create_task(listener.listen()) for listener in self._listeners]
        log.info("%d functions found: %s", len(functions), ", ".join(function.name for function in functions))

    def _prepare(self, function: Function, memory: StatusFile) -> list[Queue]:
        """Make the listener and the outputs of `function`; gives the queues that must exist."""
        where = f"function '{function.name}'"
        needed = []
        for output in function.outputs:
            if output.type == "queue":
                queue = self._queue(output.properties, where)
                self._outputs[function.name, output.name] = queue
                needed.append(queue)
        trigger = function.trigger.properties
        if function.trigger.type == "timerTrigger":
            timer = Timer(
                function.name,
                Schedule(self._options.settings.resolve(trigger["schedule"], where), where),
                run=lambda info: self._invocations.run(function, info),
                memory=memory,
                run_on_startup=bool(trigger.get("runOnStartup")),
                use_monitor=trigger.get("useMonitor"),
            )
            self._timers[function.name] = timer
            self._listeners.append(timer)
        elif function.trigger.type == "queueTrigger":
            queue = self._queue(trigger, where)
            poison = self._queue(trigger, where, suffix="-poison")
            listener = QueueListener(
                function,
                queue,
                poison,
                invocations=self._invocations,
                limits=self.config.queues,
                lease=self._options.lease,
            )
            self._listeners.append(listener)
            needed.append(queue)
        return needed

    def _queue(self, properties: Mapping[str, str], where: str, *, suffix: str = "") -> Queue:
        settings = self._options.settings
        name = settings.resolve(properties["queueName"], where).lower()
        if "{" in name:
            raise SettingsError(
                f"{where}: the sandbox does not know binding expressions, as in the queue name '{name}'"
            )
        if not _QUEUE_NAME.fullmatch(name + suffix):
            raise SettingsError(f"{where}: '{name}{suffix}' is no queue name: 3 to 63 of a-z, 0-9 and single hyphens")
        connection = settings.connection(properties.get("connection") or "AzureWebJobsStorage", where)
        return self._queues.get(connection, name + suffix)

    async def _open_port(self, http: HttpTriggers) -> None:
        application = web.Application(client_max_size=MAX_BODY)
        application.add_routes(Admin(self._options.keys, self._run_now).routes())
        application.router.add_route("*", "/{path:.*}", http.handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=self._options.grace)
        await self._runner.setup()
        context = None
        if self._options.tls:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*self._options.tls)
        await web.TCPSite(self._runner, "127.0.0.1", self._options.port, ssl_context=context).start()
        self.url = f"{'https' if context else 'http'}://localhost:{self._runner.addresses[0][1]}"

    def _run_now(self, name: str, given: str) -> None:
        """Run a timer or queue function by hand; `given` is the message."""
        function = self._worker.functions[name]
        if function.trigger.type == "httpTrigger":
            raise NotImplementedError("the sandbox runs timers and queue functions by hand, not HTTP functions")
        if timer := self._timers.get(name):
            self._invocations.start(self._invocations.run(function, timer.info()))
            return
        metadata = {"QueueTrigger": TypedData(string=given), "DequeueCount": TypedData(json="1")}
        self._invocations.start(self._invocations.run(function, TypedData(string=given), metadata=metadata))

    async def _send_outputs(self, function: Function, outputs: Mapping[str, TypedData]) -> None:
        for name, data in outputs.items():
            await send_output(self._outputs[function.name, name], data)

    async def _stop(self) -> None:
        for listener in self._listeners:
            listener.stop()
        closing = [self._runner.cleanup()] if self._runner else []
        await asyncio.gather(self._finish_listening(), *closing)
        await self._queues.close()
        if not self._worker.timed_out.is_set():  # else its threads may never end
            self._worker.stop()

    async def _finish_listening(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._options.grace
        if self._listening:
            _, late = await asyncio.wait(self._listening, timeout=self._options.grace)
            for task in late:
                task.cancel()
        await self._invocations.drain(until - loop.time())


def _refuse_unknown(function: Function) -> None:
    """Raise `SettingsError` for bindings that exist in Azure but not here."""
    unknown = {function.trigger.type} - _KNOWN_TRIGGERS
    unknown |= {binding.type for binding in function.outputs} - _KNOWN_OUTPUTS
    unknown |= {binding.type for binding in function.inputs}
    if unknown:
        names = ", ".join(sorted(unknown))
        raise SettingsError(f"function '{function.name}': the sandbox does not know the binding {names}")
    if function.retries:
        raise SettingsError(f"function '{function.name}': the sandbox does not know retry policies")

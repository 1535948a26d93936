"""Storage queues: listeners for queue triggers, and what functions put into queue output bindings.

Follows azure-sdk-for-net, Microsoft.Azure.WebJobs.Extensions.Storage.Queues: `QueueListener.cs` (batches, polling
interval, the lease of ten minutes that is renewed), `QueueProcessor.cs` (poison queue), `SharedQueueWatcher.cs` (a
message sent by this host wakes this host's listener at once).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient

from sandbox.functions.invocations import Invocations
from sandbox.functions.settings import QueueLimits
from sandbox.functions.worker import Function, InvocationError, TypedData

log = logging.getLogger("Host.Triggers.Queues")

MESSAGE_LEASE = timedelta(minutes=10)
_FIRST_WAIT = 0.1


class Queue:
    """One Storage queue; it is made when it is missing."""

    def __init__(self, connection: str, name: str, *, base64: bool) -> None:
        """Open nothing yet; `base64` says how texts are written and read."""
        self.name = name
        self.base64 = base64
        self.watchers: list[asyncio.Event] = []
        quiet = logging.getLogger("Host.Storage.Http")
        quiet.setLevel(logging.WARNING)
        self._client = QueueClient.from_connection_string(
            connection, name, logger=quiet, retry_total=1, initial_backoff=1, increment_base=0
        )

    async def create(self) -> None:
        """Make the queue unless it exists."""
        with suppress(ResourceExistsError):
            await self._client.create_queue()

    async def send(self, content: str) -> None:
        """Put one message, already encoded, into the queue and wake its listeners in this host."""
        try:
            await self._client.send_message(content)
        except ResourceNotFoundError:
            await self.create()
            await self._client.send_message(content)
        for watcher in self.watchers:
            watcher.set()

    async def receive(self, limit: int, lease: timedelta) -> list[QueueMessage]:
        """At most `limit` messages, hidden from others for `lease`; one request."""
        pages = self._client.receive_messages(
            messages_per_page=limit, visibility_timeout=int(lease.total_seconds())
        ).by_page()
        try:
            return [message async for message in await anext(pages)]
        except StopAsyncIteration:
            return []
        except ResourceNotFoundError:
            await self.create()
            return []

    async def hide(self, message: QueueMessage, seconds: timedelta) -> None:
        """Keep `message` hidden for that long from now; its receipt changes."""
        updated = await self._client.update_message(message, visibility_timeout=int(seconds.total_seconds()))
        message.pop_receipt = updated.pop_receipt

    async def delete(self, message: QueueMessage) -> None:
        """Take `message` out of the queue, unless somebody else has taken it over or out."""
        try:
            await self._client.delete_message(message)
        except HttpResponseError as error:
            if error.status_code not in (400, 404):  # pop receipt mismatch; message or queue not found
                raise
            log.warning("queue %s: message %s was taken over before it could be deleted", self.name, message.id)

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()

    def encode(self, content: str | bytes) -> str:
        """A message's text on the wire."""
        if self.base64:
            return base64.b64encode(content.encode() if isinstance(content, str) else content).decode()
        return content if isinstance(content, str) else content.decode()

    def decode(self, content: str) -> bytes:
        """A message's content. Raises `ValueError` when it is not encoded as the host is told."""
        try:
            return base64.b64decode(content, validate=True) if self.base64 else content.encode()
        except binascii.Error as error:
            raise ValueError(
                f"is not base64 ({error}): does its sender use the messageEncoding of host.json?"
            ) from None


class Queues:
    """All queues of an app, each opened once."""

    def __init__(self, *, base64: bool) -> None:
        """Open nothing yet."""
        self._base64 = base64
        self._open: dict[tuple[str, str], Queue] = {}

    def get(self, connection: str, name: str) -> Queue:
        """The queue `name` of a Storage account."""
        key = (connection, name)
        if key not in self._open:
            self._open[key] = Queue(connection, name, base64=self._base64)
        return self._open[key]

    async def close(self) -> None:
        """Close all connections."""
        for queue in self._open.values():
            await queue.close()


async def send_output(queue: Queue, data: TypedData) -> None:
    """Send what a function put into an output binding: one message, or one per element of a list.

    Raises `InvocationError` when the storage refuses: the invocation fails as a whole.
    """
    try:
        for content in _messages(data):
            await queue.send(queue.encode(content))
    except AzureError as error:
        raise InvocationError(f"sending to the queue '{queue.name}' failed: {error}") from error


def _messages(data: TypedData) -> Iterable[str | bytes]:
    if data.WhichOneof() != "json":
        return [data.value]
    value = json.loads(data.value)
    items = value if isinstance(value, list) else [value]
    return [item if isinstance(item, str) else json.dumps(item, separators=(",", ":")) for item in items]


def message_metadata(message: QueueMessage, text: str) -> dict[str, TypedData]:
    """What the host tells about a queue message: strings as strings, numbers and times as JSON."""
    times = {
        "ExpirationTime": message.expires_on,
        "InsertionTime": message.inserted_on,
        "NextVisibleTime": message.next_visible_on,
    }
    return {
        "QueueTrigger": TypedData(string=text),
        "Id": TypedData(string=message.id),
        "PopReceipt": TypedData(string=message.pop_receipt),
        "DequeueCount": TypedData(json=str(message.dequeue_count)),
        **{name: TypedData(json=json.dumps(_iso(moment))) for name, moment in times.items() if moment},
    }


def _iso(moment: Any) -> str:
    return moment.isoformat() if isinstance(moment, datetime) else str(moment)


class QueueListener:
    """Feeds one function from one queue."""

    def __init__(
        self,
        function: Function,
        queue: Queue,
        poison: Queue,
        *,
        invocations: Invocations,
        limits: QueueLimits,
        lease: timedelta = MESSAGE_LEASE,
    ) -> None:
        """Listen to `queue`; messages that cannot be handled go to `poison`."""
        self._function = function
        self._queue = queue
        self._poison = poison
        self._invocations = invocations
        self._limits = limits
        self._lease = lease
        self._is_binary = str(function.trigger.properties.get("dataType", "")).lower() == "binary"
        self._running: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._wake = asyncio.Event()
        queue.watchers.append(self._wake)

    def stop(self) -> None:
        """Take no more messages."""
        self._stopping = True
        self._wake.set()

    async def listen(self) -> None:
        """Take messages until `stop`; what happens to those already taken is up to `Invocations.drain`."""
        wait = _FIRST_WAIT
        while not self._stopping:
            self._wake.clear()
            if len(self._running) > self._limits.new_batch_threshold:
                await self._wake.wait()
                continue
            messages = await self._receive()
            for message in messages:
                task = self._invocations.start(self._handle(message))
                self._running.add(task)
                task.add_done_callback(self._done)
            if messages:
                wait = _FIRST_WAIT
                continue
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                wait = min(2 * wait, self._limits.max_polling_interval.total_seconds())

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._wake.set()

    async def _receive(self) -> list[QueueMessage]:
        try:
            return await self._queue.receive(self._limits.batch_size, self._lease)
        except AzureError as error:
            log.warning("queue %s cannot be read: %s", self._queue.name, error)
            return []

    async def _handle(self, message: QueueMessage) -> None:
        """Run the function for `message` and settle the message."""
        tries = message.dequeue_count or 0
        if tries > self._limits.max_dequeue_count:  # the host died with it at its last try
            await self._to_poison(message, f"was tried {self._limits.max_dequeue_count} times")
            return
        try:
            body = self._queue.decode(message.content)
            trigger = TypedData(bytes=body) if self._is_binary else TypedData(string=body.decode())
        except ValueError as error:
            await self._to_poison(message, str(error))
            return
        try:
            async with self._hidden(message):
                metadata = message_metadata(message, body.decode(errors="replace"))
                await self._invocations.run(self._function, trigger, metadata=metadata)
        except InvocationError:
            if tries >= self._limits.max_dequeue_count:
                await self._to_poison(message, f"failed {tries} times")
            else:
                await self._queue.hide(message, self._limits.visibility_timeout)
            return
        await self._queue.delete(message)

    @asynccontextmanager
    async def _hidden(self, message: QueueMessage) -> AsyncIterator[None]:
        """Renew the lease of `message` at its half-time."""
        renewing = asyncio.create_task(self._renew(message))
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.wait([renewing])

    async def _renew(self, message: QueueMessage) -> None:
        while True:
            await asyncio.sleep(self._lease.total_seconds() / 2)
            try:
                await self._queue.hide(message, self._lease)
            except AzureError as error:
                log.warning("queue %s: message %s could not be kept hidden: %s", self._queue.name, message.id, error)

    async def _to_poison(self, message: QueueMessage, why: str) -> None:
        log.error("queue %s: message %s %s; it goes to %s", self._queue.name, message.id, why, self._poison.name)
        await self._poison.send(message.content)
        await self._queue.delete(message)

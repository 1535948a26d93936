"""One invocation from trigger to outputs: the function runs, its output bindings are sent, the result is logged."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from sandbox.functions.worker import Function, InvocationError, Result, TypedData, Worker

results = logging.getLogger("Host.Results")

type SendOutputs = Callable[[Function, Mapping[str, TypedData]], Awaitable[None]]


class Invocations:
    """Runs functions and knows which of them are running."""

    def __init__(self, worker: Worker, send_outputs: SendOutputs) -> None:
        """Run the functions of `worker`, and hand on what they put into their output bindings."""
        self._worker = worker
        self._send_outputs = send_outputs
        self._background: set[asyncio.Task[None]] = set()

    async def run(
        self,
        function: Function,
        trigger: TypedData,
        *,
        metadata: Mapping[str, TypedData] | None = None,
        trace_parent: str = "",
        trace_state: str = "",
    ) -> Result:
        """Run `function` to its end. Raises `InvocationError` when it fails or its outputs cannot be sent.

        As in the platform, outputs are sent after the function returned and before its trigger counts as handled.
        """
        began = time.monotonic()
        try:
            result = await self._worker.invoke(
                function, trigger, metadata=metadata, trace_parent=trace_parent, trace_state=trace_state
            )
            await self._send_outputs(function, result.outputs)
        except InvocationError as error:
            extra = {"duration_ms": _milliseconds(began), "detail": error.detail}
            results.error("Executed 'Functions.%s' (Failed): %s", function.name, error, extra=extra)
            raise
        extra = {"duration_ms": _milliseconds(began)}
        results.info("Executed 'Functions.%s' (Succeeded)", function.name, extra=extra)
        return result

    def start(self, work: Coroutine[Any, Any, object]) -> asyncio.Task[None]:
        """Let `work`, which runs a function, go on by itself; its failure was logged by `run`."""

        async def guarded() -> None:
            try:
                await work
            except InvocationError:
                pass
            except Exception:  # noqa: BLE001 - nobody awaits this: it is told here or never
                results.exception("the host failed")

        task = asyncio.create_task(guarded())
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def drain(self, seconds: float) -> None:
        """Wait for what `start` began, and give up on what still runs after `seconds`."""
        if not self._background:
            return
        _, late = await asyncio.wait(self._background, timeout=max(seconds, 0))
        for task in late:
            task.cancel()
        if late:
            results.warning("%d invocations did not end in time and were abandoned", len(late))
            await asyncio.wait(late)


def _milliseconds(began: float) -> int:
    return round((time.monotonic() - began) * 1000)

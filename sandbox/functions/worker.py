"""The Python worker runtime of Azure Functions (PyPI `azure-functions-runtime`), driven in this process.

The runtime takes the message classes it speaks from its host, so plain objects in the shape of
`FunctionRpc.proto` (Azure/azure-functions-language-worker-protobuf) do, and nothing is serialised on the way.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import azure_functions_runtime as runtime

_SUCCESS = 1


class Message:
    """Any protobuf message; a field that was not set reads as `None`."""

    def __init__(self, **fields: Any) -> None:
        """Set `fields`."""
        self.__dict__.update(fields)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return None


class TypedData:
    """`TypedData`: one value under the name of its kind. Unlike a `Message` it has no other fields."""

    def __init__(self, **value: Any) -> None:
        """Hold the one value given by name: `TypedData(string="x")`."""
        self.__dict__.update(value)

    def WhichOneof(self, _group: str | None = None) -> str | None:  # noqa: N802 - protobuf's name
        """The kind of the value."""
        return next(iter(self.__dict__), None)

    @property
    def value(self) -> Any:
        """The value, whatever its kind."""
        return next(iter(self.__dict__.values()), None)


class _Parameter(Message):
    """`ParameterBinding`, of which the runtime asks which kind it is."""

    def WhichOneof(self, _group: str | None = None) -> str:  # noqa: N802 - protobuf's name
        return "data"


def _message(name: str, **constants: Any) -> type[Message]:
    return type(name, (Message,), constants)


_PLAIN = (
    "WorkerInitResponse FunctionMetadataResponse FunctionLoadResponse InvocationResponse WorkerMetadata "
    "RpcFunctionMetadata RpcRetryOptions RpcException RpcHttp ParameterBinding NullableString NullableBool "
    "NullableDouble NullableTimestamp Timestamp"
)
_PROTOCOL = Message(
    **{name: _message(name) for name in _PLAIN.split()},
    TypedData=TypedData,
    StatusResult=_message("StatusResult", Failure=0, Success=_SUCCESS, Cancelled=2),
    BindingInfo=_message("BindingInfo", undefined=0, string=1, binary=2, stream=3, **{"in": 0, "out": 1, "inout": 2}),
    RpcHttpCookie=_message("RpcHttpCookie", SameSite=Message(**{"None": 0, "Lax": 1, "Strict": 2, "ExplicitNone": 3})),
)


class WorkerError(RuntimeError):
    """The runtime refused the app: the message is the one the platform would show."""


class InvocationError(RuntimeError):
    """A function failed; `detail` is the worker's stack trace."""

    def __init__(self, message: str, detail: str = "") -> None:
        """Carry what the worker said."""
        super().__init__(message)
        self.detail = detail


class WorkerTimeoutError(WorkerError):
    """A function took longer than the function timeout: the worker has to be started again, in a new process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """One binding of a function as the runtime indexed it."""

    name: str
    type: str
    is_output: bool
    properties: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One function as the runtime indexed it."""

    name: str
    id: str
    trigger: Binding
    inputs: tuple[Binding, ...]
    outputs: tuple[Binding, ...]
    retries: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a function gave back: its return value and what it put into its output bindings."""

    returned: TypedData | None = None
    outputs: Mapping[str, TypedData] = field(default_factory=dict)


class Worker:
    """The one app of this process. `start` may be called once: the runtime's registry is a module's state."""

    def __init__(self, *, timeout: timedelta | None = None) -> None:
        """Let each invocation take at most `timeout`."""
        self.functions: dict[str, Function] = {}
        self.timed_out = asyncio.Event()
        self._timeout = timeout
        self._deadlines: set[asyncio.Timeout] = set()
        self._invoked: dict[str, str] = {}

    async def start(self, app: Path) -> None:
        """Index the functions of the directory `app`. Raises `WorkerError` with the runtime's own words."""
        sys.path.insert(0, str(app))
        runtime.start_threadpool_executor()
        init = Message(capabilities={}, function_app_directory=str(app))
        answer = await runtime.worker_init_request(
            Message(properties={"host": "127.0.0.1", "protos": _PROTOCOL}, request=Message(worker_init_request=init))
        )
        if answer.result.status != _SUCCESS:
            problem = answer.result.exception
            raise WorkerError(f"{problem.message}\n{problem.stack_trace}".strip())
        indexed = (await runtime.functions_metadata_request(Message())).function_metadata_results
        if not indexed:
            raise WorkerError(f"no functions found in {app}: is function_app.py there, and does it register any?")
        for item in indexed:
            function = _function(item)
            load = Message(function_load_request=Message(function_id=function.id))
            await runtime.function_load_request(Message(request=load))
            self.functions[function.name] = function

    def stop(self) -> None:
        """Let go of the threads for functions that are not `async`."""
        runtime.stop_threadpool_executor()

    def running(self) -> tuple[str, str] | None:
        """The function and the invocation that the current task or thread runs for, if any."""
        invocation = runtime.invocation_id_cv.get()
        name = self._invoked.get(invocation or "")
        return (name, invocation) if name and invocation else None

    async def invoke(
        self,
        function: Function,
        trigger: TypedData,
        *,
        metadata: Mapping[str, TypedData] | None = None,
        trace_parent: str = "",
        trace_state: str = "",
    ) -> Result:
        """Call `function` once. Raises `InvocationError` when it fails or takes longer than the function timeout.

        As in the platform, a time-out costs all that runs in the worker: `timed_out` is set, and it is of no more use.
        """
        invocation = str(uuid.uuid4())
        request = Message(
            invocation_id=invocation,
            function_id=function.id,
            input_data=[_Parameter(name=function.trigger.name, data=trigger)],
            trigger_metadata=dict(metadata or {}),
            trace_context=Message(
                trace_parent=trace_parent or f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00",
                trace_state=trace_state,
                attributes={},
            ),
            retry_context=Message(retry_count=0, max_retry_count=0),
        )
        token = runtime.invocation_id_cv.set(invocation)
        self._invoked[invocation] = function.name
        try:
            async with asyncio.timeout(self._timeout.total_seconds() if self._timeout else None) as deadline:
                self._deadlines.add(deadline)
                answer = await runtime.invocation_request(Message(request=Message(invocation_request=request)))
        except TimeoutError:
            raise self._out_of_time(function) from None
        finally:
            self._deadlines.discard(deadline)
            runtime.invocation_id_cv.reset(token)
            del self._invoked[invocation]
        if answer.result.status != _SUCCESS:
            problem = answer.result.exception
            raise InvocationError(problem.message, problem.stack_trace)
        return Result(
            returned=answer.return_value,
            outputs={item.name: item.data for item in answer.output_data or () if item.data},
        )

    def _out_of_time(self, function: Function) -> InvocationError:
        """The first to be late ends the others."""
        if self.timed_out.is_set():
            return InvocationError(f"The worker was restarted while it ran the function: {function.name}")
        self.timed_out.set()
        for deadline in self._deadlines:
            if not deadline.expired():
                deadline.reschedule(asyncio.get_running_loop().time())
        return InvocationError(f"Timeout value of {self._timeout} was exceeded by function: {function.name}")


def _function(indexed: Message) -> Function:
    bindings = [
        Binding(
            name=item["name"],
            type=item["type"],
            is_output=str(item["direction"]).lower() == "out",
            properties=item,
        )
        for item in map(json.loads, indexed.raw_bindings)
    ]
    trigger = next(binding for binding in bindings if binding.type.endswith("Trigger"))
    return Function(
        name=indexed.name,
        id=indexed.function_id,
        trigger=trigger,
        inputs=tuple(binding for binding in bindings if not binding.is_output and binding is not trigger),
        outputs=tuple(binding for binding in bindings if binding.is_output),
        retries=indexed.retry_options is not None,
    )

"""Single operations in, few requests out: each leaves as it is, or together with others in an envelope.

A `Dispatcher` stands between `Caller` and the network and is a `Transport` itself. So tokens, repetitions and the
meaning of errors are the same for an operation that travelled alone and for one that shared an envelope. Its `Lanes`
decide what leaves together and when (pure), its `Form` writes and reads envelopes (pure); here is only the loop.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from http import HTTPStatus
from itertools import count
from typing import Protocol

from shared.errors import BookingSyncError, NotSentError, OutcomeUnknownError
from shared.http import HttpRequest, HttpResponse, Transport
from shared.sync.ports import Clock

TICK = 0.1
"""Seconds between two looks at what waits; most of it leaves earlier, with an arrival or a return."""

_FOR_EACH = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
"""Refusals of an envelope that hold for each request in it; so do all from 500 up."""

GATHER = timedelta(seconds=0.5)
"""The longest wait for others: a request under way that takes longer holds nobody up."""
CROWD = timedelta(seconds=3)
"""How long after several have left together others gather behind them."""

type Outcome = HttpResponse | BookingSyncError | None
"""What became of an operation; `None`: nothing can have happened, and it has to be asked once more, alone."""

_numbers = count()


@dataclass(slots=True, kw_only=True, eq=False)
class Operation:
    """A request that waits for its turn or is under way. Once it `is_alone` it shares no envelope (any more)."""

    request: HttpRequest
    issued_at: datetime
    is_alone: bool = False
    number: int = field(default_factory=lambda: next(_numbers))

    def is_late(self, at: datetime) -> bool:
        """Whether it must not be begun any more."""
        return self.request.latest is not None and at > self.request.latest


@dataclass(frozen=True, slots=True, eq=False)
class Load:
    """Operations that leave in one request, the oldest first; `kind` is the lanes' own word for how it was chosen."""

    kind: str
    operations: tuple[Operation, ...]


class Gathering:
    """Whether a load should leave now or wait for company of its kind.

    A lone operation waits for nothing. Behind a load that is under way others are gathered, not for long. And where
    several have left together, more are expected for some seconds: posts and notifications come a few at a time, and
    would leave in dribs and drabs when the service answers before the next few have come.
    """

    def __init__(self, *, moment: timedelta = timedelta(), hurried: Collection[str] = ()) -> None:
        """Nothing is under way. A load counts as under way for a `moment` at least, however soon it is answered.

        The kinds that are `hurried` gather only behind what really is under way.
        """
        self.under_way: Counter[str] = Counter()
        """How many loads of each kind."""
        self._moment = moment
        self._hurried = hurried
        self._last: dict[str, tuple[datetime, str]] = {}
        """Until when others are expected behind a kind's last load, and the lane of who was alone in it."""

    def is_ready(self, load: Load, most: int, now: datetime) -> bool:
        """Whether there is nothing to be gained by waiting: nobody comes, it is full, or has waited long enough.

        Who was alone in the last load and comes again is no sign of others.
        """
        until, lane = self._last.get(load.kind, (now, ""))
        has_company = now < until and any(operation.request.lane != lane for operation in load.operations)
        return (
            not (has_company or self.under_way[load.kind])
            or len(load.operations) >= most
            or now - load.operations[0].issued_at >= GATHER
        )

    def leaves(self, load: Load, now: datetime) -> None:
        """It is under way from now on."""
        self.under_way[load.kind] += 1
        if load.kind not in self._hurried:
            is_lone = len(load.operations) == 1
            until = now + (self._moment if is_lone else CROWD)
            before, _ = self._last.get(load.kind, (until, ""))
            self._last[load.kind] = max(until, before), load.operations[0].request.lane if is_lone else ""

    def is_back(self, load: Load) -> None:
        """It is not under way any more."""
        self.under_way[load.kind] -= 1


class Lanes(Protocol):
    """What waits for one service, and the rules by which it leaves."""

    def add(self, operation: Operation) -> None:
        """It waits from now on."""

    def discard(self, operation: Operation) -> None:
        """It does not wait any more, if it did."""

    def waiting(self) -> Sequence[tuple[Operation, datetime]]:
        """Everything that waits, and until when the service has asked for patience with it."""

    def take(self, now: datetime) -> Load | None:
        """What leaves now, `None` when nothing may; it is under way until it comes `back`."""

    def back(self, load: Load, outcomes: Mapping[Operation, Outcome], now: datetime) -> None:
        """The load is not under way any more; the answers in it tell how much the service bears."""


class Form(Protocol):
    """How an envelope looks on the wire."""

    def pack(self, requests: Sequence[HttpRequest]) -> HttpRequest:
        """One request for all of them; the dispatcher adds its token and its time-out."""

    def unpack(self, response: HttpResponse, requests: Sequence[HttpRequest]) -> Sequence[HttpResponse | None]:
        """The answer to each; `None` where a successful envelope holds none, or none that can be trusted."""


class Dispatcher:
    """Implements `Transport` for one service."""

    def __init__(self, transport: Transport, *, lanes: Lanes, form: Form, clock: Clock) -> None:
        """Send by `transport`."""
        self._transport = transport
        self._lanes = lanes
        self._form = form
        self._clock = clock
        self._answers: dict[Operation, asyncio.Future[HttpResponse]] = {}
        self._under_way: set[asyncio.Task[None]] = set()
        self._soon: asyncio.Handle | None = None
        self._later: asyncio.Handle | None = None

    async def send(self, request: HttpRequest) -> HttpResponse:
        """One operation. Raises as every transport does, and `NotSentError` when it could not leave in time."""
        if not request.lane:
            return await self._transport.send(request)
        operation = Operation(request=request, issued_at=self._clock.now())
        answer: asyncio.Future[HttpResponse] = asyncio.get_running_loop().create_future()
        self._answers[operation] = answer
        self._add(operation)
        try:
            return await answer
        finally:
            self._lanes.discard(operation)
            del self._answers[operation]

    def _add(self, operation: Operation) -> None:
        self._lanes.add(operation)
        self._look_soon()

    def _look_soon(self) -> None:
        """Once for everything that happens in this moment."""
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        """Send what may leave, fail what cannot leave in time, and look again while anything has no answer."""
        self._soon = None
        now = self._clock.now()
        for operation, open_from in self._lanes.waiting():
            if operation.is_late(max(now, open_from)):
                self._lanes.discard(operation)
                self._tell(operation, _too_late(operation.request, max(open_from - now, timedelta())))
        while (load := self._lanes.take(now)) is not None:
            task = asyncio.create_task(self._carry(load))
            self._under_way.add(task)
            task.add_done_callback(self._has_ended)
        if self._later is not None:
            self._later.cancel()
        self._later = asyncio.get_running_loop().call_later(TICK, self._look) if self._answers else None

    def _has_ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # its operations know it already

    async def _carry(self, load: Load) -> None:
        """One request; what becomes of it is told to each of its operations, whatever that is."""
        outcomes: Mapping[Operation, Outcome] = {}
        try:
            outcomes = await self._exchange(load.operations)
        except BaseException as error:
            for operation in load.operations:
                self._tell(operation, _own(error))
            if not isinstance(error, Exception):
                raise
        finally:
            for operation, outcome in outcomes.items():
                if outcome is not None:
                    self._tell(operation, outcome)
                elif operation in self._answers:
                    operation.is_alone = True
                    self._lanes.add(operation)
            self._lanes.back(load, outcomes, self._clock.now())
            self._look_soon()

    async def _exchange(self, operations: Sequence[Operation]) -> Mapping[Operation, Outcome]:
        """What became of each; at the last moment it shows who is too late."""
        now = self._clock.now()
        late: dict[Operation, Outcome] = {one: _too_late(one.request) for one in operations if one.is_late(now)}
        on_board = [operation for operation in operations if operation not in late]
        match [operation.request for operation in on_board]:
            case []:
                return late
            case [request]:
                return late | {on_board[0]: await self._transport.send(request)}
            case requests:
                return late | dict(zip(on_board, await self._share(requests), strict=True))

    async def _share(self, requests: Sequence[HttpRequest]) -> Sequence[Outcome]:
        """Send an envelope; the token is that of the request that got its own last, which is the freshest."""
        envelope = self._form.pack(requests)
        headers = {**envelope.headers, "Authorization": requests[-1].headers["Authorization"]}
        timeout = min(request.timeout for request in requests)
        response = await self._transport.send(replace(envelope, headers=headers, timeout=timeout))
        if response.status < HTTPStatus.BAD_REQUEST:
            answers = self._form.unpack(response, requests)
            return [answer or _unknown(request) for request, answer in zip(requests, answers, strict=True)]
        if response.status in _FOR_EACH or response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return [response] * len(requests)
        # The service refuses the envelope as it is, which says nothing about any one in it.
        return [None] * len(requests)

    def _tell(self, operation: Operation, outcome: HttpResponse | BaseException) -> None:
        answer = self._answers.get(operation)
        if answer is None or answer.done():
            return
        if isinstance(outcome, HttpResponse):
            answer.set_result(outcome)
        else:
            answer.set_exception(outcome)


def _unknown(request: HttpRequest) -> Outcome:
    """For a request whose answer is missing: a read is simply made again."""
    return None if request.method == "GET" else OutcomeUnknownError(f"{request.method}: an envelope without its answer")


def _too_late(request: HttpRequest, wait: timedelta | None = None) -> NotSentError:
    return NotSentError(f"{request.method}: its turn did not come in time", retry_after=wait)


def _own(error: BaseException) -> BaseException:
    """An error for each of those who shared it: an exception object must not be raised in several places."""
    return type(error)(str(error)) if isinstance(error, NotSentError | OutcomeUnknownError) else error

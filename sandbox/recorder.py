"""The request log: every call and every inner call of a batch, as the control plane and the tests read it.

It keeps what is needed to count and to explain: never a body, a token or a subject.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from http import HTTPStatus


@dataclass(slots=True, kw_only=True)
class Call:
    """One logged call. `inner` tells a part of a batch from a request of its own; `batch` is its envelope's number.

    An answered call without a status is one whose connection was broken by a fault. `limit` names the limit under which
    the service refused the call; it is empty when a fault made up the refusal.
    """

    number: int
    at: datetime
    service: str
    method: str
    path: str
    app: str = ""
    mailbox: str = ""
    inner: bool = False
    batch: int = 0
    envelope: bool = False
    answered: bool = False
    status: int = 0
    fault: str = ""
    limit: str = ""
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def is_refused(self) -> bool:
        """Whether the call was one too many: a limit refused it, or a fault made it look so."""
        return bool(self.limit) or (self.fault == "refuse" and self.status == HTTPStatus.TOO_MANY_REQUESTS)

    def as_json(self) -> dict[str, object]:
        """The entry as the control plane prints it."""
        return {**asdict(self), "at": self.at.isoformat()}


class Recorder:
    """An append-only list of calls that can be waited on."""

    def __init__(self) -> None:
        """Start empty."""
        self.calls: list[Call] = []
        self.answers = 0
        """How many calls have been answered, the forgotten ones, too."""
        self._next = 1
        self._grown = asyncio.Event()

    def start(
        self, at: datetime, service: str, method: str, path: str, *, within: Call | None = None, envelope: bool = False
    ) -> Call:
        """Log the arrival of a call, or of a part of the batch `within`; its status is filled in by `finish`."""
        call = Call(
            number=self._next,
            at=at,
            service=service,
            method=method,
            path=path,
            inner=within is not None,
            batch=within.number if within else 0,
            envelope=envelope,
        )
        self._next += 1
        self.calls.append(call)
        return call

    def finish(self, call: Call, status: int) -> None:
        """Note the answer of `call` and wake whoever waits for traffic."""
        call.status = status
        call.answered = True
        self.answers += 1
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()

    @property
    def last(self) -> int:
        """The number of the latest call, 0 before the first."""
        return self._next - 1

    def after(self, number: int) -> Iterator[Call]:
        """The calls that arrived after the one numbered `number`."""
        return (call for call in self.calls if call.number > number)

    async def wait_for_traffic(self, seconds: float) -> bool:
        """Return as soon as any call is answered: true; false after `seconds` of real time without one."""
        try:
            async with asyncio.timeout(seconds):
                await self._grown.wait()
        except TimeoutError:
            return False
        return True

    def clear(self) -> None:
        """Forget all calls; numbers go on."""
        self.calls.clear()

    def counts(self, *, app: str | None = None, after: int = 0) -> dict[str, dict[str, int]]:
        """Requests by service: `http` counts requests on the wire, `logical` counts operations (a batch's parts).

        `refused` counts the calls of either kind that were one too many; repeating them is another operation.
        """
        totals: dict[str, dict[str, int]] = {}
        for call in self.after(after):
            if app is not None and call.app != app:
                continue
            total = totals.setdefault(call.service, {"http": 0, "logical": 0, "refused": 0})
            total["http"] += not call.inner
            total["logical"] += not call.envelope
            total["refused"] += call.is_refused
        return totals

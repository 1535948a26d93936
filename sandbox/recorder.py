"""The request log: every call and every inner call of a batch, as the control plane and the tests read it.

It keeps what is needed to count and to explain: never a body, a token or a subject.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime


@dataclass(slots=True, kw_only=True)
class Call:
    """One logged call. `inner` tells a part of a batch from an HTTP request of its own.

    An answered call without a status is one whose connection was broken by a fault.
    """

    number: int
    at: datetime
    service: str
    method: str
    path: str
    app: str = ""
    mailbox: str = ""
    inner: bool = False
    envelope: bool = False
    answered: bool = False
    status: int = 0
    fault: str = ""
    tags: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """The entry as the control plane prints it."""
        return {**asdict(self), "at": self.at.isoformat()}


class Recorder:
    """An append-only list of calls that can be waited on."""

    def __init__(self) -> None:
        """Start empty."""
        self.calls: list[Call] = []
        self._next = 1
        self._grown = asyncio.Event()

    def start(
        self, at: datetime, service: str, method: str, path: str, *, inner: bool = False, envelope: bool = False
    ) -> Call:
        """Log the arrival of a call; its status is filled in by `finish`."""
        call = Call(number=self._next, at=at, service=service, method=method, path=path, inner=inner, envelope=envelope)
        self._next += 1
        self.calls.append(call)
        return call

    def finish(self, call: Call, status: int) -> None:
        """Note the answer of `call` and wake whoever waits for traffic."""
        call.status = status
        call.answered = True
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
        """Requests by service: `http` counts requests on the wire, `logical` counts operations (a batch's parts)."""
        totals: dict[str, dict[str, int]] = {}
        for call in self.after(after):
            if app is not None and call.app != app:
                continue
            total = totals.setdefault(call.service, {"http": 0, "logical": 0})
            total["http"] += not call.inner
            total["logical"] += not call.envelope
        return totals

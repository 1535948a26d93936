"""What services send by themselves: posts that wait, travel, get lost, doubled or overtaken.

Faults for the service of an outbox, beyond those for all calls: `lose` (nothing arrives, and the sender takes it for
delivered), `duplicate` (sent twice), `hold` (kept until `Outbox.release`), `reorder` (goes behind all posts that wait).
`Outbox.repeat` sends everything once more.
"""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from heapq import heappop, heappush
from http import HTTPStatus
from itertools import count

from sandbox.cloud import Cloud
from sandbox.delivery import Delivery
from sandbox.faults import DROPPED, Rule
from sandbox.http import Request, Response
from sandbox.recorder import Call

DIVERTING = ("hold", "reorder")
ON_THE_WAY = ("lose", "duplicate")
MOST_REMEMBERED = 1000
"""How many posts can be sent again: of more, the oldest are forgotten."""
ORDERS = ("same", "reversed", "shuffled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A request on its way out, and what the log says of it."""

    request: Request
    seconds: float
    tags: Mapping[str, str]
    app: str = ""
    mailbox: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting[T]:
    """A post that waits; one that was diverted once goes straight the next time."""

    post: T
    may_be_diverted: bool = True


class Outbox[T](ABC):
    """The posts of one service. What a post is and how it is delivered, subclasses say."""

    def __init__(self, cloud: Cloud, service: str, delivery: Delivery) -> None:
        """Send in the name of `service`."""
        self.delivery = delivery
        self._cloud = cloud
        self._service = service
        self._ready: deque[_Waiting[T]] = deque()
        self._later: list[tuple[datetime, int, _Waiting[T]]] = []
        self._held: list[_Waiting[T]] = []
        self._sent: dict[int, T] = {}
        self._numbers = count()
        self._claims = 0
        self._under_way: set[asyncio.Task[None]] = set()
        self._alarms: dict[asyncio.Task[None], datetime] = {}
        cloud.faults.declare(*DIVERTING, *ON_THE_WAY)

    @abstractmethod
    def address(self, post: T) -> tuple[str, str]:
        """Where `post` goes, as fault rules name it: the path of the URL and the application."""

    @abstractmethod
    async def deliver(self, post: T, rule: Rule | None) -> None:
        """Send `post`, under the fault `rule` if there is one; what cannot be delivered may be put in again."""

    def effects(self, post: T) -> tuple[str, ...]:  # noqa: ARG002 - for subclasses
        """The faults that `deliver` carries out for `post`."""
        return ON_THE_WAY

    @property
    def counts(self) -> dict[str, int]:
        """How many posts wait, are on their way and are held."""
        waiting = len(self._ready) + len(self._later)
        return {"waiting": waiting, "under_way": len(self._under_way) - self._claims, "held": len(self._held)}

    def put(self, post: T, due_at: datetime | None = None) -> None:
        """Send `post` as soon as it is due and its turn."""
        self._enter(_Waiting(post=post), due_at)

    def release(self) -> int:
        """Send the held posts; returns how many there were."""
        released, self._held = self._held, []
        for waiting in released:
            self._enter(waiting)
        return len(released)

    def repeat(self, order: str, seed: int = 0) -> int:
        """Send once more whatever was sent, each post once and as it was; returns how many there are.

        `order` is one of `ORDERS`; `seed` decides the shuffled one. Posts that were lost on their way were never sent.
        Raises `ValueError` for another order.
        """
        if order not in ORDERS:
            raise ValueError(f"'order' must be one of: {', '.join(ORDERS)}")
        posts = list(self._sent.values())
        if order == "reversed":
            posts.reverse()
        elif order == "shuffled":
            random.Random(seed).shuffle(posts)  # noqa: S311 - a reproducible order
        for post in posts:
            self.put(post)
        return len(posts)

    async def quiet(self) -> None:
        """Return when no post waits or is on its way; held ones do not count."""
        while tasks := [*self._under_way, *self._alarms]:
            await asyncio.gather(*tasks)

    def reset(self) -> None:
        """Forget what waits, what is on its way and what was sent."""
        for task in (*self._under_way, *self._alarms):
            task.cancel()
        self._under_way.clear()
        self._alarms.clear()
        self._ready.clear()
        self._later.clear()
        self._held.clear()
        self._sent.clear()
        self._claims = 0
        self.delivery.reset()

    async def close(self) -> None:
        """Stop; what waits is never sent."""
        tasks = [*self._under_way, *self._alarms]
        self.reset()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def attempt(self, post: T, parcel: Parcel, rule: Rule | None) -> int:
        """Send `post` once, or as the rule says; the status of the first answer, 0 when there is none."""
        if rule is not None and rule.do == "lose":
            self.log(parcel, rule.do)
            return HTTPStatus.ACCEPTED
        self._sent.setdefault(id(post), post)
        if len(self._sent) > MOST_REMEMBERED:
            del self._sent[next(iter(self._sent))]
        answer = await self.send(parcel)
        if rule is not None and rule.do == "duplicate":
            await self.send(parcel, rule.do)
        return answer.status

    async def send(self, parcel: Parcel, fault: str = "") -> Response:
        """One request, logged and with the faults in force. No answer is the status 0."""
        call = self._start(parcel, fault)

        async def send(request: Request) -> Response:
            return await self._cloud.send(request, parcel.seconds)

        try:
            answer = await self._cloud.faults.around(call, parcel.request, send, _refused)
        except (TimeoutError, ConnectionError):
            answer = DROPPED
        answer = DROPPED if answer.dropped else answer
        self._cloud.recorder.finish(call, answer.status)
        return answer

    def log(self, parcel: Parcel, fault: str) -> None:
        """Log a request that a fault kept from being sent."""
        self._cloud.recorder.finish(self._start(parcel, fault), DROPPED.status)

    def _start(self, parcel: Parcel, fault: str) -> Call:
        request = parcel.request
        call = self._cloud.recorder.start(self._cloud.clock.now(), self._service, request.method, request.path)
        call.app, call.mailbox, call.fault = parcel.app, parcel.mailbox, fault
        call.tags.update(parcel.tags)
        return call

    def _enter(self, waiting: _Waiting[T], due_at: datetime | None = None) -> None:
        if due_at is None or due_at <= self._cloud.clock.now():
            self._ready.append(waiting)
            self._start_posts()
            return
        heappush(self._later, (due_at, next(self._numbers), waiting))
        self._set_alarm()

    def _set_alarm(self) -> None:
        if self._later and all(due_at > self._later[0][0] for due_at in self._alarms.values()):
            due_at = self._later[0][0]
            self._alarms[asyncio.get_running_loop().create_task(self._wake(due_at))] = due_at

    async def _wake(self, due_at: datetime) -> None:
        """Let what is due go, in the order in which it became due."""
        await self._cloud.clock.sleep((due_at - self._cloud.clock.now()).total_seconds())
        while self._later and self._later[0][0] <= self._cloud.clock.now():
            self._ready.append(heappop(self._later)[2])
        self._start_posts()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - this is one
        self._alarms.pop(task, None)
        self._set_alarm()

    def _start_posts(self) -> None:
        while len(self._under_way) < self.delivery.in_flight and self._claims < len(self._ready):
            self._claims += 1
            self._under_way.add(asyncio.get_running_loop().create_task(self._travel()))

    async def _travel(self) -> None:
        self._claims -= 1
        try:
            await self._go(self._next())
        finally:
            # Not in a done callback: a post that comes before the callback runs would count on this task.
            self._under_way -= {asyncio.current_task()}
            self._start_posts()

    def _next(self) -> _Waiting[T]:
        if self.delivery.shuffle:
            self._ready.rotate(-self._cloud.random.randrange(len(self._ready)))
        return self._ready.popleft()

    async def _go(self, waiting: _Waiting[T]) -> None:
        rule = self._fault(waiting)
        if rule is None or rule.do not in DIVERTING:
            await self.deliver(waiting.post, rule)
            return
        waiting = replace(waiting, may_be_diverted=False)
        if rule.do == "hold":
            self._held.append(waiting)
        else:
            self._enter(waiting, max((due_at for due_at, _, _ in self._later), default=None))

    def _fault(self, waiting: _Waiting[T]) -> Rule | None:
        """The rule about this post's way; those that only divert it see a post once."""
        effects = self.effects(waiting.post)
        if waiting.may_be_diverted:
            effects = (*DIVERTING, *effects)
        path, app = self.address(waiting.post)
        now = self._cloud.clock.now()
        probe = Call(number=0, at=now, service=self._service, method="POST", path=path, app=app)
        return self._cloud.faults.take(probe, *effects)


def _refused(status: int, _code: str, _message: str) -> Response:
    return Response(status=status)

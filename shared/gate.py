"""How much a service bears at once, learned from its answers. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from shared.http import HttpResponse, retry_after

_TOO_MUCH = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})

_EVER = datetime.min.replace(tzinfo=UTC)


class Gate:
    """Lets so much through at once: a little more after each clean return, half as much after a refusal."""

    STEP = 1 / 8

    def __init__(self, start: int, most: int) -> None:
        """Begin with `start`; never let more than `most` through."""
        self.limit: float = start
        self.most = most
        self.used = 0
        self.open_from = _EVER
        """The service has asked for patience until then."""
        self.refused_at = _EVER
        """When it last said that it was too much."""

    def room(self, now: datetime) -> int:
        """How much may leave now."""
        return max(int(self.limit) - self.used, 0) if now >= self.open_from else 0

    def learn(self, answers: Iterable[HttpResponse], now: datetime) -> None:
        """Take in what came back together."""
        answers = list(answers)
        refusals = [answer for answer in answers if answer.status in _TOO_MUCH]
        if refusals:
            self.limit = max(self.limit / 2, 1)
            self.refused_at = now
            wait = max(retry_after(refusal, now) or timedelta() for refusal in refusals)
            self.open_from = max(self.open_from, now + wait)
        elif answers:
            self.limit = min(self.limit + self.STEP, self.most)

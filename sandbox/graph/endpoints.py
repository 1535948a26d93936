"""How receivers of notifications behave, and what the service makes of it.

Microsoft Graph docs, "Receive change notifications through webhooks": in a window of ten minutes, more than 10 % of
answers later than 3 seconds make an endpoint slow (new notifications are delayed), more than 15 % later than 10 seconds
make it one whose new notifications are dropped; it leaves these states when the window says so. Earlier versions of the
page gave the number of answers from which a share is taken. Unverified: that an endpoint is a URL without its query.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

WINDOW = timedelta(minutes=10)
LATE, TOO_LATE = 3.0, 10.0
"""Seconds."""
SLOW_SHARE, DROP_SHARE = 0.10, 0.15


class Pace(StrEnum):
    """What an endpoint is taken for."""

    FAST = "fast"
    SLOW = "slow"
    DROP = "drop"


@dataclass(slots=True)
class Endpoint:
    """One receiver: how long it took to answer lately."""

    _answers: deque[tuple[datetime, float]] = field(default_factory=deque)

    def note(self, at: datetime, took: float) -> None:
        """An answer came, or was given up, after `took` seconds."""
        self._answers.append((at, took))

    def pace(self, at: datetime, least: int) -> Pace:
        """The state of the endpoint; fewer than `least` answers in the window say nothing."""
        while self._answers and at - self._answers[0][0] >= WINDOW:
            self._answers.popleft()
        if len(self._answers) < least:
            return Pace.FAST
        if self._share(TOO_LATE) > DROP_SHARE:
            return Pace.DROP
        return Pace.SLOW if self._share(LATE) > SLOW_SHARE else Pace.FAST

    def _share(self, limit: float) -> float:
        return sum(is_later(took, limit) for _, took in self._answers) / len(self._answers)


def is_later(took: float, limit: float) -> bool:
    """Whether an answer took `limit` seconds or was given up then, for which clocks need not be exact."""
    return took >= limit * 0.99

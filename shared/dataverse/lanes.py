"""What waits for Dataverse, and what of it leaves together. Pure; implements `shared.dispatch.Lanes`.

Reads leave as a list by ids, which costs Dataverse one request and one query; writes as a `$batch`, whose parts are
carried out one after another, so that it is kept small (Microsoft docs, "Service protection API limits", advise ten to
begin with). They do not wait for each other, but there is one measure of how much may be under way: the limits are the
app's, whatever it asks for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice

from shared.dispatch import Gathering, Load, Operation, Outcome
from shared.gate import Gate
from shared.http import HttpResponse

AT_ONCE = 4
"""How many requests may be under way until Dataverse names another number (`x-ms-dop-hint`)."""
MOST_AT_ONCE = 52
"""The limit of concurrent requests of one user (Microsoft docs, "Service protection API limits")."""
MOMENT = timedelta(seconds=0.15)
"""How long others gather behind a lone one, which is answered within some hundredths of a second."""


class Kind(StrEnum):
    """How operations leave."""

    ALONE = "alone"
    LIST = "list"
    BATCH = "batch"


MOST: Mapping[Kind, int] = {Kind.ALONE: 1, Kind.LIST: 50, Kind.BATCH: 16}
"""How many leave together. The address of a list of 50 has about 4,500 characters, which every gateway takes."""
SLOW = timedelta(seconds=6)
"""A batch that takes longer was too large: business logic may take seconds for each of its parts."""


class Rows:
    """One lane for all rows."""

    def __init__(self) -> None:
        """Nothing waits."""
        self._waiting: dict[Operation, None] = {}
        self._gate = Gate(AT_ONCE, AT_ONCE)
        self._gathering = Gathering(moment=MOMENT)
        self._most = dict(MOST)
        self._left_at: dict[Load, datetime] = {}

    def add(self, operation: Operation) -> None:
        """It waits from now on."""
        self._waiting[operation] = None

    def discard(self, operation: Operation) -> None:
        """It does not wait any more, if it did."""
        self._waiting.pop(operation, None)

    def waiting(self) -> Sequence[tuple[Operation, datetime]]:
        """Everything that waits, and until when Dataverse has asked for patience."""
        return [(operation, self._gate.open_from) for operation in self._waiting]

    def take(self, now: datetime) -> Load | None:
        """What has waited longest, and others of its kind with it, unless it is better to wait for more."""
        if not self._gate.room(now):
            return None
        loads = [load for kind in Kind if (load := self._gathered(kind, now)) is not None]
        load = min(loads, key=lambda one: one.operations[0].number, default=None)
        if load is not None:
            self._gate.used += 1
            self._gathering.leaves(load, now)
            self._left_at[load] = now
            for operation in load.operations:
                del self._waiting[operation]
        return load

    def _gathered(self, kind: Kind, now: datetime) -> Load | None:
        those = (operation for operation in self._waiting if _kind(operation) is kind)
        load = Load(kind, tuple(islice(those, self._most[kind])))
        return load if load.operations and self._gathering.is_ready(load, self._most[kind], now) else None

    def back(self, load: Load, outcomes: Mapping[Operation, Outcome], now: datetime) -> None:
        """The load is not under way any more, and its answers tell how much Dataverse bears."""
        self._gate.used -= 1
        self._gathering.is_back(load)
        answers = [outcome for outcome in outcomes.values() if isinstance(outcome, HttpResponse)]
        hint = answers[0].headers.get("x-ms-dop-hint", "") if answers else ""
        if hint.isdecimal():
            self._gate.most = min(max(int(hint), 1), MOST_AT_ONCE)
        self._gate.learn(answers, now)
        is_slow = now - self._left_at.pop(load) > SLOW
        if load.kind == Kind.BATCH:
            larger = min(self._most[Kind.BATCH] + 1, MOST[Kind.BATCH])
            self._most[Kind.BATCH] = max(len(load.operations) // 2, 1) if is_slow else larger


def _kind(operation: Operation) -> Kind:
    if operation.is_alone:
        return Kind.ALONE
    return Kind.LIST if operation.request.method == "GET" else Kind.BATCH

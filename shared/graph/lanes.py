"""What waits for each mailbox, and what of it leaves together. Pure; implements `shared.dispatch.Lanes`.

All requests of an envelope are answered together, when the slowest is done, and Graph works on four of them at a time;
a mailbox bears four requests at once and refuses more (Microsoft Graph docs, "Combine multiple HTTP requests using JSON
batching", "Outlook service limits"). So an operation leaves at once when nothing is under way, and otherwise gathers
others behind the one that is, not for long. There are four kinds of loads:

- *mixed*: up to twenty operations, one of each mailbox in turn and at most three of any;
- *quick*: up to four, for operations that somebody waits for: it takes no longer than one alone;
- *dedicated*: many operations of one mailbox while nothing else is under way for it, which is as fast as it can be;
- *alone*: what an envelope could not carry.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import chain, count, islice, zip_longest

from shared.dispatch import Gathering, Load, Operation, Outcome
from shared.gate import Gate
from shared.http import HttpResponse

ENVELOPE = 20
"""The most requests that Graph takes in one envelope."""
AT_A_TIME = 4
"""How many requests of an envelope Graph works on at once; a mailbox bears as many."""
OF_ONE_MAILBOX = 3
"""With how many operations at once a mailbox begins. The fourth, once it is proven, is kept for what is urgent."""
MANY = 8
"""Operations of one mailbox that are worth a dedicated load."""
CALM = timedelta(minutes=1)
"""How long a mailbox must not have refused anything before it gets a dedicated load, which would be refused whole."""


class Kind(StrEnum):
    """How a load is chosen."""

    ALONE = "alone"
    QUICK = "quick"
    DEDICATED = "dedicated"
    MIXED = "mixed"


class _Mailbox:
    """What is known of one mailbox; the lower `turn` is, the longer nothing has left for it."""

    def __init__(self, turn: int) -> None:
        self.turn = turn
        self.gate = Gate(OF_ONE_MAILBOX, AT_A_TIME)

    def dedicated(self, due: Sequence[Operation], now: datetime) -> Sequence[Operation]:
        """What a dedicated load would carry, if it is worth one: the fewer, the less the mailbox has borne of late."""
        many = [one for one in due if _kind(one) is Kind.MIXED][: int(ENVELOPE * self.gate.limit / AT_A_TIME)]
        is_worth = len(many) >= MANY and now - self.gate.refused_at >= CALM
        return many[: len(many) - len(many) % AT_A_TIME] if is_worth else ()

    def offer(self, kind: Kind, due: Sequence[Operation], now: datetime) -> Sequence[Operation]:
        """What it may add to a load of another kind."""
        room = self.gate.room(now)
        if kind is Kind.MIXED:
            room = min(room, max(OF_ONE_MAILBOX - self.gate.used, 0))
        return [operation for operation in due if _kind(operation) is kind][:room]


type Due = Mapping[_Mailbox, Sequence[Operation]]


class Mailboxes:
    """The lanes of all mailboxes."""

    def __init__(self, most: int) -> None:
        """Never let more than `most` requests be under way."""
        self._most = most
        self._gathering = Gathering(hurried={Kind.QUICK})
        self._mailboxes: dict[str, _Mailbox] = {}
        self._waiting: dict[Operation, _Mailbox] = {}
        self._turns = count()

    def add(self, operation: Operation) -> None:
        """It waits from now on."""
        lane = operation.request.lane
        if lane not in self._mailboxes:
            self._mailboxes[lane] = _Mailbox(next(self._turns))
        self._waiting[operation] = self._mailboxes[lane]

    def discard(self, operation: Operation) -> None:
        """It does not wait any more, if it did."""
        self._waiting.pop(operation, None)

    def waiting(self) -> Sequence[tuple[Operation, datetime]]:
        """Everything that waits, and until when its mailbox has asked for patience."""
        return [(operation, mailbox.gate.open_from) for operation, mailbox in self._waiting.items()]

    def take(self, now: datetime) -> Load | None:
        """What leaves now: first what somebody waits for, then the mailbox whose turn it is, and others with it."""
        if self._gathering.under_way.total() >= self._most:
            return None
        due = self._due(now)
        crowded = {mailbox: many for mailbox, those in due.items() if (many := mailbox.dedicated(those, now))}
        # A crowded mailbox takes no part in mixed loads, so that soon nothing is under way and its own load can leave.
        others = {mailbox: those for mailbox, those in due.items() if mailbox not in crowded}
        loads = [
            self._gathered(Kind.ALONE, due, 1, now),
            self._gathered(Kind.QUICK, due, AT_A_TIME, now),
            *(_load(Kind.DEDICATED, many) for mailbox, many in crowded.items() if not mailbox.gate.used),
            self._gathered(Kind.MIXED, others, ENVELOPE, now),
        ]
        load = min((load for load in loads if load is not None), key=self._precedence, default=None)
        if load is not None:
            self._gathering.leaves(load, now)
            for operation in load.operations:
                mailbox = self._waiting.pop(operation)
                mailbox.gate.used += 1
                mailbox.turn = next(self._turns)
        return load

    def _due(self, now: datetime) -> Due:
        """What may leave, by mailbox in turn."""
        due: dict[_Mailbox, list[Operation]] = defaultdict(list)
        for operation, mailbox in self._waiting.items():
            if mailbox.gate.room(now):
                due[mailbox].append(operation)
        return dict(sorted(due.items(), key=lambda item: item[0].turn))

    def _gathered(self, kind: Kind, due: Due, most: int, now: datetime) -> Load | None:
        """One operation of each mailbox in turn, then a second and a third; unless it is better to wait for more."""
        rounds = zip_longest(*(mailbox.offer(kind, those, now) for mailbox, those in due.items()))
        load = _load(kind, islice(filter(None, chain.from_iterable(rounds)), most))
        return load if load is not None and self._gathering.is_ready(load, most, now) else None

    def _precedence(self, load: Load) -> tuple[bool, int]:
        turn = min(self._waiting[operation].turn for operation in load.operations)
        return load.kind in {Kind.DEDICATED, Kind.MIXED}, turn

    def back(self, load: Load, outcomes: Mapping[Operation, Outcome], now: datetime) -> None:
        """The load is not under way any more; every mailbox in it has told how much it bears."""
        self._gathering.is_back(load)
        answers: dict[str, list[HttpResponse]] = defaultdict(list)
        for operation in load.operations:
            lane, outcome = operation.request.lane, outcomes.get(operation)
            self._mailboxes[lane].gate.used -= 1
            if isinstance(outcome, HttpResponse):
                answers[lane].append(outcome)
        for lane, those in answers.items():
            self._mailboxes[lane].gate.learn(those, now)


def _kind(operation: Operation) -> Kind:
    if operation.is_alone:
        return Kind.ALONE
    return Kind.QUICK if operation.request.is_urgent else Kind.MIXED


def _load(kind: Kind, operations: Iterable[Operation]) -> Load | None:
    ordered = tuple(sorted(operations, key=lambda operation: operation.number))
    return Load(kind, ordered) if ordered else None

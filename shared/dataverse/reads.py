"""Many bookings read with one request. Pure; implements `shared.dispatch.Lanes` and `shared.dispatch.Form`.

A list by ids costs Dataverse one request and one query, where `$batch` would carry out its parts one after another and
count each. But a row may be missing in a list for many reasons (R3): such a booking is asked for once more, alone, and
only that answer is believed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from urllib.parse import quote

from shared.dataverse.wire import COLUMNS
from shared.dispatch import Load, Operation, Outcome
from shared.gate import Gate
from shared.http import HttpRequest, HttpResponse

MOST = 50
"""Bookings of one list: its address has about 4,500 characters then, which every gateway takes."""
AT_ONCE = 4
"""How many requests may be under way until Dataverse names another number (`x-ms-dop-hint`)."""
MOST_AT_ONCE = 52
"""The limit of concurrent requests of one user (Microsoft docs, "Service protection API limits")."""
ALONE, LIST = "alone", "list"


class Bookings:
    """One lane for all bookings: the limits are the app's, whatever it reads."""

    def __init__(self) -> None:
        """Nothing waits."""
        self._waiting: dict[Operation, None] = {}
        self._gate = Gate(AT_ONCE, AT_ONCE)
        self._lists_under_way = 0

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
        """One that has to be asked alone; else what waits, unless it is better to wait for more."""
        if not self._gate.room(now):
            return None
        load = self._next(now)
        if load is not None:
            self._gate.used += 1
            self._lists_under_way += load.kind == LIST
            for operation in load.operations:
                del self._waiting[operation]
        return load

    def _next(self, now: datetime) -> Load | None:
        for operation in self._waiting:
            if operation.is_alone:
                return Load(ALONE, (operation,))
        load = Load(LIST, tuple(islice(self._waiting, MOST)))
        return load if load.operations and (not self._lists_under_way or load.is_ready(MOST, now)) else None

    def back(self, load: Load, outcomes: Mapping[Operation, Outcome], now: datetime) -> None:
        """The load is not under way any more, and its answers tell how much Dataverse bears."""
        self._gate.used -= 1
        self._lists_under_way -= load.kind == LIST
        answers = [outcome for outcome in outcomes.values() if isinstance(outcome, HttpResponse)]
        hint = answers[0].headers.get("x-ms-dop-hint", "") if answers else ""
        if hint.isdecimal():
            self._gate.most = min(max(int(hint), 1), MOST_AT_ONCE)
        self._gate.learn(answers, now)


class BookingList:
    """A list of bookings by their ids, which are the lanes of the requests."""

    def pack(self, requests: Sequence[HttpRequest]) -> HttpRequest:
        """One GET with the same columns."""
        row, _, query = requests[0].url.partition("?")
        condition = " or ".join(f"{COLUMNS[0]} eq {request.lane}" for request in requests)
        url = f"{row.rpartition('(')[0]}?{query}&$filter={quote(condition)}"
        return replace(requests[0], url=url)

    def unpack(self, response: HttpResponse, requests: Sequence[HttpRequest]) -> Sequence[HttpResponse | None]:
        """Each booking's row as if it had been asked for alone; `None` for one that is not in the list."""
        body = response.json()
        value = body.get("value") if isinstance(body, dict) else None
        rows = value if isinstance(value, list) else []
        by_id = {str(row.get(COLUMNS[0])).lower(): row for row in rows if isinstance(row, dict)}
        return [
            replace(response, body=json.dumps(by_id[request.lane]).encode()) if request.lane in by_id else None
            for request in requests
        ]

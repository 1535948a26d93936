"""Logs are read by more people than calendars are: no content, no address and no secret ever stands in one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.errors import InvalidPostError
from shared.http import HttpRequest, HttpResponse, Transport
from shared.sync.plan import Outcome
from tests.simulation.planner import TOMORROW, Planner
from tests.simulation.world import World
from tests.sync.test_one_way import told
from tests.sync.test_pull import pull

WORD = "Planted"
"""Stands in every text that a log must not hold."""
TEXTS = {
    "SYNC_SUBJECT_TEMPLATE": f"{WORD} subject {{{{ name }}}}",
    "SYNC_BODY_TEMPLATE": f"<p>{WORD} body {{{{ name }}}}</p>",
    "SYNC_CATEGORY": f"{WORD} category",
    "SYNC_MASK": f"endswith(name,'{WORD} private')",
    "SYNC_MASK_SUBJECT": f"{WORD} mask",
    "SYNC_FILTER": f"name ne '{WORD} unwanted'",
    "SYNC_DELETION_BUDGET": "1, 0%, 1",
}


class Eavesdropper:
    """Remembers every token that is sent, and spoils some answers. Implements `shared.http.Transport`."""

    def __init__(self, network: Transport) -> None:
        """Listen to `network`."""
        self._network = network
        self._answers = 0
        self.tokens: set[str] = set()

    async def send(self, request: HttpRequest) -> HttpResponse:
        """As `Transport.send`; some answers of Graph and Dataverse are JSON of another kind."""
        answer = await self._network.send(request)
        if token := request.headers.get("Authorization", "").removeprefix("Bearer "):
            self.tokens.add(token)
            self._answers += 1
            if self._answers % 29 == 0:
                return replace(answer, body=f'{{"{WORD}": "{WORD}"}}'.encode())
        return answer


@contextmanager
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Every logger that there is writes every line."""
    with caplog.at_level(logging.DEBUG):
        levels = {name: logging.getLogger(name).level for name in logging.root.manager.loggerDict}
        for name in levels:
            logging.getLogger(name).setLevel(logging.NOTSET)
        yield
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def fail_in_every_way(now: World) -> None:
    """Each failure leads to another line of log."""
    says = {"message": f"{WORD} in an error message", "times": 1}
    for service in ("graph", "dataverse"):
        app = now.contoso.booking_sync.client_id
        for fault in (
            {"do": "refuse", "status": 400},
            {"do": "refuse", "status": 403},
            {"do": "refuse", "status": 429, "retry_after": 30},
            {"do": "fail_after_commit", "status": 503},
            {"do": "drop_after_commit"},
            {"do": "html", "status": 502},
        ):
            now.cloud.faults.add({"service": service, "app": app, "after": 3, **fault, **says})


async def busy(now: World, planner: Planner) -> None:
    """Bookings of every fate."""
    names = [f"{WORD} {number}" for number in range(20)] + [f"{WORD} private", f"{WORD} unwanted"]
    people = ("alice", "bob", "carol", "xavier", "room-1")
    bookings = [
        await planner.book(people[number % 5], name=name, start=TOMORROW + timedelta(hours=number))
        for number, name in enumerate(names)
    ]
    await now.settle()
    for number, booking in enumerate(bookings):
        match number % 5:
            case 0:
                await planner.move(booking, TOMORROW + timedelta(days=2))
            case 1:
                await planner.assign(booking, "dave")
            case 2:
                await planner.set_status(booking, "Canceled")
            case 3:
                await planner.assign_resource(booking, now.contoso.spare_van)
            case _:
                await planner.delete(booking)
    await now.settle()
    await pull(now)
    for booking, name in list(zip(bookings, names, strict=True))[::5]:
        await planner.change(booking, name=name)
    await now.settle()
    now.tables.clear()
    fail_in_every_way(now)
    for booking in bookings[::5]:
        await planner.change(booking, name=f"{WORD} again")
    await pull(now)
    await now.app.inbox.replay_dead_letters()
    await now.settle()
    await now.app.housekeeping.go_on()


async def post_nonsense(now: World) -> None:
    """Somebody posts what is no change, and is refused."""
    for body in (b"{", f'{{"{WORD}": 1}}'.encode(), f'{{"OrganizationId": "{WORD}"}}'.encode()):
        with pytest.raises(InvalidPostError):
            await now.app.inbox.accept_post(body, "application/json")


def test_nothing_that_people_wrote_and_no_secret_stands_in_a_log(caplog: pytest.LogCaptureFixture) -> None:
    async def story(now: World, planner: Planner) -> None:
        network = Eavesdropper(now.network)
        now.app = now.start_app(network)
        await pull(now)
        fail_in_every_way(now)
        await busy(now, planner)
        await post_nonsense(now)
        secrets = {now.settings.client_secret, *network.tokens}
        addresses = {account.address for account in map(now.contoso.account, now.contoso.people)}
        people = {account.name for account in map(now.contoso.account, now.contoso.people)}
        assert len(network.tokens) >= 2
        assert len({entry.levelno for entry in caplog.records if entry.name.startswith("shared.")}) >= 2
        told_of = caplog.text + "".join(str(row) for row in (*now.rows("journal"), *now.rows("dead")))
        for outcome in (Outcome.APPLIED, Outcome.SKIPPED, Outcome.PARKED, Outcome.QUARANTINED, Outcome.DEAD_LETTER):
            assert f"({outcome})" in caplog.text, "the story is not busy enough"
        for planted in (WORD, "@contoso.test", "Bearer ", *secrets, *addresses, *people):
            assert planted not in told_of, planted

    with everything_logged(caplog):
        told(story, TEXTS)

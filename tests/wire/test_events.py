"""The calendar client: which writes are urgent, when a create may leave, and what Graph's codes mean."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest

from shared.errors import NotSentError, OutcomeUnknownError, ThrottledError
from shared.graph.events import CREATE_ANSWER, CREATE_MARGIN, GraphEvents
from shared.graph.wire import Style
from shared.http import Caller, HttpRequest, HttpResponse
from shared.sync.facts import CREATE_TIME
from shared.sync.model import BookingId, Content, EventId, Field, MailboxId, Marker, ShowAs
from tests.wire.exchange import BASE, Numbered, answer
from tests.wire.test_caller import StoppedClock

ALICE = MailboxId("alice")
MARKER = Marker(organization="o", booking=BookingId("b"), generation=1)


class Graph:
    """Implements `Transport`: an answer for each request, the last one for all that follow."""

    def __init__(self, *answers: HttpResponse) -> None:
        self._answers = list(answers)
        self.requests: list[HttpRequest] = []

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.requests.append(request)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def found(**more: Any) -> HttpResponse:
    return HttpResponse(status=200, body=json.dumps({"value": [], **more}).encode())


def client(graph: Graph) -> tuple[GraphEvents, StoppedClock]:
    clock = StoppedClock()
    caller = Caller(base=BASE, scope="s", transport=graph, tokens=Numbered(), clock=clock, random=Random(1))
    return GraphEvents(caller, style=Style(), clock=clock), clock


def event(start: datetime) -> HttpResponse:
    time = {"dateTime": f"{start:%Y-%m-%dT%H:%M:%S}.0000000", "timeZone": "UTC"}
    value = {"id": "e", "@odata.etag": "W/1", "start": time, "end": time, "showAs": "busy"}
    return HttpResponse(status=201, body=json.dumps(value).encode())


def content(start: datetime, hours: float = 1) -> Content:
    return Content(start=start, end=start + timedelta(hours=hours), subject="", body="", show_as=ShowAs.BUSY)


@pytest.mark.parametrize(
    ("starts_in", "hours", "is_urgent"),
    [(-0.5, 1, True), (0, 1, True), (1.9, 1, True), (2, 1, False), (24, 1, False), (-2, 1, False), (-24, 48, True)],
)
async def test_a_write_is_urgent_while_somebody_may_be_on_the_way(
    starts_in: float, hours: float, *, is_urgent: bool
) -> None:
    graph = Graph(event(StoppedClock().now()))
    events, clock = client(graph)
    shown = content(clock.now() + timedelta(hours=starts_in), hours)
    await events.create_event(ALICE, MARKER, shown, clock.now() + CREATE_TIME)
    await events.update_event(ALICE, EventId("e"), "W/1", frozenset({Field.TIME}), shown)
    assert [request.is_urgent for request in graph.requests] == [is_urgent] * 2
    assert {request.lane for request in graph.requests} == {ALICE}


async def test_r2_a_create_leaves_so_early_that_it_is_over_in_time() -> None:
    graph = Graph(event(StoppedClock().now()))
    events, clock = client(graph)
    until = clock.now() + CREATE_TIME
    await events.create_event(ALICE, MARKER, content(clock.now()), until)
    [request] = graph.requests
    assert request.latest is not None
    assert request.latest + timedelta(seconds=request.timeout) + CREATE_MARGIN <= until


@pytest.mark.parametrize("late", [timedelta(seconds=0.001), timedelta(hours=1)])
async def test_r2_a_create_that_could_not_be_over_in_time_is_never_sent(late: timedelta) -> None:
    graph = Graph(event(StoppedClock().now()))
    events, clock = client(graph)
    until = clock.now() + CREATE_ANSWER + CREATE_MARGIN - late
    with pytest.raises(NotSentError):
        await events.create_event(ALICE, MARKER, content(clock.now()), until)
    assert graph.requests == []


@pytest.mark.parametrize("status", [429, 503])
async def test_a_throttled_create_has_not_happened(status: int) -> None:
    graph = Graph(answer(status, "ApplicationThrottled", retry_after="60"))
    events, clock = client(graph)
    with pytest.raises(ThrottledError) as caught:
        await events.create_event(ALICE, MARKER, content(clock.now()), clock.now() + CREATE_TIME)
    assert caught.value.retry_after == timedelta(seconds=60)


async def test_r2_a_create_that_met_an_outage_may_have_happened() -> None:
    events, clock = client(Graph(answer(503, "ServiceNotAvailable", retry_after="1")))
    with pytest.raises(OutcomeUnknownError):
        await events.create_event(ALICE, MARKER, content(clock.now()), clock.now() + CREATE_TIME)


async def test_pages_are_followed_to_the_letter_and_tokens_go_nowhere_else() -> None:
    next_page = "/v1.0/users/alice/events?$skip=%2F%2f"
    graph = Graph(found(**{"@odata.nextLink": f"https://elsewhere.example{next_page}"}), found())
    await client(graph)[0].find_events(ALICE, "1.o.b.")
    assert graph.requests[1].url == BASE + next_page

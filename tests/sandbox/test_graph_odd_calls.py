"""Whatever stands in a body or a query, Graph answers: it takes it or says what is wrong, and never breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from urllib.parse import urlencode

import pytest

from sandbox.directory import Directory
from sandbox.graph.routes import Graph
from sandbox.http import Json
from tests.sandbox.apps import BOB, BOOKING, App, an_event
from tests.sandbox.coverage import OPTIONS, TWICE
from tests.sandbox.specimens import ALL, AN_APPOINTMENT, SPECIMENS, operations, path_of
from tests.sandbox.test_graph_series import FOUR_MONDAYS

ODD: tuple[Json, ...] = (None, True, -1, 1e300, "", "x", "9999-12-31", [], [None], ["x"], {}, {"x": 1}, [[]], [{}])
A_PLACE = {"displayName": "Cellar", "address": {"city": "Zurich"}, "locationType": "default"}
ODD_TEXTS = (
    "",
    " ",
    "-1",
    "0",
    "9" * 30,
    "x",
    "'",
    "()",
    "id eq",
    "id eq 'x'",
    "9999-12-31T23:59:59Z",
    "0001-01-01",
    "a/b",
)
RICH = {
    ("POST", "/users/{user}/events"): an_event(
        body={"contentType": "html", "content": "x"},
        location=A_PLACE,
        locations=[A_PLACE],
        categories=["Red"],
        attendees=[{"type": "required", "emailAddress": {"address": BOB, "name": "Bob"}}],
        singleValueExtendedProperties=[{"id": BOOKING, "value": "1"}],
        isOnlineMeeting=True,
        onlineMeetingProvider="teamsForBusiness",
        reminderMinutesBeforeStart=15,
        showAs="busy",
    ),
    ("PATCH", "/users/{user}/events/{event}"): {"recurrence": FOUR_MONDAYS, "subject": "x", "isAllDay": False},
    ("POST", "/solutions/bookingBusinesses/{business}/appointments"): {
        **AN_APPOINTMENT,
        "serviceLocation": A_PLACE,
        "customers": [{"name": "Proseware", "location": A_PLACE, "customQuestionAnswers": []}],
        "reminders": [{"offset": "P1D", "recipients": "staff", "message": "x"}],
        "preBuffer": "PT5M",
        "price": 10.0,
        "priceType": "fixedPrice",
        "maximumAttendeesCount": 1,
    },
    ("POST", "/solutions/bookingBusinesses/{business}/customers"): {
        "displayName": "Fabrikam",
        "phones": [{"number": "1", "type": "business"}],
        "addresses": [{"city": "Munich"}],
    },
}
"""Bodies with more in them than the good call of the operation needs."""


def bent(value: Json) -> Iterator[Json]:
    """The body with one part after the other made odd, and the odd things themselves."""
    yield from ODD
    if isinstance(value, dict | list):
        for name in list(value) if isinstance(value, dict) else range(len(value)):
            for other in bent(value[name]):
                changed = deepcopy(value)
                changed[name] = other
                yield changed


@pytest.mark.parametrize("key", [key for key, specimen in SPECIMENS.items() if specimen.body is not None], ids=" ".join)
async def test_odd_bodies_are_answered(
    graph: Graph, app_with: Callable[..., App], directory: Directory, key: tuple[str, str]
) -> None:
    app = app_with(*sorted(ALL))
    app.cloud.settings.change({"graph.bookings_rules": False})
    route, specimen = next(pair for pair in operations(graph) if (pair[0].method, pair[0].template) == key)
    query = f"?{urlencode(specimen.query)}" if specimen.query else ""
    path = await path_of(route, graph, app, directory)
    for body in bent(RICH.get(key, specimen.body)):
        answer = await app.call(route.method, path + query, body)
        assert answer.status in (200, 201, 202, 204, 400, 404, 409, 500, 501), (body, answer.body)
        if answer.status == 500:
            assert answer.json()["error"]["code"] == "UnknownError", body


@pytest.mark.parametrize(
    "key", [key for key in SPECIMENS if key[0] == "GET" and TWICE.search(key[1]) is None], ids=" ".join
)
async def test_odd_queries_are_answered(
    graph: Graph, app_with: Callable[..., App], directory: Directory, key: tuple[str, str]
) -> None:
    app = app_with(*sorted(ALL))
    route, specimen = next(pair for pair in operations(graph) if (pair[0].method, pair[0].template) == key)
    path = await path_of(route, graph, app, directory)
    for name in (*OPTIONS, *specimen.query, "$skiptoken", "$deltatoken"):
        for text in ODD_TEXTS:
            answer = await app.call("GET", f"{path}?{urlencode({**specimen.query, name: text})}")
            assert answer.status in (200, 400, 501), (name, text, answer.body)

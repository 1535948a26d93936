"""The control plane: every operation, and what it says to wrong input."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from functools import partial

import pytest

from sandbox.cloud import Cloud
from sandbox.control import Control
from sandbox.graph.routes import Graph
from sandbox.http import Json, Request, Response
from tests.sandbox.apps import ALICE, App


class Panel:
    """Calls the control plane as HTTP would."""

    def __init__(self, cloud: Cloud, graph: Graph) -> None:
        self.seeded: list[tuple[str, int, int]] = []
        self.repeated: list[tuple[str, str, int]] = []
        notifications = graph.notifications
        self._control = Control(
            cloud,
            seed=self._seed,
            repeat={name: partial(self._repeat, name) for name in ("webhook", "notification")},
            notifications=notifications.overview,
            signal=notifications.signal,
            by_hand=graph.by_hand.do,
        )

    def _seed(self, organization: str, mailboxes: int, bookings: int) -> None:
        if organization != "contoso":
            raise ValueError(f"unknown organization '{organization}'")
        self.seeded.append((organization, mailboxes, bookings))

    def _repeat(self, service: str, order: str, seed: int) -> int:
        if order == "sideways":
            raise ValueError("'order' cannot be that")
        self.repeated.append((service, order, seed))
        return 3

    async def call(self, method: str, url: str, body: Json = None) -> Response:
        content = b"" if body is None else json.dumps(body).encode()
        return await self._control.handle(Request.of(method, url, body=content))


@pytest.fixture
def panel(cloud: Cloud, graph: Graph) -> Panel:
    assert graph.name in cloud.services
    return Panel(cloud, graph)


async def test_health_names_the_services(panel: Panel) -> None:
    assert (await panel.call("GET", "/health")).json() == {"status": "ok", "services": ["graph", "login"]}


async def test_reset_forgets_everything_but_the_time(panel: Panel, app: App, cloud: Cloud) -> None:
    await app.create()
    cloud.clock.advance(timedelta(minutes=1))
    now = cloud.clock.now()
    cloud.faults.add({"do": "drop", "times": None})
    cloud.settings.change({"graph.transaction_memory": 0})
    assert (await panel.call("POST", "/reset")).status == 204
    assert (cloud.faults.rules, cloud.recorder.calls) == ((), [])
    assert cloud.settings["graph.transaction_memory"] is None
    assert cloud.clock.now() >= now
    assert await app.list(f"/users/{ALICE}/events") == []


async def test_seed_fills_the_cloud(panel: Panel) -> None:
    assert (await panel.call("POST", "/seed", {"organization": "contoso"})).status == 204
    many = {"organization": "contoso", "mailboxes": 500, "bookings": 10_000}
    assert (await panel.call("POST", "/seed", many)).status == 204
    assert panel.seeded == [("contoso", 0, 0), ("contoso", 500, 10_000)]


async def test_faults_come_and_go(panel: Panel, app: App) -> None:
    rule = {"service": "graph", "do": "refuse", "status": 429, "retry_after": 2}
    added = await panel.call("POST", "/faults", [rule, {"do": "drop", "path": "/nowhere"}])
    assert (added.status, len(added.json()["faults"])) == (201, 2)
    refused = await app.get(f"/users/{ALICE}/events")
    assert (refused.status, refused.headers["Retry-After"]) == (429, "2")
    assert [found["hits"] for found in (await panel.call("GET", "/faults")).json()["faults"]] == [1, 0]
    assert (await panel.call("DELETE", "/faults")).status == 204
    assert (await panel.call("GET", "/faults")).json() == {"faults": []}


async def test_posts_are_sent_once_more_in_the_wanted_order(panel: Panel) -> None:
    for wanted in ({}, {"service": "notification", "order": "shuffled", "seed": 7}):
        answer = await panel.call("POST", "/posts", wanted)
        assert (answer.status, answer.json()) == (202, {"posts": 3})
    assert panel.repeated == [("webhook", "same", 0), ("notification", "shuffled", 7)]


async def test_requests_are_listed_and_counted_by_application(panel: Panel, app: App, cloud: Cloud) -> None:
    await app.get(f"/users/{ALICE}/events")
    await cloud.serve("graph", Request.of("GET", "/v1.0/users"))
    seen = (await panel.call("GET", f"/requests?after=0&app={app.application.client_id}")).json()
    assert [(call["number"], call["method"], call["status"]) for call in seen["calls"]] == [(1, "GET", 200)]
    assert seen["counts"] == {"graph": {"http": 1, "logical": 1, "refused": 0}}
    assert seen["last"] == 2
    assert (await panel.call("GET", "/requests?after=2")).json() == {"calls": [], "counts": {}, "last": 2}
    assert (await panel.call("DELETE", "/requests")).status == 204
    assert (await panel.call("GET", "/requests")).json()["calls"] == []


async def test_waiting_for_requests_ends_with_the_first_answered_one(panel: Panel, app: App, cloud: Cloud) -> None:
    own = app.application.client_id
    waiting = asyncio.create_task(panel.call("GET", f"/requests?wait=60&app={own}"))
    await asyncio.sleep(0)
    await cloud.serve("graph", Request.of("GET", "/v1.0/users"))  # another application: the wait goes on
    await asyncio.sleep(0)
    assert not waiting.done()
    await app.get(f"/users/{ALICE}/events")
    assert [call["app"] for call in (await waiting).json()["calls"]] == [own]


async def test_waiting_for_requests_ends_without_any(panel: Panel) -> None:
    assert (await panel.call("GET", "/requests?wait=0.01")).json() == {"calls": [], "counts": {}, "last": 0}


async def test_clock_is_pushed_forward(panel: Panel, cloud: Cloud) -> None:
    before = cloud.clock.now()
    answer = await panel.call("POST", "/clock", {"seconds": 90})
    assert cloud.clock.now() - before >= timedelta(seconds=90)
    assert answer.json()["now"].startswith("2026-03-01T08:01:30")
    assert (await panel.call("GET", "/clock")).json()["now"] >= answer.json()["now"]


async def test_settings_are_shown_and_changed(panel: Panel, cloud: Cloud) -> None:
    answer = await panel.call("POST", "/settings", {"graph.transaction_memory": 30.5, "graph.duplicate_status": 409})
    assert answer.json()["graph.transaction_memory"] == 30.5
    assert cloud.settings["graph.duplicate_status"] == 409
    assert (await panel.call("GET", "/settings")).json() == cloud.settings.as_json()


@pytest.mark.parametrize(
    ("method", "url", "body", "named"),
    [
        ("POST", "/seed", {"organization": "fabrikam"}, "fabrikam"),
        ("POST", "/seed", {}, "'organization'"),
        ("POST", "/seed", {"organization": "contoso", "rows": []}, "rows"),
        ("POST", "/seed", {"organization": "contoso", "mailboxes": "5"}, "'mailboxes'"),
        ("POST", "/seed", {"organization": "contoso", "bookings": True}, "'bookings'"),
        ("POST", "/seed", ["contoso"], "JSON object"),
        ("POST", "/seed", None, "no JSON"),
        ("POST", "/faults", {"do": "explode"}, "'do'"),
        ("POST", "/faults", {"do": ["drop"]}, "'do'"),
        ("POST", "/faults", {"do": "drop", "colour": "red"}, "colour"),
        ("POST", "/faults", {"do": "drop", "times": "twice"}, "'times'"),
        ("POST", "/faults", {"do": "drop", "path": 5}, "'path'"),
        ("POST", "/faults", {"do": "drop", "parts": 5}, "'parts'"),
        ("POST", "/faults", "drop", "JSON object"),
        ("POST", "/notifications", {"event": "exploded"}, "'event'"),
        ("POST", "/notifications", {"event": None}, "'event'"),
        ("POST", "/notifications", {"event": "missed", "subscription": "x"}, "'x'"),
        ("POST", "/notifications", {"event": "missed", "subscription": 5}, "'subscription'"),
        ("POST", "/notifications", {"event": "missed", "colour": 5}, "colour"),
        ("POST", "/posts", {"order": "sideways"}, "'order'"),
        ("POST", "/posts", {"service": "mail"}, "'service'"),
        ("POST", "/posts", {"seed": "1"}, "'seed'"),
        ("POST", "/posts", {"times": 2}, "times"),
        ("GET", "/requests?after=soon", None, "'after'"),
        ("GET", "/requests?wait=-1", None, "'wait'"),
        ("GET", "/requests?wait=nan", None, "'wait'"),
        ("GET", "/requests?wait=3600", None, "'wait'"),
        ("GET", "/requests?colour=red", None, "colour"),
        ("POST", "/clock", {"seconds": -1}, "'seconds'"),
        ("POST", "/clock", {"seconds": "1"}, "'seconds'"),
        ("POST", "/clock", {"seconds": 1e300}, "'seconds'"),
        ("POST", "/clock", {"minutes": 1}, "minutes"),
        ("POST", "/settings", {"graph.colour": 1}, "graph.colour"),
        ("POST", "/settings", {"graph.transaction_memory": -1}, "'graph.transaction_memory'"),
        ("POST", "/settings", {"graph.duplicate_status": 500}, "'graph.duplicate_status'"),
        ("POST", "/settings", [], "JSON object"),
    ],
)
async def test_wrong_input_is_named(
    panel: Panel, cloud: Cloud, *, method: str, url: str, body: Json, named: str
) -> None:
    answer = await panel.call(method, url, body)
    assert answer.status == 400
    assert named in answer.json()["error"]
    assert (cloud.faults.rules, panel.seeded, panel.repeated) == ((), [], [])


async def test_unknown_operations_are_named(panel: Panel) -> None:
    answer = await panel.call("GET", "/secrets")
    assert answer.status == 404
    assert "POST /reset" in answer.json()["error"]

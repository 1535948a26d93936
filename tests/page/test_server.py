"""The page's server side: what people do, what they are told, and who is let in."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

import pytest
from aiohttp import ClientSession

from sandbox.directory import known_id
from sandbox.http import Json
from tests.page.conftest import World

pytestmark = pytest.mark.asyncio(loop_scope="session")

APP = known_id("application", "Booking Sync")
ALICE = known_id("user", "alice")
BOB = known_id("bookableresource", "Bob Brandt")
LIVE = "/api/live?from=2026-03-02&days=7"


async def live(world: World, after: int, answers: int, wait: int = 0, version: str = "") -> Json:
    return (await world.call("GET", f"{LIVE}&after={after}&answers={answers}&wait={wait}&board_version={version}"))[1]


async def test_a_booking_is_made_moved_given_away_canceled_and_deleted_by_a_person(world: World) -> None:
    booking = await world.book()
    assert world.booking(booking) == {
        "title": "Boiler service",
        "person": "Alice Anderson",
        "start": "Mon 09:00",
        "end": "Mon 10:30",
        "status": "Committed",
        "minutes": 90,
    }
    path = f"/api/bookings/{booking}"
    times = {"start": "2026-03-03T13:00:00Z", "end": "2026-03-03T13:45:00Z"}
    assert await world.call("PATCH", path, {**times, "resource": BOB, "title": "Repair"}) == (204, None)
    changed = world.booking(booking)
    assert (changed["person"], changed["start"], changed["minutes"]) == ("Bob Brandt", "Tue 13:00", 45)
    assert await world.call("PATCH", path, {"status": known_id("bookingstatus", "Canceled")}) == (204, None)
    assert world.booking(booking)["status"] == "Canceled"
    assert await world.call("DELETE", path, {}) == (204, None)
    assert world.bookings() == []
    calls = [call for call in world.simulators.cloud.recorder.calls if call.service == "dataverse"]
    assert {call.app for call in calls} == {known_id("application", "Planner")}


async def test_an_event_is_made_moved_and_deleted_by_a_person(world: World) -> None:
    times = {"start": "2026-03-02T12:00:00Z", "end": "2026-03-02T13:00:00Z"}
    assert await world.call("POST", f"/api/events/{ALICE}", {"title": "Lunch", "showAs": "free", **times}) == (
        204,
        None,
    )
    [event] = (await world.board())["events"]
    path = f"/api/events/{ALICE}/{quote(event['id'], safe='')}"
    assert world.event(event["id"]) == {"title": "Lunch", "start": "Mon 12:00", "end": "Mon 13:00", "shown": "free"}
    later = {"start": "2026-03-02T12:30:00Z", "end": "2026-03-02T13:00:00Z"}
    assert await world.call("PATCH", path, later) == (204, None)
    assert (world.event(event["id"]) or {})["start"] == "Mon 12:30"
    assert await world.call("DELETE", path, {}) == (204, None)
    assert world.event(event["id"]) is None


async def test_a_week_is_filled_in_one_request(world: World) -> None:
    status, told = await world.call("POST", "/api/week", {"from": "2026-03-02"})
    assert (status, told["bookings"]) == (201, len(world.bookings()))
    board = await world.board()
    assert {booking["state"] for booking in board["bookings"]} == {"missing"}
    with_mailbox = {one["id"] for one in board["resources"] if one["kind"] == "person" and one["mailbox"]}
    assert {booking["resource"] for booking in board["bookings"]} == with_mailbox
    assert len([call for call in world.simulators.cloud.recorder.calls if call.service == "dataverse"]) == 1


async def test_what_a_service_refuses_is_said_in_its_words(world: World) -> None:
    status, told = await world.call("DELETE", f"/api/bookings/{known_id('nothing')}", {})
    assert status == 502
    assert told["error"].startswith("Dynamics refused: ")
    assert "Does Not Exist" in told["error"]
    world.simulators.cloud.faults.add({"service": "graph", "do": "refuse", "message": "Out to lunch.", "times": None})
    status, told = await world.call("DELETE", f"/api/events/{ALICE}/x", {})
    assert (status, told["error"]) == (502, "Outlook refused: Out to lunch. (503)")


@pytest.mark.parametrize("do", ["drop", "html"])
async def test_no_answer_means_that_nobody_knows(world: World, do: str) -> None:
    world.simulators.cloud.faults.add({"service": "dataverse", "do": do, "times": None})
    status, told = await world.call("DELETE", f"/api/bookings/{known_id('nothing')}", {})
    assert status == 502
    assert told["error"].startswith("Dynamics did not answer, so it is not known whether it was done")


async def test_work_goes_on_after_the_clock_has_ended_every_token(world: World) -> None:
    await world.book()
    assert await world.call("POST", "/api/clock", {"seconds": 0}) == (204, None)
    before = world.simulators.cloud.clock.now()
    await world.call("POST", "/api/clock", {"seconds": 7200})
    assert (world.simulators.cloud.clock.now() - before).total_seconds() >= 7200
    await world.book()


async def test_switches_trouble_the_app_only(world: World) -> None:
    faults = world.simulators.cloud.faults
    for name in ("graph-down", "graph-down", "posts-lost"):
        assert await world.call("POST", f"/api/switches/{name}", {"on": True}) == (204, None)
    assert [(rule.service, rule.do, rule.app, rule.times) for rule in faults.rules] == [
        ("graph", "refuse", APP, None),
        ("webhook", "lose", "*", None),
    ]
    faults.add({"do": "drop", "path": "/nowhere"})
    told = (await live(world, 0, 0))["faults"]
    assert ([one["name"] for one in told["switches"] if one["on"]], told["others"]) == (["graph-down", "posts-lost"], 1)
    assert await world.call("POST", "/api/switches/graph-down", {"on": False}) == (204, None)
    assert [rule.service for rule in faults.rules] == ["webhook", "*"]
    faults.clear()
    assert not any(one["on"] for one in (await live(world, 0, 0))["faults"]["switches"])


async def test_calls_are_told_with_names_instead_of_ids(world: World) -> None:
    event = await world.write_event()
    await world.planner.graph("GET", f"users/{ALICE}/events/{event}")
    calls = (await live(world, 0, 0))["calls"]
    told = {(call["who"], call["whom"], call["method"], call["path"], call["status"]) for call in calls}
    assert told >= {
        ("Booking Sync", "Graph", "POST", "/users/Alice Anderson/events", 201),
        ("Planner", "Graph", "GET", f"/users/Alice Anderson/events/…{event.rstrip('=')[-4:]}", 200),
    }


async def test_the_page_waits_for_news(world: World) -> None:
    told = await live(world, 0, 0)
    known = (told["known"], told["answers"])
    again = await live(world, *known, version=told["board_version"])
    assert (again["board"], again["calls"]) == (None, [])
    waiting = asyncio.create_task(live(world, *known, 25, told["board_version"]))
    await live(world, *known, version=told["board_version"])  # by now the other call has arrived
    assert not waiting.done()
    await world.book()
    news = await waiting
    assert len(news["board"]["bookings"]) == 1
    assert [call["method"] for call in news["calls"] if call["whom"] == "Dataverse"] == ["POST"]


async def test_another_week_or_another_cloud_is_news(world: World) -> None:
    await world.book()
    told = await live(world, 0, 0)
    world.reset()
    again = await live(world, told["known"], told["answers"], 25, told["board_version"])
    assert again["board"]["bookings"] == []


async def test_the_app_can_be_asked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def ask() -> None:
        asked.append(1)
        if len(asked) > 1:
            raise RuntimeError("it is down")

    monkeypatch.setitem(world.simulators.page.commands, "Ask Dynamics", ask)
    assert (await live(world, 0, 0))["commands"] == ["Ask Dynamics"]
    path = "/api/commands/Ask%20Dynamics"
    assert await world.call("POST", path, {}) == (204, None)
    assert await world.call("POST", path, {}) == (502, {"error": "The app refused: it is down"})


@pytest.mark.parametrize(
    ("method", "path", "body", "named"),
    [
        ("POST", "/api/bookings", {"title": "x"}, "end, resource, start, status"),
        ("POST", "/api/bookings", [], "JSON object"),
        ("PATCH", "/api/bookings/x", {"colour": "red"}, "'colour'"),
        ("PATCH", "/api/bookings/x", {"title": 5}, "'title'"),
        ("PATCH", "/api/bookings/x", {"start": "2026-03-02T09:00:00Z"}, "'start' and 'end'"),
        ("PATCH", "/api/bookings/x", {"start": "soon", "end": "later"}, "'start' and 'end'"),
        ("PATCH", "/api/bookings/x", {"start": "2026-03-02T09:00:00", "end": "2026-03-02T10:00:00"}, "zone"),
        ("PATCH", "/api/bookings/x", {"start": "2026-03-02T09:00:00Z", "end": "2026-03-02T09:00:00Z"}, "end after"),
        ("POST", f"/api/events/{ALICE}", {"title": "x"}, "end, start"),
        ("PATCH", f"/api/events/{ALICE}/x", {"resource": "x"}, "'resource'"),
        ("POST", "/api/week", {"from": "monday"}, "'from'"),
        ("POST", "/api/week", {"from": "2026-03-02", "people": 5}, "people"),
        ("POST", "/api/switches/gravity", {"on": True}, "'gravity'"),
        ("POST", "/api/switches/graph-down", {"on": 1}, "'on'"),
        ("POST", "/api/clock", {"seconds": -1}, "'seconds'"),
        ("POST", "/api/clock", {"seconds": "1"}, "'seconds'"),
        ("POST", "/api/commands/dance", {}, "'dance'"),
        ("GET", "/api/live?from=2026-03-02&days=99&after=0&answers=0&wait=0", None, "'days'"),
        ("GET", "/api/live?from=2026-03-02&days=7&after=-1&answers=0&wait=0", None, "'after'"),
        ("GET", "/api/live?from=tuesday&days=7&after=0&answers=0&wait=0", None, "'from'"),
    ],
)
async def test_wrong_input_is_named(world: World, *, method: str, path: str, body: Json, named: str) -> None:
    status, told = await world.call(method, path, body)
    assert status == 400
    assert named in told["error"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Host": "evil.example"},
    ],
)
async def test_other_pages_change_nothing(world: World, headers: dict[str, str]) -> None:
    async with ClientSession() as http:
        sent = {"Content-Type": "application/json", "Origin": world.url, **headers}
        url = f"{world.url}/api/switches/graph-down"
        async with http.post(url, data=b'{"on": true}', headers=sent) as answer:
            assert answer.status == 403, await answer.text()
    assert world.simulators.cloud.faults.rules == ()


async def test_a_rebound_name_reads_nothing(world: World) -> None:
    status, told = await world.call("GET", "/", headers={"Host": "evil.example"})
    assert (status, told) == (403, {"error": "the page is called localhost"})


async def test_the_files_are_served_and_nothing_else(world: World) -> None:
    async with ClientSession() as http:
        for path, kind in (
            ("/", "text/html"),
            ("/static/main.mjs", "text/javascript"),
            ("/static/page.css", "text/css"),
        ):
            async with http.get(world.url + path) as answer:
                assert (answer.status, answer.content_type) == (200, kind)
                assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
                assert "localhost" not in await answer.text()
    for path in ("/static/routes.py", "/static/..%2Froutes.py", "/nothing"):
        assert (await world.call("GET", path))[0] == 404

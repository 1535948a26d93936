"""What people do in Outlook: an event goes to another calendar, a deleted one comes back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sandbox.cloud import Cloud
from sandbox.graph.routes import Graph
from sandbox.http import Json
from tests.sandbox.apps import ALICE, IMMUTABLE, UNLICENSED, App, code
from tests.sandbox.test_control import Panel

EVENTS, CALENDARS = f"/users/{ALICE}/events", f"/users/{ALICE}/calendars"
MARCH: dict[str, Json] = {"startDateTime": "2026-03-01T00:00:00Z", "endDateTime": "2026-04-01T00:00:00Z"}


@pytest.fixture
async def app(app_with: Callable[..., App]) -> App:
    app = app_with("Calendars.ReadWrite")
    await app.call("POST", CALENDARS, {"name": "Rota"})
    return app


@pytest.fixture
def panel(cloud: Cloud, graph: Graph) -> Panel:
    return Panel(cloud, graph)


async def by_hand(panel: Panel, what: str, event: str, **more: str) -> str:
    answer = await panel.call("POST", "/outlook", {"do": what, "user": ALICE, "event": event, **more})
    assert answer.status == 200, answer.body
    return str(answer.json()["event"])


async def changes(app: App, link: str = "", **options: Json) -> tuple[list[Json], str]:
    headers = {"Prefer": 'IdType="ImmutableId"'}
    answer = await app.call("GET", link or f"/users/{ALICE}/calendarView/delta", headers=headers, **options)
    return answer.json()["value"], answer.json()["@odata.deltaLink"].partition("/v1.0")[2]


async def test_a_moved_event_keeps_one_of_its_ids_and_is_removed_from_the_view(app: App, panel: Panel) -> None:
    event = await app.create()
    (fixed,) = await app.list(EVENTS, headers=IMMUTABLE)
    _, link = await changes(app, **MARCH)
    moved = await by_hand(panel, "move", event["id"], calendar="Rota")
    assert moved != event["id"]
    assert code(await app.get(f"{EVENTS}/{event['id']}")) == (404, "ErrorItemNotFound")
    assert (await app.get(f"{EVENTS}/{fixed['id']}")).json()["id"] == moved
    assert await app.list(EVENTS) == []
    rota = (await app.list(CALENDARS))[1]["id"]
    assert [one["id"] for one in await app.list(f"{CALENDARS}/{rota}/events")] == [moved]
    rows, link = await changes(app, link)
    assert [(row["id"], "@removed" in row) for row in rows] == [(fixed["id"], True)]
    assert (await changes(app, **MARCH))[0] == []
    await by_hand(panel, "move", moved, calendar="Calendar")
    rows, _ = await changes(app, link)
    assert [(row["id"], "@removed" in row) for row in rows] == [(fixed["id"], False)]


async def test_what_was_never_in_the_default_calendar_is_not_tracked(app: App) -> None:
    _, link = await changes(app, **MARCH)
    rota = (await app.list(CALENDARS))[1]["id"]
    event = await app.create()
    body = {name: event[name] for name in ("subject", "start", "end")}
    made = await app.call("POST", f"{CALENDARS}/{rota}/events", body)
    assert made.status == 201
    await app.call("DELETE", f"{EVENTS}/{event['id']}")
    await app.call("DELETE", f"{EVENTS}/{made.json()['id']}")
    assert len((await changes(app, link))[0]) == 1


async def test_a_cancelled_event_comes_back_cancelled(app: App, panel: Panel) -> None:
    event = await app.create()
    (fixed,) = await app.list(EVENTS, headers=IMMUTABLE)
    await app.call("POST", f"{EVENTS}/{event['id']}/cancel", {})
    _, link = await changes(app, **MARCH)
    restored = await by_hand(panel, "restore", fixed["id"])
    read = (await app.get(f"{EVENTS}/{restored}")).json()
    assert (read["isCancelled"], read["id"] == event["id"]) == (True, False)
    assert [row["id"] for row in (await changes(app, link))[0]] == [fixed["id"]]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"do": "copy"}, "'do' must be"),
        ({"user": UNLICENSED}, "no mailbox"),
        ({"event": "AAMk"}, "no such event"),
        ({"calendar": "Nowhere"}, "no calendar"),
        ({"do": "restore"}, "immutable id"),
        ({"calendar": 5}, "must be strings"),
    ],
    ids=str,
)
async def test_what_cannot_be_done(app: App, panel: Panel, changes: dict[str, Json], words: str) -> None:
    event = await app.create()
    body = {"do": "move", "user": ALICE, "event": event["id"], "calendar": "Rota", **changes}
    answer = await panel.call("POST", "/outlook", body)
    assert answer.status == 400
    assert words in answer.json()["error"]
    assert len(await app.list(EVENTS)) == 1

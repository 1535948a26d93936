"""Change tracking of a calendar view: rounds, pages, what counts as removed, and tokens that end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.clock import Clock
from sandbox.cloud import Cloud
from sandbox.directory import Account, Application, Directory, known_id
from sandbox.entra.routes import Entra
from sandbox.graph.routes import Graph
from sandbox.http import Json, Response
from tests.sandbox.apps import ALICE, BOB, BOOKING, IMMUTABLE, App, code, times
from tests.sandbox.test_graph_batch import by_id, part
from tests.sandbox.test_graph_queries import follow

VIEW = f"/users/{ALICE}/calendarView/delta"
WINDOW: dict[str, Any] = {"startDateTime": "2026-03-02T00:00:00Z", "endDateTime": "2026-03-09T00:00:00Z"}
OUTSIDE = times("2026-04-01T09:00:00", "2026-04-01T10:00:00")
INSIDE = times("2026-03-04T09:00:00", "2026-03-04T10:00:00")
FEW = {"Prefer": "odata.maxpagesize=2"}


@dataclass(slots=True)
class Follower:
    """A client that keeps a copy of a window, as the docs tell it to."""

    app: App
    headers: dict[str, str] = field(default_factory=lambda: dict(IMMUTABLE))
    copy: dict[str, Json] = field(default_factory=dict)
    link: str = ""
    pages: list[list[Json]] = field(default_factory=list)

    async def page(self) -> bool:
        """Read one page and take it over; false after the last one of a round."""
        if self.link:
            path = self.link.removeprefix("https://localhost:4444/v1.0")
            answer = await self.app.get(path, headers=self.headers)
        else:
            answer = await self.app.get(VIEW, headers=self.headers, **WINDOW)
        assert answer.status == 200, answer.body
        body = answer.json()
        self.pages.append(body["value"])
        for item in body["value"]:
            if "@removed" in item:
                self.copy.pop(item["id"], None)
            else:
                self.copy[item["id"]] = item
        self.link = body.get("@odata.nextLink") or body["@odata.deltaLink"]
        return "@odata.nextLink" in body

    async def round(self) -> list[Json]:
        """One round; its items, in order."""
        self.pages.clear()
        while await self.page():
            pass
        return [item for page in self.pages for item in page]


@pytest.fixture
def follower(app: App) -> Follower:
    return Follower(app)


async def change(app: App, event_id: str, **changes: Json) -> None:
    answer = await app.call("PATCH", f"/users/{ALICE}/events/{event_id}", changes)
    assert answer.status == 200, answer.body


async def delete(app: App, event_id: str) -> None:
    assert (await app.call("DELETE", f"/users/{ALICE}/events/{event_id}")).status == 204


def removed(event_id: str) -> Json:
    return {"@odata.type": "#microsoft.graph.event", "id": event_id, "@removed": {"reason": "deleted"}}


async def test_first_round_tells_whole_events_without_their_properties(app: App, follower: Follower) -> None:
    created = await app.create(
        headers=IMMUTABLE, singleValueExtendedProperties=[{"id": BOOKING, "value": "b1"}], transactionId="t1"
    )
    await app.create(**OUTSIDE)
    gone = await app.create()
    await delete(app, gone["id"])
    (item,) = await follower.round()
    del created["@odata.context"]
    assert item == {"@odata.type": "#microsoft.graph.event", **created}


async def test_an_event_without_a_transaction_says_so(app: App, follower: Follower) -> None:
    await app.create()
    (item,) = await follower.round()
    assert item["transactionId"] is None


async def test_answers_look_like_the_services(app: App) -> None:
    first = await app.get(VIEW, headers=FEW, **WINDOW)
    body = first.json()
    assert body["@odata.context"] == "https://localhost:4444/v1.0/$metadata#Collection(event)"
    assert body["@odata.deltaLink"].startswith(f"https://localhost:4444/v1.0{VIEW}?$deltatoken=")
    assert first.headers["Preference-Applied"] == "odata.track-changes, odata.maxpagesize=2"


async def test_later_rounds_tell_what_has_changed_and_nothing_else(app: App, follower: Follower) -> None:
    kept, edited, cancelled = [(await app.create(headers=IMMUTABLE))["id"] for _ in range(3)]
    await follower.round()
    assert await follower.round() == []
    await change(app, edited, subject="Lift inspection")
    new = await app.create(headers=IMMUTABLE, **INSIDE)
    await app.call("POST", f"/users/{ALICE}/events/{cancelled}/cancel", {"comment": "No more"})
    told = await follower.round()
    assert [item["id"] for item in told] == [edited, new["id"], cancelled]
    assert told[0]["subject"] == "Lift inspection"
    assert told[2] == removed(cancelled)
    assert set(follower.copy) == {kept, edited, new["id"]}
    assert await follower.round() == []


async def test_whatever_happens_outside_the_window_looks_like_a_deletion(app: App, follower: Follower) -> None:
    leaving, staying, coming = [
        (await app.create(headers=IMMUTABLE, **where))["id"] for where in ({}, OUTSIDE, OUTSIDE)
    ]
    await follower.round()
    await change(app, leaving, **OUTSIDE)
    await change(app, staying, subject="Next month")
    await change(app, coming, **INSIDE)
    new = (await app.create(headers=IMMUTABLE, **OUTSIDE))["id"]
    passing = (await app.create(headers=IMMUTABLE))["id"]
    await delete(app, passing)
    told = await follower.round()
    assert [item["id"] for item in told] == [leaving, staying, coming, new, passing]
    assert [item for item in told if "@removed" in item] == [removed(one) for one in (leaving, staying, new, passing)]


async def test_a_round_comes_in_pages_of_the_wanted_size(app: App) -> None:
    for _ in range(5):
        await app.create()
    follower = Follower(app, headers={**IMMUTABLE, "Prefer": f"{IMMUTABLE['Prefer']}, odata.maxpagesize=2"})
    await follower.round()
    assert [len(page) for page in follower.pages] == [2, 2, 1]
    assert len(follower.copy) == 5


async def test_a_page_is_ten_unless_told(app: App, follower: Follower) -> None:
    for _ in range(10):
        await app.create()
    await follower.round()
    assert [len(page) for page in follower.pages] == [10]
    await app.create()
    follower.link = ""
    await follower.round()
    assert [len(page) for page in follower.pages] == [10, 1]


async def test_what_changes_while_pages_are_read_comes_again(app: App) -> None:
    ids = [(await app.create(headers=IMMUTABLE))["id"] for _ in range(4)]
    follower = Follower(app, headers={"Prefer": 'IdType="ImmutableId", odata.maxpagesize=2'})
    await follower.page()
    await change(app, ids[0], subject="Changed")
    await delete(app, ids[1])
    while await follower.page():
        pass
    assert [item["id"] for page in follower.pages for item in page] == [*ids, ids[0], ids[1]]
    assert follower.pages[-1][-1] == removed(ids[1])
    # changes that were seen already may be replayed
    assert [item["id"] for item in await follower.round()] == [ids[0], ids[1]]
    assert await follower.round() == []


@given(
    st.lists(
        st.tuples(st.sampled_from(["create", "move", "edit", "delete", "page"]), st.integers(0, 5), st.booleans()),
        max_size=30,
    ),
    st.integers(1, 4),
)
def test_a_copy_kept_by_rounds_is_the_calendar_view(steps: list[tuple[str, int, bool]], size: int) -> None:
    async def law() -> None:
        cloud = Cloud(clock=Clock(datetime(2026, 3, 1, 8, tzinfo=UTC)))
        directory = Directory()
        directory.add(Account(id=known_id("user", ALICE), name="Alice", address=ALICE))
        entra = Entra(cloud, directory)
        cloud.add(Graph(cloud, directory, entra.tokens))
        app = App(cloud, entra.tokens, _application())
        follower = Follower(app, headers={"Prefer": f'IdType="ImmutableId", odata.maxpagesize={size}'})
        ids: list[str] = []
        for step, which, inside in steps:
            where = INSIDE if inside else OUTSIDE
            if step == "page":
                await follower.page()
            elif step == "create":
                ids.append((await app.create(headers=IMMUTABLE, **where))["id"])
            elif ids and step == "delete":
                await delete(app, ids.pop(which % len(ids)))
            elif ids:
                await change(app, ids[which % len(ids)], **(where if step == "move" else {"subject": str(which)}))
        await follower.round()
        await follower.round()
        view = await app.list(f"/users/{ALICE}/calendarView", headers=IMMUTABLE, top="50", **WINDOW)
        assert {key: item["@odata.etag"] for key, item in follower.copy.items()} == {
            item["id"]: item["@odata.etag"] for item in view
        }

    asyncio.run(law())


def _application() -> Application:
    return Application(
        client_id=known_id("app", "law"),
        object_id=known_id("app object", "law"),
        name="law",
        secrets=(),
        graph_roles=("Calendars.ReadWrite",),
    )


async def test_a_token_can_be_used_again(app: App, follower: Follower) -> None:
    await follower.round()
    link = follower.link
    await app.create()
    first = await follower.round()
    follower.link = link
    assert await follower.round() == first != []


async def test_ids_have_the_form_that_the_caller_prefers_also_of_what_is_gone(app: App) -> None:
    created = await app.create()
    plain, immutable = Follower(app, headers={}), Follower(app)
    (one,), (other,) = await plain.round(), await immutable.round()
    assert (one["id"], one["id"] == other["id"]) == (created["id"], False)
    await delete(app, created["id"])
    assert await plain.round() == [removed(one["id"])]
    assert await immutable.round() == [removed(other["id"])]


async def test_a_link_may_be_used_with_the_other_form_of_ids(app: App) -> None:
    follower = Follower(app, headers={})
    await follower.round()
    created = await app.create(headers=IMMUTABLE)
    follower.headers = dict(IMMUTABLE)
    assert [item["id"] for item in await follower.round()] == [created["id"]]


async def test_times_are_in_the_zone_that_the_caller_prefers(app: App) -> None:
    await app.create()
    (item,) = await Follower(app, headers={"Prefer": 'outlook.timezone="Europe/Berlin"'}).round()
    assert item["start"] == {"dateTime": "2026-03-02T10:00:00.0000000", "timeZone": "Europe/Berlin"}


async def test_readers_of_basics_see_no_bodies(app: App, app_with: Callable[..., App]) -> None:
    await app.create()
    (item,) = await Follower(app_with("Calendars.ReadBasic")).round()
    assert not {"body", "bodyPreview"} & set(item)


async def test_the_function_may_be_written_with_parentheses(app: App) -> None:
    await app.create()
    first = await app.get(f"/users/{ALICE}/calendarView/delta()", **WINDOW)
    assert len(first.json()["value"]) == 1
    assert "/calendarView/delta()?$deltatoken=" in first.json()["@odata.deltaLink"]
    await app.create()
    assert len((await _next_round(app, first)).json()["value"]) == 1


@pytest.mark.parametrize("option", ["orderby", "filter", "select", "expand", "search"])
async def test_query_options_are_refused_as_the_service_does(app: App, option: str) -> None:
    answer = await app.get(VIEW, **{**WINDOW, option: "subject"})
    assert code(answer) == (400, "ErrorInvalidUrlQuery")
    assert "change tracking over the 'CalendarView' resource" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "options", "headers"),
    [
        (VIEW, {**WINDOW, "top": "5"}, {}),
        (VIEW, {**WINDOW, "deltatoken": "latest"}, {}),
        (VIEW, WINDOW, {"Prefer": "odata.maxpagesize=0"}),
        (VIEW, WINDOW, {"Prefer": "return=minimal"}),
        (VIEW, WINDOW, {"If-None-Match": "*"}),
        (f"/users/{ALICE}/events/delta", {}, {}),
        (f"/users/{ALICE}/calendar/events/delta()", {}, {}),
        (f"/users/{ALICE}/calendars/AAMkA/events/delta", {}, {}),
        (f"/users/{ALICE}/calendars/AAMkA/calendarView/delta", WINDOW, {}),
        (f"/users/{ALICE}/events", {}, FEW),
        ("/users", {}, FEW),
    ],
)
async def test_what_is_not_modelled_is_refused_loudly(
    app: App, path: str, options: dict[str, Any], headers: dict[str, str]
) -> None:
    assert code(await app.get(path, headers=headers, **options)) == (501, "NotImplemented")


async def test_a_first_round_needs_its_window(app: App) -> None:
    answer = await app.get(VIEW, startDateTime=WINDOW["startDateTime"])
    assert code(answer) == (400, "ErrorInvalidParameter")
    assert "requires a time window" in answer.json()["error"]["message"]


async def test_tokens_that_nobody_gave_out_are_refused(app: App, follower: Follower) -> None:
    await app.create()
    await app.create()
    await follower.round()
    token = follower.link.rpartition("=")[2]
    page = (await app.get(VIEW, headers={"Prefer": "odata.maxpagesize=1"}, **WINDOW)).json()["@odata.nextLink"]
    for path, name, invented in [
        (VIEW, "deltatoken", "latest"),
        (VIEW, "deltatoken", token[:-1]),
        (VIEW, "deltatoken", "B" + token[1:]),
        (VIEW, "deltatoken", "grün"),
        (VIEW, "skiptoken", token),
        (VIEW, "deltatoken", page.rpartition("=")[2]),
        (f"/users/{BOB}/calendarView/delta", "deltatoken", token),
    ]:
        assert code(await app.get(path, headers=None, **{name: invented})) == (400, "InvalidDeltaToken")


class TestExpiry:
    async def test_tokens_live_as_long_as_the_setting_says(self, app: App, follower: Follower, cloud: Cloud) -> None:
        cloud.settings.change({"graph.delta_lifetime": 600})
        await follower.round()
        cloud.clock.advance(timedelta(minutes=9))
        await follower.round()
        link = follower.link
        cloud.clock.advance(timedelta(minutes=10))
        answer = await app.get(link.removeprefix("https://localhost:4444/v1.0"))
        assert code(answer) == (410, "SyncStateNotFound")
        assert answer.json()["error"]["message"].startswith("The sync state generation is not found; generation=")

    async def test_a_fault_ends_tokens_of_rounds_and_of_pages(self, app: App, cloud: Cloud) -> None:
        for _ in range(3):
            await app.create()
        cloud.faults.add([{"do": "expire_cursor"}, {"do": "expire_cursor", "code": "resyncRequired", "after": 1}])
        first = await app.get(VIEW, headers=FEW, **WINDOW)
        assert code(await follow(app, first)) == (410, "SyncStateNotFound")
        last = await follow(app, first)
        assert code(await _next_round(app, last)) == (410, "resyncRequired")
        assert (await _next_round(app, last)).status == 200
        assert [call.fault for call in cloud.recorder.calls if call.fault] == ["expire_cursor"] * 2

    async def test_the_location_of_a_reset_starts_a_full_round(self, app: App, cloud: Cloud) -> None:
        await app.create()
        first = await app.get(VIEW, **WINDOW)
        cloud.faults.add({"do": "expire_cursor", "code": "resyncRequired"})
        location = (await _next_round(app, first)).headers["Location"]
        assert location.endswith("&$deltatoken=")
        again = await app.get(location.removeprefix("https://localhost:4444/v1.0"))
        assert again.json()["value"] == first.json()["value"]

    async def test_the_status_of_an_expired_token_may_be_another(self, app: App, cloud: Cloud) -> None:
        first = await app.get(VIEW, **WINDOW)
        cloud.faults.add({"do": "expire_cursor", "status": 404})
        assert code(await _next_round(app, first)) == (404, "SyncStateNotFound")

    async def test_tokens_from_before_a_reset_are_gone(self, app: App, follower: Follower, graph: Graph) -> None:
        await app.create()
        await follower.round()
        graph.reset()
        answer = await app.get(follower.link.removeprefix("https://localhost:4444/v1.0"))
        assert code(answer) == (410, "SyncStateNotFound")


async def test_a_change_may_be_unknown_at_first(app: App, follower: Follower, cloud: Cloud) -> None:
    cloud.settings.change({"graph.delta_delay": 30})
    created = await app.create(headers=IMMUTABLE)
    assert await follower.round() == []
    cloud.clock.advance(timedelta(seconds=20))
    await change(app, created["id"], subject="Changed")
    cloud.clock.advance(timedelta(seconds=10))
    assert [item["subject"] for item in await follower.round()] == ["Boiler check"]
    cloud.clock.advance(timedelta(seconds=20))
    assert [item["subject"] for item in await follower.round()] == ["Changed"]


async def test_a_full_round_may_begin_with_an_empty_page(app: App, follower: Follower, cloud: Cloud) -> None:
    cloud.settings.change({"graph.delta_empty_page": True})
    await app.create()
    await follower.round()
    assert [len(page) for page in follower.pages] == [0, 1]
    await follower.round()
    assert [len(page) for page in follower.pages] == [0]


async def test_the_log_knows_the_mailbox_and_the_kind_of_call(app: App, cloud: Cloud) -> None:
    for _ in range(3):
        await app.create()
    cloud.recorder.clear()
    last = await follow(app, await app.get(VIEW, headers=FEW, **WINDOW))
    await _next_round(app, last)
    assert [call.mailbox for call in cloud.recorder.calls] == [known_id("user", ALICE)] * 3
    assert [call.tags["delta"] for call in cloud.recorder.calls] == ["full", "page", "changes"]


async def test_rounds_of_many_mailboxes_fit_into_one_batch(app: App) -> None:
    await app.create(BOB)
    query = "&".join(f"{name}={value}" for name, value in WINDOW.items())
    urls = [f"/users/{user}/calendarView/delta?{query}" for user in (ALICE, BOB)]
    answers = await by_id(app, *(part(number, url=url) for number, url in enumerate(urls)))
    assert [len(answers[str(number)]["body"]["value"]) for number in range(2)] == [0, 1]


async def _next_round(app: App, answer: Response) -> Response:
    return await app.get(answer.json()["@odata.deltaLink"].removeprefix("https://localhost:4444/v1.0"))

"""Lists, views and query options: every one of them is obeyed or refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from sandbox.directory import Directory, known_id
from sandbox.graph.routes import Graph
from sandbox.http import Json, Response
from tests.sandbox.apps import ALICE, BOB, BOOKING, ROOM, UNLICENSED, App, code, times

EVENTS = f"/users/{ALICE}/events"
VIEW = f"/users/{ALICE}/calendarView"


@pytest.fixture
async def diary(app: App) -> App:
    """Five events on five days, Monday to Friday, each with its number as booking id."""
    for day, subject in enumerate(("Boiler", "Roof", "boiler again", "Window's frame", "Door"), start=2):
        start, end = f"2026-03-0{day}T09:00:00", f"2026-03-0{day}T10:00:00"
        await app.create(
            subject=subject,
            categories=["Red"] if day > 4 else [],
            showAs="free" if day == 2 else "busy",
            singleValueExtendedProperties=[{"id": BOOKING, "value": f"B-{day}"}],
            **times(start, end),
        )
    return app


def subjects(events: list[Json]) -> list[str]:
    return [event["subject"] for event in events]


async def follow(app: App, answer: Response) -> Response:
    link = urlsplit(answer.json()["@odata.nextLink"])
    assert link.netloc == "localhost:4444"
    return await app.call("GET", link.path.removeprefix("/v1.0") + "?" + link.query)


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("subject eq 'BOILER'", "2"),
        ("subject ne 'Boiler'", "3456"),
        ("contains(subject,'boiler')", "24"),
        ("startswith(subject,'Window''s')", "5"),
        ("start/dateTime ge '2026-03-04T09:00:00'", "456"),
        ("start/dateTime gt '2026-03-04T10:00:00+01:00' and end/dateTime le '2026-03-05T10:00:00Z'", "5"),
        ("createdDateTime lt 2026-03-01T00:00:00Z", ""),
        ("not (showAs eq 'busy')", "2"),
        ("showAs eq 'free' or categories/any(c:c eq 'red')", "256"),
        ("isAllDay eq false and reminderMinutesBeforeStart ge 15", "23456"),
        ("isAllDay", ""),
        ("isOrganizer eq true and isOnlineMeeting eq false and type eq 'singleInstance'", "23456"),
        ("subject eq null", ""),
        (f"singleValueExtendedProperties/Any(ep: ep/id eq '{BOOKING}' and ep/value eq 'b-3')", "3"),
        (f"singleValueExtendedProperties/any(ep:ep/id eq '{BOOKING}' and startswith(ep/value,'B-'))", "23456"),
        (f"singleValueExtendedProperties/any(ep:ep/id eq '{BOOKING.lower()}' and ep/value ne null)", ""),
    ],
)
async def test_filters(diary: App, expression: str, found: str) -> None:
    events = await diary.list(EVENTS, filter=expression)
    assert "".join(event["start"]["dateTime"][9] for event in events) == found


@pytest.mark.parametrize(
    ("expression", "status"),
    [
        pytest.param("subject eq", 400, id="half an expression"),
        pytest.param("subject eq 5", 400, id="number against text"),
        pytest.param("start/dateTime ge 'soon'", 400, id="no time"),
        pytest.param("isAllDay gt null", 400, id="greater than nothing"),
        pytest.param("recurrence eq null", 501, id="unknown property"),
        pytest.param("endswith(subject,'x')", 501, id="other function"),
        pytest.param("soundslike(subject,'x')", 501, id="unknown function"),
        pytest.param("subject in ('a','b')", 501, id="in"),
        pytest.param("attendees/any(a:a/type eq 'required')", 501, id="other collection"),
        pytest.param("categories/all(c:c eq 'x')", 501, id="all"),
    ],
)
async def test_filters_that_are_refused_even_without_items(app: App, expression: str, status: int) -> None:
    answer = await app.get(EVENTS, filter=expression)
    assert answer.status == status
    assert answer.json()["error"]["code"] == {400: "BadRequest", 501: "NotImplemented"}[status]


async def test_pages_follow_the_next_link_to_the_end(diary: App) -> None:
    page = await diary.get(EVENTS, top="2", orderby="start/dateTime desc", select="subject", filter="showAs eq 'busy'")
    seen = subjects(page.json()["value"])
    while "@odata.nextLink" in page.json():
        page = await follow(diary, page)
        seen += subjects(page.json()["value"])
    assert seen == ["Door", "Window's frame", "boiler again", "Roof"]


async def test_page_is_ten_unless_told(app: App) -> None:
    for _ in range(11):
        await app.create()
    first = await app.get(EVENTS)
    assert len(first.json()["value"]) == 10
    last = await follow(app, first)
    assert len(last.json()["value"]) == 1
    assert "@odata.nextLink" not in last.json()


async def test_select_keeps_id_and_etag(diary: App) -> None:
    answer = await diary.get(EVENTS, select="subject,start")
    assert set(answer.json()["value"][0]) == {"@odata.etag", "id", "subject", "start"}
    assert answer.json()["@odata.context"].endswith("/events(subject,start)")


async def test_expand_shows_the_wanted_properties_in_lists(diary: App) -> None:
    expand = f"singleValueExtendedProperties($filter=id eq '{BOOKING}')"
    events = await diary.list(EVENTS, expand=expand, select="subject", top="1")
    assert events[0]["singleValueExtendedProperties"] == [{"id": BOOKING, "value": "B-2"}]


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"top": "0"}, 400),
        ({"top": "1001"}, 400),
        ({"top": "many"}, 400),
        ({"skip": "-1"}, 400),
        ({"select": "colour"}, 400),
        ({"orderby": "subject sideways"}, 400),
        ({"select": "attachments"}, 501),
        ({"orderby": "body/content"}, 501),
        ({"expand": "instances"}, 501),
        ({"expand": "singleValueExtendedProperties"}, 501),
        ({"count": "true"}, 501),
        ({"search": "x"}, 501),
    ],
)
async def test_options_that_are_refused(diary: App, options: dict[str, Any], status: int) -> None:
    assert (await diary.get(EVENTS, **options)).status == status


async def test_option_given_twice_is_refused(app: App) -> None:
    assert code(await app.call("GET", EVENTS + "?$top=1&$top=2")) == (400, "BadRequest")


async def test_calendars(app: App) -> None:
    calendar = (await app.get(f"/users/{ALICE}/calendar")).json()
    assert (calendar["name"], calendar["isDefaultCalendar"]) == ("Calendar", True)
    assert calendar["owner"] == {"name": "Alice Adams", "address": ALICE}
    assert [found["id"] for found in await app.list(f"/users/{ALICE}/calendars")] == [calendar["id"]]


async def test_calendars_are_listed_by_name_and_by_pages(app: App, graph: Graph, directory: Directory) -> None:
    account = directory.find(ALICE)
    assert account
    mailbox = graph.state.mailbox(account)
    for number in range(3):
        more = replace(mailbox.default_calendar, id=f"AAMkAG{number}=", name=f"Team {number}", is_default=False)
        mailbox.calendars[more.id] = more
    calendars = f"/users/{ALICE}/calendars"
    page = (await app.get(calendars, top="3")).json()
    assert [calendar["name"] for calendar in page["value"]] == ["Calendar", "Team 0", "Team 1"]
    assert "skip=3" in page["@odata.nextLink"]
    assert [calendar["name"] for calendar in await app.list(calendars, top="3", skip="3")] == ["Team 2"]
    assert [calendar["name"] for calendar in await app.list(calendars, filter="name eq 'team 1'")] == ["Team 1"]
    assert code(await app.get(calendars, orderby="name")) == (501, "NotImplemented")


async def test_every_way_to_the_default_calendar_leads_there(app: App) -> None:
    calendar = (await app.get(f"/users/{ALICE}/calendar")).json()["id"]
    event = await app.create()
    for prefix in ("", "/calendar", f"/calendars/{calendar}"):
        path = f"/users/{ALICE}{prefix}/events"
        assert [found["id"] for found in await app.list(path)] == [event["id"]]
        assert (await app.get(f"{path}/{event['id']}")).json()["subject"] == "Boiler check"
    elsewhere = calendar[:-8] + ("A" * 7 + "=")
    assert code(await app.get(f"/users/{ALICE}/calendars/{elsewhere}/events")) == (404, "ErrorItemNotFound")


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [
        pytest.param("2026-03-03T00:00:00Z", "2026-03-05T00:00:00Z", "34", id="days"),
        pytest.param("2026-03-03T09:30:00", "2026-03-03T09:31:00", "3", id="inside an event, UTC without offset"),
        pytest.param("2026-03-03T10:00:00Z", "2026-03-04T09:00:00Z", "", id="between two events"),
        pytest.param("2026-03-03T10:30:00+01:00", "2026-03-03T10:40:00+01:00", "3", id="offset counts"),
        pytest.param("2026-03-01", "2026-03-03", "2", id="dates"),
    ],
)
async def test_view_shows_what_overlaps_the_window(diary: App, start: str, end: str, found: str) -> None:
    headers = {"Prefer": 'outlook.timezone="Tokyo Standard Time"'}
    events = await diary.list(VIEW, startDateTime=start, endDateTime=end, orderby="start/dateTime", headers=headers)
    assert "".join(event["start"]["dateTime"][9] for event in events) == found


async def test_view_takes_the_options_of_lists(diary: App) -> None:
    window: dict[str, Any] = {"startDateTime": "2026-03-01T00:00:00Z", "endDateTime": "2026-03-08T00:00:00Z"}
    page = await diary.get(VIEW, top="2", select="subject", orderby="start/dateTime", **window)
    assert subjects(page.json()["value"]) == ["Boiler", "Roof"]
    assert subjects((await follow(diary, page)).json()["value"]) == ["boiler again", "Window's frame"]
    expand = f"singleValueExtendedProperties($filter=id eq '{BOOKING}')"
    only = await diary.list(VIEW, filter="contains(subject,'Roof')", expand=expand, **window)
    assert only[0]["singleValueExtendedProperties"][0]["value"] == "B-3"


async def test_unencoded_plus_sign_of_an_offset_is_understood(diary: App) -> None:
    query = "?startDateTime=2026-03-03T10:30:00+01:00&endDateTime=2026-03-03T10:40:00+01:00"
    assert len((await diary.call("GET", VIEW + query)).json()["value"]) == 1


@pytest.mark.parametrize(
    ("window", "name"),
    [
        pytest.param({}, "ErrorInvalidParameter", id="none"),
        pytest.param({"startDateTime": "2026-03-01T00:00:00Z"}, "ErrorInvalidParameter", id="half"),
        pytest.param({"startDateTime": "", "endDateTime": "2026-03-01"}, "ErrorInvalidParameter", id="empty"),
        pytest.param(
            {"startDateTime": "2026-03-02", "endDateTime": "2026-03-01"}, "ErrorInvalidParameter", id="backwards"
        ),
        pytest.param(
            {"startDateTime": "2020-01-01", "endDateTime": "2026-03-01"}, "ErrorCalendarViewRangeTooBig", id="too long"
        ),
    ],
)
async def test_windows_that_are_refused(app: App, window: dict[str, Any], name: str) -> None:
    assert code(await app.get(VIEW, **window)) == (400, name)


async def test_zero_length_event_at_the_beginning_of_the_window_is_in_it(app: App) -> None:
    await app.create(**times("2026-03-02T09:00:00", "2026-03-02T09:00:00"))
    assert len(await app.list(VIEW, startDateTime="2026-03-02T09:00:00Z", endDateTime="2026-03-02T10:00:00Z")) == 1


class TestUsers:
    async def test_user_has_the_default_properties(self, app: App) -> None:
        assert (await app.get(f"/users/{ALICE}")).json() == {
            "@odata.context": "https://localhost:4444/v1.0/$metadata#users/$entity",
            "businessPhones": [],
            "displayName": "Alice Adams",
            "givenName": "Alice",
            "jobTitle": None,
            "mail": ALICE,
            "mobilePhone": None,
            "officeLocation": None,
            "preferredLanguage": None,
            "surname": "Adams",
            "userPrincipalName": ALICE,
            "id": known_id("user", ALICE),
        }

    async def test_users_are_found_by_id_and_by_name_ignoring_case(self, app: App) -> None:
        for name in (known_id("user", ALICE), ALICE.upper()):
            assert (await app.get(f"/users/{name}")).json()["displayName"] == "Alice Adams"

    async def test_list_is_paged_by_a_token(self, app: App) -> None:
        page = await app.get("/users", top="3", select="userPrincipalName")
        assert [user["userPrincipalName"] for user in page.json()["value"]] == [ALICE, BOB, ROOM]
        page = await follow(app, page)
        assert page.json()["value"] == [{"userPrincipalName": UNLICENSED}]
        assert "@odata.nextLink" not in page.json()

    @pytest.mark.parametrize(
        ("expression", "count"),
        [
            (f"userPrincipalName eq '{ALICE.upper()}'", 1),
            (f"mail eq '{UNLICENSED}'", 0),
            (f"id eq '{known_id('user', BOB)}'", 1),
            ("displayName eq 'bob brown'", 1),
            ("startswith(displayName,'b')", 1),
            ("accountEnabled eq false", 1),
        ],
    )
    async def test_filters(self, app: App, expression: str, count: int) -> None:
        assert len(await app.list("/users", filter=expression)) == count

    @pytest.mark.parametrize(
        "options",
        [
            {"filter": "displayName ne 'x'"},
            {"filter": "contains(displayName,'x')"},
            {"filter": "jobTitle eq 'x'"},
            {"select": "manager"},
            {"orderby": "displayName"},
        ],
    )
    async def test_what_is_not_modelled_is_refused_loudly(self, app: App, options: dict[str, Any]) -> None:
        assert code(await app.get("/users", **options)) == (501, "NotImplemented")

    async def test_invented_page_tokens_are_refused(self, app: App) -> None:
        assert code(await app.get("/users", skiptoken="mine")) == (400, "BadRequest")

    async def test_account_enabled_is_for_full_readers(self, app: App, app_with: Callable[..., App]) -> None:
        assert (await app.get(f"/users/{ROOM}", select="accountEnabled")).json()["accountEnabled"] is False
        basic = app_with("User.ReadBasic.All")
        assert code(await basic.get(f"/users/{ROOM}", select="accountEnabled"))[0] == 403

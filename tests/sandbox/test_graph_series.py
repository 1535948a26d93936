"""Series: on which days they fall, what is shown of them where, and what becomes of one occurrence."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.cloud import Cloud
from sandbox.graph.recurrence import Recurrence
from sandbox.http import Json, Response
from tests.sandbox.apps import ALICE, BOOKING, IMMUTABLE, App, code, times

EVENTS, VIEW = f"/users/{ALICE}/events", f"/users/{ALICE}/calendarView"
DELTA = f"{VIEW}/delta"
BERLIN = "W. Europe Standard Time"
YEAR: dict[str, Json] = {"startDateTime": "2026-01-01T00:00:00Z", "endDateTime": "2027-01-01T00:00:00Z"}
MARCH: dict[str, Json] = {"startDateTime": "2026-03-01T00:00:00Z", "endDateTime": "2026-04-01T00:00:00Z"}


def every(pattern: dict[str, Json], first: str = "2026-03-02", **span: Json) -> dict[str, Json]:
    """A recurrence; its range has no end unless told."""
    kind = "endDate" if "endDate" in span else "numbered" if span else "noEnd"
    return {"pattern": {"interval": 1, **pattern}, "range": {"type": kind, "startDate": first, **span}}


MONDAYS = {"type": "weekly", "daysOfWeek": ["Monday"]}
FOUR_MONDAYS = every(MONDAYS, numberOfOccurrences=4)


async def a_series(app: App, recurrence: Json = FOUR_MONDAYS, **changes: Json) -> Json:
    first = recurrence["range"]["startDate"]
    hours = times(f"{first}T09:00:00", f"{first}T10:00:00", BERLIN)
    return await app.create(**{"subject": "Standup", "recurrence": recurrence, **hours, **changes})


async def instances(app: App, master: Json, **options: str) -> list[Json]:
    return await app.list(f"{EVENTS}/{master['id']}/instances", **{**YEAR, "top": "1000", **options})


def days(events: list[Json]) -> list[str]:
    return [event["start"]["dateTime"][:10] for event in events]


async def change(app: App, event: Json, **changes: Json) -> Response:
    return await app.call("PATCH", f"{EVENTS}/{event['id']}", changes)


async def test_a_series_is_created_and_shown_with_its_recurrence_filled(app: App) -> None:
    master = await a_series(app, every(MONDAYS, endDate="2026-12-31"))
    assert (master["type"], master["seriesMasterId"]) == ("seriesMaster", None)
    assert "originalStart" not in master
    assert master["recurrence"] == {
        "pattern": {
            "type": "weekly",
            "interval": 1,
            "month": 0,
            "dayOfMonth": 0,
            "daysOfWeek": ["monday"],
            "firstDayOfWeek": "sunday",
            "index": "first",
        },
        "range": {
            "type": "endDate",
            "startDate": "2026-03-02",
            "endDate": "2026-12-31",
            "recurrenceTimeZone": BERLIN,
            "numberOfOccurrences": 0,
        },
    }
    again = await change(app, master, recurrence=master["recurrence"])
    assert again.json()["recurrence"] == master["recurrence"]


@pytest.mark.parametrize(
    ("pattern", "first", "count", "expected"),
    [
        ({"type": "daily", "interval": 3}, "2026-03-30", 3, "03-30 04-02 04-05"),
        (
            {"type": "weekly", "daysOfWeek": ["monday", "thursday"], "interval": 2},
            "2026-03-02",
            4,
            "03-02 03-05 03-16 03-19",
        ),
        (
            {"type": "weekly", "daysOfWeek": ["sunday", "tuesday"], "interval": 2, "firstDayOfWeek": "sunday"},
            "2026-03-03",
            3,
            "03-03 03-15 03-17",
        ),
        (
            {"type": "weekly", "daysOfWeek": ["sunday", "tuesday"], "interval": 2, "firstDayOfWeek": "monday"},
            "2026-03-03",
            3,
            "03-03 03-08 03-17",
        ),
        ({"type": "absoluteMonthly", "dayOfMonth": 15}, "2026-01-15", 3, "01-15 02-15 03-15"),
        ({"type": "absoluteMonthly", "dayOfMonth": 31}, "2026-01-31", 4, "01-31 02-28 03-31 04-30"),
        ({"type": "absoluteMonthly", "dayOfMonth": 29, "interval": 2}, "2026-02-28", 2, "02-28 04-29"),
        (
            {"type": "relativeMonthly", "daysOfWeek": ["tuesday"], "index": "second"},
            "2026-03-10",
            3,
            "03-10 04-14 05-12",
        ),
        ({"type": "relativeMonthly", "daysOfWeek": ["friday"], "index": "last"}, "2026-01-30", 3, "01-30 02-27 03-27"),
        (
            {
                "type": "relativeMonthly",
                "daysOfWeek": ["monday", "tuesday", "wednesday", "thursday", "friday"],
                "index": "last",
            },
            "2026-01-30",
            3,
            "01-30 02-27 03-31",
        ),
        ({"type": "absoluteYearly", "month": 2, "dayOfMonth": 29}, "2026-02-28", 1, "02-28"),
        ({"type": "relativeYearly", "daysOfWeek": ["sunday"], "month": 3, "index": "last"}, "2026-03-29", 1, "03-29"),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else None,
)
async def test_days_of_patterns(app: App, pattern: Json, first: str, count: int, expected: str) -> None:
    master = await a_series(app, every(pattern, first, numberOfOccurrences=count))
    assert days(await instances(app, master)) == [f"2026-{day}" for day in expected.split()]


@pytest.mark.parametrize(
    ("recurrence", "status", "name"),
    [
        pytest.param(every({"type": "weekly"}), 400, "ErrorPropertyValidationFailure", id="weekly without days"),
        pytest.param(every({**MONDAYS, "interval": 0}), 400, "ErrorPropertyValidationFailure", id="no interval"),
        pytest.param(every({"type": "absoluteMonthly"}), 400, "ErrorPropertyValidationFailure", id="no day of month"),
        pytest.param(
            every({"type": "relativeYearly", "daysOfWeek": ["monday"]}),
            400,
            "ErrorPropertyValidationFailure",
            id="no month",
        ),
        pytest.param(every(MONDAYS, numberOfOccurrences=0), 400, "ErrorPropertyValidationFailure", id="none at all"),
        pytest.param(every(MONDAYS, endDate="2026-03-01"), 400, "ErrorPropertyValidationFailure", id="ends before"),
        pytest.param(
            every(MONDAYS, "2026-03-09"), 400, "ErrorPropertyValidationFailure", id="other day than the start"
        ),
        pytest.param({"pattern": {**MONDAYS, "interval": 1}}, 400, "RequestBodyRead", id="no range"),
        pytest.param(
            every({**MONDAYS, "dayOfMonth": 32}), 400, "ErrorPropertyValidationFailure", id="ignored, but wrong"
        ),
        pytest.param(every({"type": "hourly"}), 400, "RequestBodyRead", id="unknown type"),
        pytest.param(every({**MONDAYS, "weeks": 2}), 400, "RequestBodyRead", id="unknown member"),
        pytest.param(every(MONDAYS, endDate="soon"), 400, "RequestBodyRead", id="no date"),
        pytest.param(
            every(MONDAYS, numberOfOccurrences=1, recurrenceTimeZone="Mars"),
            400,
            "TimeZoneNotSupportedException",
            id="zone",
        ),
        pytest.param(every(MONDAYS, numberOfOccurrences=1000), 501, "NotImplemented", id="very many"),
        pytest.param(
            every({"type": "weekly", "daysOfWeek": ["tuesday"]}), 501, "NotImplemented", id="begins off its pattern"
        ),
    ],
)
async def test_recurrences_that_are_refused(app: App, recurrence: Json, status: int, name: str) -> None:
    hours = times("2026-03-02T09:00:00", "2026-03-02T10:00:00")
    body = {"subject": "Standup", "recurrence": recurrence, **hours}
    assert code(await app.call("POST", EVENTS, body)) == (status, name)
    single = await app.create(**hours)
    assert code(await change(app, single, recurrence=recurrence)) == (status, name)


async def test_occurrences_keep_their_wall_clock_time_over_summer_time(app: App) -> None:
    master = await a_series(app, every(MONDAYS, "2026-03-23", numberOfOccurrences=2))
    assert [event["start"]["dateTime"][:16] for event in await instances(app, master)] == [
        "2026-03-23T08:00",
        "2026-03-30T07:00",
    ]


async def test_an_all_day_series_lies_on_its_days_in_every_zone(app: App) -> None:
    days_only = times("2026-03-02T00:00:00", "2026-03-03T00:00:00", "Tokyo Standard Time")
    await a_series(app, **days_only, isAllDay=True)
    found = await app.list(VIEW, headers={"Prefer": 'outlook.timezone="Pacific Standard Time"'}, **MARCH)
    assert [event["start"]["dateTime"][:16] for event in found][:2] == ["2026-03-02T00:00", "2026-03-09T00:00"]


async def test_lists_show_the_series_and_views_its_occurrences(app: App) -> None:
    master = await a_series(app, transactionId="t-1", singleValueExtendedProperties=[{"id": BOOKING, "value": "B-1"}])
    single = await app.create(subject="Once")
    assert [event["id"] for event in await app.list(EVENTS)] == [master["id"], single["id"]]
    view = await app.list(VIEW, filter="type eq 'occurrence'", **MARCH)
    assert days(view) == days(await instances(app, master)) == ["2026-03-02", "2026-03-09", "2026-03-16", "2026-03-23"]
    assert {event["seriesMasterId"] for event in view} == {master["id"]}
    assert len({event["iCalUId"] for event in [*view, master]}) == 5
    assert [event["originalStart"] for event in view][:1] == ["2026-03-02T08:00:00Z"]
    for event in view:
        one = (await app.get(f"{EVENTS}/{event['id']}")).json()
        assert {name: one[name] for name in event} == event
        assert "transactionId" not in one
    marked = f"singleValueExtendedProperties/any(p:p/id eq '{BOOKING}' and p/value eq 'B-1')"
    assert len(await app.list(VIEW, filter=marked, **MARCH)) == 4


async def test_occurrences_have_ids_in_both_forms(app: App) -> None:
    await a_series(app)
    plain = await app.list(VIEW, top="1", **MARCH)
    fixed = await app.list(VIEW, top="1", headers=IMMUTABLE, **MARCH)
    assert plain[0]["id"] != fixed[0]["id"]
    for found in (plain, fixed):
        read = await app.get(f"{EVENTS}/{found[0]['id']}", headers=IMMUTABLE)
        assert (read.json()["id"], read.json()["seriesMasterId"]) == (fixed[0]["id"], fixed[0]["seriesMasterId"])


async def test_windows_reach_to_both_ends_of_time(app: App) -> None:
    await a_series(app)
    for begin, end in (("0001-01-01", "0002-01-01"), ("9999-12-30", "9999-12-31")):
        window: dict[str, Json] = {"startDateTime": begin, "endDateTime": end}
        assert await app.list(VIEW, **window) == []


async def test_a_window_shows_what_overlaps_it_in_pages(app: App) -> None:
    master = await a_series(app, every({"type": "daily"}))
    window: dict[str, Json] = {"startDateTime": "2026-06-01T07:30:00Z", "endDateTime": "2026-06-12T07:00:00Z"}
    found = await app.list(f"{EVENTS}/{master['id']}/instances", **window)
    assert (days(found)[0], len(found)) == ("2026-06-01", 10)
    page = await app.list(f"{EVENTS}/{master['id']}/instances", skip="10", orderby="start/dateTime", **window)
    assert days(page) == ["2026-06-11"]
    assert code(await app.get(f"{EVENTS}/{master['id']}/instances")) == (400, "ErrorInvalidParameter")
    single = await app.create()
    assert code(await app.get(f"{EVENTS}/{single['id']}/instances", **window)) == (501, "NotImplemented")


class TestOneOccurrence:
    async def test_a_change_makes_it_an_exception(self, app: App) -> None:
        master = await a_series(app)
        first, second, *_ = await instances(app, master)
        hours = times("2026-03-10T14:00:00", "2026-03-10T16:00:00", BERLIN)
        changed = (await change(app, second, subject="Moved", **hours)).json()
        assert (changed["id"], changed["type"], changed["originalStart"]) == (
            second["id"],
            "exception",
            "2026-03-09T08:00:00Z",
        )
        assert changed["@odata.etag"] != second["@odata.etag"]
        await change(app, master, subject="Renamed", showAs="free")
        found = await instances(app, master)
        assert [(event["subject"], event["showAs"]) for event in found[:2]] == [("Renamed", "free"), ("Moved", "free")]
        assert days(found)[:3] == ["2026-03-02", "2026-03-10", "2026-03-16"]
        assert found[0]["id"] == first["id"]
        stale = await app.call("DELETE", f"{EVENTS}/{second['id']}", headers={"If-Match": second["@odata.etag"]})
        assert code(stale) == (412, "ErrorIrresolvableConflict")

    @pytest.mark.parametrize(
        ("day", "status"),
        [("03-03", 200), ("03-02", 400), ("03-01", 400), ("03-15", 200), ("03-16", 400), ("03-17", 400)],
    )
    async def test_it_stays_between_its_neighbours(self, app: App, day: str, status: int) -> None:
        master = await a_series(app)
        second = (await instances(app, master))[1]
        answer = await change(app, second, **times(f"2026-{day}T08:00:00", f"2026-{day}T09:00:00", BERLIN))
        assert answer.status == status
        if status == 400:
            assert code(answer) == (400, "ErrorOccurrenceCrossingBoundary")

    async def test_the_neighbours_are_where_they_were_moved_to(self, app: App) -> None:
        master = await a_series(app)
        first, second, third, _ = await instances(app, master)
        assert (await app.call("DELETE", f"{EVENTS}/{first['id']}")).status == 204
        early = times("2026-03-01T08:00:00", "2026-03-01T09:00:00")
        assert (await change(app, second, **early)).status == 200
        assert (await change(app, third, **times("2026-03-02T08:00:00", "2026-03-02T09:00:00"))).status == 200
        again = await change(app, second, **times("2026-03-02T07:00:00", "2026-03-02T07:30:00"))
        assert code(again) == (400, "ErrorOccurrenceCrossingBoundary")

    @pytest.mark.parametrize("how", ["delete", "cancel"])
    async def test_it_can_be_taken_away_alone(self, app: App, how: str) -> None:
        master = await a_series(app)
        second, third = (await instances(app, master))[1:3]
        await change(app, third, subject="Special")
        for event in (second, third):
            path = f"{EVENTS}/{event['id']}"
            answer = await (app.call("DELETE", path) if how == "delete" else app.call("POST", f"{path}/cancel", {}))
            assert answer.status == (204 if how == "delete" else 202)
            assert code(await app.get(path)) == (404, "ErrorItemNotFound")
        assert days(await instances(app, master)) == days(await app.list(VIEW, **MARCH)) == ["2026-03-02", "2026-03-23"]
        read = await app.get(f"{EVENTS}/{master['id']}", select="subject,cancelledOccurrences")
        assert read.json()["cancelledOccurrences"] == [f"OID.{master['id']}.2026-03-{day}" for day in ("09", "16")]

    async def test_the_last_one_is_not_taken_away(self, app: App) -> None:
        master = await a_series(app, every(MONDAYS, endDate="2026-03-10"))
        first, second = await instances(app, master)
        assert (await app.call("DELETE", f"{EVENTS}/{first['id']}")).status == 204
        assert code(await app.call("DELETE", f"{EVENTS}/{second['id']}")) == (501, "NotImplemented")

    async def test_exceptions_come_with_the_series_on_request(self, app: App) -> None:
        master = await a_series(app)
        second = (await instances(app, master))[1]
        await change(app, second, subject="Special")
        path = f"{EVENTS}/{master['id']}"
        read = await app.get(path, select="subject,exceptionOccurrences", expand="exceptionOccurrences")
        assert [event["subject"] for event in read.json()["exceptionOccurrences"]] == ["Special"]
        assert set(read.json()) == {"@odata.context", "@odata.etag", "id", "subject", "exceptionOccurrences"}
        assert "exceptionOccurrences" not in (await app.get(path)).json()
        for refused in ("cancelledOccurrences", "exceptionOccurrences"):
            assert code(await app.get(EVENTS, select=refused)) == (501, "NotImplemented")
        assert code(await app.get(EVENTS, expand="exceptionOccurrences")) == (501, "NotImplemented")

    async def test_it_has_no_recurrence_and_takes_no_extension_of_its_series_away(self, app: App) -> None:
        master = await a_series(app, extensions=[{"extensionName": "Com.Contoso.Old", "a": 1}])
        second = (await instances(app, master))[1]
        from_the_ninth = every(MONDAYS, "2026-03-09", numberOfOccurrences=2)
        assert code(await change(app, second, recurrence=from_the_ninth)) == (501, "NotImplemented")
        path = f"{EVENTS}/{second['id']}/extensions/Com.Contoso.Old"
        assert (await app.call("DELETE", path)).status == 204
        assert (await app.get(f"{EVENTS}/{master['id']}/extensions/Com.Contoso.Old")).status == 200


class TestTheSeries:
    async def test_another_pattern_or_time_forgets_exceptions(self, app: App) -> None:
        master = await a_series(app)
        first, second, *_ = await instances(app, master)
        await change(app, first, subject="Special")
        await app.call("DELETE", f"{EVENTS}/{second['id']}")
        await change(app, master, **times("2026-03-02T11:00:00", "2026-03-02T12:00:00", BERLIN))
        found = await instances(app, master)
        assert {(event["subject"], event["type"], event["start"]["dateTime"][11:13]) for event in found} == {
            ("Standup", "occurrence", "10")
        }
        await change(app, master, recurrence=every({"type": "daily"}, numberOfOccurrences=2))
        assert days(await instances(app, master)) == ["2026-03-02", "2026-03-03"]

    async def test_a_single_event_becomes_one(self, app: App) -> None:
        single = await app.create()
        changed = (await change(app, single, recurrence=FOUR_MONDAYS)).json()
        assert (changed["id"], changed["type"]) == (single["id"], "seriesMaster")
        assert len(await instances(app, changed)) == 4
        assert code(await change(app, changed, recurrence=None)) == (501, "NotImplemented")

    async def test_it_does_not_move_to_another_day_alone(self, app: App) -> None:
        master = await a_series(app)
        tuesday = times("2026-03-03T09:00:00", "2026-03-03T10:00:00", BERLIN)
        assert code(await change(app, master, **tuesday)) == (501, "NotImplemented")
        tuesdays = every({"type": "weekly", "daysOfWeek": ["tuesday"]}, "2026-03-03", numberOfOccurrences=2)
        assert (await change(app, master, recurrence=tuesdays, **tuesday)).status == 200
        assert days(await instances(app, master)) == ["2026-03-03", "2026-03-10"]

    async def test_its_end_takes_all_occurrences_along(self, app: App) -> None:
        master = await a_series(app)
        second = (await instances(app, master))[1]
        assert (await app.call("DELETE", f"{EVENTS}/{master['id']}")).status == 204
        assert await app.list(VIEW, **MARCH) == []
        assert code(await app.get(f"{EVENTS}/{second['id']}")) == (404, "ErrorItemNotFound")


class TestChangeTracking:
    async def rows(self, app: App, link: str = "", size: int = 50, **window: str) -> tuple[list[Json], str]:
        """All items of a round, and the link to the next one."""
        found: list[Json] = []
        headers = {"Prefer": f"odata.maxpagesize={size}"}
        answer = await app.call("GET", link or DELTA, headers=headers, **window)
        while True:
            body = answer.json()
            assert len(body["value"]) <= size
            found += body["value"]
            next_url = body.get("@odata.nextLink") or body["@odata.deltaLink"]
            path = next_url.partition("/v1.0")[2]
            if "@odata.deltaLink" in body:
                return found, path
            answer = await app.call("GET", path, headers=headers)

    @pytest.mark.parametrize("size", [1, 2, 3, 50])
    async def test_series_whole_occurrences_bare_exceptions_whole(self, app: App, size: int) -> None:
        before = await app.create(subject="Once", **times("2026-03-20T09:00:00", "2026-03-20T10:00:00"))
        master = await a_series(app)
        second, third, _ = (await instances(app, master))[1:]
        await change(app, second, subject="Special")
        await app.call("DELETE", f"{EVENTS}/{third['id']}")
        after = await app.create(subject="Last", **times("2026-03-21T09:00:00", "2026-03-21T10:00:00"))
        window: dict[str, Json] = {"startDateTime": "2026-03-08T00:00:00Z", "endDateTime": "2026-04-01T00:00:00Z"}
        found, _ = await self.rows(app, size=size, **window)
        assert [(row["type"], row["start"]["dateTime"][:10], row.get("subject")) for row in found] == [
            ("singleInstance", "2026-03-20", "Once"),
            ("seriesMaster", "2026-03-02", "Standup"),
            ("exception", "2026-03-09", "Special"),
            ("occurrence", "2026-03-23", None),
            ("singleInstance", "2026-03-21", "Last"),
        ]
        bare = found[3]
        assert set(bare) == {"@odata.type", "@odata.etag", "id", "seriesMasterId", "type", "start", "end"}
        assert bare["seriesMasterId"] == master["id"]
        assert {found[0]["id"], found[-1]["id"]} == {before["id"], after["id"]}

    async def test_a_round_may_begin_with_an_empty_page(self, app: App, cloud: Cloud) -> None:
        cloud.settings.change({"graph.delta_empty_page": True})
        assert (await self.rows(app, **MARCH))[0] == []
        await a_series(app)
        assert len((await self.rows(app, **MARCH))[0]) == 5

    async def test_a_changed_occurrence_brings_its_series_again(self, app: App) -> None:
        master = await a_series(app)
        _, link = await self.rows(app, **MARCH)
        second = (await instances(app, master))[1]
        await app.call("DELETE", f"{EVENTS}/{second['id']}")
        found, link = await self.rows(app, link)
        assert [row["type"] for row in found] == ["seriesMaster", *["occurrence"] * 3]
        await app.call("DELETE", f"{EVENTS}/{master['id']}")
        found, _ = await self.rows(app, link)
        assert [(row["id"], "@removed" in row) for row in found] == [(master["id"], True)]

    async def test_a_series_outside_of_the_window_is_removed(self, app: App) -> None:
        window: dict[str, Json] = {"startDateTime": "2026-05-01T00:00:00Z", "endDateTime": "2026-06-01T00:00:00Z"}
        _, link = await self.rows(app, **window)
        master = await a_series(app)
        assert [(row["id"], "@removed" in row) for row in (await self.rows(app, link))[0]] == [(master["id"], True)]

    async def test_a_series_that_changes_between_pages_comes_again(self, app: App, cloud: Cloud) -> None:
        master = await a_series(app)
        first = await app.get(DELTA, headers={"Prefer": "odata.maxpagesize=2"}, **MARCH)
        cloud.clock.advance(timedelta(seconds=1))
        await change(app, master, subject="Renamed")
        found, _ = await self.rows(app, first.json()["@odata.nextLink"].partition("/v1.0")[2])
        assert [row["type"] for row in found] == ["seriesMaster", *["occurrence"] * 4]
        assert found[0]["subject"] == "Renamed"


@given(
    pattern=st.sampled_from(["daily", "weekly", "absoluteMonthly", "absoluteYearly"]),
    interval=st.integers(1, 5),
    first=st.dates(date(2000, 1, 1), date(2030, 12, 31)),
    offset=st.integers(-400, 400),
    count=st.integers(1, 30),
)
def test_windows_agree_with_the_whole(pattern: str, interval: int, first: date, offset: int, count: int) -> None:
    recurrence = Recurrence(
        pattern=pattern,
        interval=interval,
        month=first.month,
        day_of_month=first.day,
        days_of_week=(first.strftime("%A").lower(),),
        first_day_of_week="sunday",
        index="first",
        range="numbered",
        first=first,
        last=None,
        count=count,
        zone="UTC",
    )
    whole = recurrence.days(first, date.max)
    assert (len(whole), whole[0]) == (count, first)
    begin = first + timedelta(days=offset)
    end = begin + timedelta(days=200)
    assert recurrence.days(begin, end) == [day for day in whole if begin <= day <= end]
    assert recurrence.days_before(begin) == [day for day in whole if day < begin][::-1]
    assert recurrence.day_after(begin) == next((day for day in whole if day > begin), None)

"""Mailboxes as a whole: settings, time zones, ids, calendars, and when their owners are free."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import pytest

from sandbox.cloud import Cloud
from sandbox.http import Json, Response
from tests.sandbox.apps import ALICE, BOB, IMMUTABLE, ROOM, UNLICENSED, App, code, times
from tests.sandbox.test_graph_series import a_series, every

BERLIN = {"Prefer": 'outlook.timezone="W. Europe Standard Time"'}


@pytest.fixture
async def app(app_with: Callable[..., App]) -> App:
    return app_with("Calendars.ReadWrite", "User.Read.All", "MailboxSettings.Read")


class TestSettings:
    async def test_people_and_rooms_are_told_apart(self, app: App) -> None:
        settings = [(await app.get(f"/users/{user}/mailboxSettings")).json() for user in (ALICE, ROOM)]
        assert [one["userPurpose"] for one in settings] == ["user", "room"]
        assert settings[0]["timeZone"] == settings[0]["workingHours"]["timeZone"]["name"] == "W. Europe Standard Time"

    async def test_one_setting(self, app: App) -> None:
        path = f"/users/{ALICE}/mailboxSettings"
        assert (await app.get(f"{path}/timezone")).json()["value"] == "W. Europe Standard Time"
        assert (await app.get(f"{path}/workingHours")).json()["startTime"] == "08:00:00.0000000"
        assert code(await app.get(f"{path}/archiveFolder")) == (501, "NotImplemented")
        assert code(await app.call("PATCH", path, {"timeZone": "UTC"})) == (501, "NotImplemented")


class TestZones:
    async def test_all_zones_that_are_listed_can_be_used(self, app: App) -> None:
        path = f"/users/{ALICE}/outlook/supportedTimeZones"
        by_name = "(TimeZoneStandard=microsoft.graph.timeZoneStandard'{}')"
        windows = [zone["alias"] for zone in await app.list(path)]
        iana = [zone["alias"] for zone in await app.list(path + by_name.format("Iana"))]
        assert windows == [zone["alias"] for zone in await app.list(path + by_name.format("Windows"))]
        assert ("Tokyo Standard Time" in windows, "Asia/Tokyo" in iana) == (True, True)
        for zone in (*windows[::20], *iana[::60]):
            answer = await app.get(f"/users/{ALICE}/events", headers={"Prefer": f'outlook.timezone="{zone}"'})
            assert answer.status == 200, zone

    async def test_outlooks_own_names(self, app: App, cloud: Cloud) -> None:
        hours = ("2026-03-02T09:00:00", "2026-03-02T10:00:00")
        event = await app.create(**times(*hours, "tzone://Microsoft/Utc"))
        assert (event["start"]["dateTime"][:16], event["originalStartTimeZone"]) == (
            "2026-03-02T09:00",
            "tzone://Microsoft/Utc",
        )
        body = {"subject": "x", **times(*hours, "tzone://Microsoft/Custom")}
        assert code(await app.call("POST", f"/users/{ALICE}/events", body)) == (501, "NotImplemented")
        cloud.settings.change({"graph.custom_zones": True})
        event = await app.create(**times(*hours, "Europe/Berlin"))
        assert event["originalStartTimeZone"] == event["originalEndTimeZone"] == "tzone://Microsoft/Custom"


class TestIds:
    async def translate(
        self, app: App, *ids: str, source: str = "restId", target: str = "restImmutableEntryId"
    ) -> Response:
        body = {"inputIds": list(ids), "sourceIdType": source, "targetIdType": target}
        return await app.call("POST", f"/users/{ALICE}/translateExchangeIds", body)

    async def test_ids_are_translated_in_both_directions(self, app: App) -> None:
        plain = (await app.create())["id"]
        fixed = (await app.list(f"/users/{ALICE}/events", headers=IMMUTABLE))[0]["id"]
        forward = (await self.translate(app, plain, fixed)).json()["value"]
        assert [(row["sourceId"], row["targetId"]) for row in forward] == [(plain, fixed), (fixed, None)]
        back = await self.translate(app, fixed, source="restImmutableEntryId", target="restId")
        assert back.json()["value"] == [{"sourceId": fixed, "targetId": plain}]

    async def test_parameters_may_be_written_as_in_the_metadata(self, app: App) -> None:
        """Microsoft's own clients write them with capital letters, the docs without."""
        body: dict[str, Json] = {"InputIds": [], "SourceIdType": "restId", "TargetIdType": "restImmutableEntryId"}
        assert (await app.call("POST", f"/users/{ALICE}/translateExchangeIds", body)).json()["value"] == []
        body = {"inputIds": [], **body}
        answer = await app.call("POST", f"/users/{ALICE}/translateExchangeIds", body)
        assert code(answer) == (400, "RequestBodyRead")
        begin, end = times("2026-03-02T09:00:00", "2026-03-02T17:00:00").values()
        body = {"Schedules": [ALICE], "StartTime": begin, "EndTime": end, "AvailabilityViewInterval": 480}
        answer = await app.call("POST", f"/users/{ALICE}/calendar/getSchedule", body)
        assert answer.json()["value"][0]["availabilityView"] == "0"

    async def test_what_is_refused(self, app: App) -> None:
        assert code(await self.translate(app, "A", target="ewsId")) == (501, "NotImplemented")
        assert code(await self.translate(app, "A", target="name")) == (400, "RequestBodyRead")
        assert code(await self.translate(app, *["A"] * 1001)) == (400, "ErrorInvalidRequest")


class TestCalendars:
    async def test_a_second_calendar_has_events_of_its_own(self, app: App) -> None:
        path = f"/users/{ALICE}/calendars"
        made = await app.call("POST", path, {"name": "Rota"})
        assert (made.status, made.json()["isDefaultCalendar"], made.json()["isRemovable"]) == (201, False, True)
        assert code(await app.call("POST", path, {"name": "rota"})) == (409, "ErrorFolderExists")
        assert code(await app.call("POST", path, {"name": "Other", "color": "red"})) == (400, "RequestBodyRead")
        event = await app.call(
            "POST",
            f"{path}/{made.json()['id']}/events",
            {"subject": "x", **times("2026-03-02T09:00:00", "2026-03-02T10:00:00")},
        )
        assert event.status == 201
        assert await app.list(f"/users/{ALICE}/events") == []
        assert [one["subject"] for one in await app.list(f"{path}/{made.json()['id']}/events")] == ["x"]

    async def test_calendars_are_selected_filtered_and_paged(self, app: App) -> None:
        path = f"/users/{ALICE}/calendars"
        await app.call("POST", path, {"name": "Rota"})
        found = await app.list(path, filter="name eq 'rota'", select="name")
        assert [(one["name"], set(one)) for one in found] == [("Rota", {"id", "name"})]
        page = (await app.get(path, top="1")).json()
        assert len(page["value"]) == 1
        assert page["@odata.nextLink"].endswith("skip=1")
        assert (await app.get(f"/users/{ALICE}/calendar", select="name")).json()["name"] == "Calendar"
        assert code(await app.get(path, orderby="name")) == (501, "NotImplemented")


class TestSchedules:
    async def ask(self, app: App, *schedules: str, begin: str = "08:00", end: str = "12:00", **more: Json) -> Response:
        bounds = times(f"2026-03-02T{begin}:00", f"2026-03-02T{end}:00", "W. Europe Standard Time")
        body = {"schedules": list(schedules), "startTime": bounds["start"], "endTime": bounds["end"], **more}
        return await app.call("POST", f"/users/{ALICE}/calendar/getSchedule", body, headers=BERLIN)

    async def test_slots_show_the_weightiest_of_what_is_in_them(self, app: App) -> None:
        for begin, end, status in (
            ("08:00", "09:00", "free"),
            ("09:00", "10:30", "tentative"),
            ("10:00", "11:00", "busy"),
            ("11:00", "11:30", "workingElsewhere"),
            ("11:15", "11:45", "oof"),
        ):
            hours = times(f"2026-03-02T{begin}:00", f"2026-03-02T{end}:00", "Europe/Berlin")
            await app.create(BOB, showAs=status, **hours)
        await app.create(BOB, **times("2026-03-03T09:00:00", "2026-03-03T10:00:00"))
        for minutes, view in ((30, "00112233"), (60, "0123"), (240, "3")):
            answer = await self.ask(app, BOB, availabilityViewInterval=minutes)
            assert answer.json()["value"][0]["availabilityView"] == view
        items = answer.json()["value"][0]["scheduleItems"]
        assert [item["status"] for item in items] == ["free", "tentative", "busy", "workingElsewhere", "oof"]
        assert items[0]["start"] == {"dateTime": "2026-03-02T08:00:00.0000000", "timeZone": "W. Europe Standard Time"}
        assert "id" not in items[0]

    async def test_private_items_show_their_time_only(self, app: App) -> None:
        place = {"displayName": "Cellar"}
        for sensitivity in ("normal", "private"):
            hours = times("2026-03-02T09:00:00", "2026-03-02T10:00:00", "Europe/Berlin")
            await app.create(BOB, subject="Doctor", sensitivity=sensitivity, location=place, **hours)
        open_item, private = (await self.ask(app, BOB)).json()["value"][0]["scheduleItems"]
        assert (open_item["subject"], open_item["location"], open_item["isPrivate"]) == ("Doctor", "Cellar", False)
        assert set(private) == {"isPrivate", "status", "start", "end"}

    async def test_occurrences_count(self, app: App) -> None:
        await a_series(app, every({"type": "daily"}, "2026-02-01"))
        assert (await self.ask(app, ALICE)).json()["value"][0]["availabilityView"] == "00220000"

    async def test_whom_nobody_knows_is_an_error_of_his_own(self, app: App) -> None:
        answer = await self.ask(app, "nobody@contoso.test", UNLICENSED, ROOM)
        assert answer.status == 200
        errors = [one.get("error", {}).get("responseCode") for one in answer.json()["value"]]
        assert errors == ["ErrorMailRecipientNotFound", "ErrorMailRecipientNotFound", None]

    async def test_too_many_items_are_an_error_of_their_own(self, app: App, cloud: Cloud) -> None:
        cloud.settings.change({"graph.schedule_days": 400})
        for _ in range(3):
            await a_series(app, every({"type": "daily"}, "2026-02-01"))
        long = times("2026-03-02T00:00:00", str(date(2026, 3, 2) + timedelta(days=400)) + "T00:00:00")
        answer = await self.ask(app, ALICE, startTime=long["start"], endTime=long["end"])
        assert answer.json()["value"][0]["error"]["responseCode"] == "5006"

    @pytest.mark.parametrize(
        "wrong",
        [
            {"schedules": []},
            {"schedules": [BOB] * 21},
            {"availabilityViewInterval": 4},
            {"availabilityViewInterval": 1441},
            {"endTime": {"dateTime": "2026-03-02T08:00:00", "timeZone": "W. Europe Standard Time"}},
            {"endTime": {"dateTime": "2026-04-14T08:00:00", "timeZone": "UTC"}},
        ],
        ids=str,
    )
    async def test_what_is_refused(self, app: App, wrong: dict[str, Json]) -> None:
        assert code(await self.ask(app, BOB, **wrong)) == (400, "ErrorInvalidParameter")

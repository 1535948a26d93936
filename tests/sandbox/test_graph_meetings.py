"""Meetings: who is invited has a copy, rooms answer by themselves, and what becomes of both."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sandbox.cloud import Cloud
from sandbox.http import Json, Response
from tests.sandbox.apps import ALICE, BOB, BOOKING, ROOM, App, code, times
from tests.sandbox.test_graph_series import MARCH, MONDAYS, a_series, days, every

STRANGER = "office@fabrikam.test"


@pytest.fixture
async def app(app_with: Callable[..., App]) -> App:
    return app_with("Calendars.ReadWrite")


def invited(*addresses: str) -> list[Json]:
    return [
        {"emailAddress": {"address": address}, "type": "resource" if address == ROOM else "required"}
        for address in addresses
    ]


async def only(app: App, user: str) -> Json:
    (event,) = await app.list(f"/users/{user}/events")
    return event


async def answers(app: App) -> list[str]:
    return [one["status"]["response"] for one in (await only(app, ALICE))["attendees"]]


async def change(app: App, user: str, **changes: Json) -> Json:
    event = await only(app, user)
    answer = await app.call("PATCH", f"/users/{user}/events/{event['id']}", changes)
    assert answer.status == 200, answer.body
    return answer.json()


async def respond(app: App, user: str, how: str, **body: Json) -> Response:
    event = await only(app, user)
    return await app.call("POST", f"/users/{user}/events/{event['id']}/{how}", body)


class TestPeople:
    async def test_each_has_a_copy_of_his_own(self, app: App) -> None:
        marker = [{"id": BOOKING, "value": "B-1"}]
        original = await app.create(
            attendees=invited(BOB, STRANGER),
            transactionId="t",
            categories=["Red"],
            singleValueExtendedProperties=marker,
        )
        copy = await only(app, BOB)
        assert (original["isOrganizer"], copy["isOrganizer"]) == (True, False)
        assert (copy["iCalUId"], copy["subject"]) == (original["iCalUId"], original["subject"])
        assert copy["organizer"]["emailAddress"]["address"] == ALICE
        assert (copy["responseStatus"]["response"], copy["showAs"], copy["categories"]) == (
            "notResponded",
            "tentative",
            [],
        )
        assert "transactionId" not in copy
        found = f"singleValueExtendedProperties/any(p:p/id eq '{BOOKING}' and p/value eq 'B-1')"
        assert await app.list(f"/users/{BOB}/events", filter=found) == []
        assert [one["emailAddress"]["address"] for one in copy["attendees"]] == [BOB, STRANGER]

    @pytest.mark.parametrize(
        ("how", "answer", "shown_as"),
        [("accept", "accepted", "busy"), ("tentativelyAccept", "tentativelyAccepted", "tentative")],
    )
    async def test_an_answer_reaches_the_organizer(self, app: App, how: str, answer: str, shown_as: str) -> None:
        await app.create(attendees=invited(BOB, STRANGER))
        assert (await respond(app, BOB, how, comment="Fine")).status == 202
        assert await answers(app) == [answer, "none"]
        copy = await only(app, BOB)
        assert (copy["responseStatus"]["response"], copy["showAs"]) == (answer, shown_as)
        assert copy["attendees"][0]["status"]["response"] == "none"

    async def test_an_answer_can_be_kept_to_oneself(self, app: App) -> None:
        await app.create(attendees=invited(BOB))
        assert (await respond(app, BOB, "accept", sendResponse=False)).status == 202
        assert await answers(app) == ["none"]

    async def test_what_was_declined_comes_again_for_another_time(self, app: App) -> None:
        await app.create(attendees=invited(BOB))
        assert (await respond(app, BOB, "decline")).status == 202
        assert await app.list(f"/users/{BOB}/events") == []
        await change(app, ALICE, subject="Renamed")
        assert await app.list(f"/users/{BOB}/events") == []
        await change(app, ALICE, **times("2026-03-02T11:00:00", "2026-03-02T12:00:00"))
        assert ((await only(app, BOB))["subject"], await answers(app)) == ("Renamed", ["none"])

    async def test_a_moved_meeting_is_answered_anew_a_renamed_one_is_not(self, app: App) -> None:
        await app.create(attendees=invited(BOB))
        await respond(app, BOB, "accept")
        await change(app, BOB, categories=["Blue"], showAs="oof")
        await change(app, ALICE, subject="Renamed")
        copy = await only(app, BOB)
        assert (copy["subject"], copy["responseStatus"]["response"], copy["showAs"]) == ("Renamed", "accepted", "oof")
        await change(app, ALICE, **times("2026-03-02T11:00:00", "2026-03-02T12:00:00"))
        copy = await only(app, BOB)
        assert (copy["start"]["dateTime"][11:13], copy["responseStatus"]["response"]) == ("11", "notResponded")
        assert (copy["categories"], await answers(app)) == (["Blue"], ["none"])

    @pytest.mark.parametrize("how", ["delete", "cancel", "uninvite"])
    async def test_who_is_not_invited_any_more_keeps_a_cancelled_copy(self, app: App, how: str) -> None:
        event = await app.create(attendees=invited(BOB))
        path = f"/users/{ALICE}/events/{event['id']}"
        if how == "uninvite":
            await change(app, ALICE, attendees=[])
        else:
            await (app.call("DELETE", path) if how == "delete" else app.call("POST", f"{path}/cancel", {}))
        copy = await only(app, BOB)
        assert (copy["isCancelled"], copy["subject"], copy["showAs"]) == (True, "Canceled: Boiler check", "free")

    async def test_a_copy_that_its_owner_deleted_stays_away(self, app: App) -> None:
        await app.create(attendees=invited(BOB))
        copy = await only(app, BOB)
        await app.call("DELETE", f"/users/{BOB}/events/{copy['id']}")
        await change(app, ALICE, subject="Renamed")
        assert await app.list(f"/users/{BOB}/events") == []
        assert await answers(app) == ["none"]

    async def test_hidden_attendees_do_not_see_each_other(self, app: App) -> None:
        await app.create(attendees=invited(BOB, STRANGER), hideAttendees=True)
        assert [one["emailAddress"]["address"] for one in (await only(app, BOB))["attendees"]] == [BOB]


class TestRooms:
    async def test_a_free_room_accepts_and_says_who_comes(self, app: App) -> None:
        body = {"contentType": "text", "content": "Bring a torch"}
        created = await app.create(attendees=invited(ROOM), body=body, sensitivity="private")
        copy = await only(app, ROOM)
        assert (copy["subject"], copy["body"]["content"], copy["sensitivity"]) == ("Alice Adams", "", "normal")
        assert (copy["showAs"], copy["responseStatus"]["response"]) == ("busy", "accepted")
        assert await answers(app) == ["accepted"]
        assert (await only(app, ALICE))["@odata.etag"] != created["@odata.etag"]

    async def test_a_busy_room_declines_until_there_is_room(self, app: App) -> None:
        await app.create(BOB, attendees=invited(ROOM))
        await app.create(attendees=invited(ROOM))
        assert await answers(app) == ["declined"]
        assert (await only(app, ROOM))["subject"] == "Bob Brown"
        await change(app, ALICE, **times("2026-03-02T10:00:00", "2026-03-02T11:00:00"))
        assert await answers(app) == ["accepted"]
        await change(app, ALICE, **times("2026-03-02T09:30:00", "2026-03-02T10:30:00"))
        assert await answers(app) == ["declined"]
        assert (await only(app, ROOM))["subject"] == "Bob Brown"

    async def test_a_meeting_may_move_over_itself(self, app: App) -> None:
        await app.create(attendees=invited(ROOM))
        await change(app, ALICE, **times("2026-03-02T09:30:00", "2026-03-02T10:30:00"))
        assert await answers(app) == ["accepted"]
        assert (await only(app, ROOM))["start"]["dateTime"][11:16] == "09:30"

    async def test_a_cancelled_meeting_stays_and_blocks_nobody(self, app: App) -> None:
        event = await app.create(attendees=invited(ROOM))
        await app.call("POST", f"/users/{ALICE}/events/{event['id']}/cancel", {})
        assert (await only(app, ROOM))["isCancelled"] is True
        await app.create(attendees=invited(ROOM))
        assert await answers(app) == ["accepted"]

    async def test_rooms_are_not_booked_too_far_ahead(self, app: App, cloud: Cloud) -> None:
        cloud.settings.change({"graph.room_window_days": 1})
        await app.create(attendees=invited(ROOM), **times("2026-03-09T09:00:00", "2026-03-09T10:00:00"))
        assert await answers(app) == ["declined"]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        pytest.param({"attendees": [{"type": "required"}]}, 400, id="nobody"),
        pytest.param({"attendees": [{"emailAddress": {"address": BOB}, "type": "guest"}]}, 400, id="unknown type"),
        pytest.param({"attendees": invited(*(f"a{n}@contoso.test" for n in range(501)))}, 400, id="too many"),
        pytest.param(
            {"attendees": [{"emailAddress": {"address": BOB}, "status": {"response": "accepted"}}]}, 501, id="an answer"
        ),
    ],
)
async def test_what_is_refused(app: App, changes: dict[str, Json], status: int) -> None:
    hours = times("2026-03-02T09:00:00", "2026-03-02T10:00:00")
    answer = await app.call("POST", f"/users/{ALICE}/events", {"subject": "x", **hours, **changes})
    assert answer.status == status
    assert await app.list(f"/users/{BOB}/events") == []


async def test_what_organizers_and_guests_cannot_do(app: App) -> None:
    await app.create(attendees=invited(BOB), allowNewTimeProposals=False)
    hours = times("2026-03-02T09:00:00", "2026-03-02T10:00:00")
    assert code(await respond(app, ALICE, "accept")) == (400, "ErrorInvalidRequest")
    assert code(await respond(app, BOB, "cancel")) == (400, "ErrorInvalidRequest")
    assert code(await respond(app, BOB, "decline", proposedNewTime=hours)) == (400, "ErrorInvalidRequest")
    await change(app, ALICE, allowNewTimeProposals=True)
    assert code(await respond(app, BOB, "decline", proposedNewTime=hours)) == (501, "NotImplemented")
    assert code(await respond(app, BOB, "decline", proposedNewTime=hours, sendResponse=False)) == (
        400,
        "ErrorInvalidRequest",
    )
    assert code(await respond(app, BOB, "forward")) == (501, "NotImplemented")


class TestSeries:
    async def view(self, app: App, user: str) -> list[Json]:
        return await app.list(f"/users/{user}/calendarView", orderby="start/dateTime", **MARCH)

    async def test_it_comes_as_a_series_with_its_exceptions(self, app: App) -> None:
        await a_series(app, attendees=invited(BOB, ROOM))
        first, second, third, _ = await self.view(app, ALICE)
        hours = times("2026-03-10T14:00:00", "2026-03-10T15:00:00")
        moved = await app.call("PATCH", f"/users/{ALICE}/events/{second['id']}", {"subject": "Special", **hours})
        assert moved.status == 200
        assert (await app.call("DELETE", f"/users/{ALICE}/events/{third['id']}")).status == 204
        for user, subjects in ((BOB, ["Standup", "Special", "Standup"]), (ROOM, ["Alice Adams"] * 3)):
            shown = await self.view(app, user)
            assert days(shown) == ["2026-03-02", "2026-03-10", "2026-03-23"]
            assert [event["subject"] for event in shown] == subjects
        assert (await only(app, BOB))["type"] == "seriesMaster"
        assert (await self.view(app, BOB))[0]["iCalUId"] == first["iCalUId"]

    async def test_a_room_takes_all_of_it_or_nothing(self, app: App) -> None:
        await app.create(BOB, attendees=invited(ROOM), **times("2026-03-16T08:30:00", "2026-03-16T09:30:00"))
        await a_series(app, attendees=invited(ROOM))
        assert await answers(app) == ["declined"]
        later = times("2026-03-02T12:00:00", "2026-03-02T13:00:00", "W. Europe Standard Time")
        await change(app, ALICE, **later)
        assert await answers(app) == ["accepted"]
        assert len(await self.view(app, ROOM)) == 5

    async def test_a_room_is_not_booked_for_ever(self, app: App) -> None:
        await a_series(app, every(MONDAYS), attendees=invited(ROOM))
        assert await answers(app) == ["declined"]

    async def test_one_occurrence_is_not_answered_or_invited_to(self, app: App) -> None:
        await a_series(app, attendees=invited(BOB))
        mine, his = (await self.view(app, ALICE))[1], (await self.view(app, BOB))[1]
        answer = await app.call("POST", f"/users/{BOB}/events/{his['id']}/accept", {})
        assert code(answer) == (501, "NotImplemented")
        alone = await app.call("PATCH", f"/users/{ALICE}/events/{mine['id']}", {"attendees": invited(STRANGER)})
        assert code(alone) == (501, "NotImplemented")


class TestOnline:
    async def test_a_meeting_has_an_address_and_a_way_there_in_its_body(self, app: App) -> None:
        event = await app.create(body={"contentType": "html", "content": "<p>Agenda</p>"})
        online = await change(app, ALICE, isOnlineMeeting=True, onlineMeetingProvider="teamsForBusiness")
        url = online["onlineMeeting"]["joinUrl"]
        assert (online["isOnlineMeeting"], online["onlineMeetingProvider"], event["isOnlineMeeting"]) == (
            True,
            "teamsForBusiness",
            False,
        )
        assert url in online["body"]["content"]
        assert "Agenda" in online["bodyPreview"]
        later = await change(app, ALICE, subject="Renamed", **times("2026-03-02T11:00:00", "2026-03-02T12:00:00"))
        assert (later["onlineMeeting"]["joinUrl"], later["body"]) == (url, online["body"])

    async def test_a_body_without_the_way_there_disables_it(self, app: App) -> None:
        event = await app.create(isOnlineMeeting=True)
        kept = event["body"]["content"].replace("<body>", "<body><p>Agenda</p>")
        changed = await change(app, ALICE, body={"contentType": "html", "content": kept})
        assert changed["isOnlineMeeting"] is True
        lost = await change(app, ALICE, body={"contentType": "html", "content": "<p>Agenda</p>"})
        assert (lost["isOnlineMeeting"], lost["onlineMeeting"]) == (False, None)

    async def test_it_cannot_be_taken_away(self, app: App) -> None:
        event = await app.create(isOnlineMeeting=True)
        path = f"/users/{ALICE}/events/{event['id']}"
        assert code(await app.call("PATCH", path, {"isOnlineMeeting": False})) == (501, "NotImplemented")

    async def test_who_is_invited_finds_it_too(self, app: App) -> None:
        event = await app.create(isOnlineMeeting=True, attendees=invited(BOB))
        assert (await only(app, BOB))["onlineMeeting"] == event["onlineMeeting"]

"""Events: their shape, their versions, their ids, their times, and what the service refuses."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import pytest

from sandbox.cloud import Cloud
from sandbox.directory import known_id
from sandbox.graph.routes import Graph
from sandbox.graph.state import Change, ChangeKind, Mailbox
from sandbox.http import Json, Request
from tests.sandbox.apps import ALICE, BOB, BOOKING, IMMUTABLE, UNLICENSED, App, an_event, code, times

DUPLICATE = "ErrorDuplicateTransactionId"


def at(event_id: str, user: str = ALICE) -> str:
    return f"/users/{user}/events/{event_id}"


async def test_minimal_create_has_the_service_s_shape_and_defaults(app: App) -> None:
    event = await app.create(
        body={"contentType": "HTML", "content": "Bring a torch"},
        location={"displayName": "Cellar"},
        transactionId="t-1",
    )
    event_id, change_key = event["id"], event["changeKey"]
    assert event == {
        "@odata.context": "https://localhost:4444/v1.0/$metadata#users('alice%40contoso.test')/events/$entity",
        "@odata.etag": f'W/"{change_key}"',
        "id": event_id,
        "createdDateTime": event["createdDateTime"],
        "lastModifiedDateTime": event["createdDateTime"],
        "changeKey": change_key,
        "categories": [],
        "originalStartTimeZone": "UTC",
        "originalEndTimeZone": "UTC",
        "iCalUId": event["iCalUId"],
        "reminderMinutesBeforeStart": 15,
        "isReminderOn": True,
        "hasAttachments": False,
        "hideAttendees": False,
        "subject": "Boiler check",
        "bodyPreview": "Bring a torch",
        "importance": "normal",
        "sensitivity": "normal",
        "isAllDay": False,
        "isCancelled": False,
        "isDraft": False,
        "isOrganizer": True,
        "responseRequested": True,
        "seriesMasterId": None,
        "transactionId": "t-1",
        "showAs": "busy",
        "type": "singleInstance",
        "webLink": "https://outlook.office365.com/owa/?itemid="
        + event_id.replace("=", "%3D")
        + "&exvsurl=1&path=/calendar/item",
        "onlineMeetingUrl": None,
        "isOnlineMeeting": False,
        "onlineMeetingProvider": "unknown",
        "onlineMeeting": None,
        "allowNewTimeProposals": True,
        "responseStatus": {"response": "organizer", "time": "0001-01-01T00:00:00Z"},
        "body": {"contentType": "html", "content": "<html><head></head><body>Bring a torch</body></html>"},
        "start": {"dateTime": "2026-03-02T09:00:00.0000000", "timeZone": "UTC"},
        "end": {"dateTime": "2026-03-02T10:00:00.0000000", "timeZone": "UTC"},
        "location": {
            "displayName": "Cellar",
            "locationType": "default",
            "uniqueId": "Cellar",
            "uniqueIdType": "private",
        },
        "locations": [{"displayName": "Cellar", "locationType": "default", "uniqueIdType": "unknown"}],
        "recurrence": None,
        "attendees": [],
        "organizer": {"emailAddress": {"name": "Alice Adams", "address": ALICE}},
    }
    assert event["iCalUId"].startswith("040000008200E00074C5B7101A82E00800000000")
    assert event["createdDateTime"].startswith("2026-03-01T08:00:00")


async def test_answers_carry_the_service_s_headers(app: App) -> None:
    answer = await app.get(
        f"/users/{ALICE}/events", headers={"client-request-id": "mine", "Prefer": 'outlook.timezone="UTC"'}
    )
    assert answer.headers["client-request-id"] == "mine"
    assert answer.headers["request-id"] not in ("", "mine")
    assert answer.headers["Date"] == "Sun, 01 Mar 2026 08:00:00 GMT"
    assert answer.headers["OData-Version"] == "4.0"
    assert answer.headers["Content-Type"].startswith("application/json;odata.metadata=minimal")
    assert answer.headers["Preference-Applied"] == 'outlook.timezone="UTC"'


async def test_refusals_carry_the_request_ids(app: App) -> None:
    answer = await app.get(at("AAMkA" + "x" * 51), headers={"client-request-id": "mine"})
    inner = answer.json()["error"]["innerError"]
    assert inner == {
        "date": "2026-03-01T08:00:00",
        "request-id": answer.headers["request-id"],
        "client-request-id": "mine",
    }


class TestTimes:
    @pytest.mark.parametrize("zone", ["W. Europe Standard Time", "Europe/Berlin"])
    async def test_zones_are_converted_exactly_on_both_sides_of_summer_time(self, app: App, zone: str) -> None:
        before = await app.create(**times("2026-03-28T09:00:00", "2026-03-28T10:00:00", zone))
        after = await app.create(**times("2026-03-30T09:00:00", "2026-03-30T10:00:00", zone))
        assert before["start"] == {"dateTime": "2026-03-28T08:00:00.0000000", "timeZone": "UTC"}
        assert after["start"] == {"dateTime": "2026-03-30T07:00:00.0000000", "timeZone": "UTC"}
        assert (before["originalStartTimeZone"], before["originalEndTimeZone"]) == (zone, zone)

    @pytest.mark.parametrize(
        ("wall", "in_utc"),
        [
            pytest.param("2026-10-25T02:30:00", "2026-10-25T01:30:00", id="the hour that comes twice is standard time"),
            pytest.param("2026-03-29T02:30:00", "2026-03-29T01:30:00", id="the hour that is skipped is standard time"),
        ],
    )
    async def test_odd_hours(self, app: App, wall: str, in_utc: str) -> None:
        event = await app.create(**times(wall, "2026-12-01T00:00:00", "Europe/Berlin"))
        assert event["start"]["dateTime"] == f"{in_utc}.0000000"

    async def test_answers_come_in_the_preferred_zone(self, app: App) -> None:
        event = await app.create()
        read = await app.get(at(event["id"]), headers={"Prefer": 'outlook.timezone="Pacific Standard Time"'})
        assert read.json()["start"] == {"dateTime": "2026-03-02T01:00:00.0000000", "timeZone": "Pacific Standard Time"}

    async def test_all_day_lies_on_its_day_in_every_zone(self, app: App) -> None:
        event = await app.create(
            isAllDay=True, **times("2026-03-02T00:00:00", "2026-03-03T00:00:00", "Tokyo Standard Time")
        )
        assert event["start"] == {"dateTime": "2026-03-02T00:00:00.0000000", "timeZone": "UTC"}
        assert event["end"]["dateTime"] == "2026-03-03T00:00:00.0000000"

    async def test_fractions_and_offsets_that_agree_with_the_zone_are_read(self, app: App) -> None:
        event = await app.create(**times("2026-03-02T09:00:00.1234567", "2026-03-02T10:00:00.000Z"))
        assert event["start"]["dateTime"] == "2026-03-02T09:00:00.1234560"

    async def test_preferred_zone_that_nobody_knows_is_refused(self, app: App) -> None:
        answer = await app.get(f"/users/{ALICE}/events", headers={"Prefer": 'outlook.timezone="Middle Earth"'})
        assert code(answer) == (400, "TimeZoneNotSupportedException")


@pytest.mark.parametrize(
    ("changes", "status", "name"),
    [
        pytest.param(
            times("2026-03-02T09:00:00", "2026-03-02T08:00:00"),
            400,
            "ErrorPropertyValidationFailure",
            id="end before start",
        ),
        pytest.param({"isAllDay": True}, 400, "ErrorPropertyValidationFailure", id="all day, not at midnight"),
        pytest.param(
            {"start": {"dateTime": "2026-03-02T09:00:00"}}, 400, "TimeZoneNotSupportedException", id="no zone"
        ),
        pytest.param(
            times("2026-03-02T09:00:00", "2026-03-02T10:00:00", ""),
            400,
            "TimeZoneNotSupportedException",
            id="empty zone",
        ),
        pytest.param(
            times("2026-03-02T09:00:00", "2026-03-02T10:00:00", "Mars/Olympus"),
            400,
            "TimeZoneNotSupportedException",
            id="unknown zone",
        ),
        pytest.param(times("tomorrow", "2026-03-02T10:00:00"), 400, "ErrorInvalidRequest", id="no time"),
        pytest.param(times("2026-02-30T10:00:00", "2026-03-02T10:00:00"), 400, "ErrorInvalidRequest", id="no such day"),
        pytest.param(
            times("2026-03-02T09:00:00+02:00", "2026-03-02T10:00:00"), 501, "NotImplemented", id="offset against zone"
        ),
        pytest.param({"colour": "red"}, 400, "RequestBodyRead", id="unknown property"),
        pytest.param({"showAs": "sleeping"}, 400, "RequestBodyRead", id="unknown choice"),
        pytest.param({"isAllDay": "yes"}, 400, "RequestBodyRead", id="text for a flag"),
        pytest.param({"subject": 7}, 400, "RequestBodyRead", id="number for a text"),
        pytest.param({"attendees": [{"emailAddress": {}}]}, 400, "RequestBodyRead", id="attendee without address"),
        pytest.param({"recurrence": {"pattern": {}}}, 400, "RequestBodyRead", id="recurrence"),
        pytest.param(
            {"isOnlineMeeting": True, "onlineMeetingProvider": "skypeForBusiness"},
            501,
            "NotImplemented",
            id="online meeting elsewhere",
        ),
        pytest.param({"extensions": [{}]}, 501, "NotImplemented", id="open extension"),
        pytest.param({"iCalUId": "mine"}, 501, "NotImplemented", id="read-only property"),
        pytest.param(
            {"singleValueExtendedProperties": [{"id": "BookingId", "value": "1"}]},
            400,
            "ErrorInvalidRequest",
            id="malformed extended property",
        ),
        pytest.param(
            {"singleValueExtendedProperties": [{"id": "Integer 0x8012", "value": "1"}]},
            501,
            "NotImplemented",
            id="other extended property",
        ),
    ],
)
async def test_bodies_that_are_refused(app: App, changes: dict[str, Json], status: int, name: str) -> None:
    created = await app.call("POST", f"/users/{ALICE}/events", an_event(**changes))
    assert code(created) == (status, name)
    event = await app.create()
    assert code(await app.call("PATCH", at(event["id"]), changes)) == (status, name)
    assert len(await app.list(f"/users/{ALICE}/events")) == 1


async def test_create_without_times_is_refused(app: App) -> None:
    answer = await app.call("POST", f"/users/{ALICE}/events", {"subject": "When?"})
    assert code(answer) == (400, "ErrorPropertyValidationFailure")


async def test_bodies_that_are_no_json_object_are_refused(app: App, cloud: Cloud) -> None:
    url = f"https://localhost/v1.0/users/{ALICE}/events"
    for content, kind, name in (
        (b"{", "application/json", "RequestBodyRead"),
        (b"[]", "application/json", "RequestBodyRead"),
        (b"{}", "", "ErrorInvalidRequest"),
    ):
        request = Request.of("POST", url, headers={**app.headers, "Content-Type": kind}, body=content)
        assert code(await cloud.serve("graph", request)) == (400, name)


async def test_properties_that_say_nothing_are_taken(app: App) -> None:
    event = await app.create(
        **cast("Any", {"@odata.type": "#microsoft.graph.event"}),
        attendees=[],
        recurrence=None,
        isOnlineMeeting="false",
        onlineMeetingProvider="teamsForBusiness",
    )
    assert (event["attendees"], event["isOnlineMeeting"], event["onlineMeetingProvider"]) == ([], False, "unknown")


class TestBodies:
    async def test_html_is_wrapped_once(self, app: App) -> None:
        event = await app.create(body={"contentType": "html", "content": "<p>One &amp; two</p><p>three</p>"})
        content = event["body"]["content"]
        assert content == "<html><head></head><body><p>One &amp; two</p><p>three</p></body></html>"
        assert event["bodyPreview"] == "One & two\r\nthree"
        again = await app.call("PATCH", at(event["id"]), {"body": {"contentType": "html", "content": content}})
        assert again.json()["body"]["content"] == content

    async def test_scripts_are_taken_out(self, app: App) -> None:
        event = await app.create(body={"contentType": "html", "content": "a<script>alert(1)</script>b"})
        assert event["body"]["content"] == "<html><head></head><body>ab</body></html>"

    async def test_text_becomes_html_and_comes_back_as_text_on_request(self, app: App) -> None:
        event = await app.create(body={"contentType": "text", "content": "a < b\nc"})
        assert event["body"]["contentType"] == "html"
        assert '<div class="PlainText">a &lt; b<br>\r\nc</div>' in event["body"]["content"]
        read = await app.get(at(event["id"]), headers={"Prefer": 'outlook.body-content-type="text"'})
        assert read.json()["body"] == {"contentType": "text", "content": "a < b\r\nc"}
        assert read.headers["Preference-Applied"] == 'outlook.body-content-type="text"'

    async def test_no_body_stays_none(self, app: App) -> None:
        event = await app.create()
        assert (event["body"], event["bodyPreview"]) == ({"contentType": "html", "content": ""}, "")

    async def test_preview_and_subject_have_their_lengths(self, app: App) -> None:
        event = await app.create(subject="s" * 300, body={"contentType": "text", "content": "b" * 300})
        assert event["subject"] == "s" * 252 + "..."
        assert event["bodyPreview"] == "b" * 255


class TestLocations:
    async def test_location_replaces_all_locations(self, app: App) -> None:
        event = await app.create(locations=[{"displayName": "Cellar"}, {"displayName": "Roof"}])
        assert event["location"]["displayName"] == "Cellar; Roof"
        changed = await app.call("PATCH", at(event["id"]), {"location": {"displayName": "Hall"}})
        assert [place["displayName"] for place in changed.json()["locations"]] == ["Hall"]

    async def test_no_location(self, app: App) -> None:
        event = await app.create(location={"displayName": ""})
        assert (event["location"]["displayName"], event["locations"]) == ("", [])


class TestVersions:
    async def test_every_write_changes_etag_and_modification_time(self, app: App, cloud: Cloud) -> None:
        event = await app.create()
        cloud.clock.advance(timedelta(minutes=1))
        changed = (await app.call("PATCH", at(event["id"]), {"subject": "Later"})).json()
        assert changed["@odata.etag"] != event["@odata.etag"]
        assert changed["lastModifiedDateTime"] > event["lastModifiedDateTime"]
        assert changed["createdDateTime"] == event["createdDateTime"]
        assert (await app.get(at(event["id"]))).headers["ETag"] == changed["@odata.etag"]

    @pytest.mark.parametrize("method", ["PATCH", "DELETE"])
    async def test_stale_versions_are_refused(self, app: App, method: str) -> None:
        event = await app.create()
        await app.call("PATCH", at(event["id"]), {"subject": "Later"})
        body = {"subject": "Mine"} if method == "PATCH" else None
        answer = await app.call(method, at(event["id"]), body, headers={"If-Match": event["@odata.etag"]})
        assert code(answer) == (412, "ErrorIrresolvableConflict")
        assert (await app.get(at(event["id"]))).json()["subject"] == "Later"

    @pytest.mark.parametrize("form", ["{}", "*", '"other", {}'])
    async def test_present_versions_pass(self, app: App, form: str) -> None:
        event = await app.create()
        headers = {"If-Match": form.format(event["@odata.etag"])}
        assert (await app.call("DELETE", at(event["id"]), headers=headers)).status == 204

    async def test_conditions_on_other_operations_are_refused(self, app: App) -> None:
        event = await app.create()
        assert (await app.get(at(event["id"]), headers={"If-None-Match": "*"})).status == 501

    async def test_service_may_touch_the_item_after_a_write(self, app: App, cloud: Cloud) -> None:
        cloud.faults.add({"service": "graph", "method": "POST", "do": "touch"})
        event = await app.create()
        assert (await app.get(at(event["id"]))).json()["@odata.etag"] != event["@odata.etag"]
        assert cloud.recorder.calls[0].fault == "touch"

    async def test_what_a_patch_does_not_name_stays(self, app: App) -> None:
        event = await app.create(showAs="tentative", categories=["Red"])
        changed = (await app.call("PATCH", at(event["id"]), {"sensitivity": "Private"})).json()
        assert (changed["showAs"], changed["categories"], changed["sensitivity"]) == ("tentative", ["Red"], "private")


class TestIds:
    async def test_both_forms_name_the_event_and_the_caller_chooses_which_it_sees(self, app: App) -> None:
        event = await app.create()
        fixed = (await app.get(at(event["id"]), headers=IMMUTABLE)).json()["id"]
        assert fixed != event["id"]
        assert (await app.get(at(fixed))).json()["id"] == event["id"]
        assert (await app.get(at(fixed), headers=IMMUTABLE)).json()["id"] == fixed

    async def test_ids_are_exact(self, app: App) -> None:
        event = await app.create()
        assert code(await app.get(at(event["id"].swapcase()))) in (
            (400, "ErrorInvalidIdMalformed"),
            (404, "ErrorItemNotFound"),
        )
        assert code(await app.get(at("nonsense"))) == (400, "ErrorInvalidIdMalformed")
        assert code(await app.get(at("AAMkA" + "x" * 51))) == (404, "ErrorItemNotFound")

    async def test_ids_of_another_mailbox_name_nothing(self, app: App) -> None:
        event = await app.create(ALICE)
        assert code(await app.get(at(event["id"], BOB))) == (404, "ErrorItemNotFound")

    async def test_mailboxes_are_named_by_object_id_too(self, app: App) -> None:
        event = await app.create()
        assert (await app.get(at(event["id"], known_id("user", ALICE)))).status == 200


class TestTransactions:
    async def test_used_one_is_refused_and_the_event_named(self, app: App) -> None:
        event = await app.create(transactionId="t", headers=IMMUTABLE)
        answer = await app.call("POST", f"/users/{ALICE}/events", an_event(transactionId="t"), headers=IMMUTABLE)
        assert code(answer) == (400, DUPLICATE)
        assert answer.json()["error"]["@event.existingEventId"] == event["id"]
        assert len(await app.list(f"/users/{ALICE}/events")) == 1

    async def test_each_mailbox_remembers_for_itself(self, app: App) -> None:
        await app.create(ALICE, transactionId="t")
        await app.create(BOB, transactionId="t")

    async def test_deletion_is_not_forgetting(self, app: App) -> None:
        event = await app.create(transactionId="t")
        await app.call("DELETE", at(event["id"]))
        answer = await app.call("POST", f"/users/{ALICE}/events", an_event(transactionId="t"))
        assert code(answer) == (400, DUPLICATE)

    async def test_memory_can_be_limited(self, app: App, cloud: Cloud) -> None:
        cloud.settings.change({"graph.transaction_memory": 60})
        await app.create(transactionId="t")
        cloud.clock.advance(timedelta(seconds=59))
        assert code(await app.call("POST", f"/users/{ALICE}/events", an_event(transactionId="t"))) == (400, DUPLICATE)
        cloud.clock.advance(timedelta(seconds=1))
        await app.create(transactionId="t")

    async def test_memory_can_be_none(self, app: App, cloud: Cloud) -> None:
        cloud.settings.change({"graph.transaction_memory": 0})
        first, second = await app.create(transactionId="t"), await app.create(transactionId="t")
        assert first["id"] != second["id"]

    async def test_refusal_can_be_a_conflict_without_a_name(self, app: App, cloud: Cloud) -> None:
        cloud.settings.change({"graph.duplicate_status": 409, "graph.duplicate_names_event": False})
        await app.create(transactionId="t")
        answer = await app.call("POST", f"/users/{ALICE}/events", an_event(transactionId="t"))
        assert code(answer) == (409, DUPLICATE)
        assert "@event.existingEventId" not in answer.json()["error"]

    async def test_it_cannot_be_changed(self, app: App) -> None:
        event = await app.create(transactionId="t")
        assert (await app.call("PATCH", at(event["id"]), {"transactionId": "t"})).status == 200
        assert (await app.call("PATCH", at(event["id"]), {"transactionId": "u"})).status == 501

    async def test_create_that_seems_to_fail_has_created(self, app: App, cloud: Cloud) -> None:
        cloud.faults.add(
            {"service": "graph", "method": "POST", "do": "fail_after_commit", "code": "ConcurrentItemSave"}
        )
        failed = await app.call("POST", f"/users/{ALICE}/events", an_event(transactionId="t"))
        assert code(failed) == (503, "ConcurrentItemSave")
        again = await app.call("POST", f"/users/{ALICE}/events", an_event(transactionId="t"))
        existing = again.json()["error"]["@event.existingEventId"]
        assert (await app.get(at(existing))).json()["subject"] == "Boiler check"


class TestDeletion:
    @pytest.mark.parametrize("how", ["delete", "cancel"])
    async def test_event_is_gone(self, app: App, how: str) -> None:
        event = await app.create()
        if how == "delete":
            assert (await app.call("DELETE", at(event["id"]))).status == 204
        else:
            done = await app.call("POST", at(event["id"]) + "/cancel", {"comment": "Boiler is fine"})
            assert (done.status, done.body) == (202, b"")
        assert code(await app.get(at(event["id"]))) == (404, "ErrorItemNotFound")
        assert code(await app.call("DELETE", at(event["id"]))) == (404, "ErrorItemNotFound")
        assert await app.list(f"/users/{ALICE}/events") == []

    async def test_deleted_items_can_be_made_readable_by_immutable_id(self, app: App, cloud: Cloud) -> None:
        cloud.settings.change({"graph.deleted_events_readable": True})
        event = await app.create()
        fixed = (await app.get(at(event["id"]), headers=IMMUTABLE)).json()["id"]
        await app.call("POST", at(fixed) + "/cancel")
        assert (await app.get(at(fixed))).json()["isCancelled"] is True
        assert code(await app.get(at(event["id"]))) == (404, "ErrorItemNotFound")
        assert code(await app.call("PATCH", at(fixed), {"subject": "Back"})) == (404, "ErrorItemNotFound")

    async def test_cancel_takes_a_comment_only(self, app: App) -> None:
        event = await app.create()
        assert (await app.call("POST", at(event["id"]) + "/cancel", {"reason": "?"})).status == 400


class TestExtendedProperties:
    async def test_they_show_only_when_asked_for(self, app: App) -> None:
        event = await app.create(singleValueExtendedProperties=[{"id": BOOKING, "value": "B-1"}])
        assert "singleValueExtendedProperties" not in event
        assert "singleValueExtendedProperties" not in (await app.get(at(event["id"]))).json()
        expand = f"singleValueExtendedProperties($filter=id eq '{BOOKING.replace('66F5', '66f5')}')"
        read = await app.get(at(event["id"]), expand=expand)
        assert read.json()["singleValueExtendedProperties"] == [{"id": BOOKING, "value": "B-1"}]

    async def test_names_are_case_sensitive(self, app: App) -> None:
        event = await app.create(singleValueExtendedProperties=[{"id": BOOKING, "value": "B-1"}])
        expand = f"singleValueExtendedProperties($filter=id eq '{BOOKING.replace('BookingId', 'bookingid')}')"
        assert "singleValueExtendedProperties" not in (await app.get(at(event["id"]), expand=expand)).json()

    async def test_patch_changes_one_and_keeps_the_others(self, app: App) -> None:
        other = BOOKING.replace("BookingId", "Other")
        event = await app.create(
            singleValueExtendedProperties=[{"id": BOOKING, "value": "1"}, {"id": other, "value": "2"}]
        )
        await app.call("PATCH", at(event["id"]), {"singleValueExtendedProperties": [{"id": other, "value": "3"}]})
        expand = f"singleValueExtendedProperties($filter=id eq '{BOOKING}' or id eq '{other}')"
        found = (await app.get(at(event["id"]), expand=expand)).json()["singleValueExtendedProperties"]
        assert {item["value"] for item in found} == {"1", "3"}

    async def test_flags_and_numbers_are_kept_as_text(self, app: App) -> None:
        flag = "Boolean {00020329-0000-0000-c000-000000000046} Name DoNotForward"
        number = "Integer {66f5a359-4659-4830-9070-00040ec6ac6e} Id 0x8502"
        written = [{"id": flag, "value": False}, {"id": number, "value": "7"}]
        event = await app.create(singleValueExtendedProperties=written)
        asked = flag.replace("-c000-", "-C000-").replace("Boolean", "boolean")
        expand = f"singleValueExtendedProperties($filter=id eq '{asked}' or id eq '{number}')"
        found = (await app.get(at(event["id"]), expand=expand)).json()["singleValueExtendedProperties"]
        assert found == [{"id": flag, "value": "false"}, {"id": number, "value": "7"}]
        bad = an_event(singleValueExtendedProperties=[{"id": flag, "value": "perhaps"}])
        assert code(await app.call("POST", f"/users/{ALICE}/events", bad)) == (400, "RequestBodyRead")


class TestAccess:
    async def test_token_trouble_is_401(self, app: App, cloud: Cloud) -> None:
        cloud.clock.advance(timedelta(hours=2))
        answer = await app.get(f"/users/{ALICE}/events")
        assert code(answer) == (401, "InvalidAuthenticationToken")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer ")

    async def test_basic_readers_see_no_bodies(self, app: App, app_with: Callable[..., App]) -> None:
        event = await app.create(body={"contentType": "text", "content": "private matters"})
        seen = (await app_with("Calendars.ReadBasic").get(at(event["id"]))).json()
        assert seen["subject"] == "Boiler check"
        assert not {"body", "bodyPreview"} & set(seen)

    async def test_nobody_and_accounts_without_mailbox(self, app: App) -> None:
        assert code(await app.get("/users/nobody@contoso.test/events")) == (404, "ErrorInvalidUser")
        assert code(await app.get(f"/users/{UNLICENSED}/events")) == (404, "MailboxNotEnabledForRESTAPI")
        assert code(await app.get("/users/nobody@contoso.test")) == (404, "Request_ResourceNotFound")

    async def test_log_learns_mailbox_and_application(self, app: App, cloud: Cloud) -> None:
        await app.get(f"/users/{ALICE}/events")
        assert cloud.recorder.calls[-1].mailbox == known_id("user", ALICE)
        assert cloud.recorder.calls[-1].app == app.application.client_id


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/me/events"),
        ("GET", f"/users/{ALICE}/contacts"),
        ("PUT", f"/users/{ALICE}/events"),
    ],
)
async def test_unknown_operations_are_refused_loudly(app: App, method: str, path: str) -> None:
    answer = await app.call(method, path)
    assert code(answer) == (501, "NotImplemented")
    assert path in answer.json()["error"]["message"]


async def test_other_versions_are_refused_loudly(app: App, cloud: Cloud) -> None:
    request = Request.of("GET", f"https://localhost/beta/users/{ALICE}/events", headers=app.headers)
    assert code(await cloud.serve("graph", request)) == (501, "NotImplemented")


@pytest.mark.parametrize(
    "prefer", ["return=minimal", 'IdType="Other"', "odata.maxpagesize=5", "outlook.allow-unsafe-html"]
)
async def test_unknown_preferences_are_refused_loudly(app: App, prefer: str) -> None:
    assert code(await app.get(f"/users/{ALICE}/events", headers={"Prefer": prefer})) == (501, "NotImplemented")


async def test_mailboxes_keep_their_history_and_listeners_hear_it(app: App, graph: Graph) -> None:
    heard: list[tuple[str, int, ChangeKind]] = []

    def listen(mailbox: Mailbox, change: Change) -> None:
        heard.append((mailbox.account.address, change.number, change.kind))

    graph.state.listeners.append(listen)
    event = await app.create(BOB)
    await app.call("PATCH", at(event["id"], BOB), {"subject": "Later"})
    await app.call("DELETE", at(event["id"], BOB))
    assert heard == [(BOB, 1, ChangeKind.CREATED), (BOB, 2, ChangeKind.UPDATED), (BOB, 3, ChangeKind.DELETED)]


async def test_same_seed_same_ids(app: App, cloud: Cloud, graph: Graph) -> None:
    def ids_after(seed: int) -> Callable[[], None]:
        def start() -> None:
            graph.reset()
            cloud.random.seed(seed)

        return start

    seen = []
    for seed in (7, 7, 8):
        ids_after(seed)()
        event = await app.create()
        seen.append((event["id"], event["changeKey"]))
    assert seen[0] == seen[1]
    assert seen[0][0] != seen[2][0]

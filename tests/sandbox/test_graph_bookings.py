"""Microsoft Bookings: what a business shows, how appointments are made, and what the staff see of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from sandbox.cloud import Cloud
from sandbox.directory import known_id
from sandbox.graph.businesses import Business, Policy, Staff
from sandbox.graph.routes import Graph
from sandbox.http import Json, Response
from sandbox.simulators import Simulators
from tests.sandbox.apps import ALICE, BOB, App, code, times
from tests.sandbox.specimens import BOILER, MEMBER, SHOP, WHEN, a_business

ROOT = "/solutions/bookingBusinesses"
APPOINTMENTS = f"{ROOT}/{SHOP}/appointments"
OTHER = known_id("staff", "bob")


@pytest.fixture
def business(graph: Graph) -> Business:
    """Open from eight to six in Berlin; Alice and Bob do boilers, and nothing is booked."""
    made = a_business()
    made.appointments.clear()
    made.staff[OTHER] = Staff(id=OTHER, name="Bob Brown", address=BOB)
    graph.businesses[SHOP] = made
    return made


@pytest.fixture
async def app(app_with: Callable[..., App], business: Business) -> App:
    assert business.name
    return app_with("Bookings.ReadWrite.All", "Calendars.ReadWrite")


def booked(start: str, end: str, **changes: Json) -> dict[str, Json]:
    """The body of a create, on Monday the second of March unless told."""
    bounds = {}
    for name, at in (("startDateTime", start), ("endDateTime", end)):
        day = "" if "T" in at else "2026-03-02T"
        bounds[name] = {"dateTime": f"{day}{at}:00.0000000+00:00", "timeZone": "UTC"}
    return {"serviceId": BOILER, "staffMemberIds": [MEMBER], **bounds, **changes}


async def book(app: App, start: str = "09:00", end: str = "10:00", **changes: Json) -> Json:
    answer = await app.call("POST", APPOINTMENTS, booked(start, end, **changes))
    assert answer.status == 201, answer.body
    return answer.json()


async def calendar(app: App, user: str) -> list[tuple[str, str]]:
    events = await app.list(f"/users/{user}/events")
    return [(event["subject"], event["start"]["dateTime"][:16]) for event in events]


class TestTheBusiness:
    async def test_it_is_listed_by_name_and_shown_by_its_address(self, app: App, graph: Graph) -> None:
        graph.businesses["other@contoso.test"] = Business(address="other@contoso.test", name="Lifts")
        assert await app.list(f"{ROOT}?query=field") == [{"id": SHOP, "displayName": "Contoso Field Service"}]
        assert len(await app.list(ROOT)) == 2
        shown = (await app.get(f"{ROOT}/{SHOP.replace('@', '%40').upper()}")).json()
        assert (shown["id"], shown["schedulingPolicy"]["timeSlotInterval"]) == (SHOP, "PT30M")
        assert [len(day["timeSlots"]) for day in shown["businessHours"]] == [1, 1, 1, 1, 1, 0, 0]
        assert code(await app.get(f"{ROOT}/nobody@contoso.test")) == (404, "ResourceNotFound")

    @pytest.mark.parametrize("name", ["services", "staffMembers", "customers"])
    async def test_what_it_has_is_listed_and_found(self, app: App, name: str) -> None:
        path = f"{ROOT}/{SHOP}/{name}"
        for item in await app.list(path):
            one = (await app.get(f"{path}/{item['id']}")).json()
            assert {key: one[key] for key in item} == item
        assert code(await app.get(f"{path}/{known_id('nothing')}")) == (404, "ErrorItemNotFound")
        assert code(await app.get(path, top="1")) == (501, "NotImplemented")

    async def test_customers_are_created(self, app: App) -> None:
        path = f"{ROOT}/{SHOP}/customers"
        body = {
            "displayName": "Fabrikam",
            "emailAddress": "office@fabrikam.test",
            "phones": [{"number": "206-555-0100", "type": "business"}],
            "addresses": [{"city": "Munich"}],
        }
        made = await app.call("POST", path, body)
        assert made.status == 201
        read = (await app.get(f"{path}/{made.json()['id']}")).json()
        assert {name: read[name] for name in body} == body

    async def test_contoso_has_one(self, tmp_path: Path) -> None:
        simulators = Simulators(tmp_path)
        for _ in range(2):
            simulators.seed("contoso")
            (business,) = simulators.graph.businesses.values()
            assert [simulators.directory.find(one.address) is not None for one in business.staff.values()] == [True] * 3
            simulators.reset()
            assert simulators.graph.businesses == {}


class TestAppointments:
    async def test_one_is_made_and_shown(self, app: App) -> None:
        reminder = {"offset": "P1D", "recipients": "staff", "message": "Tomorrow"}
        made = await book(app, serviceNotes="Ring twice", reminders=[reminder], customers=[{"name": "Proseware"}])
        assert (made["startDateTime"], made["duration"]) == (
            {"dateTime": "2026-03-02T09:00:00.0000000Z", "timeZone": "UTC"},
            "PT1H",
        )
        assert (made["serviceName"], made["filledAttendeesCount"]) == ("Boiler service", 1)
        assert made["customers"][0]["@odata.type"] == "#microsoft.graph.bookingCustomerInformation"
        listed = await app.list(APPOINTMENTS)
        assert [one["id"] for one in listed] == [made["id"]]
        assert {"reminders", "serviceNotes"} == set(made) - set(listed[0]) - {"@odata.context"}
        read = (await app.get(f"{APPOINTMENTS}/{made['id']}")).json()
        assert (read["serviceNotes"], read["reminders"]) == ("Ring twice", [reminder])

    async def test_the_window_is_called_start_and_end(self, app: App) -> None:
        made = await book(app)
        view = f"{ROOT}/{SHOP}/calendarView"
        for start, end, there in (("09:30", "09:45", 1), ("08:00", "09:00", 0), ("10:00", "12:00", 0)):
            found = await app.list(f"{view}?start=2026-03-02T{start}:00Z&end=2026-03-02T{end}:00Z")
            assert [one["id"] for one in found] == [made["id"]] * there
        assert code(await app.get(view)) == (400, "ErrorInvalidParameter")
        assert code(await app.get(view, startDateTime="2026-03-02", endDateTime="2026-03-03")) == (
            501,
            "NotImplemented",
        )

    async def test_an_update_answers_nothing_and_changes_what_it_names(self, app: App, cloud: Cloud) -> None:
        made = await book(app, customerName="Proseware")
        cloud.clock.advance(timedelta(minutes=5))
        changes = {**booked("11:00", "12:00"), "staffMemberIds": [OTHER]}
        answer = await app.call("PATCH", f"{APPOINTMENTS}/{made['id']}", changes)
        assert (answer.status, answer.body) == (204, b"")
        read = (await app.get(f"{APPOINTMENTS}/{made['id']}")).json()
        assert (read["customerName"], read["staffMemberIds"], read["createdDateTime"]) == (
            "Proseware",
            [OTHER],
            made["createdDateTime"],
        )
        assert read["lastUpdatedDateTime"] > made["lastUpdatedDateTime"]

    async def test_null_takes_a_property_away(self, app: App) -> None:
        path = f"{APPOINTMENTS}/{(await book(app, customerName='Proseware', anonymousJoinWebUrl=None))['id']}"
        assert (await app.call("PATCH", path, {"customerName": None})).status == 204
        assert (await app.get(path)).json()["customerName"] is None
        assert code(await app.call("PATCH", path, {"serviceId": None})) == (501, "NotImplemented")

    async def test_times_are_shown_in_utc_only(self, app: App) -> None:
        await book(app)
        berlin = {"Prefer": 'outlook.timezone="W. Europe Standard Time"'}
        view = f"{ROOT}/{SHOP}/calendarView?start=2026-03-02&end=2026-03-03"
        for path in (APPOINTMENTS, view):
            assert code(await app.get(path, headers=berlin)) == (501, "NotImplemented")

    @pytest.mark.parametrize("how", ["delete", "cancel"])
    async def test_what_is_called_off_is_gone_everywhere(self, app: App, how: str) -> None:
        path = f"{APPOINTMENTS}/{(await book(app))['id']}"
        for status in (204, 404):
            body = {"cancellationMessage": "Sorry"}
            answer = await (app.call("DELETE", path) if how == "delete" else app.call("POST", f"{path}/cancel", body))
            assert answer.status == status
        assert await app.list(APPOINTMENTS) == await calendar(app, ALICE) == []

    async def test_customers_of_a_service_for_several_must_exist(self, app: App) -> None:
        customers = [{"customerId": known_id("customer")}, {"customerId": known_id("nobody")}]
        several = await book(app, maximumAttendeesCount=5, customers=customers)
        assert [one["customerId"] for one in several["customers"]] == [known_id("customer")]
        alone = await book(app, "10:00", "11:00", customers=customers[1:])
        assert len(alone["customers"]) == 1


@pytest.mark.parametrize(
    ("changes", "status", "name", "words"),
    [
        pytest.param({"staffMemberIds": []}, 400, "BadRequest", "Invalid Staff", id="no staff"),
        pytest.param({"staffMemberIds": [known_id("x")]}, 400, "BadRequest", "Invalid Staff", id="unknown staff"),
        pytest.param({"serviceId": known_id("x")}, 400, "BadRequest", "Invalid Service", id="unknown service"),
        pytest.param(booked("17:00", "18:00"), 400, "BadRequest", "business hours", id="after hours"),
        pytest.param(
            booked("2026-03-07T09:00", "2026-03-07T10:00"), 400, "BadRequest", "business hours", id="on Saturday"
        ),
        pytest.param(booked("09:00", "09:30"), 400, "BadRequest", "as long as its service", id="too short"),
        pytest.param(booked("2026-02-27T09:00", "2026-02-27T10:00"), 400, "BadRequest", "too soon", id="in the past"),
        pytest.param(booked("2028-03-06T09:00", "2028-03-06T10:00"), 400, "BadRequest", "too far", id="far ahead"),
        pytest.param(booked("10:00", "09:00"), 400, "ErrorPropertyValidationFailure", "", id="end before start"),
        pytest.param({"price": "free"}, 400, "RequestBodyRead", "", id="text for a number"),
        pytest.param({"colour": "red"}, 400, "RequestBodyRead", "", id="unknown property"),
        pytest.param({"reminders": [{"offset": "soon"}]}, 400, "RequestBodyRead", "", id="no duration"),
        pytest.param({"duration": "PT1H"}, 501, "NotImplemented", "", id="read-only property"),
        pytest.param({"filledAttendeesCount": 7}, 501, "NotImplemented", "", id="other number of customers"),
    ],
)
async def test_appointments_that_are_refused(app: App, changes: Json, status: int, name: str, words: str) -> None:
    answer = await app.call("POST", APPOINTMENTS, {**booked("09:00", "10:00"), **changes})
    assert code(answer) == (status, name)
    assert words in answer.json()["error"]["message"]
    assert await app.list(APPOINTMENTS) == []


class TestRules:
    async def make(self, app: App, start: str, end: str, **changes: Json) -> Response:
        return await app.call("POST", APPOINTMENTS, booked(start, end, **changes))

    async def test_nobody_is_booked_twice(self, app: App, business: Business) -> None:
        business.services[BOILER] = replace(business.services[BOILER], before=timedelta(minutes=15))
        made = await book(app, "10:00", "11:00")
        assert code(await self.make(app, "10:00", "11:00")) == (500, "UnknownError")
        assert code(await self.make(app, "11:00", "12:00")) == (500, "UnknownError")
        assert (await self.make(app, "11:15", "12:15")).status == 201
        assert (await self.make(app, "10:00", "11:00", staffMemberIds=[OTHER])).status == 201
        same = await app.call("PATCH", f"{APPOINTMENTS}/{made['id']}", {"customerName": "Proseware"})
        assert same.status == 204

    async def test_the_policy_of_the_service_counts_more(self, app: App, business: Business) -> None:
        business.policy = Policy(allow_staff_selection=False)
        assert "staff" in (await self.make(app, "09:00", "10:00")).json()["error"]["message"]
        business.services[BOILER] = replace(
            business.services[BOILER], policy=Policy(lead=timedelta(hours=24, minutes=45))
        )
        assert code(await self.make(app, "08:30", "09:30")) == (400, "BadRequest")
        assert (await self.make(app, "09:00", "10:00")).status == 201

    async def test_it_can_be_too_late_to_cancel(self, app: App, business: Business, cloud: Cloud) -> None:
        business.policy = Policy(lead=timedelta(hours=20))
        path = f"{APPOINTMENTS}/{(await book(app))['id']}"
        cloud.clock.advance(timedelta(minutes=50))
        cloud.clock.advance(timedelta(hours=5))
        fresh = App(cloud, app.tokens, app.application)
        assert code(await fresh.call("POST", f"{path}/cancel", {})) == (400, "BadRequest")
        cloud.settings.change({"graph.bookings_rules": False})
        assert (await fresh.call("POST", f"{path}/cancel", {})).status == 204

    async def test_cancelling_can_be_denied_to_applications(self, app: App, cloud: Cloud) -> None:
        cloud.settings.change({"graph.bookings_cancel": False})
        path = f"{APPOINTMENTS}/{(await book(app))['id']}"
        assert code(await app.call("POST", f"{path}/cancel", {})) == (403, "ErrorAccessDenied")
        assert (await app.call("DELETE", path)).status == 204


class TestCalendars:
    async def test_an_appointment_is_somebody_else_s_event_in_the_calendar_of_the_staff(self, app: App) -> None:
        made = await book(app)
        assert await calendar(app, ALICE) == [("Boiler service", "2026-03-02T09:00")]
        event = (await app.list(f"/users/{ALICE}/events"))[0]
        assert (event["isOrganizer"], event["organizer"]["emailAddress"]["address"]) == (False, SHOP)
        cancelled = await app.call("POST", f"/users/{ALICE}/events/{event['id']}/cancel", {})
        assert "organizer" in cancelled.json()["error"]["message"]
        path = f"{APPOINTMENTS}/{made['id']}"
        await app.call("PATCH", path, {**booked("11:00", "12:00"), "staffMemberIds": [MEMBER, OTHER]})
        assert await calendar(app, ALICE) == await calendar(app, BOB) == [("Boiler service", "2026-03-02T11:00")]
        await app.call("PATCH", path, {"staffMemberIds": [OTHER]})
        assert (await calendar(app, ALICE), len(await calendar(app, BOB))) == ([], 1)

    async def test_it_need_not_be(self, app: App, cloud: Cloud) -> None:
        cloud.settings.change({"graph.bookings_events": False})
        await book(app)
        assert await calendar(app, ALICE) == []

    async def test_an_event_that_its_owner_deleted_does_not_come_back(self, app: App) -> None:
        made = await book(app)
        event = (await app.list(f"/users/{ALICE}/events"))[0]
        await app.call("DELETE", f"/users/{ALICE}/events/{event['id']}")
        await app.call("PATCH", f"{APPOINTMENTS}/{made['id']}", {"customerName": "Proseware"})
        assert await calendar(app, ALICE) == []


class TestAvailability:
    async def ask(self, app: App, *staff: str, begin: Json = WHEN, hours: int = 30) -> Response:
        end = {"dateTime": f"2026-03-{2 + (9 + hours) // 24:02}T{(9 + hours) % 24:02}:00:00", "timeZone": "UTC"}
        body = {"staffIds": list(staff), "startDateTime": begin, "endDateTime": end}
        return await app.call("POST", f"{ROOT}/{SHOP}/getStaffAvailability", body)

    async def test_hours_appointments_and_own_events(self, app: App, business: Business) -> None:
        business.staff[OTHER] = replace(business.staff[OTHER], minds_calendar=False)
        await book(app, "10:00", "11:00", staffMemberIds=[MEMBER, OTHER], preBuffer="PT30M")
        for user in (ALICE, BOB):
            await app.create(user, **times("2026-03-02T13:00:00", "2026-03-02T14:00:00"))
            await app.create(user, showAs="free", **times("2026-03-02T15:00:00", "2026-03-02T16:00:00"))
        alice, bob = (await self.ask(app, MEMBER, OTHER)).json()["value"]
        shown = [
            (one["status"], one["startDateTime"]["dateTime"][8:13], bool(one["serviceId"]))
            for one in alice["availabilityItems"]
        ]
        assert shown == [
            ("available", "02T09", False),
            ("busy", "02T09", True),
            ("available", "02T11", False),
            ("busy", "02T13", False),
            ("available", "02T14", False),
            ("outOfOffice", "02T17", False),
            ("available", "03T07", False),
        ]
        assert [one["status"] for one in bob["availabilityItems"]] == [
            "available",
            "busy",
            "available",
            "outOfOffice",
            "available",
        ]

    async def test_whom_the_business_does_not_have(self, app: App) -> None:
        assert code(await self.ask(app, known_id("nobody"))) == (404, "ErrorItemNotFound")
        assert code(await self.ask(app, MEMBER, hours=0)) == (400, "ErrorInvalidParameter")

"""Microsoft's Graph SDK for Python, with azure-identity."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta

from azure.identity import ClientSecretCredential
from kiota_abstractions.api_error import APIError
from kiota_abstractions.base_request_configuration import RequestConfiguration
from kiota_authentication_azure.azure_identity_authentication_provider import AzureIdentityAuthenticationProvider
from msgraph import GraphRequestAdapter, GraphServiceClient
from msgraph.generated.models.body_type import BodyType
from msgraph.generated.models.booking_appointment import BookingAppointment
from msgraph.generated.models.booking_customer_information import BookingCustomerInformation
from msgraph.generated.models.booking_staff_member import BookingStaffMember
from msgraph.generated.models.date_time_time_zone import DateTimeTimeZone
from msgraph.generated.models.day_of_week import DayOfWeek
from msgraph.generated.models.event import Event
from msgraph.generated.models.event_type import EventType
from msgraph.generated.models.free_busy_status import FreeBusyStatus
from msgraph.generated.models.item_body import ItemBody
from msgraph.generated.models.location import Location
from msgraph.generated.models.o_data_errors.o_data_error import ODataError
from msgraph.generated.models.patterned_recurrence import PatternedRecurrence
from msgraph.generated.models.recurrence_pattern import RecurrencePattern
from msgraph.generated.models.recurrence_pattern_type import RecurrencePatternType
from msgraph.generated.models.recurrence_range import RecurrenceRange
from msgraph.generated.models.recurrence_range_type import RecurrenceRangeType
from msgraph.generated.models.single_value_legacy_extended_property import SingleValueLegacyExtendedProperty
from msgraph.generated.models.subscription import Subscription
from msgraph.generated.solutions.booking_businesses.item.appointments.item.cancel.cancel_post_request_body import (
    CancelPostRequestBody,
)
from msgraph.generated.solutions.booking_businesses.item.calendar_view.calendar_view_request_builder import (
    CalendarViewRequestBuilder as AppointmentsView,
)
from msgraph.generated.users.item.calendar.get_schedule.get_schedule_post_request_body import GetSchedulePostRequestBody
from msgraph.generated.users.item.calendar_view.calendar_view_request_builder import CalendarViewRequestBuilder
from msgraph.generated.users.item.calendar_view.delta.delta_request_builder import DeltaRequestBuilder
from msgraph.generated.users.item.events.events_request_builder import EventsRequestBuilder
from msgraph.generated.users.item.events.item.instances.instances_request_builder import InstancesRequestBuilder
from msgraph.generated.users.users_request_builder import UsersRequestBuilder
from msgraph_core.requests.batch_request_content import BatchRequestContent
from steps import sandbox, step, tell

MARKER = "String {66f5a359-4659-4830-9070-00040ec6ac6e} Name Conformance"
IMMUTABLE = 'IdType="ImmutableId"'


def connect() -> GraphServiceClient:
    credential = ClientSecretCredential(
        sandbox.tenant_id,
        sandbox.client_id,
        sandbox.client_secret,
        authority=sandbox.login,
        disable_instance_discovery=True,
    )
    scopes = ["https://graph.microsoft.com/.default"]
    adapter = GraphRequestAdapter(
        AzureIdentityAuthenticationProvider(credential, scopes=scopes, allowed_hosts=["localhost"])
    )
    adapter.base_url = f"{sandbox.graph}/v1.0"
    return GraphServiceClient(request_adapter=adapter)


def an_event(subject: str, start: str, end: str) -> Event:
    return Event(
        subject=subject,
        body=ItemBody(content_type=BodyType.Text, content="As agreed."),
        start=DateTimeTimeZone(date_time=start, time_zone="W. Europe Standard Time"),
        end=DateTimeTimeZone(date_time=end, time_zone="Europe/Berlin"),
        location=Location(display_name="Site 7"),
        show_as=FreeBusyStatus.Tentative,
        transaction_id=f"conformance-{subject}",
        single_value_extended_properties=[SingleValueLegacyExtendedProperty(id=MARKER, value="7")],
    )


def with_headers(**headers: str) -> RequestConfiguration:
    configuration: RequestConfiguration = RequestConfiguration()
    for name, value in headers.items():
        configuration.headers.add(name.replace("_", "-"), value)
    return configuration


async def main() -> None:
    client = connect()
    user = client.users.by_user_id(sandbox.user)

    with step("users: get, list with $select, follow @odata.nextLink"):
        alice = await user.get()
        assert alice.mail == sandbox.user
        query = UsersRequestBuilder.UsersRequestBuilderGetQueryParameters(select=["id", "displayName"], top=5)
        page = await client.users.get(RequestConfiguration(query_parameters=query))
        assert len(page.value) == 5
        following = await client.users.with_url(page.odata_next_link).get()
        assert {item.id for item in page.value}.isdisjoint(item.id for item in following.value)

    with step("calendar: get, list"):
        calendar = await user.calendar.get()
        assert calendar.is_default_calendar
        assert calendar.owner.address == sandbox.user
        assert [item.id for item in (await user.calendars.get()).value] == [calendar.id]

    with step("event: create with an extended property"):
        made = await user.events.post(
            an_event("Boiler", "2026-11-02T09:00:00", "2026-11-02T10:00:00"), with_headers(Prefer=IMMUTABLE)
        )
        assert made.show_as is FreeBusyStatus.Tentative
        assert made.start.time_zone == "UTC"
        assert made.start.date_time.startswith("2026-11-02T08:00:00")
        assert made.created_date_time.tzinfo is not None

    with step("event: a second create with its transactionId is refused"):
        try:
            await user.events.post(an_event("Boiler", "2026-11-02T09:00:00", "2026-11-02T10:00:00"))
        except ODataError as error:
            assert error.error.code == "ErrorDuplicateTransactionId"
        else:
            raise AssertionError("created twice")

    one = user.events.by_event_id(made.id)
    with step("event: get with $expand, in another time zone"):
        query = type(one).EventItemRequestBuilderGetQueryParameters(
            expand=[f"singleValueExtendedProperties($filter=id eq '{MARKER}')"]
        )
        configuration = with_headers(Prefer=f'{IMMUTABLE}, outlook.timezone="Europe/Berlin"')
        configuration.query_parameters = query
        seen = await one.get(configuration)
        assert seen.id == made.id
        assert seen.start.date_time.startswith("2026-11-02T09:00:00")
        assert seen.single_value_extended_properties[0].value == "7"

    with step("event: update with its etag, be refused with the old one"):
        etag = made.additional_data["@odata.etag"]
        moved = await one.patch(Event(subject="Boiler, moved"), with_headers(If_Match=etag))
        assert moved.subject == "Boiler, moved"
        try:
            await one.patch(Event(subject="Too late"), with_headers(If_Match=etag))
        except APIError as error:
            assert error.response_status_code == 412
        else:
            raise AssertionError("an old etag was taken")

    with step("events: list with $filter, $orderby, $top and pages"):
        for number in range(3):
            await user.events.post(an_event(f"N{number}", f"2026-11-0{3 + number}T09:00:00", "2026-11-09T10:00:00"))
        query = EventsRequestBuilder.EventsRequestBuilderGetQueryParameters(
            filter=f"singleValueExtendedProperties/any(ep: ep/id eq '{MARKER}' and ep/value eq '7')",
            orderby=["start/dateTime desc"],
            select=["subject"],
            top=2,
        )
        page = await user.events.get(RequestConfiguration(query_parameters=query))
        rest = await user.events.with_url(page.odata_next_link).get()
        assert [item.subject for item in (*page.value, *rest.value)] == ["N2", "N1", "N0", "Boiler, moved"]

    window = {"start_date_time": "2026-11-01T00:00:00Z", "end_date_time": "2026-11-30T00:00:00Z"}
    with step("calendarView"):
        view = CalendarViewRequestBuilder.CalendarViewRequestBuilderGetQueryParameters(**window)
        page = await user.calendar_view.get(RequestConfiguration(query_parameters=view))
        assert len(page.value) == 4

    with step("calendarView/delta: a full round by pages, then what has changed"):
        wanted = DeltaRequestBuilder.DeltaRequestBuilderGetQueryParameters(**window)
        configuration = with_headers(Prefer=f"{IMMUTABLE}, odata.maxpagesize=2")
        configuration.query_parameters = wanted
        page = await user.calendar_view.delta.get(configuration)
        seen_ids = [item.id for item in page.value]
        while page.odata_next_link:
            page = await user.calendar_view.delta.with_url(page.odata_next_link).get(with_headers(Prefer=IMMUTABLE))
            seen_ids += [item.id for item in page.value]
        assert len(set(seen_ids)) == 4
        await one.delete()
        page = await user.calendar_view.delta.with_url(page.odata_delta_link).get(with_headers(Prefer=IMMUTABLE))
        (gone,) = page.value
        assert gone.id == made.id
        assert gone.additional_data["@removed"] == {"reason": "deleted"}

    with step("event: what was deleted is not found"):
        try:
            await one.get()
        except ODataError as error:
            assert error.response_status_code == 404
            assert error.error.code == "ErrorItemNotFound"
        else:
            raise AssertionError("found")

    with step("$batch: two reads and a refusal"):
        batch = BatchRequestContent()
        for path in ("calendar", "events", "events/AAMkNoSuchEvent="):
            request = client.users.by_user_id(sandbox.user).to_get_request_information()
            request.url = f"{sandbox.graph}/v1.0/users/{sandbox.user}/{path}"
            batch.add_request_information(request)
        answer = await client.batch.post(batch)
        assert sorted(answer.get_response_status_codes().values()) == [200, 200, 400]

    with step("subscription: create with its validation, list, renew, delete"):
        ends = datetime.now(UTC) + timedelta(days=2)
        kept = await client.subscriptions.post(
            Subscription(
                change_type="created,updated,deleted",
                notification_url=sandbox.receiver,
                lifecycle_notification_url=sandbox.receiver,
                resource=f"users/{sandbox.user}/events",
                expiration_date_time=ends,
                client_state="conformance",
            )
        )
        assert [item.id for item in (await client.subscriptions.get()).value] == [kept.id]
        later = ends + timedelta(days=1)
        renewed = await client.subscriptions.by_subscription_id(kept.id).patch(Subscription(expiration_date_time=later))
        assert abs(renewed.expiration_date_time - later) < timedelta(seconds=1)
        await client.subscriptions.by_subscription_id(kept.id).delete()
        assert not (await client.subscriptions.get()).value

    with step("series: create, its instances, one of them moved, one cancelled"):
        weekly = an_event("Jour fixe", "2026-12-01T09:00:00", "2026-12-01T10:00:00")
        weekly.recurrence = PatternedRecurrence(
            pattern=RecurrencePattern(
                type=RecurrencePatternType.Weekly, interval=1, days_of_week=[DayOfWeek.Tuesday, DayOfWeek.Thursday]
            ),
            range=RecurrenceRange(
                type=RecurrenceRangeType.EndDate, start_date=date(2026, 12, 1), end_date=date(2026, 12, 10)
            ),
        )
        master = await user.events.post(weekly)
        assert master.type is EventType.SeriesMaster
        assert master.recurrence.range.end_date == date(2026, 12, 10)
        december = {"start_date_time": "2026-12-01T00:00:00Z", "end_date_time": "2026-12-31T00:00:00Z"}
        asked = InstancesRequestBuilder.InstancesRequestBuilderGetQueryParameters(**december)
        series = user.events.by_event_id(master.id)
        found = (await series.instances.get(RequestConfiguration(query_parameters=asked))).value
        assert [item.start.date_time[:10] for item in found] == [f"2026-12-{day:02}" for day in (1, 3, 8, 10)]
        assert {item.type for item in found} == {EventType.Occurrence}
        moved = await user.events.by_event_id(found[1].id).patch(
            Event(
                start=DateTimeTimeZone(date_time="2026-12-04T09:00:00", time_zone="UTC"),
                end=DateTimeTimeZone(date_time="2026-12-04T10:00:00", time_zone="UTC"),
            )
        )
        assert moved.type is EventType.Exception
        assert moved.series_master_id == master.id
        await user.events.by_event_id(found[2].id).delete()
        view = CalendarViewRequestBuilder.CalendarViewRequestBuilderGetQueryParameters(**december)
        page = await user.calendar_view.get(RequestConfiguration(query_parameters=view))
        assert sorted(item.start.date_time[:10] for item in page.value) == ["2026-12-01", "2026-12-04", "2026-12-10"]

    with step("getSchedule: of two people and of nobody"):
        asked_for = GetSchedulePostRequestBody(
            schedules=[sandbox.user, "bob@contoso.test", "nobody@contoso.test"],
            start_time=DateTimeTimeZone(date_time="2026-12-01T08:00:00", time_zone="UTC"),
            end_time=DateTimeTimeZone(date_time="2026-12-01T10:00:00", time_zone="UTC"),
            availability_view_interval=60,
        )
        mine, other, nobody = (await user.calendar.get_schedule.post(asked_for)).value
        assert mine.availability_view == "10", mine.availability_view
        assert mine.schedule_items[0].status is FreeBusyStatus.Tentative
        assert other.availability_view == "00"
        assert nobody.error.message

    with step("places: rooms; mailboxSettings"):
        rooms = await client.places.graph_room.get()
        assert {room.email_address for room in rooms.value} == {"room-1@contoso.test", "room-2@contoso.test"}
        settings = await user.mailbox_settings.get()
        assert settings.time_zone == "W. Europe Standard Time"

    with step("users/delta: a full round, then nothing"):
        page = await client.users.delta.get()
        people = [item.id for item in page.value]
        while page.odata_next_link:
            page = await client.users.delta.with_url(page.odata_next_link).get()
            people += [item.id for item in page.value]
        assert alice.id in people
        page = await client.users.delta.with_url(page.odata_delta_link).get()
        assert not page.value

    with step("Bookings: businesses, services, staff; appointment: create, in the calendar view, move, cancel"):
        (shop,) = (await client.solutions.booking_businesses.get()).value
        business = client.solutions.booking_businesses.by_booking_business_id(shop.id)
        assert (await business.get()).business_hours
        service = (await business.services.get()).value[0]
        members = (await business.staff_members.get()).value
        assert isinstance(members[0], BookingStaffMember)
        monday = datetime.now(UTC).replace(hour=10, minute=0, second=0, microsecond=0) + timedelta(days=7)
        monday -= timedelta(days=monday.weekday())
        window = {"start": f"{monday:%Y-%m-%d}T00:00:00Z", "end": f"{monday:%Y-%m-%d}T23:00:00Z"}

        def at(moment: datetime) -> DateTimeTimeZone:
            return DateTimeTimeZone(date_time=f"{moment:%Y-%m-%dT%H:%M:%S}.0000000+00:00", time_zone="UTC")

        view = AppointmentsView.CalendarViewRequestBuilderGetQueryParameters(**window)

        async def listed() -> set[str]:
            page = await business.calendar_view.get(RequestConfiguration(query_parameters=view))
            return {item.id for item in page.value}

        before = await listed()
        booked = await business.appointments.post(
            BookingAppointment(
                service_id=service.id,
                staff_member_ids=[members[0].id],
                start_date_time=at(monday),
                end_date_time=at(monday + service.default_duration),
                customers=[BookingCustomerInformation(name="Jordan Miller", email_address="jordan@example.com")],
            )
        )
        assert booked.duration == service.default_duration
        assert booked.customers[0].name == "Jordan Miller"
        assert await listed() - before == {booked.id}
        one_of = business.appointments.by_booking_appointment_id(booked.id)
        await one_of.cancel.post(CancelPostRequestBody(cancellation_message="Sorry."))
        assert await listed() == before

    with step("events: delete"):
        for item in (await user.events.get()).value:
            await user.events.by_event_id(item.id).delete()
        assert not (await user.events.get()).value


asyncio.run(main())
tell("msgraph-sdk", "azure-identity")

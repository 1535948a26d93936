"""O365, the most used community client of Graph. Its token comes from MSAL through the cache that the two share."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from msal import ConfidentialClientApplication
from O365 import Account, MSGraphProtocol
from O365.calendar import EventShowAs
from O365.subscriptions import Subscriptions
from O365.utils.token import MemoryTokenBackend
from requests import HTTPError
from steps import sandbox, step, tell

BERLIN = ZoneInfo("Europe/Berlin")
DAY = datetime(2026, 11, 2, tzinfo=BERLIN)


class SandboxProtocol(MSGraphProtocol):
    """Graph at another address: what the library calls making one's own protocol."""

    _protocol_url = f"{sandbox.graph}/"


def connect() -> Account:
    cache = MemoryTokenBackend()
    login = ConfidentialClientApplication(
        sandbox.client_id,
        client_credential=sandbox.client_secret,
        authority=f"{sandbox.login}/{sandbox.tenant_id}",
        instance_discovery=False,
        token_cache=cache,
    )
    assert "access_token" in login.acquire_token_for_client(["https://graph.microsoft.com/.default"])
    return Account(
        (sandbox.client_id, sandbox.client_secret),
        auth_flow_type="credentials",
        tenant_id=sandbox.tenant_id,
        protocol=SandboxProtocol(timezone=BERLIN),
        token_backend=cache,
        main_resource=sandbox.user,
        requests_delay=1,
    )


def main(account: Account) -> None:
    with step("users: get, list"):
        directory = account.directory()
        assert directory.get_user(sandbox.user).mail == sandbox.user
        assert len(list(directory.get_users(limit=12, batch=5))) == 12

    with step("calendars: the default one, list"):
        schedule = account.schedule()
        calendar = schedule.get_default_calendar()
        assert [item.calendar_id for item in schedule.list_calendars()] == [calendar.calendar_id]
        assert schedule.get_calendar(calendar_id=calendar.calendar_id).name == calendar.name

    with step("event: create, read in its zone, update"):
        event = calendar.new_event("Boiler")
        event.start, event.end = DAY.replace(hour=9), DAY.replace(hour=10)
        event.location = "Site 7"
        event.body = "As agreed."
        event.show_as = EventShowAs.Tentative
        event.remind_before_minutes = 30
        event.categories.append("Blue category")
        assert event.save()
        seen = calendar.get_event(event.object_id)
        assert seen.subject == "Boiler"
        assert seen.start == DAY.replace(hour=9)
        assert seen.location["displayName"] == "Site 7"
        assert "As agreed." in seen.get_body_text()
        assert seen.show_as is EventShowAs.Tentative
        seen.subject = "Boiler, moved"
        seen.start, seen.end = DAY.replace(hour=14), DAY.replace(hour=15)
        assert seen.save()
        assert calendar.get_event(event.object_id).start.hour == 14

    with step("event: a whole day"):
        holiday = calendar.new_event("Holiday")
        holiday.is_all_day = True
        holiday.start, holiday.end = DAY + timedelta(days=7), DAY + timedelta(days=8)
        assert holiday.save()
        assert calendar.get_event(holiday.object_id).is_all_day

    with step("events: list with a filter, in order, by pages"):
        for number in range(4):
            more = calendar.new_event(f"N{number}")
            more.start = DAY + timedelta(days=number, hours=9)
            more.end = DAY + timedelta(days=number, hours=10)
            assert more.save()
        ask = calendar.new_query()
        query = ask.startswith("subject", "N") & ask.orderby(("start/dateTime", False))
        found = list(schedule.get_events(query=query, batch=2, include_recurring=False, limit=10))
        assert [item.subject for item in found] == ["N3", "N2", "N1", "N0"], [item.subject for item in found]

    with step("calendarView"):
        found = list(
            calendar.get_events(start_recurring=DAY, end_recurring=DAY + timedelta(days=3), include_recurring=True)
        )
        assert sorted(item.subject for item in found) == ["Boiler, moved", "N0", "N1", "N2"]

    with step("series: create, its occurrences"):
        weekly = calendar.new_event("Jour fixe")
        weekly.start, weekly.end = DAY + timedelta(days=30, hours=9), DAY + timedelta(days=30, hours=10)
        weekly.recurrence.set_weekly(
            1, days_of_week=["wednesday"], first_day_of_week="monday", start=weekly.start.date(), occurrences=3
        )
        assert weekly.save()
        master = calendar.get_event(weekly.object_id)
        found = list(master.get_occurrences(DAY + timedelta(days=29), DAY + timedelta(days=60)))
        assert [item.start.day for item in found] == [2, 9, 16], [item.start for item in found]
        assert master.recurrence.occurrences == 3
        assert weekly.delete()

    with step("getSchedule"):
        (mine,) = schedule.get_availability([sandbox.user], DAY.replace(hour=9), DAY.replace(hour=15), 60)
        assert mine["availabilityView"] == ["busy", *["free"] * 4, "tentative"], mine["availabilityView"]

    with step("subscription: create with its validation, get, renew, delete"):
        subscriptions = Subscriptions(parent=account)
        made = subscriptions.create_subscription(
            sandbox.receiver, f"users/{sandbox.user}/events", ["created", "updated"], expiration_minutes=60
        )
        assert subscriptions.get_subscription(made["id"])["changeType"] == "created,updated"
        renewed = subscriptions.renew_subscription(made["id"], expiration_minutes=120)
        assert renewed["expirationDateTime"] > made["expirationDateTime"]
        assert subscriptions.delete_subscription(made["id"])

    with step("event: delete, and not find it again"):
        assert calendar.get_event(event.object_id).delete()
        try:
            calendar.get_event(event.object_id)
        except HTTPError as error:
            assert error.response.status_code == 404
        else:
            raise AssertionError("found")


main(connect())
tell("O365", "msal")

"""What people do to events in Outlook, found by asking the calendars: the other side follows (R1, R3, R5, R6, R9)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from sandbox.graph.events import Event
from tests.simulation.planner import TOMORROW, Planner
from tests.simulation.world import FUNCTIONS, World
from tests.sync.test_one_way import only, told

LATER = TOMORROW + timedelta(days=2, hours=3)
LONG_AFTER = timedelta(minutes=5)
"""After this nobody believes any more that a write of ours is on its way (R3)."""


async def ask_calendars(now: World) -> None:
    """What the timer does; then everything comes to rest."""
    now.wake(*sorted(await now.app.recovery.round()))
    await now.settle()


class Technician:
    """A person with Outlook."""

    def __init__(self, world: World, person: str = "alice") -> None:
        """Open the calendar."""
        self._world = world
        self._path = f"/users/{person}@contoso.test/events"

    async def change(self, event: Event, **changes: Any) -> None:
        """Write properties of Graph."""
        status, body, _ = await self._world.call_graph("PATCH", f"{self._path}/{event.item_id}", changes)
        assert status == 200, body

    async def move(self, event: Event, start: datetime, minutes: int = 60) -> None:
        """Drag the event to another time."""
        times = {"start": start, "end": start + timedelta(minutes=minutes)}
        await self.change(
            event, **{name: {"dateTime": f"{at:%Y-%m-%dT%H:%M:%S}", "timeZone": "UTC"} for name, at in times.items()}
        )

    async def delete(self, event: Event) -> None:
        """Delete it."""
        status, body, _ = await self._world.call_graph("DELETE", f"{self._path}/{event.item_id}")
        assert status == 204, body


async def row_of(now: World, booking: str) -> Mapping[str, Any]:
    status, row, _ = await now.call_dataverse(
        "GET", f"bookableresourcebookings({booking})?$select=starttime,endtime,duration&$expand=BookingStatus"
    )
    assert status == 200, row
    return dict(row)


def times_of(row: Mapping[str, Any]) -> tuple[datetime, datetime]:
    return datetime.fromisoformat(row["starttime"]), datetime.fromisoformat(row["endtime"])


async def synced(now: World, planner: Planner, person: str = "alice") -> tuple[str, Event]:
    """A booking and its event, everything at rest and every calendar read once."""
    booking = await planner.book(person, name="Boiler service", start=TOMORROW)
    await now.settle()
    await ask_calendars(now)
    await now.clock.sleep(LONG_AFTER.total_seconds())
    now.cloud.recorder.clear()
    return booking, only(now.events(person))


def test_r13_a_moved_event_moves_the_booking_with_one_read_and_one_write() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking, event = await synced(now, planner)
        await Technician(now).move(event, LATER, minutes=90)
        await ask_calendars(now)
        row = await row_of(now, booking)
        assert times_of(row) == (LATER, LATER + timedelta(minutes=90))
        assert row["duration"] == 90
        assert now.journal()[-2:] == [("moved", "applied"), ("already_seen", "superseded")]
        mailbox = next(call for call in now.cloud.recorder.calls if call.method == "PATCH" and call.service == "graph")
        reads = [call for call in now.cloud.recorder.calls if call.service == "graph" and call.method == "GET"]
        assert mailbox is not None
        assert sum("/events/" in call.path for call in reads if call.app == now.contoso.booking_sync.client_id) == 1
        assert now.traffic("dataverse", "PATCH") == 1

    told(story)


def test_r5_an_echo_costs_nothing_whichever_side_started() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking, event = await synced(now, planner)
        await Technician(now).move(event, LATER)
        await ask_calendars(now)
        await planner.move(booking, TOMORROW)
        await now.settle()
        now.cloud.recorder.clear()
        for _ in range(3):
            await ask_calendars(now)
        app = [call for call in now.cloud.recorder.calls if call.app == now.contoso.booking_sync.client_id]
        assert not [call for call in app if call.service == "graph" and "delta" not in call.path and not call.envelope]
        assert not [call for call in app if call.method not in ("GET", "POST")]

    told(story)


def test_a_deleted_event_cancels_its_booking_but_only_with_proof() -> None:
    """R3."""

    async def story(now: World, planner: Planner) -> None:
        booking, event = await synced(now, planner)
        await Technician(now).delete(event)
        await ask_calendars(now)
        row = await row_of(now, booking)
        assert row["BookingStatus"]["name"] == "Field Service Canceled"
        assert now.events("alice") == []
        assert ("event_deleted", "applied") in now.journal()
        await ask_calendars(now)
        assert now.events("alice") == []

    told(story)


def test_r6_a_booking_that_was_changed_too_gets_its_event_back() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking, event = await synced(now, planner)
        [lost] = now.cloud.faults.add({"service": "webhook", "do": "lose", "times": None})
        await planner.move(booking, LATER)
        lost.times = 0
        await Technician(now).delete(event)
        await ask_calendars(now)
        assert only(now.events("alice")).content.start.at == LATER
        assert ("restored", "applied") in now.journal()

    told(story)


@pytest.mark.parametrize(
    ("winner", "start", "journal"),
    [
        ("dataverse", TOMORROW + timedelta(days=1), ("updated", "applied")),
        ("outlook", LATER, ("moved", "applied")),
        ("park", None, ("conflict", "parked")),
    ],
)
def test_r6_moved_on_both_sides(winner: str, start: datetime | None, journal: tuple[str, str]) -> None:
    async def story(now: World, planner: Planner) -> None:
        booking, event = await synced(now, planner)
        [lost] = now.cloud.faults.add({"service": "webhook", "do": "lose", "times": None})
        await planner.move(booking, TOMORROW + timedelta(days=1))
        lost.times = 0
        await Technician(now).move(event, LATER)
        await ask_calendars(now)
        now.wake(*sorted(await now.app.pull.round()))
        await now.settle()
        shown, kept = only(now.events("alice")).content.start.at, times_of(await row_of(now, booking))[0]
        assert journal in now.journal()
        losers = [entry["lost"] for entry in now.rows("journal") if entry["lost"]]
        if start is None:
            assert (shown, kept) == (LATER, TOMORROW + timedelta(days=1))
            assert losers == []
        else:
            assert shown == kept == start
            loser = LATER if winner == "dataverse" else TOMORROW + timedelta(days=1)
            assert loser.isoformat() in str(losers)

    told(story, {"SYNC_CONFLICTS": f"time={winner}"})


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"subject": "Lunch"}, id="renamed"),
        pytest.param({"showAs": "free"}, id="shown as free"),
        pytest.param({"body": {"contentType": "html", "content": "<p>mine</p>"}}, id="another body"),
    ],
)
def test_what_dataverse_owns_is_put_back(changes: dict[str, Any]) -> None:
    async def story(now: World, planner: Planner) -> None:
        _, event = await synced(now, planner)
        before = event.content
        await Technician(now).change(event, **changes)
        await ask_calendars(now)
        after = only(now.events("alice")).content
        assert (after.subject, after.show_as, after.body) == (before.subject, before.show_as, before.body)
        assert now.traffic("dataverse", "PATCH") == 0

    told(story)


def test_an_all_day_event_is_parked_and_goes_on_when_people_mend_it() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking, event = await synced(now, planner)
        days = [LATER.replace(hour=0, minute=0) + timedelta(days=number) for number in (0, 1)]
        start, end = ({"dateTime": f"{day:%Y-%m-%dT%H:%M:%S}", "timeZone": "UTC"} for day in days)
        await Technician(now).change(event, isAllDay=True, start=start, end=end)
        await ask_calendars(now)
        assert times_of(await row_of(now, booking))[0] == TOMORROW
        assert now.journal()[-1] == ("unsuitable", "parked")
        await Technician(now).change(event, isAllDay=False)
        await Technician(now).move(event, LATER)
        await ask_calendars(now)
        assert times_of(await row_of(now, booking))[0] == LATER

    told(story)


def test_r9_events_of_people_cost_nothing_but_the_question() -> None:
    async def story(now: World, planner: Planner) -> None:
        await synced(now, planner)
        body = {
            "subject": "Dentist",
            "start": {"dateTime": "2026-11-23T10:00:00", "timeZone": "UTC"},
            "end": {"dateTime": "2026-11-23T11:00:00", "timeZone": "UTC"},
        }
        status, _, _ = await now.call_graph("POST", "/users/alice@contoso.test/events", body)
        assert status == 201
        now.cloud.recorder.clear()
        await ask_calendars(now)
        await now.clock.sleep(60)
        await now.settle()
        app = [call for call in now.cloud.recorder.calls if call.app == now.contoso.booking_sync.client_id]
        asked = {call.path.rpartition("/")[2] for call in app if call.service == "graph" and not call.envelope}
        assert asked == {"delta"}
        assert "Dentist" in {event.content.subject for event in now.events("alice")}

    told(story)


# With notifications.

TOLD = {"GRAPH_NOTIFICATION_URL": FUNCTIONS}
SERVICES = ("webhook", "notification")


def reads_and_writes(now: World) -> tuple[int, int, int]:
    """What the app has asked for: readings of events, writings of events, operations of Dataverse."""
    app = [
        call
        for call in now.cloud.recorder.calls
        if call.app == now.contoso.booking_sync.client_id and not call.envelope
    ]
    graph = [call.method for call in app if call.service == "graph"]
    return graph.count("GET"), len(graph) - graph.count("GET"), sum(call.service == "dataverse" for call in app)


def test_r13_a_notification_of_a_moved_event_costs_one_read_and_one_write() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking, event = await synced(now, planner)
        await Technician(now).move(event, LATER)
        await now.settle()
        assert times_of(await row_of(now, booking))[0] == LATER
        assert reads_and_writes(now) == (1, 0, 1)

    told(story, TOLD)


def test_r5_a_thousand_notifications_of_one_event_cost_one_read_and_one_write() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking, event = await synced(now, planner)
        now.cloud.settings.change({"notification.per_change": [10, 10], "notification.spread_seconds": 0})
        [held] = now.cloud.faults.add({"service": "notification", "do": "hold", "times": None})
        for number in range(100):
            await Technician(now).move(event, LATER + timedelta(minutes=number))
        await now.graph.notifications.quiet()
        held.times = 0
        now.graph.notifications.release()
        await now.settle()
        assert times_of(await row_of(now, booking))[0] == LATER + timedelta(minutes=99)
        told_of = sum(int(entry["posts"]) for entry in now.rows("journal"))
        assert told_of >= 1000
        assert reads_and_writes(now) == (1, 0, 1)

    told(story, TOLD)


def test_r5_what_was_overruled_is_told_again_and_costs_nothing() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking, event = await synced(now, planner)
        held = now.cloud.faults.add([{"service": name, "do": "hold", "times": None} for name in SERVICES])
        await Technician(now).move(event, LATER)
        await planner.move(booking, TOMORROW + timedelta(days=1))
        await now.settle()
        for rule in held:
            rule.times = 0
        now.dataverse.webhooks.release()
        await now.settle()
        assert only(now.events("alice")).content.start.at == TOMORROW + timedelta(days=1)
        now.cloud.recorder.clear()
        now.graph.notifications.release()
        await now.settle()
        now.graph.notifications.repeat("shuffled")
        await now.settle()
        assert reads_and_writes(now) == (0, 0, 0)

    told(story, TOLD)


def test_r5_our_own_writes_come_back_as_notifications_that_cost_nothing() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking, _ = await synced(now, planner)
        await planner.move(booking, LATER)
        await now.settle()
        assert reads_and_writes(now) == (0, 1, 1)
        assert ("already_seen", "superseded") in now.journal()

    told(story, TOLD)


def test_r13_a_deleted_event_costs_two_reads_of_graph_and_one_write_of_dataverse() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking, event = await synced(now, planner)
        await Technician(now).delete(event)
        await now.settle()
        assert (await row_of(now, booking))["BookingStatus"]["name"] == "Field Service Canceled"
        reads, writes, _ = reads_and_writes(now)
        assert (reads, writes) == (2, 0)
        assert now.traffic("dataverse", "PATCH") == 1

    told(story, TOLD)


def test_r3_a_deletion_is_not_believed_right_after_our_own_write() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice", start=TOMORROW)
        await now.settle()
        began = now.clock.now()
        await Technician(now).delete(only(now.events("alice")))
        await now.settle()
        assert (await row_of(now, booking))["BookingStatus"]["name"] == "Field Service Canceled"
        assert now.clock.now() - began >= timedelta(seconds=55)

    told(story, TOLD)


def test_r9_notifications_of_peoples_own_events_cost_nothing() -> None:
    async def story(now: World, planner: Planner) -> None:
        await synced(now, planner)
        await now.call_graph(
            "POST",
            "/users/alice@contoso.test/events",
            {
                "subject": "Dentist",
                "start": {"dateTime": "2026-11-23T10:00:00", "timeZone": "UTC"},
                "end": {"dateTime": "2026-11-23T11:00:00", "timeZone": "UTC"},
            },
        )
        await now.settle()
        assert reads_and_writes(now) == (0, 0, 0)
        assert {entry for entry in now.journal() if entry[0] == "foreign"} == {("foreign", "skipped")}

    told(story, TOLD)


def test_r1_an_hour_of_lost_notifications_and_posts_is_recovered() -> None:
    async def story(now: World, planner: Planner) -> None:
        bookings = {person: await planner.book(person, start=TOMORROW) for person in ("alice", "bob", "carol", "dave")}
        await now.settle()
        await ask_calendars(now)
        await now.clock.sleep(LONG_AFTER.total_seconds())
        lost = [
            now.cloud.faults.add({"service": service, "do": "lose", "times": None})[0]
            for service in ("webhook", "notification")
        ]
        await Technician(now, "alice").move(only(now.events("alice")), LATER)
        await Technician(now, "bob").delete(only(now.events("bob")))
        await Technician(now, "carol").change(only(now.events("carol")), subject="Mine")
        await planner.move(bookings["dave"], LATER)
        await now.clock.sleep(3600)
        for rule in lost:
            rule.times = 0
        now.cloud.recorder.clear()
        await ask_calendars(now)
        now.wake(*sorted(await now.app.pull.round()))
        await now.settle()
        assert times_of(await row_of(now, bookings["alice"]))[0] == LATER
        assert (await row_of(now, bookings["bob"]))["BookingStatus"]["name"] == "Field Service Canceled"
        assert only(now.events("carol")).content.subject != "Mine"
        assert only(now.events("dave")).content.start.at == LATER
        people = len(await now.app.recovery._bookings.mailboxes())
        envelopes = [call for call in now.cloud.recorder.calls if call.envelope and call.service == "graph"]
        assert len(envelopes) <= 0.07 * people + 4

    told(story, TOLD)


def test_r1_nothing_is_left_over_when_a_cursor_expires() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking, event = await synced(now, planner)
        [lost] = now.cloud.faults.add({"service": "notification", "do": "lose", "times": None})
        await Technician(now).move(event, TOMORROW + timedelta(days=3000))
        now.cloud.settings.change({"graph.delta_lifetime": 60})
        await now.clock.sleep(600)
        lost.times = 0
        await ask_calendars(now)
        assert times_of(await row_of(now, booking))[0] == TOMORROW + timedelta(days=3000)

    told(story, TOLD)


def test_windows_move_on_and_nothing_is_created_or_deleted_by_that() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking, event = await synced(now, planner)
        for _ in range(8):
            await now.clock.sleep(10 * 24 * 3600)
            await ask_calendars(now)
        assert only(now.events("alice")).item_id == event.item_id
        assert times_of(await row_of(now, booking))[0] == TOMORROW
        assert [entry for entry in now.journal() if entry[1] == "applied"] == [("created", "applied")]

    told(story)


def test_r9_an_event_in_another_calendar_stays_ours_by_its_id() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking, event = await synced(now, planner)
        made, rota, _ = await now.call_graph("POST", "/users/alice@contoso.test/calendars", {"name": "Rota"})
        assert made == 201, rota
        now.graph.by_hand.do("move", "alice@contoso.test", event.folder_id, "Rota")
        await now.settle()
        await planner.move(booking, LATER)
        await now.settle()
        assert only(now.events("alice")).content.start.at == LATER
        await ask_calendars(now)
        await ask_calendars(now)
        assert only(now.events("alice")).item_id == event.item_id
        assert (await row_of(now, booking))["BookingStatus"]["name"] == "Committed"

    told(story, TOLD)


def test_r9_an_event_that_people_restore_after_its_booking_was_canceled_is_parked() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking, event = await synced(now, planner)
        await planner.set_status(booking, "Canceled")
        await now.settle()
        assert now.events("alice") == []
        await now.clock.sleep(LONG_AFTER.total_seconds())
        now.cloud.recorder.clear()
        now.graph.by_hand.do("restore", "alice@contoso.test", event.item_id, "")
        await now.settle()
        await now.clock.sleep(60)
        await now.settle()
        assert now.rows("dead")[0]["reason"] == "restored_by_people"
        assert only(now.events("alice")).item_id == event.item_id
        assert reads_and_writes(now)[1:] == (0, 0)

    told(story, TOLD)


def test_r7_an_event_with_guests_keeps_its_body_and_is_canceled_with_a_message() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking, event = await synced(now, planner)
        guest = {"emailAddress": {"address": "bob@contoso.test", "name": "Bob"}, "type": "required"}
        await Technician(now).change(event, attendees=[guest], body={"contentType": "html", "content": "<p>Join</p>"})
        await now.settle()
        await planner.change(booking, name="Boiler repair")
        await planner.move(booking, LATER)
        await now.settle()
        [shown] = [one for one in now.events("alice") if one.item_id == event.item_id]
        assert shown.content.start.at == LATER
        assert "Join" in shown.content.body.html
        assert shown.content.subject == "Boiler service"
        now.cloud.recorder.clear()
        await planner.set_status(booking, "Canceled")
        await now.settle()
        assert now.events("alice") == []
        app = [call for call in now.cloud.recorder.calls if call.app == now.contoso.booking_sync.client_id]
        assert [call.path.rpartition("/")[2] for call in app if call.method == "POST" and call.service == "graph"] == [
            "cancel"
        ]

    told(story, TOLD)

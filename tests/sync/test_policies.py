"""What the administrator may decide: canceled bookings, masking, categories, mailboxes, over everything but sockets."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.http import HttpRequest, HttpResponse, Transport
from tests.simulation.planner import TOMORROW, Planner
from tests.simulation.world import World
from tests.sync.test_one_way import only, shown, told
from tests.sync.test_pull import IDLE, pull

# Canceled bookings.

KEEP = {"SYNC_CANCELED": "keep"}


def test_a_canceled_booking_stays_in_the_calendar_and_comes_back_when_it_is_taken_back() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice")
        await now.settle()
        was = only(now.events("alice")).item_id
        await planner.set_status(booking, "Canceled")
        await now.settle()
        assert shown(only(now.events("alice")).content)[0::3] == ("Canceled: Boiler service", "free")
        await planner.move(booking, TOMORROW + timedelta(hours=3))
        await now.settle()
        assert only(now.events("alice")).content.start.at == TOMORROW + timedelta(hours=3)
        await planner.set_status(booking, "Committed")
        await now.settle()
        event = only(now.events("alice"))
        assert event.item_id == was
        assert shown(event.content)[0::3] == ("Boiler service", "busy")

    told(story, KEEP)


def test_deleting_a_canceled_booking_deletes_the_event_that_was_kept() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice")
        await now.settle()
        await planner.set_status(booking, "Canceled")
        await now.settle()
        await planner.delete(booking)
        await now.settle()
        assert now.events("alice") == []
        assert now.rows("link") == []

    told(story, KEEP)


def test_no_event_is_made_to_say_that_a_booking_is_canceled() -> None:
    async def story(now: World, planner: Planner) -> None:
        await planner.book("alice", status="Canceled")
        await now.settle()
        assert now.events("alice") == []
        assert now.journal()[-1] == ("canceled", "skipped")

    told(story, KEEP)


@pytest.mark.parametrize("status", ["Canceled", "Field Service Canceled"])
def test_r10_a_kept_event_that_is_reassigned_while_canceled_goes_and_comes_back_with_the_booking(status: str) -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice")
        await now.settle()
        await planner.set_status(booking, status)
        await now.settle()
        await planner.assign(booking, "bob")
        await now.settle()
        assert now.events("alice") == now.events("bob") == []
        await planner.set_status(booking, "Committed")
        await now.settle()
        assert now.events("alice") == []
        assert shown(only(now.events("bob")).content)[0::3] == ("Boiler service", "busy")

    told(story, KEEP)


def test_r2a_a_kept_event_survives_the_loss_of_all_tables() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice")
        await now.settle()
        await planner.set_status(booking, "Canceled")
        await now.settle()
        now.tables.clear()
        await planner.change(booking, name="Boiler repair")
        await now.settle()
        assert only(now.events("alice")).content.subject == "Canceled: Boiler repair"

    told(story, KEEP)


# Masking.

SECRETS = ("Chemotherapy", "WO-00001")
MASK = {
    "SYNC_MASK": "startswith(name,'Chemotherapy') or BookingStatus/name eq 'On Break'",
    "SYNC_SUBJECT_TEMPLATE": "{{ name }} {{ work_order }}",
}


class Listening:
    """A network that remembers what was sent over it. Implements `shared.http.Transport`."""

    def __init__(self, network: Transport) -> None:
        """Listen to `network`."""
        self._network = network
        self.heard: list[str] = []

    async def send(self, request: HttpRequest) -> HttpResponse:
        """As `Transport.send`."""
        self.heard.append(f"{request.method} {request.url} {(request.body or b'').decode()}")
        return await self._network.send(request)


def test_r7_what_is_masked_never_leaves(caplog: pytest.LogCaptureFixture) -> None:
    async def story(now: World, planner: Planner) -> None:
        network = Listening(now.network)
        now.app = now.start_app(network)
        booking = await planner.book("alice", name="Chemotherapy, third cycle", work_order="WO-00001")
        await now.settle()
        content = only(now.events("alice")).content
        assert shown(content)[0::3] == ("Booking", "busy")
        assert (content.sensitivity, content.body.text.strip()) == ("private", "")
        await planner.move(booking, TOMORROW + timedelta(hours=5))
        await now.settle()
        await planner.set_status(booking, "Canceled")
        await now.settle()
        assert only(now.events("alice")).content.subject == "Canceled: Booking"
        assert len(network.heard) > 5
        for secret in SECRETS:
            assert not [line for line in network.heard if secret in line]
            assert secret not in str(now.tables.partitions())
            assert secret not in caplog.text

    with caplog.at_level(logging.DEBUG):
        told(story, {**MASK, **KEEP})


def test_r7_masking_and_unmasking_later_updates_the_event() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice", work_order="WO-00001")
        await now.settle()
        was = only(now.events("alice"))
        assert (was.content.subject, was.content.sensitivity) == ("Boiler service WO-00001", "normal")
        for _ in range(2):
            await planner.set_status(booking, "On Break")
            await now.settle()
            masked = only(now.events("alice"))
            assert (masked.item_id, masked.content.subject) == (was.item_id, "Booking")
            assert (masked.content.sensitivity, masked.content.body.text.strip()) == ("private", "")
            await planner.set_status(booking, "Committed")
            await now.settle()
            content = only(now.events("alice")).content
            assert (content.subject, content.sensitivity) == ("Boiler service WO-00001", "normal")
            assert "WO-00001" in content.body.html

    told(story, MASK)


def test_an_event_that_a_person_made_private_stays_private() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice")
        await now.settle()
        path = f"/users/alice@contoso.test/events/{only(now.events('alice')).folder_id}"
        status, *_ = await now.call_graph("PATCH", path, {"sensitivity": "private", "subject": "Mine"})
        assert status == 200
        await planner.move(booking, TOMORROW + timedelta(hours=5))
        await now.settle()
        content = only(now.events("alice")).content
        assert (content.subject, content.sensitivity) == ("Boiler service", "private")

    told(story)


def test_r7_a_mask_that_cannot_be_answered_shows_nothing() -> None:
    async def story(now: World, planner: Planner) -> None:
        await planner.book("alice")
        await now.settle()
        assert now.events("alice") == []
        assert now.journal()[-1] == ("refused", "dead_letter")

    told(story, {"SYNC_MASK": "name gt 5"})


# Categories and the time zone.

CATEGORIES = {"SYNC_STATUS_CATEGORIES": "in_progress=On site,completed=Done"}


def test_the_category_of_a_status_follows_it_and_leaves_the_others_alone() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice", status="In Progress")
        await now.settle()
        assert only(now.events("alice")).content.categories == ("Dynamics 365", "On site")
        path = f"/users/alice@contoso.test/events/{only(now.events('alice')).folder_id}"
        status, *_ = await now.call_graph("PATCH", path, {"categories": ["Dynamics 365", "On site", "Important"]})
        assert status == 200
        await planner.set_status(booking, "Completed")
        await now.settle()
        assert only(now.events("alice")).content.categories == ("Dynamics 365", "Important", "Done")
        await planner.set_status(booking, "Committed")
        await now.settle()
        assert only(now.events("alice")).content.categories == ("Dynamics 365", "Important")

    told(story, CATEGORIES)


def test_r7_a_masked_event_does_not_show_its_status_by_a_category() -> None:
    async def story(now: World, planner: Planner) -> None:
        await planner.book("alice", name="Chemotherapy", status="In Progress")
        await now.settle()
        assert only(now.events("alice")).content.categories == ("Dynamics 365",)

    told(story, {**CATEGORIES, **MASK})


def test_events_are_written_in_the_zone_of_choice_and_remain_exact() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice")
        await now.settle()
        event = only(now.events("alice"))
        assert (event.original_start_zone, event.content.start.zone) == (("W. Europe Standard Time",) * 2)
        assert shown(event.content)[1:3] == (TOMORROW, TOMORROW + timedelta(minutes=90))
        now.cloud.recorder.clear()
        await planner.change(booking, name="Boiler service")
        await now.settle()
        assert now.traffic("graph") == 0
        later = TOMORROW + timedelta(hours=5)
        await planner.move(booking, later)
        await now.settle()
        assert shown(only(now.events("alice")).content)[1:3] == (later, later + timedelta(minutes=90))
        assert now.traffic("graph") == 1

    told(story, {"SYNC_TIME_ZONE": "Europe/Berlin"})


class Outdated:
    """A calendar service that has other rules for a zone than this machine. Implements `shared.http.Transport`."""

    def __init__(self, network: Transport) -> None:
        """Lie on the way to `network`."""
        self._network = network

    async def send(self, request: HttpRequest) -> HttpResponse:
        """As `Transport.send`."""
        if request.body:
            request = replace(request, body=request.body.replace(b"W. Europe Standard Time", b"FLE Standard Time"))
        return await self._network.send(request)


def test_a_service_with_other_rules_of_the_zone_shows_the_right_time_all_the_same() -> None:
    async def story(now: World, planner: Planner) -> None:
        now.app = now.start_app(Outdated(now.network))
        booking = await planner.book("alice")
        await now.settle()
        assert only(now.events("alice")).content.start.at == TOMORROW
        await planner.move(booking, TOMORROW + timedelta(hours=5))
        await now.settle()
        assert only(now.events("alice")).content.start.at == TOMORROW + timedelta(hours=5)

    told(story, {"SYNC_TIME_ZONE": "Europe/Berlin"})


# Mailboxes of resources that are no users.


def mapped(**mailboxes: str) -> dict[str, str]:
    """The setting that gives each resource, named as in Contoso, the mailbox of somebody."""
    contoso = World().contoso
    resources = {"van": contoso.spare_van, "alice": contoso.resource("alice"), "room": contoso.resource("room-1")}
    pairs = [f"{resources[name].upper()}={contoso.account(whose).id}" for name, whose in mailboxes.items()]
    return {"SYNC_MAILBOXES": ", ".join(pairs)}


def test_a_room_with_a_mailbox_is_kept_in_step_like_a_person() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("room-1")
        await now.settle()
        assert only(now.events("room-1")).content.subject == "Boiler service"
        await planner.assign(booking, "alice")
        await now.settle()
        assert now.events("room-1") == []
        assert only(now.events("alice"))

    told(story, mapped(room="room-1"))


def test_r10_a_thing_that_shares_somebodys_calendar_moves_no_event() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice")
        await now.settle()
        was = only(now.events("alice")).item_id
        await planner.assign_resource(booking, now.contoso.spare_van)
        await now.settle()
        assert only(now.events("alice")).item_id == was

    told(story, mapped(van="alice"))


def test_the_administrators_word_on_a_mailbox_counts_more_than_the_user() -> None:
    async def story(now: World, planner: Planner) -> None:
        await planner.book("alice")
        await now.settle()
        assert now.events("alice") == []
        assert only(now.events("bob"))

    told(story, mapped(alice="bob"))


def test_r2a_mailboxes_from_the_setting_are_searched_like_all_others() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("room-1")
        await now.settle()
        assert only(now.events("room-1"))
        now.tables.clear()
        await planner.delete(booking)
        await now.settle()
        assert now.events("room-1") == []

    told(story, mapped(room="room-1"))


# A setting is changed.


async def change_settings(now: World, **settings: object) -> None:
    """An administrator changes settings; the platform starts the app anew, and a round of the pull is due."""
    now.settings = replace(now.settings, **settings)  # type: ignore[arg-type]
    now.app = now.start_app()
    await pull(now)


def test_r1_a_changed_setting_reaches_all_events_in_the_window() -> None:
    async def story(now: World, planner: Planner) -> None:
        await pull(now)
        booking = await planner.book("alice")
        await planner.book("bob", start=TOMORROW + timedelta(days=100))
        await now.settle()
        await change_settings(now, mask="startswith(name,'Boiler')")
        assert [only(now.events(whose)).content.subject for whose in ("alice", "bob")] == ["Booking", "Booking"]
        now.cloud.recorder.clear()
        await pull(now)
        assert (now.traffic("dataverse"), now.traffic("graph")) == (IDLE, 0)
        await change_settings(now, mask="", keeps_canceled=True)
        assert [only(now.events(whose)).content.subject for whose in ("alice", "bob")] == ["Boiler service"] * 2
        await planner.set_status(booking, "Canceled")
        await now.settle()
        await change_settings(now, keeps_canceled=False)
        assert now.events("alice") == []

    told(story)


def test_a_resource_that_loses_its_mailbox_loses_the_events_there() -> None:
    async def story(now: World, planner: Planner) -> None:
        await planner.book("room-1")
        await now.settle()
        await change_settings(now, mailboxes={})
        assert now.events("room-1") == []
        assert now.journal()[-1] == ("no_mailbox", "applied")

    told(story, mapped(room="room-1"))

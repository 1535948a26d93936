"""The main path when things go wrong."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.simulation.planner import TOMORROW, Planner
from tests.simulation.world import World
from tests.sync.test_one_way import only, told

POST_EVENT = {"service": "graph", "method": "POST", "path": "/v1.0/users/*/events"}


@pytest.mark.parametrize(
    "fault",
    [
        {"do": "fail_after_commit", "status": 503, "code": "ConcurrentItemSave"},
        {"do": "fail_after_commit", "status": 504},
        {"do": "drop_after_commit"},
        {"do": "drop"},
        {"do": "refuse", "status": 429, "retry_after": 2.5},
        {"do": "refuse", "status": 503},
        {"do": "html", "status": 502},
    ],
    ids=lambda fault: f"{fault['do']} {fault.get('status', '')}",
)
@pytest.mark.parametrize("memory", [None, 0], ids=["transactionId remembered", "transactionId forgotten"])
def test_r2_a_create_with_an_unknown_outcome_makes_one_event(fault: dict[str, Any], memory: float | None) -> None:
    async def story(now: World, planner: Planner) -> None:
        now.cloud.settings.change({"graph.transaction_memory": memory})
        now.cloud.faults.add({**POST_EVENT, **fault})
        booking = await planner.book("alice")
        await now.settle()
        event = only(now.events("alice"))
        await planner.move(booking, TOMORROW + timedelta(hours=3))
        await now.settle()
        assert only(now.events("alice")).item_id == event.item_id
        assert only(now.events("alice")).content.start.at == TOMORROW + timedelta(hours=3)

    told(story)


def test_r2_a_booking_changed_while_its_create_was_unknown_shows_the_change() -> None:
    async def story(now: World, planner: Planner) -> None:
        now.cloud.faults.add({**POST_EVENT, "do": "drop_after_commit"})
        booking = await planner.book("alice")
        await now.dataverse.webhooks.quiet()
        await planner.move(booking, TOMORROW + timedelta(hours=3))
        await now.settle()
        assert only(now.events("alice")).content.start.at == TOMORROW + timedelta(hours=3)

    told(story)


@pytest.mark.parametrize("again", ["set_status", "delete"])
def test_r2_a_booking_that_ends_while_its_create_is_unknown_leaves_no_event(again: str) -> None:
    async def story(now: World, planner: Planner) -> None:
        now.cloud.faults.add({**POST_EVENT, "do": "drop_after_commit"})
        booking = await planner.book("alice")
        await now.dataverse.webhooks.quiet()
        if again == "delete":
            await planner.delete(booking)
        else:
            await planner.set_status(booking, "Canceled")
        await now.settle()
        assert now.events("alice") == []
        assert now.rows("link") == []

    told(story)


def test_an_event_that_a_person_moved_meanwhile_is_read_and_put_back() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice")
        await now.settle()
        alice, event = now.contoso.account("alice").id, only(now.events("alice"))
        status, _, _ = await now.call_graph(
            "PATCH", f"/users/{alice}/events/{event.folder_id}", {"subject": "My own words", "showAs": "free"}
        )
        assert status == 200
        now.cloud.recorder.clear()
        await planner.move(booking, TOMORROW + timedelta(hours=3))
        await now.settle()
        content = only(now.events("alice")).content
        assert (content.subject, content.show_as) == ("Boiler service", "busy")
        assert content.start.at == TOMORROW + timedelta(hours=3)
        assert now.traffic("graph", "PATCH") == 2
        assert now.traffic("graph", "GET") == 1

    told(story)


def test_r3_an_event_that_a_person_deleted_comes_back_only_after_proof() -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice")
        await now.settle()
        alice, event = now.contoso.account("alice").id, only(now.events("alice"))
        status, _, _ = await now.call_graph("DELETE", f"/users/{alice}/events/{event.folder_id}")
        assert status == 204
        before = now.clock.now()
        await planner.move(booking, TOMORROW + timedelta(hours=3))
        await now.settle()
        assert now.clock.now() - before >= timedelta(seconds=60)
        [marker] = only(now.events("alice")).content.properties.values()
        assert marker.endswith(".2")
        assert now.journal()[-1] == ("restored", "applied")

    told(story)


@pytest.mark.parametrize("deleted_first", [False, True], ids=["changed", "deleted"])
def test_deleting_a_booking_beats_what_a_person_did_to_its_event(*, deleted_first: bool) -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice")
        await now.settle()
        alice, event = now.contoso.account("alice").id, only(now.events("alice"))
        path = f"/users/{alice}/events/{event.folder_id}"
        if deleted_first:
            await now.call_graph("DELETE", path)
        else:
            await now.call_graph("PATCH", path, {"subject": "My own words"})
        await planner.delete(booking)
        await now.settle()
        assert now.events("alice") == []
        assert now.journal()[-1] == ("deleted", "applied")

    told(story)


@pytest.mark.parametrize("service", ["graph", "dataverse"])
def test_an_hour_of_outage_is_waited_for(service: str) -> None:
    async def story(now: World, planner: Planner) -> None:
        await planner.book("alice")
        await now.settle()
        app = now.contoso.booking_sync.client_id
        [rule] = now.cloud.faults.add({"service": service, "app": app, "do": "refuse", "times": None})
        booking = await planner.book("bob")
        await now.dataverse.webhooks.quiet()
        await now.clock.sleep(3600)
        rule.times = 0
        await now.settle()
        assert booking in next(iter(only(now.events("bob")).content.properties.values()))

    told(story)


def test_one_failing_booking_does_not_hold_up_another() -> None:
    async def story(now: World, planner: Planner) -> None:
        alice = now.contoso.account("alice").id
        now.cloud.faults.add({"service": "graph", "path": f"*{alice}*", "do": "refuse", "times": 40})
        await planner.book("alice")
        await planner.book("bob")
        await now.dataverse.webhooks.quiet()
        await now.clock.sleep(30)
        assert len(now.events("bob")) == 1
        assert now.events("alice") == []
        await now.settle()
        assert len(now.events("alice")) == 1

    told(story)


def test_a_mailbox_that_cannot_be_reached_parks_the_booking_with_words() -> None:
    async def story(now: World, planner: Planner) -> None:
        without = next(name for name, person in now.contoso.people.items() if not person.account.has_mailbox)
        await planner.book(without)
        await now.settle()
        [entry] = now.rows("dead")
        assert (entry["reason"], entry["outcome"]) == ("mailbox_gone", "parked")
        assert "mailbox" in str(entry["detail"])

    told(story)


@pytest.mark.parametrize("denied", [401, 403])
def test_missing_rights_become_a_dead_letter_that_says_what_to_do(denied: int) -> None:
    async def story(now: World, planner: Planner) -> None:
        now.cloud.faults.add({**POST_EVENT, "do": "refuse", "status": denied, "times": None})
        await planner.book("alice")
        await now.settle()
        [entry] = now.rows("dead")
        assert (entry["reason"], entry["outcome"]) == ("refused", "dead_letter")
        assert "Grant the permission" in str(entry["detail"])

    told(story)


def test_r11_a_dead_letter_is_replayed_with_what_it_knew() -> None:
    """A deletion could not be carried out; the row is gone, so its proof must not be."""

    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice")
        await planner.book("bob")
        await now.settle()
        [rule] = now.cloud.faults.add(
            {"service": "graph", "method": "DELETE", "do": "refuse", "status": 403, "times": None}
        )
        await planner.delete(booking)
        await now.settle()
        assert len(now.rows("dead")) == 1
        rule.times = 0
        replayed, shards = await now.app.inbox.replay_dead_letters()
        assert (replayed, len(shards)) == (1, 1)
        assert now.rows("dead") == []
        now.wake(*shards)
        await now.settle()
        assert now.events("alice") == []
        assert now.journal()[-1] == ("deleted", "applied")
        assert await now.app.inbox.replay_dead_letters() == (0, [])

    told(story)


def test_a_template_that_fails_on_a_booking_is_a_dead_letter_that_names_the_setting() -> None:
    async def story(now: World, planner: Planner) -> None:
        await planner.book("alice")
        await planner.book("bob", work_order="WO-00001")
        await now.settle()
        [entry] = now.rows("dead")
        assert "SYNC_SUBJECT_TEMPLATE" in str(entry["detail"])
        assert len(now.events("bob")) == 1

    told(story, {"SYNC_SUBJECT_TEMPLATE": "{{ work_order[0] ~ account }}{% if not work_order %}{{ 1/0 }}{% endif %}"})


@pytest.mark.parametrize("status", [503, 504, 502])
def test_a_post_that_could_not_be_stored_is_sent_again_by_dataverse(status: int) -> None:
    async def story(now: World, planner: Planner) -> None:
        now.cloud.faults.add({"service": "webhook", "do": "refuse", "status": status})
        await planner.book("alice")
        await now.settle()
        assert len(now.events("alice")) == 1

    told(story)


def test_a_lost_wake_up_is_made_up_for() -> None:
    async def story(now: World, planner: Planner) -> None:
        now.wake = lambda *shards: None  # type: ignore[method-assign]
        await planner.book("alice")
        await now.dataverse.webhooks.quiet()
        del now.wake
        assert now.events("alice") == []
        await now.settle()
        assert len(now.events("alice")) == 1

    told(story)

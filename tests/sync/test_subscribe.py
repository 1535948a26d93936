"""Every synced mailbox is subscribed, and stays so whatever Graph, Dataverse and the clock do."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from sandbox.directory import Account
from sandbox.graph.lifecycle import READER
from sandbox.graph.subscriptions import Subscription as InForce
from shared.sync.model import Cause, MailboxId, Shard
from shared.sync.subscribe import Report
from shared.sync.subscriptions import LIFETIME, SECRET_LIFE, Subscription
from shared.tables.subscriptions import TableSubscriptions
from tests.simulation.loop import run
from tests.simulation.planner import TOMORROW
from tests.simulation.world import FUNCTIONS, Crash, World

URL = {"GRAPH_NOTIFICATION_URL": FUNCTIONS}
PEOPLE = 24
"""People of Contoso that have a bookable resource and a mailbox."""
ONCE = {"notification.per_change": [1, 1]}


class Listening(World):
    """Contoso with an app that stores what it is told and looks no further."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        super().__init__(settings=settings)
        [without] = [one for one in self.directory.accounts.values() if not one.has_mailbox]
        self.change_account(without, has_mailbox=True)  # who refuses is another story
        self.store = TableSubscriptions(self.tables)
        self.alice = self.account("alice")

    def account(self, person: str) -> MailboxId:
        account = self.directory.find(f"{person}@contoso.test")
        assert account is not None
        return MailboxId(account.id)

    def change_account(self, account: Account, *, has_mailbox: bool) -> None:
        self.directory.accounts[account.id] = replace(account, has_mailbox=has_mailbox)

    def wake(self, *shards: Shard) -> None:
        """Nobody listens."""

    def in_force(self) -> dict[str, list[InForce]]:
        """What Graph knows of the app's subscriptions, by mailbox."""
        found: dict[str, list[InForce]] = {}
        for one in self.graph.notifications._subscriptions.all(self.clock.now()):
            assert one.app == self.contoso.booking_sync.client_id
            found.setdefault(one.mailbox, []).append(one)
        return found

    async def known(self) -> dict[str, Subscription]:
        return {one.mailbox: one for one in await self.store.known()}

    async def recoveries(self) -> set[str]:
        """The mailboxes that need a recovery round; as if it took place."""
        found = await self.store.recoveries()
        for one in found:
            await self.store.recovered(one)
        return {one.mailbox for one in found}

    async def round(self, *, anew: bool = False) -> Report:
        """What the timer does; then Graph and the app agree, whatever happened."""
        report = await self.app.subscribing.round(anew=anew)
        await self.graph.notifications.quiet()
        return report

    async def move(self, event: str, start: datetime = TOMORROW) -> None:
        """Alice moves an event in Outlook."""
        times = {
            name: {"dateTime": f"{start + timedelta(hours=hours):%Y-%m-%dT%H:%M:%S}", "timeZone": "UTC"}
            for name, hours in (("start", 0), ("end", 1))
        }
        status, body, _ = await self.call_graph("PATCH", f"/users/{self.alice}/events/{event}", times)
        assert status == 200, body

    async def add_event(self) -> str:
        """Alice adds an event of her own; gives its id, which is not the immutable one."""
        times = {
            name: {"dateTime": f"{TOMORROW + timedelta(hours=hours):%Y-%m-%dT%H:%M:%S}", "timeZone": "UTC"}
            for name, hours in (("start", 0), ("end", 1))
        }
        status, body, _ = await self.call_graph("POST", f"/users/{self.alice}/events", {"subject": "Dentist", **times})
        assert status == 201, body
        return str(body["id"])

    def calls(self, method: str = "") -> int:
        """How many operations on subscriptions the app has asked for."""
        app = self.contoso.booking_sync.client_id
        return sum(
            call.app == app
            and call.service == "graph"
            and "/subscriptions" in call.path
            and method in ("", call.method)
            for call in self.cloud.recorder.calls
        )


def heard(story: Callable[[Listening], Awaitable[None]], settings: Mapping[str, str] | None = None) -> None:
    """Tell a story on virtual time."""

    async def tell() -> None:
        now = Listening({**URL, **(settings or {})})
        try:
            await story(now)
        finally:
            await now.close()

    run(tell())


def test_every_synced_mailbox_is_subscribed_once() -> None:
    async def story(now: Listening) -> None:
        report = await now.round()
        assert report == Report(done={"create": PEOPLE}, in_force=PEOPLE, refused={})
        found = now.in_force()
        assert {len(those) for those in found.values()} == {1}
        one = found[now.alice][0]
        assert (one.resource, one.change_type) == (f"users/{now.alice}/events", "created,updated,deleted")
        assert (one.notification_url, one.lifecycle_url) == (
            f"{FUNCTIONS}/api/graph/notifications",
            f"{FUNCTIONS}/api/graph/lifecycle",
        )
        assert one.immutable_ids
        assert one.expires - now.clock.now() <= LIFETIME
        secrets = {those[0].client_state for those in found.values()}
        assert len(secrets) == PEOPLE
        assert all(secret and 32 <= len(secret) <= 128 for secret in secrets)
        assert await now.recoveries() == set(found)

        now.cloud.recorder.clear()
        assert await now.round() == Report(done={}, in_force=PEOPLE, refused={})
        assert (now.calls(), await now.recoveries()) == (0, set())

    heard(story)


def test_mailboxes_of_the_settings_are_subscribed_too() -> None:
    async def story(now: Listening) -> None:
        assert (await now.round()).in_force == PEOPLE + 1

    room = Listening({})
    mailbox = f"{room.contoso.resource('room-1')}={room.account('room-1')}"
    heard(story, {"SYNC_MAILBOXES": mailbox})


def test_without_an_address_there_are_none() -> None:
    async def story(now: Listening) -> None:
        assert await now.round() == Report(done={}, in_force=0, refused={})

    heard(story, {"GRAPH_NOTIFICATION_URL": ""})


def test_what_outlook_does_is_told_as_marks_with_immutable_ids() -> None:
    async def story(now: Listening) -> None:
        now.cloud.settings.change({"notification.resource": "any"})
        await now.round()
        event = await now.add_event()
        await now.move(event, TOMORROW + timedelta(hours=3))
        await now.call_graph("DELETE", f"/users/{now.alice}/events/{event}")
        await now.graph.notifications.quiet()
        marks = now.marks()
        assert {(mark["mailbox"], mark["booking"]) for mark in marks} == {(now.alice, "")}
        assert len({mark["event"] for mark in marks}) == 1
        assert marks[0]["event"] != event
        assert {mark["cause"] for mark in marks} == {Cause.EVENT_CHANGED, Cause.EVENT_DELETED}
        posts = [
            call
            for call in now.cloud.recorder.calls
            if call.service == "notification" and call.tags["kind"] == "change"
        ]
        assert {call.status for call in posts} == {202}
        assert sum(int(mark["posts"]) for mark in marks) == sum(int(call.tags["items"]) for call in posts)

    heard(story)


@pytest.mark.parametrize("days", [1, 3, 5, 30])
def test_a_year_of_renewals_has_no_gap_and_costs_little(days: int) -> None:
    """Whenever the timer runs, if only once a day."""

    async def story(now: Listening) -> None:
        await now.round()
        first = {mailbox: those[0].id for mailbox, those in now.in_force().items()}
        await now.recoveries()
        now.cloud.recorder.clear()
        end = now.clock.now() + timedelta(days=days)
        while now.clock.now() < end:
            await now.clock.sleep(6 * 3600)
            await now.round()
            assert {mailbox: those[0].id for mailbox, those in now.in_force().items()} == first
        # What is renewed in the last third of its life is renewed every four to five days.
        assert now.calls() <= PEOPLE * (days / 4 + 1)
        assert now.calls("PATCH") == now.calls()
        assert await now.recoveries() == set()

    heard(story)


def test_renewals_are_staggered() -> None:
    async def story(now: Listening) -> None:
        await now.round()
        per_round: list[int] = []
        for _ in range(7 * 24):
            now.cloud.recorder.clear()
            await now.clock.sleep(3600)
            await now.round()
            per_round.append(now.calls("PATCH"))
        assert sum(per_round) >= PEOPLE
        assert max(per_round) <= 5

    heard(story)


def test_a_long_outage_of_the_app_is_made_up_for() -> None:
    async def story(now: Listening) -> None:
        await now.round()
        await now.recoveries()
        now.clock.advance(timedelta(days=20))
        assert now.in_force() == {}
        report = await now.round()
        assert (report.done, report.in_force) == ({"create": PEOPLE}, PEOPLE)
        assert len(await now.recoveries()) == PEOPLE

    heard(story)


# What is there already.


@pytest.mark.parametrize("effect", [{"do": "fail_after_commit", "status": 504}, {"do": "drop_after_commit"}])
def test_a_create_whose_answer_is_lost_is_adopted(effect: dict[str, Any]) -> None:
    async def story(now: Listening) -> None:
        now.cloud.faults.add({"service": "graph", "method": "POST", "path": "*/subscriptions", "times": 1, **effect})
        assert (await now.round()).in_force == PEOPLE - 1
        before = {mailbox: those[0] for mailbox, those in now.in_force().items()}
        assert len(before) == PEOPLE
        report = await now.round()
        assert (report.done, report.in_force) == ({"create": 1}, PEOPLE)
        known = await now.known()
        assert {mailbox: (one.id, one.client_state) for mailbox, one in known.items()} == {
            mailbox: (one.id, one.client_state) for mailbox, one in before.items()
        }
        assert len(await now.recoveries()) == PEOPLE
        assert (await now.round()).done == {}

    heard(story)


def test_after_the_table_was_lost_what_exists_is_adopted() -> None:
    async def story(now: Listening) -> None:
        await now.round()
        before = now.in_force()
        now.tables.clear()
        assert (await now.round()).done == {"create": PEOPLE}
        assert now.in_force() == before
        assert len(await now.recoveries()) == PEOPLE
        await now.add_event()
        await now.graph.notifications.quiet()
        assert now.marks()

    heard(story)


def test_one_that_tells_somebody_else_goes() -> None:
    async def story(now: Listening) -> None:
        await now.round()
        old = {those[0].id for those in now.in_force().values()}
        now.tables.clear()
        for those in now.in_force().values():
            those[0].lifecycle_url = f"{FUNCTIONS}/elsewhere"
        assert (await now.round()).done == {"create": PEOPLE}
        found = now.in_force()
        assert {len(those) for those in found.values()} == {1}
        assert not old & {those[0].id for those in found.values()}

    heard(story)


def test_an_app_that_moved_is_told_at_its_new_address() -> None:
    async def story(now: Listening) -> None:
        await now.round()
        await now.recoveries()
        now.settings = replace(now.settings, notification_url=f"{FUNCTIONS}:8443")
        now.app = now.start_app()
        assert (await now.round()).done == {"replace": PEOPLE}
        found = now.in_force()
        assert {len(those) for those in found.values()} == {1}
        assert all(those[0].notification_url.startswith(f"{FUNCTIONS}:8443/") for those in found.values())
        assert len(await now.recoveries()) == PEOPLE

    heard(story)


def test_secrets_are_exchanged_and_the_old_one_is_good_for_a_while() -> None:
    async def story(now: Listening) -> None:
        await now.round()
        old = now.in_force()
        end = now.clock.now() + SECRET_LIFE
        while now.clock.now() < end:
            await now.clock.sleep(24 * 3600)
            await now.round()
        new = now.in_force()
        assert {len(those) for those in new.values()} == {1}
        for mailbox in old:
            assert new[mailbox][0].client_state != old[mailbox][0].client_state
            former = (await now.known())[mailbox].former
            assert former is not None
            assert (former.id, former.client_state) == (old[mailbox][0].id, old[mailbox][0].client_state)

    heard(story)


# Who is not synced any more.


def test_a_mailbox_that_is_not_synced_any_more_is_unsubscribed() -> None:
    async def story(now: Listening) -> None:
        await now.round()
        path = f"bookableresources({now.contoso.resource('alice')})"
        status, body, _ = await now.call_dataverse("DELETE", path)
        assert status == 204, body
        assert (await now.round()).done == {"delete": 1}
        assert now.alice not in now.in_force()
        assert now.alice not in await now.known()
        await now.add_event()
        await now.graph.notifications.quiet()
        assert now.marks() == []

    heard(story)


def test_while_dataverse_cannot_say_who_is_synced_nobody_is_unsubscribed() -> None:
    async def story(now: Listening) -> None:
        await now.round()
        now.cloud.faults.add({"service": "dataverse", "do": "refuse", "status": 503, "times": None})
        for _ in range(20):
            await now.clock.sleep(24 * 3600)
            assert (await now.round()).in_force == PEOPLE

    heard(story)


def test_when_nobody_is_to_be_told_any_more_all_end() -> None:
    async def story(now: Listening) -> None:
        await now.round()
        now.settings = replace(now.settings, notification_url="")
        now.app = now.start_app()
        assert await now.round() == Report(done={"delete": PEOPLE}, in_force=0, refused={})
        assert (now.in_force(), await now.known()) == ({}, {})

    heard(story)


# Who refuses.


@pytest.mark.parametrize(
    ("status", "code"), [(403, "ExtensionError"), (404, "ResourceNotFound"), (400, "InvalidRequest")]
)
def test_a_mailbox_that_refuses_is_noted_and_stops_no_other(status: int, code: str) -> None:
    async def story(now: Listening) -> None:
        [rule] = now.cloud.faults.add(
            {"service": "graph", "method": "POST", "path": "*/subscriptions", "times": 1, "do": "refuse"}
            | {"status": status, "code": code}
        )
        report = await now.round()
        assert (report.done, report.in_force) == ({"create": PEOPLE - 1, "refused": 1}, PEOPLE - 1)
        [(mailbox, why)] = report.refused.items()
        assert str(status) in why
        assert code in why
        rule.times = 0
        assert (await now.round()).done == {}
        await now.clock.sleep(300)
        report = await now.round()
        assert (report.done, report.in_force, report.refused) == ({"create": 1}, PEOPLE, {})
        assert mailbox in now.in_force()

    heard(story)


def test_the_command_asks_those_again_that_refused_lately() -> None:
    async def story(now: Listening) -> None:
        now.cloud.faults.add({"service": "graph", "path": "*/subscriptions", "times": 1, "do": "refuse", "status": 403})
        assert (await now.round()).in_force == PEOPLE - 1
        assert (await now.round(anew=True)).in_force == PEOPLE

    heard(story)


def test_the_command_finds_what_graph_has_lost() -> None:
    async def story(now: Listening) -> None:
        await now.round()
        await now.recoveries()
        now.graph.notifications._subscriptions.clear()
        assert (await now.round()).done == {}
        assert (await now.round(anew=True)).done == {"renew": PEOPLE}
        assert len(now.in_force()) == PEOPLE
        assert len(await now.recoveries()) == PEOPLE

    heard(story)


def test_a_mailbox_without_licence_is_asked_ever_less_often() -> None:
    async def story(now: Listening) -> None:
        account = now.directory.accounts[now.alice]
        now.change_account(account, has_mailbox=False)
        await now.round()
        now.cloud.recorder.clear()
        for _ in range(24 * 12):
            await now.clock.sleep(300)
            await now.round()
        assert now.calls("POST") <= 6 + 24 / 6 + 1
        now.change_account(account, has_mailbox=True)
        assert (await now.round(anew=True)).in_force == PEOPLE

    heard(story)


def test_a_permission_that_is_missing_leaves_all_for_later_and_is_said() -> None:
    async def story(now: Listening) -> None:
        app = now.contoso.booking_sync
        roles = tuple(role for role in app.graph_roles if role != READER)
        now.directory.applications[app.client_id] = replace(app, graph_roles=roles)
        report = await now.round()
        assert (report.in_force, len(report.refused)) == (0, PEOPLE)
        assert all("403" in why for why in report.refused.values())

    heard(story)


@pytest.mark.parametrize(
    "effect", [{"do": "refuse", "status": 503}, {"do": "refuse", "status": 429, "retry_after": 120}, {"do": "drop"}]
)
def test_an_outage_of_graph_is_waited_for(effect: dict[str, Any]) -> None:
    async def story(now: Listening) -> None:
        [rule] = now.cloud.faults.add({"service": "graph", "times": None, **effect})
        report = await now.round()
        assert (report.in_force, report.refused) == (0, {})
        rule.times = 0
        await now.clock.sleep(300)
        assert (await now.round()).in_force == PEOPLE
        assert {len(those) for those in now.in_force().values()} == {1}

    heard(story)


def test_an_address_that_does_not_answer_is_said() -> None:
    async def story(now: Listening) -> None:
        now.cloud.faults.add({"service": "notification", "times": None, "do": "refuse", "status": 500})
        report = await now.round()
        assert (report.in_force, len(report.refused)) == (0, PEOPLE)

    heard(story)


# What Graph tells of subscriptions.


def test_a_challenge_is_answered_by_a_renewal() -> None:
    async def story(now: Listening) -> None:
        now.cloud.settings.change({"notification.authorization_seconds": 24 * 3600})
        await now.round()
        ids = {those[0].id for those in now.in_force().values()}
        for _ in range(24 * 4):
            await now.clock.sleep(3600)
            await now.graph.notifications.quiet()
            await now.round()
            found = now.in_force()
            assert all(now.graph.notifications.lifecycle.is_authorized(those[0]) for those in found.values())
        assert {those[0].id for those in now.in_force().values()} == ids
        assert list(await now.store.orders()) == []

    heard(story)


def test_a_removed_subscription_is_made_anew_and_its_mailbox_recovered() -> None:
    async def story(now: Listening) -> None:
        now.cloud.settings.change(ONCE)
        await now.round()
        await now.recoveries()
        now.cloud.faults.add({"service": "notification", "times": 1, "do": "remove_subscription"})
        event = await now.add_event()
        await now.graph.notifications.quiet()
        assert now.alice not in now.in_force()
        assert await now.recoveries() == {now.alice}
        assert (await now.round()).done == {"create": 1}
        assert await now.recoveries() == {now.alice}
        await now.move(event)
        await now.graph.notifications.quiet()
        assert [mark["mailbox"] for mark in now.marks()] == [now.alice]
        assert list(await now.store.orders()) == []

    heard(story)


def test_missed_notifications_have_the_mailbox_recovered() -> None:
    async def story(now: Listening) -> None:
        now.cloud.settings.change(ONCE)
        await now.round()
        await now.recoveries()
        now.cloud.faults.add({"service": "notification", "times": 1, "do": "missed"})
        await now.add_event()
        await now.graph.notifications.quiet()
        assert (await now.recoveries(), now.marks()) == ({now.alice}, [])
        assert (await now.round()).done == {}

    heard(story)


def test_a_challenge_that_could_not_be_answered_is_not_forgotten() -> None:
    async def story(now: Listening) -> None:
        await now.round()
        now.graph.notifications.signal("reauthorizationRequired")
        await now.graph.notifications.quiet()
        assert len(await now.store.orders()) == PEOPLE
        [rule] = now.cloud.faults.add({"service": "graph", "times": None, "do": "refuse", "status": 503})
        assert (await now.round()).done == {"left for later": PEOPLE}
        assert len(await now.store.orders()) == PEOPLE
        rule.times = 0
        assert (await now.round()).done == {"renew": PEOPLE}
        assert list(await now.store.orders()) == []

    heard(story)


# Faults at any point.


def test_two_hosts_at_once_make_one_subscription_for_each_mailbox() -> None:
    async def story(now: Listening) -> None:
        other = now.start_app()
        reports = await asyncio.gather(now.app.subscribing.round(), other.subscribing.round())
        await now.graph.notifications.quiet()
        assert {len(those) for those in now.in_force().values()} == {1}
        assert len(now.in_force()) == PEOPLE
        done = Counter[str]()
        for report in reports:
            done.update(report.done)
        assert done["create"] == PEOPLE
        known, found = await now.known(), now.in_force()
        assert all(known[mailbox].id == those[0].id for mailbox, those in found.items())

    heard(story)


@pytest.mark.parametrize("after_the_call", [False, True], ids=["before", "after"])
def test_r1_a_crash_at_any_outside_call_leaves_no_mailbox_unheard(*, after_the_call: bool) -> None:
    async def story(now: Listening, calls: int) -> bool:
        now.fuse.left, now.fuse.after_the_call = calls, after_the_call
        try:
            await now.app.subscribing.round()
        except (BaseExceptionGroup, Crash):
            if not now.fuse.is_dead:
                raise
        survived = not now.fuse.is_dead
        now.app = now.start_app()
        await now.round()
        known, found = await now.known(), now.in_force()
        assert {len(those) for those in found.values()} == {1}
        assert len(found) == PEOPLE
        for mailbox, [one] in found.items():
            assert (known[mailbox].id, known[mailbox].client_state) == (one.id, one.client_state)
        assert await now.recoveries() == set(found)
        return survived

    finished: list[bool] = []
    for calls in range(200):

        async def once(now: Listening, calls: int = calls) -> None:
            finished.append(await story(now, calls))

        heard(once)
        if finished[-1]:
            break
    assert finished[-1]
    assert len(finished) > 10

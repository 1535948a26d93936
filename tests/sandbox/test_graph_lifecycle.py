"""The life of subscriptions: challenges, removals, what was missed, and what is delivered meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from sandbox.cloud import Cloud
from sandbox.directory import Directory
from sandbox.graph.routes import Graph
from sandbox.http import Json
from tests.sandbox.apps import ALICE, BOB, App, code
from tests.sandbox.loops import VIRTUAL_TIME
from tests.sandbox.receivers import LIFECYCLE_URL, URL, Receiver
from tests.sandbox.test_graph_notifications import ONCE
from tests.sandbox.test_graph_subscriptions import in_minutes, subscribe

pytestmark = VIRTUAL_TIME

HOUR = 3600.0
FIRST, LAST = 10_000 * 60 - 12 * HOUR, 10_000 * 60.0


@pytest.fixture
def receiver(cloud: Cloud) -> Receiver:
    receiver = Receiver(cloud)
    cloud.send = receiver.send
    return receiver


@pytest.fixture
async def app(app_with: Callable[..., App], receiver: Receiver, cloud: Cloud) -> App:
    assert not receiver.posts
    cloud.settings.change(ONCE)
    return app_with("Calendars.Read", "Calendars.ReadWrite")


def fresh(app: App) -> App:
    """The same application with a new token."""
    return App(app.cloud, app.tokens, app.application)


async def watch(app: App, **changes: Json) -> Json:
    """A subscription that hears of its own life."""
    return await subscribe(app, **{"lifecycleNotificationUrl": LIFECYCLE_URL, **changes})


def signals(receiver: Receiver) -> list[tuple[str, str]]:
    """What was told of which subscription."""
    return [
        (item["lifecycleEvent"], item["subscriptionId"])
        for _, post, _ in receiver.posts
        for item in post.json()["value"]
        if "lifecycleEvent" in item
    ]


def changes(receiver: Receiver) -> list[str]:
    return [item["resourceData"]["id"] for item in receiver.items if "resourceData" in item]


async def test_a_lifecycle_notification_looks_like_the_documented_one(
    app: App, receiver: Receiver, graph: Graph, directory: Directory
) -> None:
    subscription = await watch(app)
    assert graph.notifications.signal("missed", subscription["id"]) == 1
    await graph.notifications.quiet()
    ((_, post, seconds),) = receiver.posts
    assert (post.path, seconds) == ("/api/graph/lifecycle", 3.0)
    assert post.json() == {
        "value": [
            {
                "subscriptionId": subscription["id"],
                "subscriptionExpirationDateTime": subscription["expirationDateTime"].replace("Z", "+00:00"),
                "tenantId": directory.tenant_id,
                "clientState": "known to two",
                "lifecycleEvent": "missed",
            }
        ]
    }


async def test_signals_of_many_subscriptions_share_a_post(app: App, receiver: Receiver, graph: Graph) -> None:
    ids = [(await watch(app, resource=f"users/{user}/events"))["id"] for user in (ALICE, BOB)]
    assert graph.notifications.signal("subscriptionRemoved") == 2
    await graph.notifications.quiet()
    assert len(receiver.posts) == 1
    assert sorted(signals(receiver)) == sorted(("subscriptionRemoved", one) for one in ids)


async def test_a_receiver_of_both_gets_them_apart(app: App, receiver: Receiver, graph: Graph, cloud: Cloud) -> None:
    await subscribe(app, lifecycleNotificationUrl=URL)
    cloud.settings.change({"notification.gather_seconds": 10})
    graph.notifications.signal("missed")
    event = (await app.create())["id"]
    await graph.notifications.quiet()
    assert sorted(len(body["value"]) for body in receiver.bodies) == [1, 1]
    assert (len(signals(receiver)), changes(receiver)) == (1, [event])


async def test_without_a_url_nothing_is_told(app: App, receiver: Receiver, graph: Graph) -> None:
    await subscribe(app)
    for event in ("missed", "reauthorizationRequired", "subscriptionRemoved"):
        assert graph.notifications.signal(event) == 1
    await graph.notifications.quiet()
    assert receiver.posts == []
    assert (await app.get("/subscriptions")).json()["value"] == []


async def test_signals_are_sent_again_like_anything_else(app: App, receiver: Receiver, graph: Graph) -> None:
    subscription = await watch(app)
    receiver.answers = [500, TimeoutError()]
    graph.notifications.signal("subscriptionRemoved")
    await graph.notifications.quiet()
    assert receiver.times() == [0, 10, 30]
    assert signals(receiver) == [("subscriptionRemoved", subscription["id"])] * 3


class TestRemoved:
    async def test_a_removed_subscription_is_gone(self, app: App, receiver: Receiver, graph: Graph) -> None:
        subscription = await watch(app)
        graph.notifications.signal("subscriptionRemoved")
        await app.create()
        await graph.notifications.quiet()
        assert code(await app.get(f"/subscriptions/{subscription['id']}")) == (404, "ResourceNotFound")
        assert signals(receiver) == [("subscriptionRemoved", subscription["id"])]
        assert changes(receiver) == []

    async def test_a_fault_removes_it_when_it_would_be_told(
        self, app: App, receiver: Receiver, graph: Graph, cloud: Cloud
    ) -> None:
        subscription = await watch(app)
        cloud.faults.add({"service": "notification", "do": "remove_subscription"})
        await app.create()
        await graph.notifications.quiet()
        await app.create()
        await graph.notifications.quiet()
        assert signals(receiver) == [("subscriptionRemoved", subscription["id"])]
        assert changes(receiver) == []
        calls = [call for call in cloud.recorder.calls if call.service == "notification"][2:]
        assert [(call.tags["kind"], call.fault, call.status) for call in calls] == [
            ("change", "remove_subscription", 0),
            ("lifecycle", "", 202),
        ]


class TestMissed:
    async def test_a_fault_loses_a_post_and_says_so(
        self, app: App, receiver: Receiver, graph: Graph, cloud: Cloud
    ) -> None:
        subscription = await watch(app)
        cloud.faults.add({"service": "notification", "do": "missed"})
        await app.create()
        await graph.notifications.quiet()
        kept = (await app.create())["id"]
        await graph.notifications.quiet()
        assert signals(receiver) == [("missed", subscription["id"])]
        assert changes(receiver) == [kept]

    async def test_what_was_given_up_was_missed(self, app: App, receiver: Receiver, graph: Graph, cloud: Cloud) -> None:
        subscription = await watch(app)
        cloud.faults.add({"service": "notification", "path": "*/notifications", "do": "refuse", "times": None})
        await app.create()
        await graph.notifications.quiet()
        assert signals(receiver) == [("missed", subscription["id"])]

    async def test_what_was_dropped_was_missed_and_told_once_in_ten_minutes(
        self, app: App, receiver: Receiver, graph: Graph, cloud: Cloud
    ) -> None:
        cloud.settings.change({"notification.least_answers": 3})
        subscription = await watch(app)
        receiver.answers = [(60.0, 202)] * 4
        await app.create()
        await graph.notifications.quiet()
        assert [seconds for _, _, seconds in receiver.posts] == [3.0, 10.0, 10.0, 10.0, 10.0]
        receiver.posts.clear()
        for _ in range(3):
            await app.create()
        await graph.notifications.quiet()
        assert signals(receiver) == [("missed", subscription["id"])]
        assert changes(receiver) == []


class TestReauthorization:
    async def test_the_end_of_a_short_subscription_is_announced_every_fifteen_minutes(
        self, app: App, receiver: Receiver, cloud: Cloud
    ) -> None:
        began = cloud.clock.now()
        subscription = await watch(app, expirationDateTime=in_minutes(cloud, 50))
        await asyncio.sleep(2 * HOUR)
        assert signals(receiver) == [("reauthorizationRequired", subscription["id"])] * 3
        assert [(at - began).total_seconds() / 60 for at, _, _ in receiver.posts] == [15, 30, 45]

    async def test_the_end_of_a_long_one_is_announced_twelve_hours_before(
        self, app: App, receiver: Receiver, cloud: Cloud
    ) -> None:
        began = cloud.clock.now()
        await watch(app, expirationDateTime=in_minutes(cloud, 10_000))
        await asyncio.sleep(FIRST - 1)
        assert receiver.posts == []
        await asyncio.sleep(LAST)
        times = [(at - began).total_seconds() for at, _, _ in receiver.posts]
        left = [(LAST - at) / HOUR for at in times]
        assert left[:3] == [12, 10.5, pytest.approx(10.5 * 7 / 8)]
        assert left[-4:] == pytest.approx([left[-1] + quarter / 4 for quarter in (3, 2, 1, 0)])
        assert 0 < left[-1] <= 0.25

    async def test_renewing_in_time_silences_the_challenges(self, app: App, receiver: Receiver, cloud: Cloud) -> None:
        subscription = await watch(app, expirationDateTime=in_minutes(cloud, 2000))
        for _ in range(5):
            await asyncio.sleep(1000 * 60)
            body = {"expirationDateTime": in_minutes(cloud, 2000)}
            renewed = await fresh(app).call("PATCH", f"/subscriptions/{subscription['id']}", body)
            assert renewed.status == 200
        assert receiver.posts == []

    async def test_a_deleted_subscription_is_not_announced(self, app: App, receiver: Receiver, cloud: Cloud) -> None:
        subscription = await watch(app, expirationDateTime=in_minutes(cloud, 50))
        await app.call("DELETE", f"/subscriptions/{subscription['id']}")
        await asyncio.sleep(2 * HOUR)
        assert receiver.posts == []

    async def test_notifications_wait_for_the_authorization_and_come_then(
        self, app: App, receiver: Receiver, graph: Graph, cloud: Cloud
    ) -> None:
        cloud.settings.change({"notification.authorization_seconds": HOUR})
        subscription = await watch(app)
        event = (await app.create())["id"]
        await asyncio.sleep(HOUR)
        assert (len(signals(receiver)), changes(receiver)) == (3, [event])
        app = fresh(app)
        late = (await app.create())["id"]
        await asyncio.sleep(HOUR)
        assert changes(receiver) == [event]
        assert (await fresh(app).call("POST", f"/subscriptions/{subscription['id']}/reauthorize")).status == 204
        await graph.notifications.quiet()
        assert changes(receiver) == [event, late]

    async def test_after_four_hours_without_authorization_they_are_lost(
        self, app: App, receiver: Receiver, graph: Graph, cloud: Cloud
    ) -> None:
        cloud.settings.change({"notification.authorization_seconds": HOUR})
        subscription = await watch(app)
        await asyncio.sleep(HOUR)
        await fresh(app).create()
        await asyncio.sleep(5 * HOUR)
        body = {"expirationDateTime": in_minutes(cloud, 5000)}
        assert (await fresh(app).call("PATCH", f"/subscriptions/{subscription['id']}", body)).status == 200
        await graph.notifications.quiet()
        assert changes(receiver) == []
        event = (await fresh(app).create())["id"]
        await graph.notifications.quiet()
        assert changes(receiver) == [event]

    async def test_a_permission_that_was_taken_away_stops_the_delivery(
        self, app: App, receiver: Receiver, graph: Graph, directory: Directory
    ) -> None:
        subscription = await watch(app)
        directory.register(replace(app.application, graph_roles=("Calendars.ReadWrite",)))
        event = (await app.create())["id"]
        await asyncio.sleep(600)
        assert signals(receiver) == [("reauthorizationRequired", subscription["id"])]
        assert changes(receiver) == []
        directory.register(app.application)
        await graph.notifications.quiet()
        assert changes(receiver) == [event]

    async def test_one_without_permission_does_not_hold_up_another(
        self, app: App, app_with: Callable[..., App], receiver: Receiver, graph: Graph, directory: Directory
    ) -> None:
        other = app_with("Calendars.Read")
        await subscribe(app)
        kept = await subscribe(other)
        directory.register(replace(app.application, graph_roles=()))
        await app.create()
        await asyncio.sleep(1)
        assert [item["subscriptionId"] for item in receiver.items] == [kept["id"]]
        await graph.notifications.quiet()
        assert len(receiver.posts) == 1

    async def test_an_announced_challenge_ends_in_silence_after_an_hour(
        self, app: App, receiver: Receiver, graph: Graph, cloud: Cloud
    ) -> None:
        subscription = await watch(app)
        cloud.faults.add({"service": "notification", "do": "require_reauthorization"})
        first = (await app.create())["id"]
        await asyncio.sleep(HOUR - 1)
        second = (await fresh(app).create())["id"]
        await asyncio.sleep(2)
        await fresh(app).create()
        await asyncio.sleep(5 * HOUR)
        assert changes(receiver) == [first, second]
        assert signals(receiver) == [("reauthorizationRequired", subscription["id"])] * 4
        await graph.notifications.quiet()


async def test_the_overview_tells_what_is_subscribed_and_what_waits(
    app: App, receiver: Receiver, graph: Graph, cloud: Cloud, directory: Directory
) -> None:
    subscription = await watch(app)
    cloud.settings.change({"notification.delay_seconds": 60})
    await app.create()
    directory.register(replace(app.application, graph_roles=()))
    seen = graph.notifications.overview()
    assert seen["subscriptions"] == [
        {
            "id": subscription["id"],
            "app": app.application.client_id,
            "mailbox": subscription["resource"].split("/")[1],
            "resource": subscription["resource"],
            "changeType": "created,updated,deleted",
            "expirationDateTime": subscription["expirationDateTime"].replace("Z", "+00:00"),
            "authorized": False,
            "lifecycle": True,
            "includeResourceData": False,
        }
    ]
    assert seen["posts"] == {"waiting": 1, "under_way": 0, "held": 0}
    directory.register(app.application)
    await graph.notifications.quiet()
    seen = graph.notifications.overview()
    assert (seen["posts"]["waiting"], seen["receivers"]) == (0, [{"url": URL, "pace": "fast"}])
    assert len(receiver.posts) == 1


async def test_wrong_signals_are_named(app: App, graph: Graph) -> None:
    await watch(app)
    with pytest.raises(ValueError, match="missed"):
        graph.notifications.signal("exploded")
    with pytest.raises(ValueError, match="no subscription 'x'"):
        graph.notifications.signal("missed", "x")

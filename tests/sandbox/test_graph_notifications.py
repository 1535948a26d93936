"""Change notifications: who is told what, when, how often, and what happens when nobody takes them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta

import pytest

from sandbox.cloud import Cloud
from sandbox.directory import Directory, known_id
from sandbox.graph.endpoints import Endpoint, Pace
from sandbox.graph.routes import Graph
from sandbox.graph.state import Calendar
from sandbox.http import Json
from tests.sandbox.apps import ALICE, BOB, IMMUTABLE, App, an_event
from tests.sandbox.loops import VIRTUAL_TIME
from tests.sandbox.receivers import URL, Answer, Receiver
from tests.sandbox.test_graph_batch import JSON, by_id, part
from tests.sandbox.test_graph_subscriptions import ALICE_ID, in_minutes, subscribe

pytestmark = VIRTUAL_TIME

ONCE = {"notification.per_change": [1, 1]}


@pytest.fixture
def receiver(cloud: Cloud) -> Receiver:
    receiver = Receiver(cloud)
    cloud.send = receiver.send
    return receiver


@pytest.fixture
async def app(app_with: Callable[..., App], receiver: Receiver) -> App:
    assert not receiver.posts
    return app_with("Calendars.Read", "Calendars.ReadWrite")


async def change(app: App, event_id: str, **changes: Json) -> Json:
    answer = await app.call("PATCH", f"/users/{ALICE}/events/{event_id}", changes or {"subject": "Changed"})
    assert answer.status == 200, answer.body
    return answer.json()


class TestWhatIsTold:
    async def test_a_notification_looks_like_the_documented_one(
        self, app: App, receiver: Receiver, graph: Graph, cloud: Cloud, directory: Directory
    ) -> None:
        cloud.settings.change(ONCE)
        subscription = await subscribe(app, notificationUrl=f"{URL}?code=k")
        created = await app.create()
        await graph.notifications.quiet()
        ((_, post, seconds),) = receiver.posts
        assert (post.method, post.base, post.path) == ("POST", "https://functions.test", "/api/graph/notifications")
        assert (post.query, seconds) == ((("code", "k"),), 3.0)
        assert post.header("content-type") == "application/json; charset=utf-8"
        resource = f"Users/{ALICE_ID}/Events/{created['id']}"
        assert post.json() == {
            "value": [
                {
                    "subscriptionId": subscription["id"],
                    "subscriptionExpirationDateTime": subscription["expirationDateTime"].replace("Z", "+00:00"),
                    "changeType": "created",
                    "resource": resource,
                    "resourceData": {
                        "@odata.type": "#Microsoft.Graph.Event",
                        "@odata.id": resource,
                        "@odata.etag": created["@odata.etag"],
                        "id": created["id"],
                    },
                    "clientState": "known to two",
                    "tenantId": directory.tenant_id,
                }
            ]
        }

    async def test_a_change_is_told_two_to_four_times(self, app: App, receiver: Receiver, graph: Graph) -> None:
        await subscribe(app)
        kinds = ("created", "updated", "deleted")
        seen = {kind: set[int]() for kind in kinds}
        for _ in range(20):
            event = (await app.create())["id"]
            for kind in kinds:
                if kind == "updated":
                    await change(app, event)
                if kind == "deleted":
                    await app.call("DELETE", f"/users/{ALICE}/events/{event}")
                await graph.notifications.quiet()
                assert receiver.told()[0] == (kind, event)
                assert set(receiver.told()[1:]) == {("updated", event)}
                seen[kind].add(len(receiver.posts))
                assert 0 < receiver.times()[-1] <= 1
                receiver.posts.clear()
        assert list(seen.values()) == [{2, 3, 4}] * 3

    async def test_the_version_is_that_of_the_change(
        self, app: App, receiver: Receiver, graph: Graph, cloud: Cloud
    ) -> None:
        cloud.settings.change(ONCE)
        await subscribe(app)
        created = await app.create()
        changed = await change(app, created["id"])
        await graph.notifications.quiet()
        assert [item["resourceData"]["@odata.etag"] for item in receiver.items] == [
            created["@odata.etag"],
            changed["@odata.etag"],
        ]

    @pytest.mark.parametrize(
        ("change_type", "told"),
        [
            ("created", ["created"]),
            ("updated", ["updated"] * 9),
            ("deleted", ["deleted"]),
            ("created,deleted", ["created", "deleted"]),
        ],
    )
    async def test_only_the_wanted_kinds_are_told(
        self, app: App, receiver: Receiver, graph: Graph, cloud: Cloud, change_type: str, told: list[str]
    ) -> None:
        cloud.settings.change({"notification.per_change": [4, 4]})
        await subscribe(app, changeType=change_type)
        event = (await app.create())["id"]
        await app.call("DELETE", f"/users/{ALICE}/events/{event}")
        if "updated" in change_type:
            await change(app, (await app.create())["id"])
            told = ["updated"] * (3 + 3 + 3 + 4)
        await graph.notifications.quiet()
        assert [kind for kind, _ in receiver.told()] == told

    async def test_ids_have_the_form_that_the_subscription_was_made_with(
        self, app: App, receiver: Receiver, graph: Graph, cloud: Cloud
    ) -> None:
        cloud.settings.change(ONCE)
        await subscribe(app, headers=IMMUTABLE)
        await subscribe(app, changeType="created,deleted")
        plain = (await app.create())["id"]
        immutable = (await app.list(f"/users/{ALICE}/events", headers=IMMUTABLE))[0]["id"]
        await app.call("DELETE", f"/users/{ALICE}/events/{plain}")
        await graph.notifications.quiet()
        assert receiver.told() == [
            ("created", immutable),
            ("created", plain),
            ("deleted", immutable),
            ("deleted", plain),
        ]

    async def test_all_calendars_of_the_mailbox_are_watched_and_no_other_mailbox(
        self, app: App, receiver: Receiver, graph: Graph, cloud: Cloud, directory: Directory
    ) -> None:
        cloud.settings.change(ONCE)
        await subscribe(app)
        account = directory.find(ALICE)
        assert account is not None
        second = Calendar(id="AAMkA" + "A" * 75, name="Second", is_default=False)
        graph.state.mailbox(account).calendars[second.id] = second
        created = await app.call("POST", f"/users/{ALICE}/calendars/{second.id}/events", an_event())
        await app.create(BOB)
        await graph.notifications.quiet()
        assert receiver.told() == [("created", created.json()["id"])]

    async def test_a_subscription_without_client_state_has_none_to_show(
        self, app: App, receiver: Receiver, graph: Graph
    ) -> None:
        await subscribe(app, clientState=...)
        await app.create()
        await graph.notifications.quiet()
        assert not any("clientState" in item for item in receiver.items)

    async def test_every_spelling_of_a_resource_occurs(
        self, app: App, receiver: Receiver, graph: Graph, cloud: Cloud, directory: Directory
    ) -> None:
        await subscribe(app)
        cloud.settings.change({"notification.resource": "any", "notification.per_change": [10, 10]})
        event = (await app.create())["id"]
        await graph.notifications.quiet()
        assert {item["resource"] for item in receiver.items} == {
            f"Users/{ALICE_ID}/Events/{event}",
            f"Users('{ALICE_ID}')/events('{event}')",
            f"users/{ALICE_ID}@{directory.tenant_id}/events/{event}",
        }

    async def test_what_has_ended_is_told_nothing(
        self, app: App, receiver: Receiver, graph: Graph, cloud: Cloud
    ) -> None:
        cloud.settings.change({"notification.delay_seconds": 10})
        ended = await subscribe(app, changeType="created")
        await subscribe(app, changeType="created,updated", expirationDateTime=in_minutes(cloud, 45))
        await app.create()
        await app.call("DELETE", f"/subscriptions/{ended['id']}")
        cloud.clock.advance(timedelta(minutes=45))
        await app.create()
        await graph.notifications.quiet()
        assert receiver.posts == []


class TestPosts:
    async def test_what_is_due_at_once_shares_a_post(
        self, app: App, receiver: Receiver, graph: Graph, cloud: Cloud
    ) -> None:
        cloud.settings.change(ONCE)
        for user in (ALICE, BOB):
            await subscribe(app, resource=f"users/{user}/events")
        urls = [f"/users/{user}/events" for user in (ALICE, BOB)]
        await by_id(app, *(part(number, "POST", url, headers=JSON, body=an_event()) for number, url in enumerate(urls)))
        await graph.notifications.quiet()
        (body,) = receiver.bodies
        assert {item["resource"].split("/")[1] for item in body["value"]} == {
            known_id("user", one) for one in (ALICE, BOB)
        }
        assert [call.tags for call in cloud.recorder.calls if call.service == "notification"][-1] == {
            "kind": "change",
            "items": "2",
        }

    async def test_different_receivers_get_different_posts(
        self, app: App, receiver: Receiver, graph: Graph, cloud: Cloud
    ) -> None:
        cloud.settings.change(ONCE)
        await subscribe(app)
        await subscribe(app, notificationUrl=f"{URL}/2", changeType="created")
        await app.create()
        await graph.notifications.quiet()
        assert [post.path[-2:] for _, post, _ in receiver.posts] == ["ns", "/2"]

    async def test_notifications_can_be_gathered(
        self, app: App, receiver: Receiver, graph: Graph, cloud: Cloud
    ) -> None:
        cloud.settings.change({**ONCE, "notification.gather_seconds": 5})
        await subscribe(app)
        began = cloud.clock.now()
        for _ in range(3):
            await app.create()
            await asyncio.sleep(2)
        await graph.notifications.quiet()
        assert [len(body["value"]) for body in receiver.bodies] in ([3], [2, 1], [1, 2])
        assert all(at.timestamp() % 5 == 0 for at, _, _ in receiver.posts)
        assert receiver.posts[-1][0] - began < timedelta(seconds=10)

    async def test_a_post_holds_a_hundred_at_most(
        self, app: App, receiver: Receiver, graph: Graph, cloud: Cloud
    ) -> None:
        cloud.settings.change({**ONCE, "notification.delay_seconds": 60, "graph.mailbox_requests": None})
        await subscribe(app)
        for _ in range(101):
            await app.create()
        await graph.notifications.quiet()
        assert sorted(len(body["value"]) for body in receiver.bodies) == [1, 100]

    async def test_notifications_wait_for_their_delay(
        self, app: App, receiver: Receiver, graph: Graph, cloud: Cloud
    ) -> None:
        cloud.settings.change({**ONCE, "notification.delay_seconds": 120})
        await subscribe(app)
        began = cloud.clock.now()
        await app.create()
        assert graph.notifications.counts == {"waiting": 1, "under_way": 0, "held": 0}
        await graph.notifications.quiet()
        assert receiver.posts[0][0] - began == timedelta(minutes=2)
        assert graph.notifications.counts == {"waiting": 0, "under_way": 0, "held": 0}

    async def test_the_log_knows_the_mailbox_and_the_application_and_no_secret(
        self, app: App, receiver: Receiver, graph: Graph, cloud: Cloud
    ) -> None:
        await subscribe(app, notificationUrl=f"{URL}?code=secret")
        await app.create()
        await graph.notifications.quiet()
        calls = [call for call in cloud.recorder.calls if call.service == "notification"]
        assert {(call.mailbox, call.app, call.status) for call in calls[1:]} == {
            (ALICE_ID, app.application.client_id, 202)
        }
        assert len(receiver.posts) == len(calls) - 1
        logged = json.dumps([call.as_json() for call in calls])
        assert "secret" not in logged
        assert "known to two" not in logged


class TestRetries:
    @pytest.mark.parametrize("status", [200, 202, 204, 299])
    async def test_any_2xx_is_taken_for_delivered(
        self, app: App, receiver: Receiver, graph: Graph, cloud: Cloud, status: int
    ) -> None:
        cloud.settings.change(ONCE)
        await subscribe(app)
        receiver.answers = [status]
        await app.create()
        await graph.notifications.quiet()
        assert len(receiver.posts) == 1

    @pytest.mark.parametrize(
        ("answers", "times"),
        [
            ([503], [0, 10]),
            ([400, 404], [0, 10, 30]),
            ([429, 302], [0, 10, 30]),
            ([ConnectionError()], [0, 10]),
            ([TimeoutError()], [0, 10]),
            # three seconds are enough for the first attempt, ten for the others
            ([(2.9, 202)], [0]),
            ([(3.1, 202)], [0, 13]),
            ([(3.1, 202), (9, 202)], [0, 13]),
            ([(3.1, 202), (11, 202)], [0, 13, 43]),
        ],
    )
    async def test_anything_else_is_sent_again_at_growing_intervals(
        self, app: App, receiver: Receiver, graph: Graph, cloud: Cloud, answers: list[Answer], times: list[float]
    ) -> None:
        cloud.settings.change(ONCE)
        await subscribe(app)
        receiver.answers = list(answers)
        await app.create()
        await graph.notifications.quiet()
        assert receiver.times() == pytest.approx(times)
        assert len({post.body for _, post, _ in receiver.posts}) == 1
        assert [seconds for _, _, seconds in receiver.posts] == [3.0, *[10.0] * (len(times) - 1)]

    async def test_after_four_hours_it_is_given_up(
        self, app: App, receiver: Receiver, graph: Graph, cloud: Cloud
    ) -> None:
        cloud.settings.change(ONCE)
        await subscribe(app)
        receiver.answers = [503] * 100
        await app.create()
        await graph.notifications.quiet()
        assert receiver.times() == [10 * (2**number - 1) for number in range(11)]
        assert 3600 < receiver.times()[-1] <= 4 * 3600

    async def test_a_retry_ends_with_its_subscription(
        self, app: App, receiver: Receiver, graph: Graph, cloud: Cloud
    ) -> None:
        cloud.settings.change(ONCE)
        subscription = await subscribe(app)
        receiver.answers = [503] * 100
        await app.create()
        await asyncio.sleep(15)
        await app.call("DELETE", f"/subscriptions/{subscription['id']}")
        await graph.notifications.quiet()
        assert receiver.times() == [0, 10]

    async def test_one_receiver_in_trouble_does_not_hold_up_another(
        self, app: App, receiver: Receiver, cloud: Cloud
    ) -> None:
        cloud.settings.change(ONCE)
        await subscribe(app, notificationUrl=f"{URL}/1")
        cloud.faults.add({"service": "notification", "path": "*/1", "do": "refuse", "times": None})
        await app.create()
        await asyncio.sleep(60)
        await subscribe(app, notificationUrl=f"{URL}/2", changeType="created")
        before = cloud.clock.now()
        await app.create()
        await asyncio.sleep(1)
        assert [(at - before, post.path[-2:]) for at, post, _ in receiver.posts] == [(timedelta(), "/2")]


class TestPace:
    """What slow receivers bring upon themselves."""

    async def test_a_slow_endpoint_is_told_later(
        self, app: App, receiver: Receiver, graph: Graph, cloud: Cloud
    ) -> None:
        cloud.settings.change({**ONCE, "notification.least_answers": 10})
        await subscribe(app)
        receiver.answers = [(3.1, 202), (3.1, 202), *[202] * 100]
        for _ in range(10):
            await app.create()
            await asyncio.sleep(1)
        await graph.notifications.quiet()
        receiver.posts.clear()
        before = cloud.clock.now()
        await app.create()
        await graph.notifications.quiet()
        assert receiver.posts[0][0] - before == timedelta(minutes=10)
        before = cloud.clock.now()
        await app.create()
        await graph.notifications.quiet()
        assert receiver.posts[1][0] == before

    async def test_a_very_slow_endpoint_is_told_nothing_for_ten_minutes(
        self, app: App, receiver: Receiver, graph: Graph, cloud: Cloud
    ) -> None:
        cloud.settings.change({**ONCE, "notification.least_answers": 5})
        await subscribe(app)
        receiver.answers = [(60.0, 202)] * 3
        await app.create()
        for _ in range(3):
            await asyncio.sleep(60)
            await app.create()
        await graph.notifications.quiet()
        receiver.posts.clear()
        await app.create()
        await graph.notifications.quiet()
        assert receiver.posts == []
        await asyncio.sleep(600)
        await app.create()
        await graph.notifications.quiet()
        assert len(receiver.posts) == 1

    async def test_few_answers_say_nothing(self, app: App, receiver: Receiver, graph: Graph) -> None:
        await subscribe(app)
        receiver.answers = [(60.0, 202)] * 3
        await app.create()
        await graph.notifications.quiet()
        receiver.posts.clear()
        before = asyncio.get_running_loop().time()
        await app.create()
        await graph.notifications.quiet()
        assert asyncio.get_running_loop().time() - before <= 1
        assert receiver.times()[0] == 0

    @pytest.mark.parametrize(
        ("answers", "pace"),
        [
            ([0.1] * 100, Pace.FAST),
            ([3.1] * 10 + [0.1] * 90, Pace.FAST),
            ([3.1] * 11 + [0.1] * 89, Pace.SLOW),
            ([10.1] * 15 + [0.1] * 85, Pace.SLOW),
            ([10.1] * 16 + [0.1] * 84, Pace.DROP),
            ([3.1] * 100, Pace.SLOW),
            ([10.1] * 99, Pace.FAST),
        ],
    )
    async def test_the_shares_are_the_documented_ones(self, cloud: Cloud, answers: list[float], pace: Pace) -> None:
        endpoint, now = Endpoint(), cloud.clock.now()
        for took in answers:
            endpoint.note(now, took)
        assert endpoint.pace(now, least=100) is pace
        assert endpoint.pace(now + timedelta(minutes=10), least=100) is Pace.FAST


class TestFaults:
    @pytest.mark.parametrize(
        ("effect", "arrived"), [("lose", [1]), ("duplicate", [0, 0, 1]), ("reorder", [1, 0]), ("hold", [1])]
    )
    async def test_posts_can_be_lost_doubled_overtaken_and_held(
        self, app: App, receiver: Receiver, graph: Graph, cloud: Cloud, effect: str, arrived: list[int]
    ) -> None:
        cloud.settings.change({**ONCE, "notification.delay_seconds": 1, "notification.in_flight": 1})
        await subscribe(app)
        cloud.faults.add({"service": "notification", "do": effect})
        ids = []
        for _ in range(2):
            ids.append((await app.create())["id"])
            await asyncio.sleep(0.1)
        await graph.notifications.quiet()
        assert [ids.index(event) for _, event in receiver.told()] == arrived
        if effect == "hold":
            assert graph.notifications.counts["held"] == graph.notifications.release() == 1
            await graph.notifications.quiet()
            assert [ids.index(event) for _, event in receiver.told()] == [1, 0]

    async def test_a_rule_can_be_about_one_application(
        self, app: App, app_with: Callable[..., App], receiver: Receiver, graph: Graph, cloud: Cloud
    ) -> None:
        other = app_with("Calendars.Read")
        cloud.settings.change(ONCE)
        lost, kept = await subscribe(app, notificationUrl=f"{URL}/1"), await subscribe(other)
        cloud.faults.add({"service": "notification", "app": app.application.client_id, "do": "lose", "times": None})
        await app.create()
        await graph.notifications.quiet()
        assert [item["subscriptionId"] for item in receiver.items] == [kept["id"]] != [lost["id"]]

    async def test_posts_go_in_any_order_when_told(
        self, app: App, receiver: Receiver, graph: Graph, cloud: Cloud
    ) -> None:
        cloud.settings.change({**ONCE, "notification.shuffle": True, "notification.in_flight": 1})
        await subscribe(app)
        cloud.faults.add({"service": "notification", "do": "delay", "seconds": 60})
        ids = []
        for _ in range(12):
            ids.append((await app.create())["id"])
            await asyncio.sleep(1)
        await graph.notifications.quiet()
        arrived = [ids.index(event) for _, event in receiver.told()]
        assert arrived != sorted(arrived) == list(range(12))


async def test_the_same_seed_tells_the_same_at_the_same_time(
    app: App, receiver: Receiver, graph: Graph, cloud: Cloud
) -> None:
    traces = []
    for _ in range(2):
        cloud.random.seed(7)
        graph.reset()
        receiver.posts.clear()
        cloud.settings.change({"notification.shuffle": True, "notification.resource": "any"})
        await subscribe(app, expirationDateTime="2026-03-05T00:00:00Z")
        began = cloud.clock.now()
        for _ in range(5):
            await app.create()
        await graph.notifications.quiet()
        bodies = [[(item["changeType"], item["resource"]) for item in body["value"]] for body in receiver.bodies]
        traces.append([(at - began, body) for (at, _, _), body in zip(receiver.posts, bodies, strict=True)])
    assert traces[0] == traces[1]


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_reset_and_close_drop_what_waits(
    app: App, receiver: Receiver, graph: Graph, cloud: Cloud, how: str
) -> None:
    cloud.settings.change({"notification.delay_seconds": 60})
    await subscribe(app)
    await app.create()
    if how == "close":
        await graph.close()
    else:
        graph.reset()
    await graph.notifications.quiet()
    assert receiver.posts == []

"""Subscriptions: who may have which, how URLs are validated, how long they live."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from sandbox.cloud import Cloud
from sandbox.directory import Account, Directory, known_id
from sandbox.graph.routes import Graph
from sandbox.http import Json, Request, Response
from tests.sandbox.apps import ALICE, BOB, ROOM, UNLICENSED, App, code
from tests.sandbox.loops import VIRTUAL_TIME
from tests.sandbox.receivers import LIFECYCLE_URL, TEXT, URL, Receiver, echo
from tests.sandbox.test_graph_batch import JSON, by_id, part
from tests.sandbox.test_graph_queries import follow

pytestmark = VIRTUAL_TIME

ALICE_ID = known_id("user", ALICE)


@pytest.fixture
def receiver(cloud: Cloud) -> Receiver:
    receiver = Receiver(cloud)
    cloud.send = receiver.send
    return receiver


@pytest.fixture
async def app(app_with: Callable[..., App], receiver: Receiver) -> App:
    assert not receiver.posts
    return app_with("Calendars.Read", "Calendars.ReadWrite")


def in_minutes(cloud: Cloud, minutes: float) -> str:
    return (cloud.clock.now() + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


def a_subscription(cloud: Cloud, **changes: Json) -> dict[str, Json]:
    """The body of a create; `changes` replace or add properties, `...` takes one away."""
    body = {
        "changeType": "created,updated,deleted",
        "notificationUrl": URL,
        "resource": f"users/{ALICE_ID}/events",
        "expirationDateTime": in_minutes(cloud, 1000),
        "clientState": "known to two",
    }
    return {name: value for name, value in {**body, **changes}.items() if value is not ...}


async def subscribe(app: App, *, headers: dict[str, str] | None = None, **changes: Json) -> Json:
    answer = await app.call("POST", "/subscriptions", a_subscription(app.cloud, **changes), headers=headers)
    assert answer.status == 201, answer.body
    return answer.json()


async def refusal(app: App, **changes: Json) -> tuple[int, str, str]:
    answer = await app.call("POST", "/subscriptions", a_subscription(app.cloud, **changes))
    return (*code(answer), answer.json()["error"]["message"])


class TestCreate:
    async def test_the_answer_is_the_subscription(self, app: App, cloud: Cloud) -> None:
        created = await subscribe(app, lifecycleNotificationUrl=LIFECYCLE_URL)
        assert created == {
            "@odata.context": "https://localhost:4444/v1.0/$metadata#subscriptions/$entity",
            "id": created["id"],
            "resource": f"users/{ALICE_ID}/events",
            "applicationId": app.application.client_id,
            "changeType": "created,updated,deleted",
            "clientState": "known to two",
            "notificationUrl": URL,
            "notificationQueryOptions": None,
            "lifecycleNotificationUrl": LIFECYCLE_URL,
            "expirationDateTime": in_minutes(cloud, 1000),
            "creatorId": app.application.object_id,
            "includeResourceData": None,
            "latestSupportedTlsVersion": "v1_2",
            "encryptionCertificate": None,
            "encryptionCertificateId": None,
            "notificationUrlAppId": None,
        }
        assert (await app.get(f"/subscriptions/{created['id'].upper()}")).json() == created

    @pytest.mark.parametrize(
        "resource",
        [
            f"/users/{ALICE_ID}/events",
            f"users/{ALICE}/events",
            f"Users/{ALICE_ID.upper()}/Events",
            f"users('{ALICE_ID}')/events",
            f"users/{ROOM}/events",
        ],
    )
    async def test_resources_in_every_spelling(self, app: App, resource: str) -> None:
        assert (await subscribe(app, resource=resource))["resource"] == resource

    @pytest.mark.parametrize(
        ("resource", "status", "name", "says"),
        [
            ("me/events", 400, "BadRequest", "only valid with delegated"),
            (f"users/{ALICE}/calendars/AAMkA/events", 400, "ExtensionError", "parameter 'Resource' is not supported"),
            (f"users/{ALICE}/events/AAMkA", 400, "ExtensionError", "Operation: Create; Exception: [Status Code: Bad"),
            (
                "users/nobody@contoso.test/events",
                404,
                "ExtensionError",
                "[Status Code: NotFound; Reason: The req",
            ),
            (f"users/{UNLICENSED}/events", 404, "ExtensionError", "is either inactive, soft-deleted, or is hosted"),
            (f"users/{ALICE}/events?$filter=subject eq 'x'", 501, "NotImplemented", "query options"),
            (f"users/{ALICE}/messages", 501, "NotImplemented", "messages"),
            ("users", 501, "NotImplemented", "users"),
            ("", 400, "InvalidRequest", "'resource'"),
        ],
    )
    async def test_resources_that_cannot_be_watched(
        self, app: App, resource: str, status: int, name: str, says: str
    ) -> None:
        found = await refusal(app, resource=resource)
        assert found[:2] == (status, name)
        assert says in found[2]

    @pytest.mark.parametrize(
        ("changes", "status", "says"),
        [
            ({"changeType": ...}, 400, "changeType"),
            ({"changeType": "created,moved"}, 400, "'created,moved'"),
            ({"changeType": ["created"]}, 400, "changeType"),
            ({"notificationUrl": ...}, 400, "notificationUrl"),
            ({"notificationUrl": "http://functions.test/"}, 400, "https"),
            ({"lifecycleNotificationUrl": "ftp://functions.test/"}, 400, "https"),
            ({"resource": ...}, 400, "resource"),
            ({"expirationDateTime": ...}, 400, "expirationDateTime"),
            ({"expirationDateTime": "tomorrow"}, 400, "'tomorrow'"),
            ({"clientState": "x" * 129}, 400, "128"),
            ({"clientState": 5}, 400, "clientState"),
            ({"latestSupportedTlsVersion": "v1_4"}, 400, "v1_4"),
            ({"colour": "red"}, 400, "colour"),
            ({"notificationQueryOptions": "$filter=x"}, 501, "notificationQueryOptions"),
            ({"notificationUrlAppId": known_id("app", "x")}, 501, "notificationUrlAppId"),
        ],
    )
    async def test_properties_that_cannot_be(
        self, app: App, receiver: Receiver, changes: dict[str, Any], status: int, says: str
    ) -> None:
        found = await refusal(app, **changes)
        assert found[0] == status
        assert says in found[2]
        assert receiver.validations == []

    async def test_properties_that_say_nothing_are_taken(self, app: App) -> None:
        odata: dict[str, Any] = {"@odata.type": "#microsoft.graph.subscription"}
        created = await subscribe(app, clientState=None, notificationQueryOptions=None, **odata)
        assert created["clientState"] is None

    @pytest.mark.parametrize("roles", [("Calendars.ReadWrite",), ("Calendars.ReadBasic",), ("User.Read.All",), ()])
    async def test_only_the_permission_to_read_counts(
        self, app_with: Callable[..., App], receiver: Receiver, roles: tuple[str, ...]
    ) -> None:
        app = app_with(*roles)
        assert (await refusal(app))[:2] == (403, "ExtensionError")
        assert code(await app.get("/subscriptions")) == (403, "ExtensionError")
        assert receiver.validations == []

    async def test_the_log_knows_the_mailbox(self, app: App, cloud: Cloud) -> None:
        created = await subscribe(app)
        await app.get(f"/subscriptions/{created['id']}")
        calls = [call for call in cloud.recorder.calls if call.service == "graph"]
        assert [call.mailbox for call in calls] == [ALICE_ID] * 2


class TestValidation:
    async def test_both_urls_are_asked_in_turn(self, app: App, receiver: Receiver, cloud: Cloud) -> None:
        await subscribe(app, notificationUrl=f"{URL}?code=key%2F1", lifecycleNotificationUrl=LIFECYCLE_URL)
        first, second = receiver.validations
        assert (first.method, first.base, first.path) == ("POST", "https://functions.test", "/api/graph/notifications")
        assert first.query[0] == ("code", "key/1")
        assert first.query[1][1].startswith("Validation: Testing client application reachability")
        assert first.header("content-type") == "text/plain; charset=utf-8"
        assert first.body == b""
        assert second.path == "/api/graph/lifecycle"
        assert first.query[1] != second.query[0]
        calls = [call for call in cloud.recorder.calls if call.service == "notification"]
        assert [(call.status, call.tags["kind"], call.mailbox) for call in calls] == [(200, "validation", ALICE_ID)] * 2
        assert "reachability" not in json.dumps([call.as_json() for call in calls])

    async def test_one_url_for_both_purposes_is_asked_twice(self, app: App, receiver: Receiver) -> None:
        await subscribe(app, lifecycleNotificationUrl=URL)
        assert len(receiver.validations) == 2

    @pytest.mark.parametrize(
        ("answer", "says"),
        [
            (Response(status=202, headers=TEXT), "must respond with 200 OK to validation request."),
            (Response(status=404), "must respond with 200 OK to validation request."),
            (Response(status=200, headers=TEXT, body=b"another"), "Response must exactly match validationToken"),
            (Response(status=200, headers={"content-type": "application/json"}), "must exactly match"),
        ],
    )
    async def test_a_wrong_answer_refuses_the_subscription(
        self, app: App, receiver: Receiver, answer: Response, says: str
    ) -> None:
        receiver.validate = lambda _request: answer
        found = await refusal(app)
        assert found[:2] == (400, "InvalidRequest")
        assert found[2].startswith("Subscription validation request failed. ")
        assert says in found[2]
        assert (await app.get("/subscriptions")).json()["value"] == []

    async def test_an_echo_with_another_content_type_is_none(self, app: App, receiver: Receiver) -> None:
        receiver.validate = lambda request: Response(
            status=200, headers={"Content-Type": "text/html"}, body=echo(request).body
        )
        assert "must exactly match" in (await refusal(app))[2]

    async def test_a_late_or_missing_answer_refuses_it_too(self, app: App, receiver: Receiver, cloud: Cloud) -> None:
        async def silent(_request: Request, seconds: float) -> Response:
            async with asyncio.timeout(seconds):
                await asyncio.sleep(3600)
            raise AssertionError

        cloud.send = silent
        before = cloud.clock.now()
        assert (await refusal(app))[2] == "Subscription validation request timed out."
        assert cloud.clock.now() - before == timedelta(seconds=10)
        cloud.send = receiver.send
        cloud.faults.add({"service": "notification", "do": "drop"})
        assert (await refusal(app))[2] == "Subscription validation request timed out."

    async def test_both_urls_must_pass(self, app: App, receiver: Receiver) -> None:
        receiver.validate = lambda request: echo(request) if request.path.endswith("s") else Response(status=500)
        assert (await refusal(app, lifecycleNotificationUrl=LIFECYCLE_URL))[0] == 400

    async def test_there_is_no_subscription_while_its_urls_are_asked(self, app: App, cloud: Cloud) -> None:
        seen: list[Json] = []

        async def look(request: Request, _seconds: float) -> Response:
            seen.append((await app.get("/subscriptions")).json()["value"])
            return echo(request)

        cloud.send = look
        await subscribe(app, lifecycleNotificationUrl=LIFECYCLE_URL)
        assert seen == [[], []]


class TestLifetime:
    async def test_the_longest_is_what_the_live_service_takes(self, app: App, cloud: Cloud) -> None:
        await subscribe(app, expirationDateTime=in_minutes(cloud, 10_070))
        found = await refusal(app, resource=f"users/{BOB}/events", expirationDateTime=in_minutes(cloud, 10_080))
        assert found == (400, "ExtensionError", "Subscription expiration can only be 10070 minutes in the future.")
        cloud.settings.change({"graph.subscription_minutes": 4230})
        assert "4230 minutes" in (await refusal(app, expirationDateTime=in_minutes(cloud, 4231)))[2]

    @pytest.mark.parametrize("minutes", [-10, 0, 44])
    async def test_a_short_one_is_raised(self, app: App, cloud: Cloud, minutes: float) -> None:
        created = await subscribe(app, expirationDateTime=in_minutes(cloud, minutes))
        assert created["expirationDateTime"] == in_minutes(cloud, 45)

    async def test_expired_ones_are_gone(self, app: App, cloud: Cloud) -> None:
        created = await subscribe(app, expirationDateTime=in_minutes(cloud, 50))
        cloud.clock.advance(timedelta(minutes=49))
        path = f"/subscriptions/{created['id']}"
        assert (await app.get(path)).status == 200
        cloud.clock.advance(timedelta(minutes=1))
        later = app.cloud
        for method, body in (("GET", None), ("PATCH", {"expirationDateTime": in_minutes(later, 60)}), ("DELETE", None)):
            assert code(await app.call(method, path, body)) == (404, "ResourceNotFound")
        assert (await app.get("/subscriptions")).json()["value"] == []
        await subscribe(app)

    async def test_renewing_moves_the_end(self, app: App, cloud: Cloud, receiver: Receiver) -> None:
        created = await subscribe(app, expirationDateTime=in_minutes(cloud, 50))
        path, until = f"/subscriptions/{created['id']}", in_minutes(cloud, 5000)
        renewed = await app.call("PATCH", path, {"expirationDateTime": until})
        assert (renewed.status, renewed.json()) == (200, {**created, "expirationDateTime": until})
        assert len(receiver.validations) == 1
        too_late = await app.call("PATCH", path, {"expirationDateTime": in_minutes(cloud, 10_071)})
        assert code(too_late) == (400, "ExtensionError")
        assert (await app.get(path)).json()["expirationDateTime"] == until

    async def test_reauthorizing_leaves_the_end(self, app: App) -> None:
        created = await subscribe(app)
        path = f"/subscriptions/{created['id']}"
        answer = await app.call("POST", f"{path}/reauthorize")
        assert (answer.status, answer.body) == (204, b"")
        assert (await app.get(path)).json() == created


class TestUpdate:
    async def test_a_new_url_is_validated(self, app: App, receiver: Receiver) -> None:
        created = await subscribe(app)
        path = f"/subscriptions/{created['id']}"
        moved = await app.call("PATCH", path, {"notificationUrl": f"{URL}/v2"})
        assert moved.json()["notificationUrl"] == f"{URL}/v2"
        assert [request.path for request in receiver.validations][-1] == "/api/graph/notifications/v2"
        receiver.validate = lambda _request: Response(status=500)
        assert code(await app.call("PATCH", path, {"notificationUrl": URL})) == (400, "InvalidRequest")
        assert (await app.get(path)).json()["notificationUrl"] == f"{URL}/v2"

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({}, 400),
            ({"colour": "red"}, 400),
            ({"expirationDateTime": "soon"}, 400),
            ({"clientState": "another"}, 501),
            ({"changeType": "created"}, 501),
            ({"resource": "users/x/events"}, 501),
            ({"lifecycleNotificationUrl": LIFECYCLE_URL}, 501),
        ],
    )
    async def test_what_cannot_be_changed(self, app: App, body: Json, status: int) -> None:
        created = await subscribe(app)
        assert (await app.call("PATCH", f"/subscriptions/{created['id']}", body)).status == status


class TestConflict:
    @pytest.mark.parametrize(
        "again",
        [
            {},
            {"changeType": "deleted, updated,created"},
            {"resource": f"/Users/{ALICE_ID}/events"},
            {"notificationUrl": f"{URL}/2"},
        ],
    )
    async def test_the_same_combination_names_the_existing_one(self, app: App, again: dict[str, Json]) -> None:
        created = await subscribe(app)
        assert await refusal(app, **again) == (
            409,
            "Conflict",
            f"Subscription Id {created['id']} already exists for the requested combination",
        )

    @pytest.mark.parametrize("other", [{"changeType": "updated"}, {"resource": f"users/{ALICE}/events"}])
    async def test_another_combination_is_another_subscription(self, app: App, other: dict[str, Json]) -> None:
        assert (await subscribe(app))["id"] != (await subscribe(app, **other))["id"]

    async def test_another_application_may_have_the_same(self, app: App, app_with: Callable[..., App]) -> None:
        await subscribe(app)
        await subscribe(app_with("Calendars.Read"))

    async def test_of_two_at_once_one_wins(self, app: App, cloud: Cloud) -> None:
        cloud.faults.add({"service": "notification", "do": "delay", "seconds": 2})
        body = a_subscription(cloud)
        answers = await asyncio.gather(*(app.call("POST", "/subscriptions", body) for _ in range(2)))
        assert sorted(answer.status for answer in answers) == [201, 409]
        assert len((await app.get("/subscriptions")).json()["value"]) == 1

    async def test_a_mailbox_has_room_for_so_many(self, app: App, app_with: Callable[..., App], cloud: Cloud) -> None:
        cloud.settings.change({"graph.mailbox_subscriptions": 2})
        await subscribe(app)
        await subscribe(app_with("Calendars.Read"))
        found = await refusal(app, changeType="created")
        assert found[:2] == (403, "ExtensionError")
        assert "limit of 2 active subscriptions" in found[2]
        await subscribe(app, resource=f"users/{BOB}/events")


class TestOwnership:
    async def test_an_application_sees_its_own_ones_only(self, app: App, app_with: Callable[..., App]) -> None:
        created, other = await subscribe(app), app_with("Calendars.Read")
        path = f"/subscriptions/{created['id']}"
        assert (await other.get("/subscriptions")).json()["value"] == []
        for method, below, body in (
            ("GET", "", None),
            ("DELETE", "", None),
            ("PATCH", "", {"expirationDateTime": in_minutes(app.cloud, 60)}),
            ("POST", "/reauthorize", None),
        ):
            assert code(await other.call(method, path + below, body)) == (404, "ResourceNotFound")
        assert (await app.get(path)).status == 200

    async def test_deleting_ends_it_once(self, app: App) -> None:
        path = f"/subscriptions/{(await subscribe(app))['id']}"
        assert (await app.call("DELETE", path)).status == 204
        assert code(await app.call("DELETE", path)) == (404, "ResourceNotFound")
        await subscribe(app)

    async def test_lists_come_in_pages(self, app: App, directory: Directory) -> None:
        addresses = [f"user-{number}@contoso.test" for number in range(101)]
        for address in addresses:
            directory.add(Account(id=known_id("user", address), name=address, address=address))
            await subscribe(app, resource=f"users/{address}/events")
        first = await app.get("/subscriptions")
        last = await follow(app, first)
        found = [one["resource"] for page in (first, last) for one in page.json()["value"]]
        assert (len(first.json()["value"]), len(found)) == (100, 101)
        assert sorted(found) == sorted(f"users/{address}/events" for address in addresses)
        assert "@odata.nextLink" not in last.json()

    async def test_a_reset_ends_all(self, app: App, graph: Graph) -> None:
        await subscribe(app)
        graph.reset()
        assert (await app.get("/subscriptions")).json()["value"] == []


async def test_subscriptions_can_be_made_in_a_batch(app: App, cloud: Cloud) -> None:
    bodies = [a_subscription(cloud, resource=f"users/{user}/events") for user in (ALICE, BOB)]
    parts = [part(number, "POST", "/subscriptions", headers=JSON, body=body) for number, body in enumerate(bodies)]
    answers = await by_id(app, *parts)
    assert [answers[str(number)]["status"] for number in range(2)] == [201, 201]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/subscriptions?$select=id"), ("GET", "/subscriptions?$top=5"), ("PUT", "/subscriptions/x")],
)
async def test_what_is_not_modelled_is_refused_loudly(app: App, method: str, path: str) -> None:
    assert code(await app.call(method, path)) == (501, "NotImplemented")


@pytest.mark.parametrize("path", ["/subscriptions", "/subscriptions/x"])
async def test_conditions_are_refused_loudly(app: App, path: str) -> None:
    assert code(await app.get(path, headers={"If-None-Match": "*"})) == (501, "NotImplemented")

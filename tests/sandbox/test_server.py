"""The simulators behind real TLS, and real clients in front of them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import msal
import pytest
import requests
from aiohttp import ClientSession, ServerDisconnectedError, TCPConnector
from yarl import URL

from sandbox.cloud import Cloud
from sandbox.directory import known_id
from sandbox.http import Request, Response
from sandbox.server import MAX_BODY, Authority, HttpSender, Listener, open_listener
from sandbox.simulators import Simulators
from tests.sandbox.apps import App
from tests.sandbox.receivers import echo
from tests.sandbox.test_graph_subscriptions import subscribe


class Mirror:
    """A service that tells what it was asked, or does what the path says."""

    def __init__(self) -> None:
        self.seen: list[Request] = []

    async def handle(self, request: Request) -> Response:
        self.seen.append(request)
        if request.path == "/broken":
            raise RuntimeError("broken")
        if request.path == "/drop":
            return Response(status=0, dropped=True)
        if request.path == "/empty":
            return Response(status=202)
        return Response.of_json(200, {"length": len(request.body)}, {"X-Mine": "1"})

    def error(self, status: int, code: str, message: str) -> Response:
        return Response.of_json(status, {"code": code, "message": message})


@pytest.fixture
def mirror() -> Mirror:
    return Mirror()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
async def listener(mirror: Mirror, authority: Authority) -> AsyncIterator[Listener]:
    listener = await open_listener(mirror, authority)
    yield listener
    await listener.close()


@pytest.fixture
async def client(authority: Authority) -> AsyncIterator[ClientSession]:
    context = ssl.create_default_context(cafile=authority.pem)
    async with ClientSession(connector=TCPConnector(ssl=context)) as session:
        yield session


async def test_requests_become_values(mirror: Mirror, listener: Listener, client: ClientSession) -> None:
    headers = [("Prefer", 'IdType="ImmutableId"'), ("Prefer", 'outlook.timezone="UTC"'), ("X-Case", "Kept")]
    url = URL(f"{listener.base_url}/v1.0/users/a%2Fb/events?$top=5&$filter=a%20eq%20'b%2Bc'", encoded=True)
    async with client.post(url, data=b"body", headers=headers) as answer:
        assert (answer.status, answer.headers["X-Mine"], await answer.json()) == (200, "1", {"length": 4})
    (seen,) = mirror.seen
    assert (seen.method, seen.path, seen.body, seen.base) == (
        "POST",
        "/v1.0/users/a%2Fb/events",
        b"body",
        listener.base_url,
    )
    assert seen.query == (("$top", "5"), ("$filter", "a eq 'b+c'"))
    assert seen.prefer() == {"idtype": "ImmutableId", "outlook.timezone": "UTC"}
    assert seen.header("x-case") == "Kept"


async def test_empty_answers_have_no_content_type(listener: Listener, client: ClientSession) -> None:
    async with client.get(f"{listener.base_url}/empty") as answer:
        assert (answer.status, await answer.read()) == (202, b"")
        assert "Content-Type" not in answer.headers


async def test_bodies_are_bounded(mirror: Mirror, listener: Listener, client: ClientSession) -> None:
    async with client.post(listener.base_url, data=BytesIO(b"x" * MAX_BODY)) as answer:
        assert (await answer.json())["length"] == MAX_BODY
    async with client.post(listener.base_url, data=BytesIO(b"x" * 3 * MAX_BODY)) as answer:
        assert (answer.status, (await answer.json())["code"]) == (413, "RequestEntityTooLarge")
    assert len(mirror.seen) == 1


async def test_dropped_answers_break_the_connection(listener: Listener, client: ClientSession) -> None:
    with pytest.raises(ServerDisconnectedError):
        await client.post(f"{listener.base_url}/drop", data=b"x")


async def test_failing_simulator_says_so(
    listener: Listener, client: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with client.get(f"{listener.base_url}/broken") as answer:
        assert (answer.status, (await answer.json())["code"]) == (500, "SandboxFailed")
    assert "RuntimeError: broken" in caplog.text


async def test_port_can_be_given_and_may_be_taken(mirror: Mirror, authority: Authority, listener: Listener) -> None:
    with pytest.raises(OSError, match="address already in use"):
        await open_listener(mirror, authority, port=listener.port)


async def test_sender_reaches_listeners(mirror: Mirror, authority: Authority, listener: Listener) -> None:
    async with HttpSender(authority) as send:
        request = Request.of("POST", f"{listener.base_url}/a%2Fb?x=1%2B1", headers={"X-Mine": "1"}, body=b"hello")
        answer = await send(request, 5.0)
        assert (answer.status, answer.json(), answer.headers["x-mine"]) == (200, {"length": 5}, "1")
        assert (mirror.seen[0].path, mirror.seen[0].query) == ("/a%2Fb", (("x", "1+1"),))


async def test_sender_reports_broken_connections(authority: Authority, listener: Listener) -> None:
    async with HttpSender(authority) as send:
        with pytest.raises(ConnectionError):
            await send(Request.of("POST", f"{listener.base_url}/drop", body=b"x"), 5.0)
        await listener.close()
        with pytest.raises(ConnectionError):
            await send(Request.of("POST", f"{listener.base_url}/", body=b"x"), 5.0)
    with pytest.raises(ConnectionError):
        await send(Request.of("POST", f"{listener.base_url}/", body=b"x"), 5.0)


async def test_sender_does_not_wait_for_ever(authority: Authority, cloud: Cloud) -> None:
    class Sleeper(Mirror):
        async def handle(self, request: Request) -> Response:
            await asyncio.Event().wait()
            return await super().handle(request)

    listener = await open_listener(Sleeper(), authority)
    async with HttpSender(authority) as cloud.send:
        with pytest.raises(TimeoutError):
            await cloud.send(Request.of("POST", f"{listener.base_url}/"), 0.01)
    await listener.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("simulators")


async def test_msal_gets_a_token_that_graph_takes(place: Path) -> None:
    async with Simulators(place) as simulators:
        application = simulators.directory.applications[known_id("application", "Planner")]
        authority = f"{simulators.endpoints['login']}/{simulators.directory.tenant_id}"

        def acquire(secret: str) -> dict[str, Any]:
            with requests.Session() as session:
                session.verify, session.trust_env = str(simulators.ca), False
                app = msal.ConfidentialClientApplication(
                    application.client_id,
                    client_credential=secret,
                    authority=authority,
                    instance_discovery=False,
                    http_client=session,
                )
                found: dict[str, Any] = app.acquire_token_for_client(["https://graph.microsoft.com/.default"])
                return found

        refused = await asyncio.to_thread(acquire, "wrong")
        assert (refused["error"], refused["error_codes"]) == ("invalid_client", [7000215])
        token = (await asyncio.to_thread(acquire, application.secrets[0]))["access_token"]
        status, users = await get(simulators, "graph", "/v1.0/users", {"Authorization": f"Bearer {token}"})
        assert status == 200
        assert "alice@contoso.test" in {user["userPrincipalName"] for user in users["value"]}


async def test_simulators_tell_where_they_are_and_can_be_reset(place: Path) -> None:
    async with Simulators(place, seed=3) as simulators:
        assert set(simulators.endpoints) == {
            *("login", "graph", "dataverse", "keyvault", "identity", "control", "page"),
        }
        assert await get(simulators, "control", "/health") == (
            200,
            {"status": "ok", "services": ["dataverse", "graph", "identity", "keyvault", "login"]},
        )
        resources = simulators.entra.resources
        assert resources[simulators.endpoints["dataverse"]] == "dataverse"
        assert resources["https://graph.microsoft.com"] == "graph"
        people, applications = dict(simulators.directory.accounts), dict(simulators.directory.applications)
        simulators.reset()
        assert not simulators.directory.accounts
        simulators.seed("contoso")
        assert simulators.directory.accounts == people
        assert simulators.directory.applications == applications
        with pytest.raises(ValueError, match="fabrikam"):
            simulators.seed("fabrikam")


class Subscriber(Mirror):
    """Echoes validations, and takes everything else."""

    async def handle(self, request: Request) -> Response:
        self.seen.append(request)
        token = dict(request.query).get("validationToken")
        return Response(status=202) if token is None else echo(request)


async def test_notifications_travel_by_https(place: Path) -> None:
    async with Simulators(place) as simulators:
        subscriber = Subscriber()
        listener = await open_listener(subscriber, simulators._authority)
        cloud, tokens = simulators.cloud, simulators.entra.tokens
        app = App(cloud, tokens, simulators.directory.applications[known_id("application", "Booking Sync")])
        cloud.settings.change({"notification.per_change": [1, 1]})
        try:
            url = f"{listener.base_url}/notifications?code=a%2Bb"
            await subscribe(app, notificationUrl=url, resource="users/alice@contoso.test/events")
            created = await app.create()
            await simulators.graph.notifications.quiet()
        finally:
            await listener.close()
        validation, post = subscriber.seen
        assert validation.query[0] == post.query[0] == ("code", "a+b")
        assert post.json()["value"][0]["resourceData"]["id"] == created["id"]


async def get(
    simulators: Simulators, service: str, path: str, headers: Mapping[str, str] | None = None
) -> tuple[int, Any]:
    context = ssl.create_default_context(cafile=simulators.ca)
    async with (
        ClientSession(connector=TCPConnector(ssl=context)) as session,
        session.get(simulators.endpoints[service] + path, headers=headers) as answer,
    ):
        return answer.status, await answer.json()

"""Graph's posts through the real worker: the address proves itself, secrets decide, and nothing else gets in."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from sandbox.up import Up
from tests.intake.test_graph_notices import item, post
from tests.system.test_intake import client_of

pytestmark = pytest.mark.asyncio(loop_scope="package")

ROUTES = ["/api/graph/notifications", "/api/graph/lifecycle"]
TOKEN = "Validation: Testing client application reachability for subscription Request-Id: 6f1b0b5e+8a3c/4c39%=&<b>ü"


@pytest_asyncio.fixture(loop_scope="package")
async def session(up: Up) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of the functions host, without any key."""
    async with client_of(up) as made:
        yield made


async def send(session: aiohttp.ClientSession, route: str, body: bytes) -> int:
    async with session.post(
        route, data=io.BytesIO(body), headers={"Content-Type": "application/json; charset=utf-8"}
    ) as answer:
        said = await answer.read()
        assert (answer.status == 202) == (not said)
        return answer.status


@pytest.mark.parametrize("route", ROUTES)
async def test_the_address_proves_itself_and_reflects_nothing_but_the_token(
    session: aiohttp.ClientSession, route: str
) -> None:
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    async with session.post(route, params={"validationToken": TOKEN}, headers=headers) as answer:
        assert (answer.status, await answer.text()) == (200, TOKEN)
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("token", ["", "a" * 1025, "a\nb", "a\x00"])
async def test_what_is_no_token_is_not_reflected(session: aiohttp.ClientSession, token: str) -> None:
    async with session.post(ROUTES[0], params={"validationToken": token}) as answer:
        said = await answer.json(content_type="application/problem+json")
        assert (answer.status, said["status"]) == (400, 400)
        assert "a" * 10 not in json.dumps(said)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("body", "status"), [(b"{", 400), (b"[]", 400), (b" " * (4 * 1024 * 1024 + 1), 413)])
async def test_what_graph_cannot_have_sent_is_refused(
    session: aiohttp.ClientSession, route: str, body: bytes, status: int
) -> None:
    assert await send(session, route, body) == status


@pytest.mark.parametrize("route", ROUTES)
async def test_strangers_are_told_nothing_and_nothing_is_stored(
    up: Up, session: aiohttp.ClientSession, route: str
) -> None:
    [one, *_] = up.simulators.graph.notifications._subscriptions.all(up.simulators.cloud.clock.now())
    before = await up.table.count("")
    assert await send(session, route, post(item(), item(one.id, "a guess"), None)) == 202
    assert await up.table.count("") == before
    assert "3 unreadable" not in up.functions_log.read_text()


async def test_every_mailbox_is_subscribed_when_it_is_up(up: Up) -> None:
    state = up.simulators.graph.notifications.overview()
    people = {account.id for account in up.simulators.directory.accounts.values() if account.has_mailbox}
    rooms = {account.id for account in up.simulators.directory.accounts.values() if account.is_room}
    assert {one["mailbox"] for one in state["subscriptions"]} == people - rooms


async def test_the_command_renews_and_says_who_refuses(up: Up, session: aiohttp.ClientSession) -> None:
    async with session.post("/api/subscriptions/renew") as answer:
        assert answer.status == 401
    keys = {"x-functions-key": up.functions.host_key}
    async with session.post("/api/subscriptions/renew", headers=keys) as answer:
        said: dict[str, Any] = await answer.json()
        assert answer.status == 200
    [without] = [account for account in up.simulators.directory.accounts.values() if not account.has_mailbox]
    assert list(said["refused"]) == [without.id]
    assert "404" in said["refused"][without.id]
    assert said["in_force"] == said["done"]["renew"]


async def test_r9_foreign_events_are_told_in_time_and_cost_no_call(up: Up) -> None:
    times = {
        name: {"dateTime": f"2027-03-01T{hour}:00:00", "timeZone": "UTC"}
        for name, hour in (("start", "09"), ("end", "10"))
    }
    up.simulators.cloud.recorder.clear()
    async with up.client() as client:
        made = [
            await client.graph("POST", "users/bob@contoso.test/events", {"subject": f"Own {number}", **times})
            for number in range(20)
        ]
        assert {status for status, _, _ in made} == {201}
        await up.quiet()
        calls = [call for call in up.simulators.cloud.recorder.calls if call.service == "notification"]
        assert len(calls) >= 40
        assert {call.status for call in calls} == {202}
        own = [call for call in up.simulators.cloud.recorder.calls if call.app == up.app.client_id]
        assert [call for call in own if call.service == "graph"] == []
        for _, event, _ in made:
            await client.graph("DELETE", f"users/bob@contoso.test/events/{event['id']}")
        await up.quiet()


async def test_r11_while_the_storage_is_down_graph_is_asked_to_come_again() -> None:
    settings = {"SYNC_SHARDS": "none"}
    async with Up(settings=settings) as broken, client_of(broken) as session:
        assert await send(session, ROUTES[0], post(item())) == 503
        async with session.post(ROUTES[0], params={"validationToken": "x"}) as answer:
            assert answer.status == 200

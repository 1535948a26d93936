"""What a person does on the page reaches the other side, and the page shows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from sandbox.directory import known_id
from sandbox.http import Json
from sandbox.up import Up

pytestmark = pytest.mark.asyncio(loop_scope="package")

START = datetime.now(UTC).replace(hour=9, minute=0, second=0, microsecond=0) + timedelta(days=3)


@pytest_asyncio.fixture(loop_scope="package")
async def http(up: Up) -> AsyncIterator[ClientSession]:
    async with ClientSession(up.endpoints["page"]) as session:
        yield session


async def do(http: ClientSession, method: str, path: str, fields: Json) -> None:
    async with http.request(method, path, json=fields) as answer:
        assert answer.status == 204, await answer.text()


async def pair(http: ClientSession, title: str, start: datetime) -> tuple[Json, Json]:
    """The booking and the event of that title, once both sides have it at that time."""
    known = {"after": "0", "answers": "0", "board_version": ""}
    async with asyncio.timeout(30):
        while True:
            window = {"from": f"{START:%Y-%m-%d}", "days": "2", "wait": "5"}
            async with http.get("/api/live", params={**window, **known}) as answer:
                told = await answer.json()
            known = {"after": "0", "answers": str(told["answers"]), "board_version": told["board_version"]}
            for booking in (told["board"] or {"bookings": []})["bookings"]:
                if (booking["title"], booking["state"], booking["start"]) == (
                    title,
                    "same",
                    f"{start:%Y-%m-%dT%H:%M:%SZ}",
                ):
                    [event] = [one for one in told["board"]["events"] if one["booking"] == booking["id"]]
                    return booking, event


async def test_what_is_moved_on_either_side_moves_on_both(http: ClientSession) -> None:
    def times(hours: int) -> dict[str, str]:
        start = START + timedelta(hours=hours)
        return {"start": start.isoformat(), "end": (start + timedelta(hours=1)).isoformat()}

    resource, status = known_id("bookableresource", "Carol Castell"), known_id("bookingstatus", "Committed")
    fields = {"title": "Made on the page", "resource": resource, "status": status, **times(0)}
    await do(http, "POST", "/api/bookings", fields)
    booking, _ = await pair(http, fields["title"], START)
    await do(http, "PATCH", f"/api/bookings/{booking['id']}", times(2))
    _, event = await pair(http, fields["title"], START + timedelta(hours=2))
    await do(http, "PATCH", f"/api/events/{event['mailbox']}/{quote(event['id'], safe='')}", times(4))
    await pair(http, fields["title"], START + timedelta(hours=4))


async def test_the_app_can_be_asked_to_look_for_itself(http: ClientSession) -> None:
    for name in ("Ask Dynamics", "Ask Outlook"):
        await do(http, "POST", f"/api/commands/{quote(name)}", {})

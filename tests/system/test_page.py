"""What a person does on the page reaches the other side, and the page shows it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import ClientSession

from sandbox.directory import known_id
from sandbox.http import Json
from sandbox.up import Up

in_package_loop = pytest.mark.asyncio(loop_scope="package")


@in_package_loop
async def test_a_booking_made_on_the_page_stands_on_both_sides(up: Up) -> None:
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    fields = {
        "title": "Made on the page",
        "resource": known_id("bookableresource", "Carol Castell"),
        "status": known_id("bookingstatus", "Committed"),
        "start": start.isoformat(),
        "end": (start + timedelta(hours=1)).isoformat(),
    }
    async with ClientSession(up.endpoints["page"]) as http:
        async with http.post("/api/bookings", json=fields) as answer:
            assert answer.status == 204, await answer.text()
        told: dict[str, Json] = {"known": 0, "answers": 0}
        async with asyncio.timeout(30):
            while True:
                query = f"from={start:%Y-%m-%d}&days=2&after={told['known']}&answers={told['answers']}&wait=5"
                async with http.get(f"/api/live?{query}") as answer:
                    told = await answer.json()
                [booking] = [one for one in told["board"]["bookings"] if one["title"] == "Made on the page"]
                if booking["state"] == "same":
                    break
        assert told["commands"] == ["Ask Dynamics"]
        async with http.post("/api/commands/Ask%20Dynamics", json={}) as answer:
            assert answer.status == 204, await answer.text()

"""A running cloud with its page, people who use the services, and a browser if this machine has one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from sandbox.client import Client
from sandbox.clock import Clock
from sandbox.dataverse.routes import ORGANIZATION_ID
from sandbox.directory import known_id
from sandbox.http import Json
from sandbox.simulators import Simulators
from tests.page.browser import Tab, find_browser, open_browser

NOW = datetime(2026, 3, 2, 7, 15, tzinfo=UTC)
"""A Monday morning."""
SKIPPED = "NOT TESTED: the page in a browser. There is none here; on Debian: apt-get install chromium."


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if find_browser() is None:
        terminalreporter.write_line(SKIPPED, red=True)


class World:
    """Everything behind the page, and in front of it what a person and the app do elsewhere."""

    def __init__(self, simulators: Simulators, http: ClientSession, planner: Client, app: Client) -> None:
        self.simulators = simulators
        self.url = simulators.endpoints["page"]
        self.planner = planner
        self._http = http
        self._app = app

    def reset(self) -> None:
        self.simulators.reset()
        self.simulators.seed("contoso")

    async def call(
        self, method: str, path: str, body: Json = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Json]:
        """A call of the page's server, as the page makes it."""
        async with self._http.request(method, self.url + path, json=body, headers=headers) as answer:
            return answer.status, await answer.json() if answer.content_type == "application/json" else None

    async def board(self, day: str = "2026-03-02", days: int = 7) -> Json:
        status, told = await self.call("GET", f"/api/live?from={day}&days={days}&after=0&answers=0&wait=0")
        assert status == 200, told
        return told["board"]

    async def book(self, person: str = "Alice Anderson", hour: float = 9, **changes: str) -> str:
        """Book somebody on the Monday, for an hour and a half; the booking's id."""
        start = NOW.replace(hour=0, minute=0) + timedelta(hours=hour)
        fields = {
            "title": "Boiler service",
            "resource": known_id("bookableresource", person),
            "status": known_id("bookingstatus", "Committed"),
            "start": start.isoformat(),
            "end": (start + timedelta(minutes=90)).isoformat(),
            **changes,
        }
        status, problem = await self.call("POST", "/api/bookings", fields)
        assert status == 204, problem
        return self.bookings()[-1]

    def bookings(self) -> list[str]:
        return [row.id for row in self.simulators.dataverse.state.rows("bookableresourcebooking")]

    def booking(self, booking: str) -> dict[str, Json]:
        """What Dynamics says: title, person, times and status."""
        [row] = [one for one in self.simulators.dataverse.state.rows("bookableresourcebooking") if one.id == booking]
        names = {}
        for column in ("resource", "bookingstatus"):
            reference = row.get(column)
            named = self.simulators.dataverse.state.find(reference)  # type: ignore[arg-type]
            names[column] = named.name if named else None
        return {
            "title": row.name,
            "person": names["resource"],
            "start": f"{row.get('starttime'):%a %H:%M}",
            "end": f"{row.get('endtime'):%a %H:%M}",
            "status": names["bookingstatus"],
            "minutes": row.get("duration"),
        }

    async def write_event(
        self, booking: str = "", person: str = "alice", hour: float = 9, minutes: int = 90, **more: Json
    ) -> str:
        """An event on the Monday, as the app writes it for `booking`, or somebody's own; its id."""
        start = NOW.replace(hour=0, minute=0) + timedelta(hours=hour)
        marker = f"1.{ORGANIZATION_ID}.{booking}.1"
        identity = "String {66f5a359-4659-4830-9070-00040ec6ac6e} Name Marker"
        body = {
            "subject": "Boiler service",
            "start": {"dateTime": f"{start:%Y-%m-%dT%H:%M:%S}", "timeZone": "UTC"},
            "end": {"dateTime": f"{start + timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%S}", "timeZone": "UTC"},
            **({"singleValueExtendedProperties": [{"id": identity, "value": marker}]} if booking else {}),
            **more,
        }
        headers = {"Prefer": 'IdType="ImmutableId"'}
        status, made, _ = await self._app.graph("POST", f"users/{person}@contoso.test/events", body, headers)
        assert status == 201, made
        return str(made["id"])

    def event(self, event: str, person: str = "alice") -> dict[str, Json] | None:
        """What Outlook says of an event, `None` when it is gone."""
        mailbox = self.simulators.graph.state.mailbox(self.simulators.directory.accounts[known_id("user", person)])
        if event not in mailbox.events:
            return None
        content = mailbox.events[event].content
        return {
            "title": content.subject,
            "start": f"{content.start.at:%a %H:%M}",
            "end": f"{content.end.at:%a %H:%M}",
            "shown": content.show_as,
        }


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    directory: Path = tmp_path_factory.mktemp("page")
    async with Simulators(directory, clock=Clock(NOW)) as simulators, ClientSession() as http:
        applications = simulators.directory.applications
        planner, app = (
            Client(simulators.endpoints, simulators.ca, simulators.directory.tenant_id, applications[known_id(*one)])
            for one in (("application", "Planner"), ("application", "Booking Sync"))
        )
        async with planner, app:
            yield World(simulators, http, planner, app)


@pytest_asyncio.fixture(loop_scope="session")
async def world(running: World) -> World:
    """A fresh organisation."""
    running.reset()
    return running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Tab]:
    executable = find_browser()
    if executable is None:
        pytest.skip(SKIPPED)
    async with open_browser(executable) as tab:
        yield tab

"""Change tracking on the wire: what is asked, which links are followed, and what their refusal means."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from urllib.parse import unquote

import pytest

from shared.dataverse.changes import DataverseChanges
from shared.dataverse.organization import Organization
from shared.errors import CursorExpiredError, PreconditionError, RefusedError
from shared.http import Caller, HttpRequest, HttpResponse
from shared.sync.pull import MOST_PENDING, Cursor, Page, Pull, Row, Table
from shared.sync.route import Router
from shared.tables.cursors import TableCursors
from shared.tables.memory import MemoryTables
from tests.intake.test_inbox import NOW, Noon, Store

ORGANIZATION = "7a1d0000-0000-4000-8000-0000000000aa"
BASE = "https://contoso.crm4.dynamics.com"
DELTA = "/api/data/v9.2/accounts?$select=accountid,name&$deltatoken=919042%2108%2f22%2f2017%2008%3a10%3a44"
ID = "60c4e274-0d87-e711-80e5-00155db19e6d"


class Service:
    """Implements `Transport`: one answer for everything but WhoAmI."""

    def __init__(self, body: Any, status: int = 200) -> None:
        self.requests: list[HttpRequest] = []
        self._answer = HttpResponse(status=status, body=json.dumps(body).encode())

    async def send(self, request: HttpRequest) -> HttpResponse:
        if request.url.endswith("/WhoAmI"):
            return HttpResponse(status=200, body=json.dumps({"OrganizationId": ORGANIZATION}).encode())
        self.requests.append(request)
        return self._answer


class Token:
    """Implements `Tokens`."""

    async def token(self, _scope: str) -> str:
        return "t"

    def discard(self, scope: str, token: str) -> None:
        pass


def feed(service: Service) -> DataverseChanges:
    caller = Caller(base=BASE, scope="s", transport=service, tokens=Token(), clock=Noon(), random=Random(0))
    return DataverseChanges(caller, Organization(caller, ORGANIZATION))


async def test_the_first_question_is_for_all_rows_in_large_pages() -> None:
    service = Service({"value": [{"accountid": ID.upper(), "name": "x"}], "@odata.deltaLink": BASE + DELTA})
    page = await feed(service).changes(Table.ACCOUNT, "", is_first=True)
    assert page == Page(rows=(Row(id=ID),), delta_link=DELTA)
    [request] = service.requests
    assert request.url == f"{BASE}/api/data/v9.2/accounts?$select=accountid,name"
    assert request.headers["Prefer"] == "odata.track-changes,odata.maxpagesize=5000"


async def test_a_link_is_followed_to_the_letter() -> None:
    service = Service({"value": [{"id": ID, "reason": "deleted"}], "@odata.nextLink": f"{BASE}/api/data/v9.2/a?$x=%2f"})
    page = await feed(service).changes(Table.ACCOUNT, DELTA, is_first=False)
    assert page == Page(rows=(Row(id=ID, is_deleted=True),), next_link="/api/data/v9.2/a?$x=%2f")
    assert service.requests[0].url == BASE + DELTA


async def test_a_row_that_left_for_another_reason_than_deletion_is_no_proof() -> None:
    """R3: `changed` is what OData says of a row that can no longer be seen."""
    service = Service({"value": [{"id": ID, "reason": "changed"}], "@odata.deltaLink": BASE + DELTA})
    [row] = (await feed(service).changes(Table.BOOKING, DELTA, is_first=False)).rows
    assert not row.is_deleted


async def test_tokens_go_nowhere_but_to_the_address_in_the_settings() -> None:
    service = Service({"value": [], "@odata.deltaLink": f"https://elsewhere.example{DELTA}"})
    page = await feed(service).changes(Table.ACCOUNT, "", is_first=True)
    await feed(service).changes(Table.ACCOUNT, page.delta_link, is_first=False)
    assert {request.url[: len(BASE) + 1] for request in service.requests} == {f"{BASE}/"}


@pytest.mark.parametrize("status", [400, 410])
async def test_only_a_link_can_expire(status: int) -> None:
    service = Service({"error": {"code": "0x80044352", "message": "Version stamp ... has expired."}}, status)
    with pytest.raises(CursorExpiredError):
        await feed(service).changes(Table.ACCOUNT, DELTA, is_first=False)
    with pytest.raises(Exception, match="0x80044352") as caught:
        await feed(service).changes(Table.ACCOUNT, "", is_first=True)
    assert not isinstance(caught.value, CursorExpiredError)


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"value": [{}], "@odata.deltaLink": BASE + DELTA},
        {"value": [], "@odata.deltaLink": "http://x/api/data/v9.2/a"},
        {"value": [], "@odata.deltaLink": f"{BASE}/elsewhere"},
        {"value": [], "@odata.deltaLink": BASE + DELTA + "x" * 40_000},
        {"value": []},
    ],
    ids=["null", "array", "empty", "row without key", "http", "no api", "too long", "not tracked"],
)
async def test_an_answer_that_is_no_page_is_refused(body: Any) -> None:
    with pytest.raises(RefusedError):
        await feed(Service(body)).changes(Table.ACCOUNT, "", is_first=True)


async def test_a_search_asks_for_many_rows_at_once_and_fits_an_address() -> None:
    service = Service({"value": []})
    changes = feed(service)
    link = changes.showing(Table.ACCOUNT, [ID] * 50, ending_from=NOW, starting_until=NOW + timedelta(days=1))
    await changes.bookings(link)
    assert len(link) < 8_000
    assert unquote(link).count(f"msdyn_workorder/_msdyn_serviceaccount_value eq {ID}") == 50
    assert "endtime ge 2026-11-21T12:00:00Z and starttime le 2026-11-22T12:00:00Z" in unquote(link)


# Cursors.


async def test_a_cursor_is_written_only_as_it_was_read() -> None:
    cursors = TableCursors(MemoryTables())
    fresh = await cursors.read("account")
    assert fresh == Cursor(name="account")
    full = replace(
        fresh, link=DELTA, is_first=False, pending=(ID, ID), search="/x", horizon=datetime(2027, 1, 1, tzinfo=UTC)
    )
    saved = await cursors.save(full)
    assert await cursors.read("account") == saved == replace(full, row=saved.row)
    with pytest.raises(PreconditionError):
        await cursors.save(fresh)
    await cursors.save(saved)
    with pytest.raises(PreconditionError):
        await cursors.save(saved)


async def test_all_pending_rows_fit_a_cursor() -> None:
    await TableCursors(MemoryTables()).save(Cursor(name="account", pending=(ID,) * MOST_PENDING))


class Flood:
    """Implements `ChangeFeed`: a page of more changed accounts than was asked for, and one booking in the window."""

    def __init__(self) -> None:
        self.searches: list[str] = []

    async def changes(self, table: Table, link: str, *, is_first: bool) -> Page:
        rows = (Row(id=ID),) * (MOST_PENDING + 1) if table is Table.ACCOUNT and link and not is_first else ()
        return Page(rows=rows, delta_link=DELTA)

    async def bookings(self, link: str) -> Page:
        self.searches.append(link)
        return Page(rows=(Row(id=ID),))

    def showing(self, table: Table, ids: Sequence[str], *, ending_from: datetime, starting_until: datetime) -> str:
        raise AssertionError(f"too many to search for: {table} {len(ids)} {ending_from} {starting_until}")

    def between(self, starting_after: datetime, starting_until: datetime, *, ending_from: datetime) -> str:
        return f"{starting_after:%Y} to {starting_until:%Y}, from {ending_from:%d.%m.}"


async def test_too_many_changed_rows_mean_the_whole_window() -> None:
    flood, store = Flood(), Store()
    pull = Pull(
        feed=flood,
        cursors=TableCursors(MemoryTables()),
        router=Router(store=store, clock=Noon(), shards=8),
        clock=Noon(),
        past=timedelta(days=7),
        policy="",
        future=timedelta(days=180),
    )
    await pull.round()
    await pull.round()
    assert flood.searches == ["1900 to 2027, from 14.11."] * 2

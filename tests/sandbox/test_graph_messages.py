"""Mail: what arrives, how it is listed, marked and moved, and what change tracking says of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from sandbox.cloud import Cloud
from sandbox.http import Json
from tests.sandbox.apps import ALICE, BOB, IMMUTABLE, App, code

INBOX = f"/users/{ALICE}/mailFolders('inbox')/messages"
DELTA = f"{INBOX}/delta"
EVERYTHING = f"/users/{ALICE}/messages"


@pytest.fixture
async def app(app_with: Callable[..., App]) -> App:
    return app_with("Mail.ReadWrite", "Mail.Send")


async def send(app: App, subject: str = "Hello", *to: str, **more: Json) -> None:
    message = {
        "subject": subject,
        "body": {"contentType": "text", "content": f"{subject}, Alice"},
        "toRecipients": [{"emailAddress": {"address": address}} for address in to or (ALICE,)],
        **more,
    }
    answer = await app.call("POST", f"/users/{BOB}/sendMail", {"Message": message})
    assert answer.status == 202, answer.body
    app.cloud.clock.advance(timedelta(minutes=1))


async def subjects(app: App, path: str = INBOX, **options: Json) -> list[str]:
    return [one["subject"] for one in await app.list(path, **options)]


async def test_what_is_sent_arrives_and_stays_with_the_sender(app: App) -> None:
    await send(app, "Hello", ALICE, "office@fabrikam.test", ccRecipients=[{"emailAddress": {"address": BOB}}])
    (letter,) = await app.list(INBOX)
    assert (letter["from"]["emailAddress"], letter["isRead"]) == ({"name": "Bob Brown", "address": BOB}, False)
    assert [one["emailAddress"]["address"] for one in letter["toRecipients"]] == [ALICE, "office@fabrikam.test"]
    assert letter["bodyPreview"] == "Hello, Alice"
    folders = [f"/users/{BOB}/mailFolders/{name}" for name in ("SentItems", "inbox")]
    assert [await subjects(app, f"{folder}/messages") for folder in folders] == [["Hello"], ["Hello"]]
    shown = [(await app.get(folder)).json() for folder in folders]
    assert [(one["totalItemCount"], one["unreadItemCount"]) for one in shown] == [(1, 0), (1, 1)]


async def test_messages_are_listed_newest_first_filtered_and_paged(app: App) -> None:
    for number in range(12):
        await send(app, f"No {number}")
    assert (await subjects(app))[:2] == ["No 11", "No 10"]
    assert len(await subjects(app)) == 10
    since = "receivedDateTime ge 2026-03-01T08:08:00Z"
    found = await subjects(app, filter=f"{since} and isRead eq false", orderby="receivedDateTime", top="2")
    assert found == ["No 8", "No 9"]
    assert await subjects(app, filter="from/emailAddress/address eq 'nobody@contoso.test'") == []
    assert set((await app.list(INBOX, select="subject", top="1"))[0]) == {"@odata.etag", "id", "subject"}


@pytest.mark.parametrize(
    ("expression", "order", "status"),
    [
        ("isRead eq false", "receivedDateTime", 400),
        ("isRead eq false and receivedDateTime ge 2026-01-01T00:00:00Z", "receivedDateTime", 400),
        ("receivedDateTime ge 2026-01-01T00:00:00Z and subject eq 'isRead'", "receivedDateTime,isRead", 400),
        ("receivedDateTime ge 2026-01-01T00:00:00Z and isRead eq false", "receivedDateTime desc,isRead", 200),
    ],
)
async def test_what_orders_must_filter_first(app: App, expression: str, order: str, status: int) -> None:
    answer = await app.get(INBOX, filter=expression, orderby=order)
    assert answer.status == status
    if status == 400:
        assert code(answer) == (400, "InefficientFilter")


async def test_a_message_is_marked_moved_and_deleted(app: App) -> None:
    await send(app)
    (letter,) = await app.list(INBOX, headers=IMMUTABLE)
    path = f"{EVERYTHING}/{letter['id']}"
    marked = await app.call("PATCH", path, {"isRead": True, "categories": ["Red"]}, headers=IMMUTABLE)
    assert (marked.json()["isRead"], marked.json()["categories"], marked.json()["id"]) == (True, ["Red"], letter["id"])
    assert marked.json()["changeKey"] != letter["changeKey"]
    plain = (await app.list(INBOX))[0]["id"]
    moved = await app.call("POST", f"{path}/move", {"destinationId": "drafts"})
    assert (moved.status, moved.json()["id"] != plain) == (201, True)
    assert code(await app.get(f"{EVERYTHING}/{plain}")) == (404, "ErrorItemNotFound")
    assert (await app.call("DELETE", path)).status == 204
    assert await subjects(app, f"/users/{ALICE}/mailFolders/deleteditems/messages") == ["Hello"]
    assert (await app.call("DELETE", path)).status == 204
    assert code(await app.call("DELETE", path)) == (404, "ErrorItemNotFound")


async def test_basic_readers_see_no_bodies(app: App, app_with: Callable[..., App]) -> None:
    await send(app)
    (letter,) = await app_with("Mail.ReadBasic.All").list(INBOX)
    assert not {"body", "bodyPreview"} & set(letter)
    text = await app.list(INBOX, headers={"Prefer": 'outlook.body-content-type="text"'})
    assert text[0]["body"] == {"contentType": "text", "content": "Hello, Alice"}


async def test_what_is_refused(app: App) -> None:
    await send(app)
    path = f"{EVERYTHING}/{(await app.list(INBOX))[0]['id']}"
    nobody = await app.call("POST", f"/users/{BOB}/sendMail", {"message": {"subject": "x"}})
    assert code(nobody) == (400, "ErrorInvalidRecipients")
    attached: Json = {"message": {"toRecipients": [], "attachments": [{}]}}
    assert (await app.call("POST", f"/users/{BOB}/sendMail", attached)).status == 400
    assert code(await app.call("PATCH", path, {"subject": "Mine"})) == (501, "NotImplemented")
    assert code(await app.get(f"/users/{ALICE}/mailFolders/projects/messages")) == (501, "NotImplemented")
    assert code(await app.get(INBOX, search='"Hello"')) == (501, "NotImplemented")


class TestDelta:
    async def rows(self, app: App, link: str = "", **options: Json) -> tuple[list[Json], str]:
        answer = await (app.call("GET", link) if link else app.get(DELTA, **options))
        rows: list[Json] = answer.json()["value"]
        while "@odata.nextLink" in answer.json():
            answer = await app.call("GET", answer.json()["@odata.nextLink"].partition("/v1.0")[2])
            rows += answer.json()["value"]
        return rows, answer.json()["@odata.deltaLink"].partition("/v1.0")[2]

    async def test_a_folder_once_then_changes_only(self, app: App) -> None:
        for number in range(5):
            await send(app, f"No {number}")
        rows, link = await self.rows(app, top="2", select="subject,isRead")
        assert [row["subject"] for row in rows] == ["No 4", "No 3", "No 2", "No 1", "No 0"]
        assert set(rows[0]) == {"@odata.type", "@odata.etag", "id", "subject", "isRead"}
        assert (await self.rows(app, link))[0] == []
        await app.call("PATCH", f"{EVERYTHING}/{rows[0]['id']}", {"isRead": True})
        await app.call("DELETE", f"{EVERYTHING}/{rows[1]['id']}")
        await send(app, "Fresh")
        await send(app, "Not mine", BOB)
        changes, _ = await self.rows(app, link)
        assert [(row.get("subject"), row.get("isRead"), "@removed" in row) for row in changes] == [
            ("No 4", True, False),
            (None, None, True),
            ("Fresh", False, False),
        ]
        assert changes[1]["id"] == rows[1]["id"]

    async def test_what_happens_between_pages_comes_in_the_next_round(self, app: App) -> None:
        for number in range(3):
            await send(app, f"No {number}")
        first = (await app.get(DELTA, top="2")).json()
        await app.call("DELETE", f"{EVERYTHING}/{first['value'][0]['id']}")
        await send(app, "Fresh")
        rows, link = await self.rows(app, first["@odata.nextLink"].partition("/v1.0")[2])
        assert [row["subject"] for row in rows] == ["No 0"]
        changes, _ = await self.rows(app, link)
        assert [row.get("subject") for row in changes] == [None, "Fresh"]

    async def test_filter_order_and_page_size(self, app: App) -> None:
        for number in range(4):
            await send(app, f"No {number}")
        since = "receivedDateTime ge 2026-03-01T08:02:00Z"
        rows, link = await self.rows(app, filter=since, orderby="receivedDateTime desc")
        assert [row["subject"] for row in rows] == ["No 3", "No 2"]
        await send(app, "Fresh")
        assert [row["subject"] for row in (await self.rows(app, link))[0]] == ["Fresh"]
        page = await app.get(DELTA, headers={"Prefer": "odata.maxpagesize=3"})
        assert len(page.json()["value"]) == 3

    @pytest.mark.parametrize(
        ("options", "status"),
        [
            ({"filter": "isRead eq false"}, 400),
            ({"filter": "receivedDateTime lt 2026-03-01T00:00:00Z"}, 400),
            ({"orderby": "receivedDateTime"}, 400),
            ({"search": "x"}, 501),
            ({"deltatoken": "made-up"}, 400),
        ],
        ids=str,
    )
    async def test_what_is_refused(self, app: App, options: dict[str, Json], status: int) -> None:
        assert (await app.get(DELTA, **options)).status == status

    async def test_tokens_belong_to_a_folder_and_can_be_gone(self, app: App, cloud: Cloud) -> None:
        _, link = await self.rows(app)
        other = link.replace("inbox", "drafts")
        assert code(await app.call("GET", other)) == (400, "InvalidDeltaToken")
        cloud.faults.add({"do": "expire_cursor"})
        assert code(await app.call("GET", link)) == (410, "SyncStateNotFound")

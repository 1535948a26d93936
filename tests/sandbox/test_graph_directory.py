"""People and rooms: who changes, who goes, what `users/delta` says of it, and the places beside them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest

from sandbox.cloud import Cloud
from sandbox.directory import Account, Directory, RoomList, known_id
from sandbox.http import Json, Response
from tests.sandbox.apps import ALICE, BOB, ROOM, UNLICENSED, App, code
from tests.sandbox.specimens import A_USER

ALICE_ID, BOB_ID = known_id("user", ALICE), known_id("user", BOB)
ROOMS = "/places/microsoft.graph.room"


@pytest.fixture
async def app(app_with: Callable[..., App]) -> App:
    return app_with("User.ReadWrite.All", "Place.Read.All", "Calendars.ReadWrite")


async def follow(app: App, link: str) -> Response:
    assert urlsplit(link).netloc == "localhost:4444"
    return await app.call("GET", link.partition("/v1.0")[2])


async def a_round(app: App, link: str = "", **options: Json) -> tuple[list[Json], str]:
    """All rows of a round, and the link to the next one."""
    answer = await (follow(app, link) if link else app.get("/users/delta", **options))
    rows: list[Json] = answer.json()["value"]
    while "@odata.nextLink" in answer.json():
        answer = await follow(app, answer.json()["@odata.nextLink"])
        rows += answer.json()["value"]
    return rows, answer.json()["@odata.deltaLink"]


async def change(app: App, user: str, **changes: Json) -> None:
    answer = await app.call("PATCH", f"/users/{user}", changes)
    assert answer.status == 204, answer.body


class TestChanges:
    async def test_a_user_is_changed_and_removed(self, app: App) -> None:
        await change(app, ALICE, displayName="Alice Archer", jobTitle="Fitter", accountEnabled=False)
        read = await app.get(f"/users/{ALICE_ID}", select="displayName,jobTitle,accountEnabled")
        assert [read.json()[name] for name in ("displayName", "jobTitle", "accountEnabled")] == [
            "Alice Archer",
            "Fitter",
            False,
        ]
        assert (await app.call("DELETE", f"/users/{ALICE}")).status == 204
        assert code(await app.get(f"/users/{ALICE}")) == (404, "Request_ResourceNotFound")
        assert code(await app.get(f"/users/{ALICE}/events")) == (404, "ErrorInvalidUser")

    async def test_somebody_new_has_a_mailbox_and_is_told_of(self, app: App) -> None:
        _, link = await a_round(app)
        made = await app.call("POST", "/users", A_USER)
        assert (made.status, made.json()["mail"]) == (201, "new@contoso.test")
        assert [row["id"] for row in (await a_round(app, link))[0]] == [made.json()["id"]]
        assert await app.list("/users/new@contoso.test/events") == []
        assert code(await app.call("POST", "/users", A_USER)) == (400, "BadRequest")
        assert code(await app.call("POST", "/users", {"displayName": "New"})) == (400, "BadRequest")

    async def test_what_is_not_modelled_is_refused(self, app: App) -> None:
        answer = await app.call("PATCH", f"/users/{ALICE}", {"displayName": "A", "city": "Zurich"})
        assert code(answer) == (501, "NotImplemented")
        assert (await app.get(f"/users/{ALICE}")).json()["displayName"] == "Alice Adams"


class TestDelta:
    async def test_a_full_round_then_changes_only(self, app: App) -> None:
        rows, link = await a_round(app, select="displayName,accountEnabled")
        assert len(rows) == 4
        assert {"id": BOB_ID, "displayName": "Bob Brown", "accountEnabled": True} in rows
        assert (await a_round(app, link))[0] == []
        await change(app, BOB, accountEnabled=False)
        rows, later = await a_round(app, link)
        assert rows == [{"id": BOB_ID, "displayName": "Bob Brown", "accountEnabled": False}]
        assert (await a_round(app, later))[0] == []
        assert (await a_round(app, link))[0] == rows

    async def test_only_selected_properties_are_tracked(self, app: App) -> None:
        _, link = await a_round(app, select="accountEnabled")
        await change(app, BOB, displayName="Robert Brown")
        rows, link = await a_round(app, link)
        assert rows == []
        await change(app, BOB, accountEnabled=False)
        await change(app, BOB, accountEnabled=True)
        assert (await a_round(app, link))[0] == []

    async def test_the_removed_are_told_apart(self, app: App, directory: Directory) -> None:
        _, link = await a_round(app)
        for user in (ALICE, BOB):
            await app.call("DELETE", f"/users/{user}")
        directory.remove(BOB_ID)
        directory.add(Account(id=known_id("user", "new"), name="New", address="new@contoso.test"))
        rows, link = await a_round(app, link)
        assert rows[:2] == [
            {"id": ALICE_ID, "@removed": {"reason": "changed"}},
            {"id": BOB_ID, "@removed": {"reason": "deleted"}},
        ]
        assert rows[2]["displayName"] == "New"
        directory.add(directory.removed[ALICE_ID])
        rows, _ = await a_round(app, link)
        assert [(row["id"], "@removed" in row) for row in rows] == [(ALICE_ID, False)]

    async def test_pages_and_what_changes_between_them(self, app: App, directory: Directory) -> None:
        for number in range(250):
            directory.add(Account(id=f"{number:08x}-0000", name=f"N{number}", address=f"n{number}@contoso.test"))
        first = (await app.get("/users/delta")).json()
        assert len(first["value"]) == 100
        directory.remove("00000001-0000")
        await change(app, "n2@contoso.test", displayName="Changed")
        rows, link = await a_round(app, first["@odata.nextLink"])
        assert len({row["id"] for row in [*first["value"], *rows]}) == 254
        rows, link = await a_round(app, link)
        assert [(row["id"][:8], row.get("displayName")) for row in rows] == [
            ("00000001", None),
            ("00000002", "Changed"),
        ]
        for number in range(50, 200):
            await change(app, f"n{number}@contoso.test", displayName="All new")
        rows, _ = await a_round(app, link)
        assert [row["id"] for row in rows] == [f"{number:08x}-0000" for number in range(50, 200)]

    async def test_from_now_on_and_by_id(self, app: App) -> None:
        rows, link = await a_round(app, deltatoken="latest", select="displayName", filter=f"id eq '{ALICE_ID}'")
        assert rows == []
        for user in (ALICE, BOB):
            await change(app, user, displayName="Somebody")
        assert [row["id"] for row in (await a_round(app, link))[0]] == [ALICE_ID]
        rows, _ = await a_round(app, filter=f"id eq '{ALICE_ID}' or id eq '{BOB_ID}'")
        assert {row["id"] for row in rows} == {ALICE_ID, BOB_ID}

    @pytest.mark.parametrize(
        ("options", "status"),
        [
            ({"top": "5"}, 501),
            ({"orderby": "displayName"}, 501),
            ({"expand": "manager"}, 501),
            ({"select": "skills"}, 501),
            ({"filter": "displayName eq 'x'"}, 501),
            ({"filter": "id ne 'x'"}, 501),
            pytest.param({"filter": " or ".join(["id eq 'x'"] * 51)}, 400, id="51 ids"),
            ({"deltatoken": "made-up"}, 400),
        ],
        ids=str,
    )
    async def test_what_is_refused(self, app: App, options: dict[str, Json], status: int) -> None:
        assert (await app.get("/users/delta", **options)).status == status

    @pytest.mark.parametrize("how", ["age", "fault"])
    async def test_an_old_token_names_the_way_back(self, app: App, cloud: Cloud, how: str) -> None:
        _, link = await a_round(app, select="displayName")
        if how == "age":
            cloud.clock.advance(timedelta(days=7))
            app = App(cloud, app.tokens, app.application)
        else:
            cloud.faults.add({"do": "expire_cursor"})
        gone = await follow(app, link)
        assert code(gone) == (410, "resyncRequired")
        location = gone.headers["Location"]
        assert dict(parse_qsl(urlsplit(location).query, keep_blank_values=True)) == {
            "$select": "displayName",
            "$deltatoken": "",
        }
        assert len((await follow(app, location)).json()["value"]) == 4


class TestPlaces:
    @pytest.fixture(autouse=True)
    def building(self, directory: Directory) -> None:
        for number in range(2, 5):
            address = f"room-{number}@contoso.test"
            directory.add(
                Account(
                    id=known_id("user", address), name=f"Room {number}", address=address, is_room=True, capacity=number
                )
            )
        directory.room_lists["up"] = RoomList(
            id=known_id("list"), name="Upstairs", address="upstairs@contoso.test", rooms=(ROOM, "room-3@contoso.test")
        )

    async def test_rooms_are_places_with_ids_of_their_own(self, app: App) -> None:
        rooms = await app.list(ROOMS)
        assert [(room["emailAddress"], room["capacity"]) for room in rooms][:2] == [
            (ROOM, None),
            ("room-2@contoso.test", 2),
        ]
        assert known_id("user", ROOM) not in {room["id"] for room in rooms}
        for called in (rooms[1]["id"], "ROOM-2@contoso.test"):
            one = (await app.get(f"/places/{called}")).json()
            assert (one["@odata.type"], one["displayName"]) == ("#microsoft.graph.room", "Room 2")
        assert await app.list("/places/graph.room") == rooms
        assert code(await app.get(f"/places/{known_id('user', ROOM)}")) == (404, "ResourceNotFound")

    async def test_options(self, app: App) -> None:
        answer = await app.get(ROOMS, filter="capacity ge 3", select="displayName", top="1", count="true")
        assert [(place["displayName"], set(place)) for place in answer.json()["value"]] == [
            ("Room 3", {"id", "displayName"})
        ]
        assert answer.json()["@odata.count"] == 2
        rest = await follow(app, answer.json()["@odata.nextLink"])
        assert [place["displayName"] for place in rest.json()["value"]] == ["Room 4"]
        assert code(await app.get(ROOMS, orderby="displayName")) == (501, "NotImplemented")
        assert code(await app.get(ROOMS, count="maybe")) == (400, "BadRequest")

    async def test_room_lists_are_called_by_their_address(self, app: App) -> None:
        lists = await app.list("/places/microsoft.graph.roomlist")
        assert [one["displayName"] for one in lists] == ["Upstairs"]
        rooms = await app.list("/places/upstairs@contoso.test/microsoft.graph.roomlist/rooms")
        assert [room["displayName"] for room in rooms] == ["Room 1", "Room 3"]
        kind = (await app.get("/places/upstairs@contoso.test")).json()["@odata.type"]
        assert kind == "#microsoft.graph.roomList"
        missing = await app.get("/places/cellar@contoso.test/microsoft.graph.roomlist/rooms")
        assert code(missing) == (404, "ResourceNotFound")

    async def test_people_without_a_mailbox_have_no_settings(self, app_with: Callable[..., App]) -> None:
        app = app_with("MailboxSettings.Read")
        assert code(await app.get(f"/users/{UNLICENSED}/mailboxSettings")) == (404, "MailboxNotEnabledForRESTAPI")

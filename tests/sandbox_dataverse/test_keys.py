"""Alternate keys: how they are defined, what they allow, and rows that are called by them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest

from sandbox.cloud import Cloud
from sandbox.http import Json
from sandbox.seed import Contoso
from tests.sandbox_dataverse.clients import ROOT, Client

KEYS = "EntityDefinitions(LogicalName='bookableresource')/Keys"
VAN: Mapping[str, Json] = {"resourcetype": 1, "timezone": 110}


async def define(planner: Client, *columns: str, table: str = "bookableresource") -> str:
    """The id of a new key."""
    body = {"SchemaName": "sandbox_Key", "KeyAttributes": list(columns)}
    answer = await planner.call("POST", f"EntityDefinitions(LogicalName='{table}')/Keys", body)
    assert answer.status == 204, answer.body
    return answer.headers["OData-EntityId"].rpartition("(")[2].rstrip(")")


async def status(planner: Client) -> str:
    body = await planner.get(f"{KEYS}?$select=SchemaName,KeyAttributes,EntityKeyIndexStatus")
    assert [one["KeyAttributes"] for one in body["value"]] == [["name"]]
    return str(body["value"][0]["EntityKeyIndexStatus"])


class TestDefinitions:
    async def test_a_key_is_defined_listed_and_deleted(self, planner: Client) -> None:
        key = await define(planner, "name")
        (shown,) = (await planner.get(KEYS))["value"]
        assert (shown["MetadataId"], shown["SchemaName"], shown["LogicalName"]) == (key, "sandbox_Key", "sandbox_key")
        assert (await planner.call("DELETE", f"{KEYS}({key})")).status == 204
        assert (await planner.get(KEYS))["value"] == []
        assert (await planner.call("DELETE", f"{KEYS}({key})")).status == 404

    async def test_it_can_be_used_when_its_index_is_built(self, planner: Client, cloud: Cloud) -> None:
        cloud.settings.change({"dataverse.key_index_seconds": 20})
        await define(planner, "name")
        assert await status(planner) == "Pending"
        assert (await planner.call("GET", "bookableresources(name='Spare Van')")).status == 400
        cloud.clock.advance(timedelta(seconds=20))
        assert await status(planner) == "Active"
        assert (await planner.get("bookableresources(name='Spare Van')"))["name"] == "Spare Van"

    async def test_rows_that_are_alike_make_it_fail(self, planner: Client) -> None:
        for _ in range(2):
            await planner.create("bookableresources", {"name": "Twin", **VAN})
        await define(planner, "name")
        assert await status(planner) == "Failed"
        assert (await planner.call("GET", "bookableresources(name='Spare Van')")).status == 400

    async def test_reset_forgets_it(self, planner: Client, cloud: Cloud) -> None:
        await define(planner, "name")
        cloud.services["dataverse"].reset()
        assert cloud.services["dataverse"].keys.of("bookableresource") == []  # type: ignore[attr-defined]

    @pytest.mark.parametrize(
        ("body", "refused"),
        [
            ({"SchemaName": "a_Key", "KeyAttributes": ["colour"]}, 400),
            ({"SchemaName": "a_Key", "KeyAttributes": []}, 400),
            ({"SchemaName": "a_Key", "KeyAttributes": ["bookableresourceid"]}, 400),
            ({"SchemaName": "a_Key", "KeyAttributes": ["name", "name"]}, 400),
            ({"SchemaName": "nolower", "KeyAttributes": "name"}, 400),
            ({"KeyAttributes": ["name"]}, 400),
            ({"SchemaName": "a_Key", "KeyAttributes": ["name"], "IsManaged": True}, 501),
        ],
    )
    async def test_what_is_no_key_is_refused(self, planner: Client, body: Json, refused: int) -> None:
        assert (await planner.call("POST", KEYS, body)).status == refused

    async def test_ten_are_the_most_and_no_two_have_one_name(self, planner: Client) -> None:
        for number in range(10):
            body = {"SchemaName": f"a_Key{number}", "KeyAttributes": ["name"]}
            assert (await planner.call("POST", KEYS, body)).status == 204
        assert (await planner.call("POST", KEYS, {"SchemaName": "a_More", "KeyAttributes": ["name"]})).status == 400
        assert (await planner.call("POST", KEYS, {"SchemaName": "A_key0", "KeyAttributes": ["name"]})).status == 400

    async def test_it_takes_the_right_to_customize(self, sync: Client) -> None:
        assert (await sync.call("POST", KEYS, {"SchemaName": "a_Key", "KeyAttributes": ["name"]})).status == 403


@pytest.fixture
async def keyed(planner: Client) -> Client:
    """The planner, who may call resources by their names."""
    await define(planner, "name")
    return planner


class TestRows:
    async def test_a_row_is_read_changed_and_deleted(self, keyed: Client, contoso: Contoso) -> None:
        van = "bookableresources(name='spare van')"
        assert (await keyed.get(f"{van}?$select=name"))["bookableresourceid"] == contoso.spare_van
        await keyed.patch(van, {"timezone": 85})
        assert (await keyed.get(f"bookableresources({contoso.spare_van})"))["timezone"] == 85
        assert (await keyed.call("DELETE", van)).status == 204
        gone = await keyed.call("GET", van)
        assert (gone.status, gone.json()["error"]["code"]) == (404, "0x80060891")

    async def test_upsert_makes_and_changes(self, keyed: Client) -> None:
        van = "bookableresources(name='New Van')"
        made = await keyed.call("PATCH", van, {**VAN, "timezone": 85}, headers={"Prefer": "return=representation"})
        assert (made.status, made.json()["name"], made.json()["timezone"]) == (201, "New Van", 85)
        changed = await keyed.call("PATCH", van, {"name": "Ignored", "timezone": 110})
        assert (changed.status, changed.headers["OData-EntityId"]) == (204, f"{ROOT}/{van}")
        assert (await keyed.get(van))["timezone"] == 110

    async def test_what_the_body_says_of_the_key_wins_when_the_row_is_made(self, keyed: Client) -> None:
        assert (await keyed.call("PATCH", "bookableresources(name='A')", {**VAN, "name": "B"})).status == 204
        assert (await keyed.get("bookableresources(name='B')"))["name"] == "B"

    async def test_only_if_it_exists_or_does_not(self, keyed: Client) -> None:
        missing, there = "bookableresources(name='No Van')", "bookableresources(name='Spare Van')"
        assert (await keyed.call("PATCH", missing, VAN, headers={"If-Match": "*"})).status == 404
        assert (await keyed.call("PATCH", there, VAN, headers={"If-None-Match": "*"})).status == 412

    async def test_no_two_rows_are_alike(self, keyed: Client) -> None:
        answer = await keyed.call("POST", "bookableresources", {"name": "SPARE VAN", **VAN})
        assert (answer.status, answer.json()["error"]["code"]) == (412, "0x80060892")
        other = await keyed.create("bookableresources", {"name": "Other", **VAN})
        answer = await keyed.call("PATCH", f"bookableresources({other})", {"name": "Spare Van"})
        assert answer.status == 412
        await keyed.patch(f"bookableresources({other})", {"name": "Other"})

    async def test_rows_without_a_value_are_not_compared(self, planner: Client) -> None:
        await define(planner, "msdyn_primaryemail")
        for name in ("One", "Two"):
            await planner.create("bookableresources", {"name": name, **VAN})

    async def test_many_rows_at_once(self, keyed: Client, contoso: Contoso) -> None:
        kind = {"@odata.type": "Microsoft.Dynamics.CRM.bookableresource"}
        targets = [
            {**kind, "@odata.id": "bookableresources(name='Spare Van')", "timezone": 85},
            {**kind, "@odata.id": "bookableresources(name='New Van')", **VAN},
        ]
        answer = await keyed.call(
            "POST", "bookableresources/Microsoft.Dynamics.CRM.UpsertMultiple", {"Targets": targets}
        )
        assert answer.status == 204, answer.body
        assert (await keyed.get(f"bookableresources({contoso.spare_van})"))["timezone"] == 85
        assert (await keyed.get("bookableresources(name='New Van')"))["timezone"] == 110

    @pytest.mark.parametrize(
        ("columns", "key"),
        [
            (("name", "resourcetype"), "name='Spare Van',resourcetype=1"),
            (("name", "resourcetype"), "resourcetype=1,name='Spare Van'"),
            (("resourcetype", "timezone"), "resourcetype=1,timezone=110"),
            (("name",), "name='O''Brien''s Van'"),
        ],
    )
    async def test_keys_of_all_kinds(self, planner: Client, *, columns: tuple[str, ...], key: str) -> None:
        rows = (await planner.get("bookableresources?$select=name"))["value"]
        for number, row in enumerate(rows):
            if row["name"] != "Spare Van":
                others = {"resourcetype": 5, "timezone": 200 + number}
                await planner.patch(f"bookableresources({row['bookableresourceid']})", others)
        await planner.create("bookableresources", {"name": "O'Brien's Van", "resourcetype": 5, "timezone": 85})
        await define(planner, *columns)
        assert "Van" in (await planner.get(f"bookableresources({key.replace(' ', '%20')})"))["name"]

    @pytest.mark.parametrize(
        ("key", "refused"),
        [
            ("name=Spare", 400),
            ("timezone=110", 501),
            ("name='Spare Van',timezone=110", 501),
            ("name='a',name='b'", 400),
            ("colour='red'", 501),
            ("'Spare Van'", 400),
        ],
    )
    async def test_other_keys_are_refused(self, keyed: Client, key: str, refused: int) -> None:
        assert (await keyed.call("GET", f"bookableresources({key.replace(' ', '%20')})")).status == refused

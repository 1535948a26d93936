"""What clients ask about tables before they use them."""

from __future__ import annotations

import pytest

from sandbox.directory import known_id
from sandbox.http import Json
from tests.sandbox_dataverse.clients import Client

TABLE_ID = known_id("table", "bookingstatus")


async def test_a_table_is_found_by_its_logical_name(planner: Client) -> None:
    body = await planner.get(
        "EntityDefinitions?$select=LogicalName,EntitySetName,PrimaryIdAttribute&$filter=LogicalName eq 'bookingstatus'"
    )
    assert body["value"] == [
        {
            "MetadataId": TABLE_ID,
            "LogicalName": "bookingstatus",
            "EntitySetName": "bookingstatuses",
            "PrimaryIdAttribute": "bookingstatusid",
        }
    ]


@pytest.mark.parametrize("key", ["LogicalName='bookingstatus'", TABLE_ID, f"MetadataId={TABLE_ID}"])
async def test_one_definition_by_name_or_id(planner: Client, key: str) -> None:
    body = await planner.get(f"EntityDefinitions({key})?$select=SchemaName,IsOptimisticConcurrencyEnabled")
    assert (body["SchemaName"], body["IsOptimisticConcurrencyEnabled"]) == ("BookingStatus", True)


async def test_choices_tell_their_options(planner: Client) -> None:
    body = await planner.get(
        "EntityDefinitions(LogicalName='bookingstatus')/Attributes/Microsoft.Dynamics.CRM.PicklistAttributeMetadata"
        "?$select=LogicalName&$expand=OptionSet($select=Options)"
    )
    status = next(one for one in body["value"] if one["LogicalName"] == "status")
    options = status["OptionSet"]["Options"]
    assert [(one["Value"], one["Label"]["UserLocalizedLabel"]["Label"]) for one in options] == [
        (1, "Proposed"),
        (2, "Committed"),
        (3, "Canceled"),
    ]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("EntityDefinitions(LogicalName='nothing')?$select=SchemaName", 404),
        ("EntityDefinitions", 501),
        ("EntityDefinitions(SchemaName='x')?$select=SchemaName", 501),
        ("EntityDefinitions?$select=IsAuditEnabled", 501),
        ("EntityDefinitions?$select=SchemaName&$filter=contains(SchemaName,'x')", 501),
        ("EntityDefinitions?$select=SchemaName&$expand=Keys", 501),
        ("EntityDefinitions(LogicalName='bookingstatus')/Keys?$expand=AsyncJob", 501),
    ],
)
async def test_other_questions_are_refused(planner: Client, path: str, status: int) -> None:
    assert (await planner.call("GET", path)).status == status


async def test_which_tables_are_tracked(planner: Client) -> None:
    body = await planner.get("EntityDefinitions?$select=LogicalName&$filter=ChangeTrackingEnabled eq true")
    assert {one["LogicalName"] for one in body["value"]} == {
        "account",
        "bookableresource",
        "bookableresourcebooking",
        "bookingstatus",
        "msdyn_workorder",
        "systemuser",
    }
    one = await planner.get("EntityDefinitions(LogicalName='contact')?$select=ChangeTrackingEnabled")
    assert one["ChangeTrackingEnabled"] is False


async def test_change_tracking_can_be_turned_on_but_not_off(planner: Client) -> None:
    table = f"EntityDefinitions({known_id('table', 'contact')})"
    body = {
        "@odata.type": "Microsoft.Dynamics.CRM.EntityMetadata",
        "MetadataId": known_id("table", "contact"),
        "LogicalName": "contact",
        "ChangeTrackingEnabled": True,
        "HasChanged": True,
    }
    track = {"Prefer": "odata.track-changes"}
    assert (await planner.call("GET", "contacts?$select=fullname", headers=track)).status == 400
    assert (await planner.call("PUT", table, body, headers={"MSCRM.MergeLabels": "true"})).status == 204
    assert (await planner.get(f"{table}?$select=ChangeTrackingEnabled"))["ChangeTrackingEnabled"] is True
    assert (await planner.call("GET", "contacts?$select=fullname", headers=track)).status == 200
    assert (await planner.call("PUT", table, {**body, "ChangeTrackingEnabled": False})).status == 400


@pytest.mark.parametrize(
    ("method", "body", "status"),
    [
        ("POST", {}, 501),
        ("DELETE", None, 501),
        ("PATCH", {"ChangeTrackingEnabled": True}, 405),
        ("PUT", {"IsAuditEnabled": True}, 501),
        ("PUT", {"MetadataId": TABLE_ID.replace("-", "_")}, 400),
    ],
)
async def test_nothing_else_of_a_definition_can_be_written(
    planner: Client, method: str, body: Json, status: int
) -> None:
    answer = await planner.call(method, "EntityDefinitions(LogicalName='bookingstatus')", body)
    assert answer.status == status

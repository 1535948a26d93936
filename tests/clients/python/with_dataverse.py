"""Microsoft's Dataverse client for Python, with azure-identity."""

from __future__ import annotations

from azure.identity import ClientSecretCredential
from PowerPlatform.Dataverse.client import DataverseClient
from PowerPlatform.Dataverse.core.errors import HttpError
from PowerPlatform.Dataverse.models.filters import col
from PowerPlatform.Dataverse.models.upsert import UpsertItem
from steps import sandbox, step, tell

BOOKING = "bookableresourcebooking"
START, END = "2026-11-02T09:00:00Z", "2026-11-02T10:00:00Z"

credential = ClientSecretCredential(
    sandbox.tenant_id,
    sandbox.client_id,
    sandbox.client_secret,
    authority=sandbox.login,
    disable_instance_discovery=True,
)


def main(client: DataverseClient) -> None:
    with step("rows: query by filter, with paging"):
        pages = list(client.records.list_pages("bookableresource", select=["name"], page_size=10))
        assert len(pages) > 1
        resources = {row["name"]: row["bookableresourceid"] for page in pages for row in page}
        alice = resources["Alice Anderson"]
        statuses = client.records.list("bookingstatus", filter="name eq 'Committed'", select=["name"])
        committed = statuses[0]["bookingstatusid"]

    booking = {
        "name": "Boiler",
        "starttime": START,
        "endtime": END,
        "duration": 60,
        "bookingtype": 1,
        "Resource@odata.bind": f"/bookableresources({alice})",
        "BookingStatus@odata.bind": f"/bookingstatuses({committed})",
    }
    with step("row: create, read, update, read again"):
        made = client.records.create(BOOKING, booking)
        row = client.records.retrieve(BOOKING, made, select=["name", "starttime", "_resource_value"])
        assert (row["name"], row["starttime"], row["_resource_value"]) == ("Boiler", START, alice)
        client.records.update(BOOKING, made, {"name": "Boiler, moved"})
        assert client.records.retrieve(BOOKING, made, select=["name"])["name"] == "Boiler, moved"

    with step("rows: expand a lookup"):
        row = client.records.retrieve(BOOKING, made, select=["name"], expand=["Resource"])
        assert row["Resource"]["name"] == "Alice Anderson"

    with step("rows: CreateMultiple and UpdateMultiple"):
        several = client.records.create(BOOKING, [{**booking, "name": f"N{number}"} for number in range(3)])
        assert len(several) == 3
        client.records.update(BOOKING, several, {"name": "Renamed"})
        found = client.records.list(BOOKING, filter="name eq 'Renamed'", select=["name"], count=True)
        assert {item["bookableresourcebookingid"] for item in found} == set(several)

    with step("$batch: a change set and reads around it"):
        batch = client.batch.new()
        batch.records.retrieve(BOOKING, made, select=["name"])
        with batch.changeset() as changes:
            changes.records.update(BOOKING, several[0], {"name": "In a change set"})
            changes.records.delete(BOOKING, several[1])
        result = batch.execute()
        assert not result.has_errors
        assert client.records.retrieve(BOOKING, several[0], select=["name"])["name"] == "In a change set"

    with step("$batch: a change set is undone as a whole, with continue-on-error"):
        batch = client.batch.new()
        with batch.changeset() as changes:
            changes.records.update(BOOKING, several[0], {"name": "Never"})
            changes.records.delete(BOOKING, several[1])
        batch.records.retrieve(BOOKING, made, select=["name"])
        result = batch.execute(continue_on_error=True)
        assert len(result.failed) == 1
        assert len(result.succeeded) == 1
        assert client.records.retrieve(BOOKING, several[0], select=["name"])["name"] == "In a change set"

    with step("rows: the query builder"):
        asked = client.query.builder("bookingstatus").select("name").where(col("status") == 3).order_by("name")
        assert [row["name"] for row in asked.execute()] == ["Canceled", "Field Service Canceled"]

    with step("metadata: one table, all tables"):
        assert client.tables.get(BOOKING)["entity_set_name"] == "bookableresourcebookings"
        names = {table["LogicalName"] for table in client.tables.list(select=["LogicalName"])}
        assert {BOOKING, "bookableresource", "systemuser"} <= names

    with step("alternate key: define, wait for its index, upsert by it, one row and many, delete"):
        client.tables.create_alternate_key("bookableresource", "sandbox_Name", ["name"])
        (kept,) = client.tables.get_alternate_keys("bookableresource")  # the id that was returned is the table's
        assert (kept.schema_name, kept.key_attributes, kept.status) == ("sandbox_Name", ["name"], "Active")
        van = {"resourcetype": 1, "timezone": 110}
        for zone in (110, 85):
            item = UpsertItem(alternate_key={"name": "New Van"}, record={**van, "timezone": zone})
            client.records.upsert("bookableresource", [item])
        other = UpsertItem(alternate_key={"name": "Other Van"}, record=van)
        client.records.upsert("bookableresource", [item, other])
        rows = client.records.list("bookableresource", filter="endswith(name,' Van')", select=["name", "timezone"])
        assert {row["name"]: row["timezone"] for row in rows} == {"Spare Van": 110, "New Van": 85, "Other Van": 110}
        client.tables.delete_alternate_key("bookableresource", kept.metadata_id)
        assert not client.tables.get_alternate_keys("bookableresource")

    with step("row: delete, and not find it again"):
        client.records.delete(BOOKING, made)
        try:
            client.records.get(BOOKING, made)
        except HttpError as error:
            assert error.status_code == 404
        else:
            raise AssertionError("found")


with DataverseClient(sandbox.dataverse, credential) as client:
    main(client)
tell("PowerPlatform-Dataverse-Client", "azure-identity")

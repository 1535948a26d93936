"""Security roles: what a user may do with the rows of which table."""

from __future__ import annotations

import pytest

from sandbox.dataverse.operations import Operation
from sandbox.dataverse.pipeline import Pipeline
from sandbox.dataverse.privileges import SYSTEM_ADMINISTRATOR, Right, Role, privilege, privileges
from sandbox.dataverse.routes import Dataverse
from sandbox.dataverse.schema import Reference
from sandbox.directory import known_id
from sandbox.http import Json, Response
from sandbox.seed import DISPATCHER, Contoso
from tests.sandbox_dataverse.clients import Client, a_booking
from tests.sandbox_dataverse.test_batch import ACTION, BOOKINGS, TYPE, answers, part, send

BOOKING_SYNC, PLANNER = known_id("systemuser", "Booking Sync"), known_id("systemuser", "Planner")
TABLE = "bookableresourcebooking"


def missing(answer: Response) -> str:
    """The privilege for whose lack the call was refused."""
    error = answer.json()["error"]
    assert (answer.status, error["code"]) == (403, "0x80040220"), answer.body
    _, _, rest = error["message"].partition("is missing ")
    return str(rest.partition(" ")[0])


@pytest.fixture
async def booking(planner: Client, contoso: Contoso) -> str:
    return f"{BOOKINGS}({await planner.create(BOOKINGS, a_booking(contoso))})"


async def test_the_app_reads_what_it_needs_and_writes_bookings(sync: Client, contoso: Contoso, booking: str) -> None:
    expand = (
        "Resource($select=name;$expand=UserId($select=domainname)),BookingStatus($select=status),"
        "msdyn_workorder($select=msdyn_name;$expand=msdyn_serviceaccount($select=name))"
    )
    assert (await sync.get(f"{booking}?$select=name&$expand={expand}"))["name"] == "Boiler service"
    tracked = await sync.call("GET", f"{BOOKINGS}?$select=name", headers={"Prefer": "odata.track-changes"})
    assert "@odata.deltaLink" in tracked.json()
    assert (await sync.call("GET", "WhoAmI")).status == 200
    assert (await sync.call("PATCH", booking, {"name": "Mine"})).status == 204
    work_order = f"msdyn_workorders({contoso.work_orders['WO-00001']})"
    assert missing(await sync.call("PATCH", work_order, {"msdyn_name": "Mine"})) == "prvWritemsdyn_workorder"
    assert missing(await sync.call("DELETE", booking)) == f"prvDelete{TABLE}"
    assert missing(await sync.call("POST", BOOKINGS, a_booking(contoso))) == f"prvCreate{TABLE}"
    assert missing(await sync.call("GET", "serviceendpoints")) == "prvReadserviceendpoint"


async def test_a_lookup_takes_a_privilege_at_both_ends(
    sync: Client, planner: Client, contoso: Contoso, dataverse: Dataverse, booking: str
) -> None:
    canceled = {"BookingStatus@odata.bind": f"/bookingstatuses({contoso.statuses['Canceled']})"}
    elsewhere = {"Resource@odata.bind": f"/bookableresources({contoso.resource('bob')})"}
    assert (await sync.call("PATCH", booking, canceled)).status == 204
    assert missing(await sync.call("PATCH", booking, elsewhere)) == "prvAppendTobookableresource"
    role = dataverse.roles[BOOKING_SYNC]
    dataverse.roles[BOOKING_SYNC] = Role(name="No links", privileges=role.privileges - {f"prvAppend{TABLE}"})
    assert missing(await sync.call("PATCH", booking, canceled)) == f"prvAppend{TABLE}"
    assert (await sync.call("PATCH", booking, {"name": "Mine"})).status == 204
    assert (await planner.get(f"{booking}?$select=name"))["name"] == "Mine"


async def test_the_refusal_names_user_privilege_and_table(sync: Client, booking: str) -> None:
    message = (await sync.call("DELETE", booking)).json()["error"]["message"]
    assert message.startswith(f"Principal user (Id={BOOKING_SYNC}, type=8, accessMode=4), is missing ")
    assert message.endswith(f" for entity '{TABLE}'. context.Caller={BOOKING_SYNC}")


@pytest.mark.parametrize(
    ("right", "method", "path", "body"),
    [
        (Right.READ, "GET", "{booking}?$select=name", None),
        (Right.READ, "GET", "{booking}/name", None),
        (Right.READ, "GET", BOOKINGS, None),
        (Right.READ, "GET", f"{BOOKINGS}/$count", None),
        (Right.READ, "GET", f"{BOOKINGS}?$deltatoken=1!02/28/2026 00:00:00", None),
        (Right.CREATE, "POST", BOOKINGS, {}),
        (Right.CREATE, "PATCH", f"{BOOKINGS}({known_id('new')})", {}),
        (Right.CREATE, "POST", f"{ACTION}.CreateMultiple", {"Targets": [{}]}),
        (Right.WRITE, "PATCH", "{booking}", {"name": "New"}),
        (Right.WRITE, "PUT", "{booking}/name", {"value": "New"}),
        (Right.WRITE, "POST", f"{ACTION}.UpdateMultiple", {"Targets": [{"name": "New"}]}),
        (Right.DELETE, "DELETE", "{booking}", None),
    ],
)
async def test_each_operation_takes_one_privilege(
    planner: Client,
    contoso: Contoso,
    dataverse: Dataverse,
    booking: str,
    right: Right,
    method: str,
    path: str,
    body: Json,
) -> None:
    whole = a_booking(contoso)
    if right is Right.CREATE:
        body = {"Targets": [{**TYPE, **whole}]} if body else whole
    elif body and "Targets" in body:
        row_id = booking.partition("(")[2].rstrip(")")
        body = {"Targets": [{**TYPE, **target, f"{TABLE}id": row_id} for target in body["Targets"]]}
    rights = {one: privileges(one, dataverse.state.schema.tables) for one in Right}
    linking = rights[Right.APPEND] | rights[Right.APPEND_TO]
    everything = frozenset[str]().union(*rights.values())
    dataverse.roles[PLANNER] = Role(name="All but one", privileges=everything - {privilege(right, TABLE)})
    assert missing(await planner.call(method, path.format(booking=booking), body)) == privilege(right, TABLE)
    dataverse.roles[PLANNER] = Role(name="That one", privileges=linking | {privilege(right, TABLE)})
    assert (await planner.call(method, path.format(booking=booking), body)).status < 400


async def test_what_is_expanded_or_followed_has_to_be_readable(
    sync: Client, dataverse: Dataverse, booking: str
) -> None:
    dataverse.roles[BOOKING_SYNC] = Role(
        name="Two tables", privileges=privileges(Right.READ, (TABLE, "bookableresource"))
    )
    assert (await sync.call("GET", f"{booking}?$expand=Resource($select=name)")).status == 200
    deep = f"{booking}?$expand=Resource($select=name;$expand=UserId($select=domainname))"
    assert missing(await sync.call("GET", deep)) == "prvReadsystemuser"
    assert missing(await sync.call("GET", f"{booking}/BookingStatus")) == "prvReadbookingstatus"


async def test_who_has_no_role_may_ask_only_for_itself(sync: Client, dataverse: Dataverse) -> None:
    del dataverse.roles[BOOKING_SYNC]
    assert (await sync.call("GET", "WhoAmI")).status == 200
    assert missing(await sync.call("GET", "accounts")) == "prvReadaccount"


async def test_parts_of_a_batch_are_checked_one_by_one(sync: Client, booking: str) -> None:
    parts = [part("GET", f"{booking}?$select=name"), part("DELETE", booking)]
    response = await send(sync, *parts, prefer="odata.continue-on-error")
    assert [status for status, _, _ in answers(response)] == [200, 403]


async def test_who_acts_for_another_has_what_both_have(
    sync: Client, planner: Client, dataverse: Dataverse, contoso: Contoso, booking: str
) -> None:
    as_alice = {"CallerObjectId": contoso.people["alice"].account.id}
    assert missing(await sync.call("GET", booking, headers=as_alice)) == "prvActOnBehalfOfAnotherUser"
    assert (await planner.call("PATCH", booking, {"name": "Hers"}, headers=as_alice)).status == 204
    assert missing(await planner.call("GET", "serviceendpoints", headers=as_alice)) == "prvReadserviceendpoint"
    both = DISPATCHER.privileges | {"prvActOnBehalfOfAnotherUser"}
    dataverse.roles[BOOKING_SYNC] = Role(name="For others", privileges=both - {f"prvWrite{TABLE}"})
    dataverse.roles[contoso.people["alice"].user_id] = SYSTEM_ADMINISTRATOR
    assert missing(await sync.call("PATCH", booking, {"name": "Mine"}, headers=as_alice)) == f"prvWrite{TABLE}"


async def test_business_logic_may_do_more_than_its_caller(
    planner: Client, contoso: Contoso, dataverse: Dataverse, booking: str
) -> None:
    account = next(iter(contoso.customers.values()))

    def rename_customer(operation: Operation, pipeline: Pipeline) -> None:
        if operation.message == "Update" and operation.table.name == TABLE:
            row = pipeline.state.must_find(Reference("account", account))
            pipeline.update(row, {"name": "Renamed"}, operation.caller.nested())

    dataverse.plugins.append(rename_customer)
    dataverse.roles[PLANNER] = DISPATCHER
    assert missing(await planner.call("PATCH", f"accounts({account})", {"name": "Mine"})) == "prvWriteaccount"
    await planner.patch(booking, {"name": "New"})
    assert (await planner.get(f"accounts({account})?$select=name"))["name"] == "Renamed"


async def test_definitions_are_for_customizers(sync: Client, planner: Client) -> None:
    definition = {"ChangeTrackingEnabled": True}
    path = "EntityDefinitions(LogicalName='account')"
    assert missing(await sync.call("PUT", path, definition)) == "prvWriteEntity"
    assert (await planner.call("PUT", path, definition)).status == 204

"""Steps on the messages beside Create, Update and Delete."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.dataverse.operations import NOBODY, Operation
from sandbox.dataverse.pipeline import Pipeline
from sandbox.dataverse.routes import Dataverse
from sandbox.directory import known_id
from sandbox.http import Json
from sandbox.seed import Contoso
from tests.sandbox_dataverse.clients import WEBHOOK, Client, Receiver, a_booking, by_key

BOOKING = "bookableresourcebooking"
BOOKINGS = "bookableresourcebookings"
KEY = f"{BOOKING}id"
TYPE = {"@odata.type": f"Microsoft.Dynamics.CRM.{BOOKING}"}
ACTION = f"{BOOKINGS}/Microsoft.Dynamics.CRM"
OPTION = "OptionSetValue:http://schemas.microsoft.com/xrm/2011/Contracts"


async def filter_of(client: Client, message: str, table: str) -> dict[str, Json] | None:
    """The message filter, found as clients do, or `None` when the table does not know the message."""
    about = "sdkmessageid/name eq @message and primaryobjecttypecode eq @table"
    found = await client.get(
        "sdkmessagefilters?$select=sdkmessagefilterid,_sdkmessageid_value"
        f"&$filter={about}&@message='{message}'&@table='{table}'"
    )
    return found["value"][0] if found["value"] else None


async def a_step(client: Client, message: str, **more: Json) -> dict[str, Json]:
    """The body of a step on `message` of bookings, with an endpoint of its own."""
    about = await filter_of(client, message, BOOKING)
    assert about is not None
    endpoint = {"name": message, "url": WEBHOOK, "contract": 8, "authtype": 4, "authvalue": "key"}
    endpoint_id = await client.create("serviceendpoints", endpoint)
    return {
        "name": message,
        "stage": 40,
        "mode": 1,
        "asyncautodelete": True,
        "eventhandler_serviceendpoint@odata.bind": f"/serviceendpoints({endpoint_id})",
        "sdkmessageid@odata.bind": f"/sdkmessages({about['_sdkmessageid_value']})",
        "sdkmessagefilterid@odata.bind": f"/sdkmessagefilters({about['sdkmessagefilterid']})",
        **more,
    }


async def on(client: Client, message: str, **more: Json) -> str:
    """The id of a new step on `message` of bookings."""
    return await client.create("sdkmessageprocessingsteps", await a_step(client, message, **more))


async def an_image(client: Client, step: str, kind: int, parameter: str) -> int:
    """The status of registering an image."""
    image = {
        "name": "image",
        "entityalias": f"image{kind}",
        "imagetype": kind,
        "messagepropertyname": parameter,
        "attributes": "name,statecode,ownerid",
        "sdkmessageprocessingstepid@odata.bind": f"/sdkmessageprocessingsteps({step})",
    }
    return (await client.call("POST", "sdkmessageprocessingstepimages", image)).status


def targets(body: dict[str, Any]) -> list[dict[str, Json]]:
    """The columns of each row of a message for many rows."""
    collection = by_key(body["InputParameters"])["Targets"]
    assert collection["__type"] == "EntityCollection:http://schemas.microsoft.com/xrm/2011/Contracts"
    assert collection["EntityName"] == BOOKING
    assert not any("__type" in entity for entity in collection["Entities"])
    return [by_key(entity["Attributes"]) for entity in collection["Entities"]]


async def test_creating_many_is_one_post_with_all_of_them(
    planner: Client, contoso: Contoso, receiver: Receiver, dataverse: Dataverse
) -> None:
    await on(planner, "CreateMultiple")
    body = {"Targets": [{**TYPE, **a_booking(contoso, name=name)} for name in ("One", "Two")]}
    ids = (await planner.call("POST", f"{ACTION}.CreateMultiple?tag=mine", body)).json()["Ids"]
    await dataverse.webhooks.quiet()
    (post,), (sent,) = receiver.bodies, receiver.posts
    assert sent.header("x-ms-dynamics-request-name") == post["MessageName"] == "CreateMultiple"
    assert (post["PrimaryEntityId"], post["PrimaryEntityName"]) == (NOBODY, BOOKING)
    assert [(one["name"], one[KEY]) for one in targets(post)] == [("One", ids[0]), ("Two", ids[1])]
    assert all(one["statecode"]["Value"] == 0 for one in targets(post))
    assert post["OutputParameters"] == [{"key": "Ids", "value": ids}]
    assert (post["PreEntityImages"], post["PostEntityImages"]) == ([], [])
    assert by_key(post["SharedVariables"])["tag"] == "mine"
    parent = post["ParentContext"]
    assert "statecode" not in targets(parent)[0]
    assert by_key(parent["InputParameters"])["SuppressDuplicateDetection"] is False


async def test_steps_for_one_and_for_many_both_run(
    planner: Client, contoso: Contoso, receiver: Receiver, dataverse: Dataverse
) -> None:
    for message in ("Create", "CreateMultiple", "Update", "UpdateMultiple"):
        await on(planner, message)
    made = {"Targets": [{**TYPE, **a_booking(contoso)} for _ in range(3)]}
    ids = (await planner.call("POST", f"{ACTION}.CreateMultiple", made)).json()["Ids"]
    changed = {"Targets": [{**TYPE, KEY: one, "name": "New"} for one in ids[:2]]}
    assert (await planner.call("POST", f"{ACTION}.UpdateMultiple", changed)).status == 204
    await dataverse.webhooks.quiet()
    messages = [body["MessageName"] for body in receiver.bodies]
    assert messages == [*["Create"] * 3, "CreateMultiple", *["Update"] * 2, "UpdateMultiple"]
    assert [one["name"] for one in targets(receiver.bodies[-1])] == ["New", "New"]


async def test_one_row_is_told_to_steps_for_many_as_one_target(
    planner: Client, contoso: Contoso, receiver: Receiver, dataverse: Dataverse
) -> None:
    await on(planner, "CreateMultiple")
    await on(planner, "UpdateMultiple")
    booking = await planner.create(BOOKINGS, a_booking(contoso))
    await planner.patch(f"{BOOKINGS}({booking})", {"name": "New"})
    await dataverse.webhooks.quiet()
    made, changed = receiver.bodies
    assert [one[KEY] for one in targets(made)] == [booking]
    assert (changed["MessageName"], changed["OutputParameters"]) == ("UpdateMultiple", [])
    assert list(targets(changed)[0]) == ["name", KEY, "modifiedon", "modifiedby", "modifiedonbehalfby"]


async def test_what_business_logic_writes_is_no_target_of_the_request(
    planner: Client, contoso: Contoso, receiver: Receiver, dataverse: Dataverse
) -> None:
    def again(operation: Operation, pipeline: Pipeline) -> None:
        if operation.message == "Update" and operation.caller.depth == 1 and operation.after is not None:
            pipeline.update(operation.after, {"msdyn_effort": 1.0}, operation.caller.nested())

    await on(planner, "UpdateMultiple")
    booking = await planner.create(BOOKINGS, a_booking(contoso))
    dataverse.plugins.append(again)
    await planner.patch(f"{BOOKINGS}({booking})", {"name": "New"})
    await dataverse.webhooks.quiet()
    told = sorted((body["Depth"], next(iter(targets(body)[0]))) for body in receiver.bodies)
    assert told == [(1, "name"), (2, "msdyn_effort")]


async def test_a_refused_bulk_is_never_posted(
    planner: Client, contoso: Contoso, receiver: Receiver, dataverse: Dataverse
) -> None:
    await on(planner, "CreateMultiple")
    rows = [{**TYPE, **a_booking(contoso)}, {**TYPE, **a_booking(contoso, duration=...)}]
    assert (await planner.call("POST", f"{ACTION}.CreateMultiple", {"Targets": rows})).status == 400
    await dataverse.webhooks.quiet()
    assert receiver.posts == []


async def test_filtering_attributes_of_many_need_one_target_that_has_them(
    planner: Client, contoso: Contoso, receiver: Receiver, dataverse: Dataverse
) -> None:
    await on(planner, "UpdateMultiple", filteringattributes="starttime,name")
    ids = [await planner.create(BOOKINGS, a_booking(contoso)) for _ in range(2)]
    for columns in ({"msdyn_effort": 1.0}, {"name": "New"}):
        rows = [{**TYPE, KEY: ids[0], **columns}, {**TYPE, KEY: ids[1], "msdyn_effort": 2.0}]
        assert (await planner.call("POST", f"{ACTION}.UpdateMultiple", {"Targets": rows})).status == 204
    await dataverse.webhooks.quiet()
    (post,) = receiver.bodies
    assert [one[KEY] for one in targets(post)] == ids


async def test_a_post_about_many_rows_may_lose_its_context(
    planner: Client, contoso: Contoso, receiver: Receiver, dataverse: Dataverse
) -> None:
    await on(planner, "CreateMultiple")
    body = {"Targets": [{**TYPE, **a_booking(contoso, msdyn_slottext="x" * 8_000)} for _ in range(20)]}
    assert (await planner.call("POST", f"{ACTION}.CreateMultiple", body)).status == 200
    await dataverse.webhooks.quiet()
    assert receiver.posts[0].header("x-ms-dynamics-msg-size-exceeded")
    assert not {"ParentContext", "InputParameters", "PreEntityImages", "PostEntityImages"} & set(receiver.bodies[0])
    assert len(by_key(receiver.bodies[0]["OutputParameters"])["Ids"]) == 20


@pytest.mark.parametrize(
    ("change", "state", "status"), [({"statecode": 1}, 1, 2), ({"statuscode": 2}, 1, 2), ({"statuscode": 1}, 0, 1)]
)
async def test_a_patched_state_is_told_as_set_state_beside_the_update(
    *,
    planner: Client,
    contoso: Contoso,
    receiver: Receiver,
    dataverse: Dataverse,
    change: dict[str, Json],
    state: int,
    status: int,
) -> None:
    for message in ("SetState", "Update", "Assign"):
        await on(planner, message)
    booking = await planner.create(BOOKINGS, a_booking(contoso))
    await planner.patch(f"{BOOKINGS}({booking})", {"name": "New"})
    await planner.patch(f"{BOOKINGS}({booking})?tag=mine", change)
    await dataverse.webhooks.quiet()
    *updates, post = receiver.bodies
    assert [body["MessageName"] for body in updates] == ["Update", "Update"]
    parameters = by_key(post["InputParameters"])
    assert (post["MessageName"], post["PrimaryEntityId"], post["Depth"]) == ("SetState", booking, 1)
    assert (parameters["EntityMoniker"]["Id"], parameters["EntityMoniker"]["LogicalName"]) == (booking, BOOKING)
    assert parameters["State"] == {"__type": OPTION, "Value": state}
    assert parameters["Status"] == {"__type": OPTION, "Value": status}
    assert by_key(post["SharedVariables"])["tag"] == "mine"


async def test_a_patched_owner_is_told_as_assign_with_images(
    planner: Client, contoso: Contoso, receiver: Receiver, dataverse: Dataverse
) -> None:
    step = await on(planner, "Assign")
    assert [await an_image(planner, step, kind, "Target") for kind in (0, 1)] == [204, 204]
    booking = await planner.create(BOOKINGS, a_booking(contoso))
    bob = contoso.people["bob"].user_id
    await planner.patch(f"{BOOKINGS}({booking})", {"ownerid@odata.bind": f"/systemusers({bob})", "name": "New"})
    await dataverse.webhooks.quiet()
    (post,) = receiver.bodies
    parameters = by_key(post["InputParameters"])
    assert (post["MessageName"], set(parameters)) == ("Assign", {"Target", "Assignee"})
    assert (parameters["Target"]["Id"], parameters["Assignee"]["Id"]) == (booking, bob)
    assert parameters["Assignee"]["LogicalName"] == "systemuser"
    before = by_key(by_key(post["PreEntityImages"])["image0"]["Attributes"])
    after = by_key(by_key(post["PostEntityImages"])["image1"]["Attributes"])
    assert (before["ownerid"]["Id"], after["ownerid"]["Id"]) == (known_id("systemuser", "Planner"), bob)


@pytest.mark.parametrize(
    ("message", "parameter", "status"),
    [
        ("SetState", "EntityMoniker", 204),
        ("SetState", "Target", 400),
        ("Assign", "Target", 204),
        ("CreateMultiple", "Ids", 501),
        ("UpdateMultiple", "Targets", 501),
    ],
)
async def test_what_images_are_taken_of(planner: Client, message: str, parameter: str, status: int) -> None:
    assert await an_image(planner, await on(planner, message), 1, parameter) == status


async def test_only_updates_have_filtering_attributes(planner: Client) -> None:
    step = await a_step(planner, "SetState", filteringattributes="statecode")
    assert (await planner.call("POST", "sdkmessageprocessingsteps", step)).status == 400


@pytest.mark.parametrize(
    ("message", "table", "known"),
    [
        ("CreateMultiple", BOOKING, True),
        ("UpdateMultiple", "systemuser", True),
        ("SetState", "systemuser", False),
        ("Assign", "systemuser", False),
        ("DeleteMultiple", BOOKING, False),
    ],
)
async def test_tables_know_their_messages(planner: Client, message: str, table: str, *, known: bool) -> None:
    assert (await filter_of(planner, message, table) is not None) == known


async def test_upserting_many_makes_some_and_changes_others(
    planner: Client, contoso: Contoso, receiver: Receiver, dataverse: Dataverse
) -> None:
    there, new = await planner.create(BOOKINGS, a_booking(contoso)), known_id("new")
    for message in ("Create", "CreateMultiple", "Update", "UpdateMultiple"):
        await on(planner, message)
    rows = [
        {**TYPE, "@odata.id": f"{BOOKINGS}({there})", "name": "Changed"},
        {**TYPE, KEY: new, **a_booking(contoso, name="Made")},
    ]
    assert (await planner.call("POST", f"{ACTION}.UpsertMultiple?tag=mine", {"Targets": rows})).status == 204
    found = {row[KEY]: row["name"] for row in (await planner.get(f"{BOOKINGS}?$select=name"))["value"]}
    assert found == {there: "Changed", new: "Made"}
    await dataverse.webhooks.quiet()
    assert [body["MessageName"] for body in receiver.bodies] == ["Update", "Create", "CreateMultiple", "UpdateMultiple"]


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ({}, 400),
        ({KEY: known_id("one"), "@odata.id": f"{BOOKINGS}({known_id('other')})"}, 400),
        ({"@odata.id": f"bookingstatuses({known_id('one')})"}, 400),
        ({"@odata.id": f"{BOOKINGS}(bsync_eventkey='3f5c0a')"}, 501),
    ],
)
async def test_upserts_that_name_no_row(planner: Client, target: dict[str, Json], status: int) -> None:
    answer = await planner.call("POST", f"{ACTION}.UpsertMultiple", {"Targets": [{**TYPE, **target}]})
    assert answer.status == status


async def test_upserting_a_row_twice_in_one_call_rolls_all_back(planner: Client, contoso: Contoso) -> None:
    row = {**TYPE, KEY: known_id("one"), **a_booking(contoso)}
    answer = await planner.call("POST", f"{ACTION}.UpsertMultiple", {"Targets": [row, row]})
    assert answer.status == 400
    assert (await planner.get(f"{BOOKINGS}?$select=name"))["value"] == []

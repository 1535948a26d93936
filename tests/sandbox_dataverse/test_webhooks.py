"""What the outside learns of a write, when, and what becomes of the job."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest

from sandbox.cloud import Cloud
from sandbox.dataverse.operations import Operation
from sandbox.dataverse.pipeline import Pipeline, PluginAborted
from sandbox.dataverse.routes import ORGANIZATION_ID, Dataverse
from sandbox.dataverse.schema import Reference
from sandbox.directory import known_id
from sandbox.http import Json, Request, Response
from sandbox.install import Registration
from sandbox.outbox import MOST_REMEMBERED
from sandbox.seed import DISPATCHER, Contoso
from tests.sandbox_dataverse.clients import KEY, Client, Receiver, a_booking, by_key, register

BOOKINGS = "bookableresourcebookings"


@pytest.fixture
async def registration(planner: Client, receiver: Receiver) -> Registration:
    assert not receiver.posts
    return await register(planner)


@pytest.fixture
async def booking(planner: Client, contoso: Contoso, registration: Registration, dataverse: Dataverse) -> str:
    """The address of a booking whose post has been delivered."""
    assert registration.steps
    address = f"{BOOKINGS}({await planner.create(BOOKINGS, a_booking(contoso))})"
    await dataverse.webhooks.quiet()
    return address


async def jobs(client: Client) -> list[tuple[int, int]]:
    rows = (await client.get("asyncoperations?$select=statecode,statuscode&$orderby=createdon"))["value"]
    return [(row["statecode"], row["statuscode"]) for row in rows]


async def test_registering_twice_changes_nothing(planner: Client, registration: Registration) -> None:
    assert await register(planner) == registration
    steps = await planner.get(
        f"serviceendpoints({registration.endpoint_id})/serviceendpoint_sdkmessageprocessingstep?$select=name"
    )
    images = await planner.get("sdkmessageprocessingstepimages?$select=entityalias")
    assert (len(steps["value"]), len(images["value"])) == (3, 4)


async def test_the_key_of_an_endpoint_cannot_be_read(planner: Client, registration: Registration) -> None:
    row = await planner.get(f"serviceendpoints({registration.endpoint_id})")
    assert row["isauthvalueset"] is True
    assert "authvalue" not in row
    assert (await planner.call("GET", "serviceendpoints?$select=authvalue")).status == 400
    assert (await planner.call("GET", "serviceendpoints?$filter=authvalue eq 'x'")).status == 400


async def test_a_create_is_posted_with_all_its_columns(
    planner: Client, contoso: Contoso, registration: Registration, receiver: Receiver, dataverse: Dataverse
) -> None:
    booking = await planner.create(BOOKINGS, a_booking(contoso))
    await dataverse.webhooks.quiet()
    (post,), (body,) = receiver.posts, receiver.bodies
    assert (post.method, post.base, post.path) == ("POST", "https://functions.test", "/api/dataverse")
    assert post.query == (("code", KEY),)
    assert post.header("x-ms-dynamics-organization") == "dataverse.test"
    assert post.header("x-ms-dynamics-entity-name") == "bookableresourcebooking"
    assert post.header("x-ms-dynamics-request-name") == "Create"
    assert post.header("x-ms-correlation-request-id") == body["CorrelationId"]
    assert (body["MessageName"], body["Stage"], body["Mode"], body["Depth"]) == ("Create", 40, 1, 1)
    assert (body["PrimaryEntityId"], body["OrganizationId"]) == (booking, ORGANIZATION_ID)
    assert body["OwningExtension"]["Id"] == registration.steps["Create"]
    assert body["InitiatingUserId"] == body["UserId"] == known_id("systemuser", "Planner")
    assert body["OutputParameters"] == [{"key": "id", "value": booking}]
    target = by_key(body["InputParameters"])["Target"]
    values = by_key(target["Attributes"])
    assert target["__type"].startswith("Entity:")
    assert values["starttime"] == "/Date(1772438400000)/"
    assert values["bookingtype"] == {
        "__type": "OptionSetValue:http://schemas.microsoft.com/xrm/2011/Contracts",
        "Value": 1,
    }
    assert (values["resource"]["LogicalName"], values["resource"]["Name"]) == ("bookableresource", None)
    assert values["bookableresourcebookingid"] == booking
    assert values["statecode"]["Value"] == 0
    assert values["modifiedonbehalfby"] is None
    assert [image["key"] for image in body["PostEntityImages"]] == ["AsynchronousStepPrimaryName", "post"]
    assert body["PreEntityImages"] == []
    post_image = by_key(body["PostEntityImages"])["post"]
    assert by_key(post_image["Attributes"])["resource"]["Name"] == "Alice Anderson"
    assert post_image["RowVersion"] == target["RowVersion"]
    assert body["ParentContext"]["Stage"] == 30
    assert by_key(body["ParentContext"]["InputParameters"])["SuppressDuplicateDetection"] is False


async def test_an_update_is_posted_with_what_was_submitted_and_both_images(
    sync: Client, contoso: Contoso, booking: str, receiver: Receiver, dataverse: Dataverse
) -> None:
    dataverse.roles[known_id("systemuser", "Booking Sync")] = DISPATCHER
    before = (await sync.get(f"{booking}?$select=versionnumber"))["versionnumber"]
    body = {"Resource@odata.bind": f"/bookableresources({contoso.resource('bob')})"}
    await sync.patch(f"{booking}?tag=b1:9f2c", body)
    await dataverse.webhooks.quiet()
    post = receiver.bodies[-1]
    target = by_key(post["InputParameters"])["Target"]
    assert list(by_key(target["Attributes"])) == [
        "resource",
        "bookableresourcebookingid",
        "modifiedon",
        "modifiedby",
        "modifiedonbehalfby",
    ]
    pre, after = by_key(post["PreEntityImages"])["pre"], by_key(post["PostEntityImages"])["post"]
    assert by_key(pre["Attributes"])["resource"]["Name"] == "Alice Anderson"
    assert by_key(after["Attributes"])["resource"]["Name"] == "Bob Brandt"
    assert int(pre["RowVersion"]) == before
    assert int(after["RowVersion"]) == int(target["RowVersion"]) > before
    assert by_key(post["SharedVariables"])["tag"] == "b1:9f2c"
    assert by_key(post["ParentContext"]["SharedVariables"])["tag"] == "b1:9f2c"
    assert post["UserAzureActiveDirectoryObjectId"] == contoso.booking_sync.object_id


async def test_a_delete_is_posted_as_a_reference_with_its_pre_image(
    planner: Client, booking: str, receiver: Receiver, dataverse: Dataverse
) -> None:
    assert (await planner.call("DELETE", booking)).status == 204
    await dataverse.webhooks.quiet()
    post = receiver.bodies[-1]
    target = by_key(post["InputParameters"])["Target"]
    assert target["__type"].startswith("EntityReference:")
    assert f"{BOOKINGS}({target['Id']})" == booking
    assert by_key(by_key(post["PreEntityImages"])["pre"]["Attributes"])["name"] == "Boiler service"
    assert post["PostEntityImages"] == []


@pytest.mark.parametrize(
    ("body", "fires"),
    [
        ({"name": "Boiler service"}, True),
        ({"duration": 90, "msdyn_effort": 1.0}, True),
        ({"msdyn_effort": 1.0}, False),
        ({"statuscode": 1}, False),
        ({}, False),
    ],
    ids=["an equal value", "one of two", "another column", "a column that only brings another along", "nothing"],
)
async def test_filtering_attributes_count_by_presence(
    planner: Client, booking: str, receiver: Receiver, dataverse: Dataverse, body: Json, *, fires: bool
) -> None:
    await planner.patch(booking, body)
    await dataverse.webhooks.quiet()
    assert len(receiver.posts) == 1 + fires


async def test_a_disabled_step_is_silent(
    planner: Client, booking: str, receiver: Receiver, dataverse: Dataverse, registration: Registration
) -> None:
    step = f"sdkmessageprocessingsteps({registration.steps['Update']})"
    await planner.patch(step, {"statecode": 1, "statuscode": 2})
    await planner.patch(booking, {"name": "Unheard"})
    await dataverse.webhooks.quiet()
    assert len(receiver.posts) == 1


async def test_other_tables_are_silent(
    planner: Client, contoso: Contoso, registration: Registration, receiver: Receiver, dataverse: Dataverse
) -> None:
    await planner.patch(f"accounts({contoso.customers['Fabrikam']})", {"name": "Fabrikam Ltd"})
    await dataverse.webhooks.quiet()
    assert registration.steps
    assert receiver.posts == []


async def test_a_refused_write_is_never_posted(
    planner: Client, booking: str, receiver: Receiver, dataverse: Dataverse
) -> None:
    answer = await planner.call("PATCH", booking, {"name": "x"}, headers={"If-Match": 'W/"1"'})
    await dataverse.webhooks.quiet()
    assert (answer.status, len(receiver.posts)) == (412, 1)


@pytest.mark.parametrize(
    ("answers", "attempts", "job"),
    [
        ([202], 1, None),
        ([503, 200], 2, None),
        ([502, 503], 2, (3, 31)),
        ([504, 504, 200], 2, (3, 31)),
        ([429], 1, (3, 31)),
        ([500], 1, (3, 31)),
        ([400], 1, (3, 31)),
        ([TimeoutError()], 1, (3, 31)),
        ([ConnectionError()], 1, (3, 31)),
        ([503, ConnectionError()], 2, (3, 31)),
    ],
)
async def test_one_more_attempt_after_a_gateway_error_and_no_other(
    *,
    planner: Client,
    booking: str,
    receiver: Receiver,
    dataverse: Dataverse,
    answers: list[int | Exception],
    attempts: int,
    job: tuple[int, int] | None,
) -> None:
    receiver.answers = list(answers)
    await planner.patch(booking, {"name": "New"})
    await dataverse.webhooks.quiet()
    assert len(receiver.posts) == 1 + attempts
    assert await jobs(planner) == ([job] if job else [])


async def test_failed_posts_can_be_listed_by_step(
    planner: Client, booking: str, receiver: Receiver, dataverse: Dataverse, registration: Registration
) -> None:
    receiver.answers = [500]
    await planner.patch(booking, {"name": "New"})
    await dataverse.webhooks.quiet()
    found = await planner.get(
        "asyncoperations?$orderby=completedon desc&$select=name,friendlymessage,errorcode,message,completedon"
        f"&$filter=statuscode eq 31 and _owningextensionid_value eq {registration.steps['Update']}"
    )
    (row,) = found["value"]
    assert "500" in row["friendlymessage"]
    assert receiver.bodies[-1]["OperationId"] == row["asyncoperationid"]


async def test_succeeded_jobs_stay_when_the_step_keeps_them(
    planner: Client, booking: str, dataverse: Dataverse, registration: Registration
) -> None:
    step = f"sdkmessageprocessingsteps({registration.steps['Update']})"
    await planner.patch(step, {"asyncautodelete": False})
    await planner.patch(booking, {"name": "New"})
    await dataverse.webhooks.quiet()
    assert await jobs(planner) == [(3, 30)]


async def test_posts_keep_their_order_unless_shuffled(
    planner: Client, booking: str, receiver: Receiver, dataverse: Dataverse
) -> None:
    orders = []
    for shuffle in (False, True):
        dataverse.webhooks.delivery.shuffle = shuffle
        receiver.posts.clear()
        for number in range(12):
            await planner.patch(booking, {"duration": number})
        await dataverse.webhooks.quiet()
        targets = [by_key(by_key(body["InputParameters"])["Target"]["Attributes"]) for body in receiver.bodies]
        orders.append([values["duration"] for values in targets])
    assert orders[0] == sorted(orders[0]) == list(range(12))
    assert orders[1] != orders[0]
    assert sorted(orders[1]) == orders[0]


async def test_a_delayed_post_waits_for_the_clock(
    planner: Client, booking: str, receiver: Receiver, dataverse: Dataverse, cloud: Cloud
) -> None:
    dataverse.webhooks.delivery.delay = timedelta(hours=1)
    await planner.patch(booking, {"name": "Late"})
    assert await cloud.recorder.wait_for_traffic(0) is False
    assert len(receiver.posts) == 1
    cloud.clock.advance(timedelta(hours=1))
    await dataverse.webhooks.quiet()
    assert len(receiver.posts) == 2


async def test_settings_say_how_posts_travel(
    planner: Client, booking: str, receiver: Receiver, dataverse: Dataverse, cloud: Cloud
) -> None:
    assert cloud.settings["webhook.in_flight"] == dataverse.webhooks.delivery.in_flight == 1
    cloud.settings.change({"webhook.delay_seconds": 3600, "webhook.shuffle": True, "webhook.in_flight": 3})
    for number in range(12):
        await planner.patch(booking, {"duration": number})
    assert await cloud.recorder.wait_for_traffic(0) is False
    assert len(receiver.posts) == 1
    cloud.clock.advance(timedelta(hours=1))
    await dataverse.webhooks.quiet()
    targets = [by_key(by_key(body["InputParameters"])["Target"]["Attributes"]) for body in receiver.bodies[1:]]
    durations = [values["duration"] for values in targets]
    assert durations != sorted(durations) == list(range(12))
    dataverse.reset()
    assert (dataverse.webhooks.delivery.delay, dataverse.webhooks.delivery.shuffle) == (timedelta(), False)


async def test_as_many_posts_are_on_their_way_as_allowed(
    planner: Client, booking: str, dataverse: Dataverse, cloud: Cloud
) -> None:
    on_their_way, most, go = 0, 0, asyncio.Event()

    async def slow(_request: Request, _seconds: float) -> Response:
        nonlocal on_their_way, most
        on_their_way += 1
        most = max(most, on_their_way)
        await go.wait()
        on_their_way -= 1
        return Response(status=200)

    cloud.send = slow
    cloud.settings.change({"webhook.in_flight": 3})
    for number in range(8):
        await planner.patch(booking, {"duration": number})
    for _ in range(20):
        await asyncio.sleep(0)
    assert (on_their_way, most) == (3, 3)
    cloud.settings.change({"webhook.in_flight": 1})
    go.set()
    await dataverse.webhooks.quiet()
    assert on_their_way == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"webhook.delay_seconds": -1},
        {"webhook.delay_seconds": "1"},
        {"webhook.delay_seconds": 1e300},
        {"webhook.shuffle": 1},
        {"webhook.in_flight": 0},
        {"webhook.in_flight": 1.5},
    ],
)
def test_settings_that_cannot_be(dataverse: Dataverse, cloud: Cloud, wrong: Json) -> None:
    with pytest.raises(ValueError, match="must be"):
        cloud.settings.change(wrong)
    assert dataverse.webhooks.delivery.in_flight == 1


@pytest.mark.parametrize(("effect", "arrived"), [("lose", [1]), ("duplicate", [0, 0, 1]), ("reorder", [1, 0])])
async def test_posts_can_be_lost_doubled_and_overtaken(
    *,
    planner: Client,
    booking: str,
    receiver: Receiver,
    dataverse: Dataverse,
    cloud: Cloud,
    effect: str,
    arrived: list[int],
) -> None:
    receiver.posts.clear()
    cloud.faults.add({"service": "webhook", "do": effect})
    for number in range(2):
        await planner.patch(booking, {"duration": number})
    await dataverse.webhooks.quiet()
    targets = [by_key(by_key(body["InputParameters"])["Target"]["Attributes"]) for body in receiver.bodies]
    assert [values["duration"] for values in targets] == arrived
    assert await jobs(planner) == []


async def test_a_held_post_goes_when_it_is_released(
    planner: Client, booking: str, receiver: Receiver, dataverse: Dataverse, cloud: Cloud
) -> None:
    cloud.faults.add({"service": "webhook", "do": "hold", "times": None})
    await planner.patch(booking, {"name": "Held"})
    await dataverse.webhooks.quiet()
    assert len(receiver.posts) == 1
    assert dataverse.webhooks.release() == 1
    await dataverse.webhooks.quiet()
    assert len(receiver.posts) == 2


@pytest.mark.parametrize(
    ("order", "durations"), [("same", [0, 1, 2, 3]), ("reversed", [3, 2, 1, 0]), ("shuffled", [1, 2, 3, 0])]
)
async def test_everything_that_was_sent_can_be_sent_once_more(
    *,
    planner: Client,
    booking: str,
    receiver: Receiver,
    dataverse: Dataverse,
    cloud: Cloud,
    order: str,
    durations: list[int],
) -> None:
    cloud.faults.add(
        [{"service": "webhook", "do": "duplicate", "after": 1}, {"service": "webhook", "do": "lose", "after": 3}]
    )
    for number in range(5):
        await planner.patch(booking, {"duration": number})
    await dataverse.webhooks.quiet()
    sent = {post.body: post for post in receiver.posts}
    for _ in range(2):
        receiver.posts.clear()
        assert dataverse.webhooks.repeat(order, seed=3) == len(sent) == 5
        await dataverse.webhooks.quiet()
        assert all(post == sent[post.body] for post in receiver.posts)
        again = [by_key(by_key(body["InputParameters"])["Target"]["Attributes"]) for body in receiver.bodies]
        assert [values["duration"] for values in again if values["duration"] != 90] == durations
    dataverse.reset()
    assert dataverse.webhooks.repeat(order) == 0


async def test_of_too_many_posts_the_oldest_are_forgotten(
    planner: Client, booking: str, dataverse: Dataverse, receiver: Receiver
) -> None:
    for number in range(MOST_REMEMBERED):
        await planner.patch(booking, {"duration": number})
    await dataverse.webhooks.quiet()
    create, *rest = receiver.posts
    receiver.posts.clear()
    assert dataverse.webhooks.repeat("same") == MOST_REMEMBERED
    await dataverse.webhooks.quiet()
    assert create not in rest
    assert receiver.posts == rest


async def test_an_order_that_does_not_exist_is_refused(dataverse: Dataverse) -> None:
    with pytest.raises(ValueError, match="same, reversed, shuffled"):
        dataverse.webhooks.repeat("sideways")


async def test_a_fault_answers_in_the_receivers_place(
    planner: Client, booking: str, receiver: Receiver, dataverse: Dataverse, cloud: Cloud
) -> None:
    receiver.posts.clear()
    cloud.recorder.clear()
    cloud.faults.add({"service": "webhook", "do": "refuse", "status": 503})
    await planner.patch(booking, {"name": "New"})
    await dataverse.webhooks.quiet()
    posts = [call for call in cloud.recorder.calls if call.service == "webhook"]
    assert [(call.status, call.fault) for call in posts] == [(503, "refuse"), (200, "")]
    assert len(receiver.posts) == 1
    assert posts[0].path == "/api/dataverse"
    assert posts[0].tags["message"] == "Update"
    assert KEY not in json.dumps([call.as_json() for call in posts])


async def test_a_post_over_256_kb_loses_its_context(
    planner: Client, booking: str, receiver: Receiver, dataverse: Dataverse
) -> None:
    await planner.patch(booking, {"name": "New", "msdyn_internalflags": "x" * 140_000})
    await dataverse.webhooks.quiet()
    post, body = receiver.posts[-1], receiver.bodies[-1]
    assert post.header("x-ms-dynamics-msg-size-exceeded")
    assert not {"ParentContext", "InputParameters", "PreEntityImages", "PostEntityImages"} & set(body)
    assert (body["MessageName"], f"{BOOKINGS}({body['PrimaryEntityId']})") == ("Update", booking)


@pytest.mark.parametrize(
    ("authtype", "header", "query"),
    [(5, "top secret", ()), (6, "", (("X-Key", "top secret"),))],
    ids=["header", "query"],
)
async def test_other_ways_to_authenticate(
    *,
    planner: Client,
    booking: str,
    receiver: Receiver,
    dataverse: Dataverse,
    registration: Registration,
    authtype: int,
    header: str,
    query: tuple[tuple[str, str], ...],
) -> None:
    settings = '<settings><setting name="X-Key" value="top secret" /></settings>'
    endpoint = f"serviceendpoints({registration.endpoint_id})"
    await planner.patch(endpoint, {"authtype": authtype, "authvalue": settings})
    await planner.patch(booking, {"name": "New"})
    await dataverse.webhooks.quiet()
    assert (receiver.posts[-1].header("X-Key"), receiver.posts[-1].query) == (header, query)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"mode": 0}, 501),
        ({"stage": 20}, 400),
        ({"SdkMessageId@odata.bind": "/sdkmessages(x)"}, 400),
        ({"configuration": "x"}, 400),
        ({"filteringattributes": "name"}, 400),
        ({"sdkmessagefilterid@odata.bind": None}, 501),
        ({"eventhandler_serviceendpoint@odata.bind": None}, 400),
    ],
)
async def test_steps_that_cannot_be(
    planner: Client, registration: Registration, changes: dict[str, Json], status: int
) -> None:
    step = f"sdkmessageprocessingsteps({registration.steps['Create']})"
    assert (await planner.call("PATCH", step, changes, headers={"If-Match": "*"})).status == status


async def test_endpoints_other_than_webhooks_are_501(planner: Client) -> None:
    queue = {"name": "Queue", "contract": 6, "authtype": 2}
    assert (await planner.call("POST", "serviceendpoints", queue)).status == 501


async def test_deleting_the_endpoint_takes_its_steps_along(planner: Client, registration: Registration) -> None:
    assert (await planner.call("DELETE", f"serviceendpoints({registration.endpoint_id})")).status == 204
    for entity_set in ("sdkmessageprocessingsteps", "sdkmessageprocessingstepimages"):
        assert (await planner.get(entity_set))["value"] == []


async def test_a_plug_in_can_abort_a_write_and_nothing_stays(
    planner: Client, booking: str, receiver: Receiver, dataverse: Dataverse
) -> None:
    def abort(operation: Operation, _: Pipeline) -> None:
        raise PluginAborted(f"No {operation.message} today.")

    dataverse.plugins.append(abort)
    answer = await planner.call("PATCH", booking, {"name": "New"})
    await dataverse.webhooks.quiet()
    assert (answer.status, answer.json()["error"]["code"]) == (400, "0x80040265")
    assert answer.json()["error"]["message"] == "No Update today."
    assert (await planner.get(f"{booking}?$select=name"))["name"] == "Boiler service"
    assert len(receiver.posts) == 1


async def test_a_plug_in_writes_one_level_deeper_under_the_same_tag(
    planner: Client, contoso: Contoso, booking: str, receiver: Receiver, dataverse: Dataverse
) -> None:
    sibling = await planner.create(BOOKINGS, a_booking(contoso))

    def cascade(operation: Operation, pipeline: Pipeline) -> None:
        if operation.message == "Update" and operation.caller.depth == 1:
            row = dataverse.state.must_find(Reference("bookableresourcebooking", sibling))
            pipeline.update(row, operation.submitted, operation.caller.nested())

    dataverse.plugins.append(cascade)
    await planner.patch(f"{booking}?tag=mine", {"duration": 45})
    await dataverse.webhooks.quiet()
    deep = next(body for body in receiver.bodies if body["Depth"] == 2)
    assert deep["PrimaryEntityId"] == sibling
    assert by_key(deep["SharedVariables"])["tag"] == "mine"


async def test_a_plug_in_that_calls_itself_for_ever_is_stopped(
    planner: Client, booking: str, dataverse: Dataverse
) -> None:
    def again(operation: Operation, pipeline: Pipeline) -> None:
        assert operation.after is not None
        pipeline.update(operation.after, {"duration": 1}, operation.caller.nested())

    dataverse.plugins.append(again)
    assert (await planner.call("PATCH", booking, {"name": "New"})).status == 400
    assert (await planner.get(f"{booking}?$select=duration"))["duration"] == 90


async def test_close_drops_what_waits(planner: Client, booking: str, receiver: Receiver, dataverse: Dataverse) -> None:
    dataverse.webhooks.delivery.delay = timedelta(hours=1)
    await planner.patch(booking, {"name": "Never"})
    await dataverse.close()
    await dataverse.webhooks.quiet()
    assert len(receiver.posts) == 1

"""Rows written and read one at a time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sandbox.cloud import Cloud
from sandbox.directory import known_id
from sandbox.http import Json
from sandbox.seed import Contoso
from tests.sandbox_dataverse.clients import ROOT, Client, a_booking

BOOKINGS = "bookableresourcebookings"
REPRESENTATION = {"Prefer": "return=representation"}
NEW_ID = known_id("a new booking")


@pytest.fixture
async def booking(planner: Client, contoso: Contoso) -> str:
    """The address of a booking."""
    return f"{BOOKINGS}({await planner.create(BOOKINGS, a_booking(contoso))})"


async def etag_of(client: Client, address: str) -> str:
    answer = await client.call("GET", f"{address}?$select=name")
    assert answer.headers["ETag"] == answer.json()["@odata.etag"]
    return answer.headers["ETag"]


async def test_create_answers_204_with_the_address(planner: Client, contoso: Contoso) -> None:
    answer = await planner.call("POST", BOOKINGS, a_booking(contoso))
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["OData-EntityId"].startswith(f"{ROOT}/{BOOKINGS}(")
    assert answer.headers["OData-Version"] == "4.0"


async def test_create_can_return_the_row(planner: Client, contoso: Contoso) -> None:
    answer = await planner.call(
        "POST", f"{BOOKINGS}?$select=name,starttime", a_booking(contoso), headers=REPRESENTATION
    )
    row = answer.json()
    assert answer.status == 201
    assert answer.headers["Preference-Applied"] == "return=representation"
    assert set(row) == {"@odata.context", "@odata.etag", "name", "starttime", "bookableresourcebookingid"}
    assert row["@odata.context"] == f"{ROOT}/$metadata#{BOOKINGS}(name,starttime)/$entity"


async def test_a_new_row_has_defaults_and_stamps(planner: Client, contoso: Contoso) -> None:
    answer = await planner.call("POST", BOOKINGS, a_booking(contoso), headers=REPRESENTATION)
    row = answer.json()
    assert (row["statecode"], row["statuscode"], row["msdyn_bookingmethod"]) == (0, 1, 690970003)
    assert row["createdon"] == row["modifiedon"] == "2026-03-01T08:00:00Z"
    assert row["_createdby_value"] == row["_modifiedby_value"] == known_id("systemuser", "Planner")
    assert row["@odata.etag"] == f'W/"{row["versionnumber"]}"'


async def test_the_client_may_choose_the_id(planner: Client, contoso: Contoso) -> None:
    assert await planner.create(BOOKINGS, a_booking(contoso, bookableresourcebookingid=NEW_ID)) == NEW_ID
    again = await planner.call("POST", BOOKINGS, a_booking(contoso, bookableresourcebookingid=NEW_ID))
    assert (again.status, again.json()["error"]["code"]) == (412, "0x80040237")


@pytest.mark.parametrize(
    "missing",
    [
        "starttime",
        "endtime",
        "duration",
        "bookingtype",
        "Resource@odata.bind",
        "BookingStatus@odata.bind",
    ],
)
async def test_create_needs_what_the_system_requires(planner: Client, contoso: Contoso, missing: str) -> None:
    answer = await planner.call("POST", BOOKINGS, a_booking(contoso, **{missing: ...}))
    assert answer.status == 400
    assert missing.partition("@")[0].lower() in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"resource@odata.bind": "/bookableresources(x)"}, "0x80048d19"),
        ({"resource": "x"}, "0x80048d19"),
        ({"_resource_value": NEW_ID}, "0x80048d19"),
        ({"nonsense": 1}, "0x80048d19"),
        ({"Name": "wrong case"}, "0x80048d19"),
        ({"Resource@odata.bind": "no address"}, "0x80048d19"),
        ({"Resource@odata.bind": f"/bookingstatuses({NEW_ID})"}, "0x80048d19"),
        ({"duration": "90"}, "0x80048d19"),
        ({"starttime": "2026-03-02T08:00:00"}, "0x80048d19"),
        ({"starttime": "2026-03-02"}, "0x80048d19"),
        ({"msdyn_allowoverlapping": "yes"}, "0x80048d19"),
        ({"bookableresourcebookingid": "x"}, "0x80048d19"),
        ({"bookingtype": 7}, "0x8004431a"),
        ({"duration": -1}, "0x8004431a"),
        ({"name": "x" * 101}, "0x80044331"),
        ({"statecode": 0, "statuscode": 2}, "0x80040203"),
        ({"@odata.type": "Microsoft.Dynamics.CRM.account"}, "0x80048d19"),
    ],
)
async def test_what_does_not_fit_the_table_is_400(
    planner: Client, contoso: Contoso, changes: dict[str, Json], code: str
) -> None:
    answer = await planner.call("POST", BOOKINGS, a_booking(contoso, **changes))
    assert (answer.status, answer.json()["error"]["code"]) == (400, code)


@pytest.mark.parametrize(
    "changes",
    [
        {"createdon": "2026-01-01T00:00:00Z"},
        {"createdby@odata.bind": f"/systemusers({NEW_ID})"},
        {"msdyn_projectid@odata.bind": f"/msdyn_projects({NEW_ID})"},
        {"Resource": {"name": "deep"}},
        {"name@OData.Community.Display.V1.FormattedValue": "x"},
    ],
)
async def test_writes_that_are_not_modelled_are_501(
    planner: Client, contoso: Contoso, changes: dict[str, Json]
) -> None:
    assert (await planner.call("POST", BOOKINGS, a_booking(contoso, **changes))).status == 501


async def test_a_lookup_needs_a_row_that_exists(planner: Client, contoso: Contoso) -> None:
    changes = {"Resource@odata.bind": f"/bookableresources({NEW_ID})"}
    answer = await planner.call("POST", BOOKINGS, a_booking(contoso, **changes))
    error = answer.json()["error"]
    assert (answer.status, error["code"]) == (404, "0x80040217")
    assert error["message"] == f"bookableresource With Id = {NEW_ID} Does Not Exist"


@pytest.mark.parametrize("form", ["bookableresources({})", "/bookableresources({})", ROOT + "/bookableresources({})"])
async def test_a_lookup_is_bound_by_relative_or_absolute_address(
    planner: Client, booking: str, contoso: Contoso, form: str
) -> None:
    await planner.patch(booking, {"Resource@odata.bind": form.format(contoso.resource("bob"))})
    assert (await planner.get(f"{booking}?$select=_resource_value"))["_resource_value"] == contoso.resource("bob")


async def test_a_lookup_is_cleared_with_null_unless_the_system_requires_it(planner: Client, booking: str) -> None:
    await planner.patch(booking, {"msdyn_workorder@odata.bind": None})
    assert (await planner.get(f"{booking}?$select=_msdyn_workorder_value"))["_msdyn_workorder_value"] is None
    refused = await planner.call("PATCH", booking, {"Resource@odata.bind": None})
    assert refused.status == 400


async def test_a_body_must_be_json(planner: Client) -> None:
    text = {"Content-Type": "text/plain"}
    assert (await planner.call("POST", BOOKINGS, b"{}", headers=text)).status == 415
    as_json = {"Content-Type": "application/json"}
    assert (await planner.call("POST", BOOKINGS, b"{", headers=as_json)).status == 400
    assert (await planner.call("POST", BOOKINGS, [], headers=as_json)).status == 400


async def test_a_patch_changes_what_it_names_and_raises_the_version(
    planner: Client, booking: str, cloud: Cloud
) -> None:
    before = await planner.get(booking)
    cloud.clock.advance(timedelta(minutes=5))
    await planner.patch(booking, {"starttime": "2026-03-02T10:00:00.987+02:00"})
    after = await planner.get(booking)
    assert after["starttime"] == before["starttime"] == "2026-03-02T08:00:00Z"
    assert after["versionnumber"] > before["versionnumber"]
    assert (after["createdon"], after["modifiedon"]) == (before["createdon"], "2026-03-01T08:05:00Z")
    unchanged = set(before) - {"@odata.etag", "versionnumber", "modifiedon"}
    assert {name: after[name] for name in unchanged} == {name: before[name] for name in unchanged}


async def test_the_server_does_not_derive_the_duration(planner: Client, booking: str) -> None:
    await planner.patch(booking, {"endtime": "2026-03-02T12:00:00Z"})
    assert (await planner.get(f"{booking}?$select=duration"))["duration"] == 90


async def test_a_patch_can_return_the_row(planner: Client, booking: str) -> None:
    answer = await planner.call("PATCH", f"{booking}?$select=name", {"name": "New"}, headers=REPRESENTATION)
    assert (answer.status, answer.json()["name"]) == (200, "New")
    assert answer.headers["ETag"] == answer.json()["@odata.etag"]


async def test_if_match_lets_only_the_present_version_be_written(planner: Client, booking: str) -> None:
    etag = await etag_of(planner, booking)
    first = await planner.call("PATCH", booking, {"name": "First"}, headers={"If-Match": etag})
    second = await planner.call("PATCH", booking, {"name": "Second"}, headers={"If-Match": etag})
    assert (first.status, second.status, second.json()["error"]["code"]) == (204, 412, "0x80060882")
    assert (await planner.get(f"{booking}?$select=name"))["name"] == "First"


async def test_a_patch_makes_the_row_unless_if_match_forbids_it(planner: Client, contoso: Contoso) -> None:
    address = f"{BOOKINGS}({NEW_ID})"
    absent = await planner.call("PATCH", address, a_booking(contoso), headers={"If-Match": "*"})
    assert (absent.status, absent.json()["error"]["code"]) == (404, "0x80040217")
    made = await planner.call("PATCH", address, a_booking(contoso), headers=REPRESENTATION)
    assert (made.status, made.json()["bookableresourcebookingid"]) == (201, NEW_ID)


async def test_if_none_match_star_only_makes(planner: Client, contoso: Contoso) -> None:
    address, only_make = f"{BOOKINGS}({NEW_ID})", {"If-None-Match": "*"}
    first = await planner.call("PATCH", address, a_booking(contoso), headers=only_make)
    second = await planner.call("PATCH", address, a_booking(contoso), headers=only_make)
    assert (first.status, second.status, second.json()["error"]["code"]) == (204, 412, "0x80040237")


async def test_conditional_read_is_304_until_the_row_changes(planner: Client, booking: str) -> None:
    condition = {"If-None-Match": await etag_of(planner, booking)}
    assert (await planner.call("GET", booking, headers=condition)).status == 304
    shaped = await planner.call("GET", f"{booking}?$expand=Resource($select=name)", headers=condition)
    assert shaped.status == 200
    await planner.patch(booking, {"name": "Changed"})
    assert (await planner.call("GET", booking, headers=condition)).status == 200


async def test_delete_then_nothing_is_there(planner: Client, booking: str) -> None:
    etag = await etag_of(planner, booking)
    await planner.patch(booking, {"name": "Changed"})
    assert (await planner.call("DELETE", booking, headers={"If-Match": etag})).status == 412
    assert (await planner.call("DELETE", booking)).status == 204
    for method in ("GET", "DELETE"):
        gone = await planner.call(method, booking)
        assert (gone.status, gone.json()["error"]["code"]) == (404, "0x80040217")


async def test_a_row_that_others_require_cannot_go(planner: Client, contoso: Contoso, booking: str) -> None:
    answer = await planner.call("DELETE", f"bookableresources({contoso.resource('alice')})")
    assert (answer.status, answer.json()["error"]["code"]) == (405, "0x80040227")
    assert (await planner.call("GET", booking)).status == 200


async def test_deleting_a_work_order_clears_the_link(planner: Client, contoso: Contoso, booking: str) -> None:
    work_order = contoso.work_orders["WO-00001"]
    assert (await planner.call("DELETE", f"msdyn_workorders({work_order})")).status == 204
    assert (await planner.get(f"{booking}?$select=_msdyn_workorder_value"))["_msdyn_workorder_value"] is None


async def test_a_single_value_is_read_written_and_cleared(planner: Client, booking: str) -> None:
    assert (await planner.get(f"{booking}/name"))["value"] == "Boiler service"
    assert (await planner.call("PUT", f"{booking}/name", {"value": "New"})).status == 204
    assert (await planner.get(f"{booking}/name"))["value"] == "New"
    assert (await planner.call("DELETE", f"{booking}/name")).status == 204
    assert (await planner.call("GET", f"{booking}/name")).status == 204
    assert (await planner.call("DELETE", f"{booking}/starttime")).status == 400
    assert (await planner.call("GET", f"{booking}/nonsense")).status == 404


async def test_state_and_status_reason_go_together(planner: Client, booking: str) -> None:
    await planner.patch(booking, {"statecode": 1})
    assert (await planner.get(f"{booking}?$select=statecode,statuscode"))["statuscode"] == 2
    await planner.patch(booking, {"statuscode": 1})
    assert (await planner.get(f"{booking}?$select=statecode,statuscode"))["statecode"] == 0


async def test_a_gateway_html_page_can_be_ordered(planner: Client, cloud: Cloud) -> None:
    cloud.faults.add({"service": "dataverse", "do": "html", "status": 500})
    answer = await planner.call("GET", "WhoAmI")
    assert (answer.status, answer.headers["Content-Type"]) == (500, "text/html")


async def test_a_fault_is_worded_as_dataverse_words_it(planner: Client, cloud: Cloud) -> None:
    cloud.faults.add({"do": "refuse", "status": 429, "code": "0x80072322", "retry_after": 17})
    answer = await planner.call("GET", "WhoAmI")
    assert (answer.status, answer.headers["Retry-After"]) == (429, "17")
    assert answer.json()["error"]["code"] == "0x80072322"

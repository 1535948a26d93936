"""Business logic beside the request: crews that move together, completed bookings that do not move."""

from __future__ import annotations

import pytest

from sandbox.cloud import Cloud
from sandbox.dataverse.routes import Dataverse
from sandbox.http import Json
from sandbox.seed import Contoso
from tests.sandbox_dataverse.clients import Client, Receiver, a_booking, by_key, register

BOOKINGS = "bookableresourcebookings"
COLUMNS = "$select=starttime,endtime,duration,_bookingstatus_value"
LATER: dict[str, Json] = {"starttime": "2026-03-02T10:00:00Z", "endtime": "2026-03-02T11:00:00Z", "duration": 60}


async def a_requirement(client: Client) -> dict[str, Json]:
    requirement = await client.create("msdyn_resourcerequirements", {"msdyn_name": "Two people"})
    return {"msdyn_ResourceRequirement@odata.bind": f"/msdyn_resourcerequirements({requirement})"}


async def a_crew(client: Client, contoso: Contoso, *changes: dict[str, Json]) -> list[str]:
    """The addresses of bookings of one requirement that follow each other; `changes` make each of them another."""
    common = {**await a_requirement(client), "msdyn_cascadecrewchanges": True}
    bodies = [a_booking(contoso, **{**common, **one}) for one in changes]
    return [f"{BOOKINGS}({await client.create(BOOKINGS, body)})" for body in bodies]


async def times(client: Client, booking: str) -> dict[str, Json]:
    row = await client.get(f"{booking}?{COLUMNS}")
    return {name: row[name] for name in LATER}


@pytest.fixture
def crews(dataverse: Dataverse) -> Dataverse:
    dataverse.cloud.settings.change({"dataverse.business_logic": ["crew_cascade"]})
    return dataverse


async def test_a_crew_moves_together_one_level_deeper_under_the_same_tag(
    planner: Client, contoso: Contoso, crews: Dataverse, receiver: Receiver
) -> None:
    leader, *others = await a_crew(planner, contoso, {}, {}, {})
    await register(planner)
    await planner.patch(f"{leader}?tag=mine", LATER)
    await crews.webhooks.quiet()
    assert [await times(planner, one) for one in (leader, *others)] == [LATER] * 3
    told = {f"{BOOKINGS}({body['PrimaryEntityId']})": body for body in receiver.bodies}
    assert len(receiver.bodies) == len(told) == 3
    assert [told[one]["Depth"] for one in (leader, *others)] == [1, 2, 2]
    assert {by_key(body["SharedVariables"])["tag"] for body in receiver.bodies} == {"mine"}


@pytest.mark.usefixtures("crews")
async def test_the_status_goes_along_and_other_columns_do_not(planner: Client, contoso: Contoso) -> None:
    leader, other = await a_crew(planner, contoso, {}, {})
    canceled = contoso.statuses["Canceled"]
    change = {"BookingStatus@odata.bind": f"/bookingstatuses({canceled})", "name": "Only here"}
    await planner.patch(leader, change)
    row = await planner.get(f"{other}?$select=name,_bookingstatus_value")
    assert (row["name"], row["_bookingstatus_value"]) == ("Boiler service", canceled)


@pytest.mark.usefixtures("crews")
@pytest.mark.parametrize(
    "difference",
    [
        {"starttime": "2026-03-02T07:30:00Z"},
        {"msdyn_cascadecrewchanges": False},
        {"msdyn_ResourceRequirement@odata.bind": None},
    ],
    ids=["other times", "no flag", "no requirement"],
)
async def test_who_is_not_of_the_crew_stays(planner: Client, contoso: Contoso, difference: dict[str, Json]) -> None:
    one, other = await a_crew(planner, contoso, {}, difference)
    before = await times(planner, other), await times(planner, one)
    await planner.patch(one, LATER)
    assert (await times(planner, other), await times(planner, one)) == (before[0], LATER)
    await planner.patch(other, {**LATER, "duration": 61})
    assert await times(planner, one) == LATER


async def test_a_refusal_of_one_follower_leaves_all_where_they_were(
    planner: Client, contoso: Contoso, crews: Dataverse
) -> None:
    crews.cloud.settings.change({"dataverse.business_logic": ["crew_cascade", "refuse_completed"]})
    completed = {"BookingStatus@odata.bind": f"/bookingstatuses({contoso.statuses['Completed']})"}
    leader, _ = await a_crew(planner, contoso, {}, completed)
    before = await times(planner, leader)
    assert (await planner.call("PATCH", leader, LATER)).status == 400
    assert await times(planner, leader) == before


async def test_a_completed_booking_keeps_its_times(planner: Client, contoso: Contoso, cloud: Cloud) -> None:
    cloud.settings.change({"dataverse.business_logic": ["refuse_completed"]})
    booking = f"{BOOKINGS}({await planner.create(BOOKINGS, a_booking(contoso))})"
    completed = {"BookingStatus@odata.bind": f"/bookingstatuses({contoso.statuses['Completed']})"}
    await planner.patch(booking, {**LATER, **completed})
    for change in ({"starttime": LATER["starttime"]}, {"endtime": LATER["endtime"], **completed}, {"duration": 1}):
        answer = await planner.call("PATCH", booking, change, headers={"If-Match": "*"})
        assert (answer.status, answer.json()["error"]["code"]) == (400, "0x80040265")
    await planner.patch(booking, {"name": "Still mine"})
    assert await times(planner, booking) == LATER

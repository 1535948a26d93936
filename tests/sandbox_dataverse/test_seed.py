"""The Contoso organisation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sandbox.cloud import Cloud
from sandbox.crowd import seed_crowd
from sandbox.dataverse.routes import Dataverse
from sandbox.directory import Directory
from sandbox.seed import Contoso, seed_contoso
from tests.sandbox_dataverse.clients import Client


async def test_every_person_is_an_account_a_user_and_a_resource(
    planner: Client, contoso: Contoso, directory: Directory
) -> None:
    body = await planner.get(
        "bookableresources?$select=name,msdyn_primaryemail&$filter=resourcetype eq 3"
        "&$expand=UserId($select=azureactivedirectoryobjectid,domainname,fullname)"
    )
    assert len(body["value"]) == len(contoso.people) >= 20
    for row in body["value"]:
        account = directory.accounts[row["UserId"]["azureactivedirectoryobjectid"]]
        assert account.name == row["name"] == row["UserId"]["fullname"]
        assert account.address == row["msdyn_primaryemail"] == row["UserId"]["domainname"]
    named = {"alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy"}
    assert named <= set(contoso.people)
    assert [person.account.name for person in contoso.people.values() if not person.account.has_mailbox] == [
        "Xavier Xu"
    ]


async def test_rooms_have_an_address_and_no_user(planner: Client, contoso: Contoso) -> None:
    rooms = (await planner.get("bookableresources?$filter=resourcetype eq 7&$orderby=name"))["value"]
    assert [row["bookableresourceid"] for row in rooms] == [contoso.resource("room-1"), contoso.resource("room-2")]
    assert [row["msdyn_primaryemail"] for row in rooms] == ["room-1@contoso.test", "room-2@contoso.test"]
    assert all(row["_userid_value"] is None for row in rooms)
    assert contoso.account("room-1").is_room


async def test_a_resource_without_a_user_and_statuses_by_meaning(planner: Client, contoso: Contoso) -> None:
    van = await planner.get(f"bookableresources({contoso.spare_van})?$select=name,resourcetype,_userid_value")
    assert (van["name"], van["resourcetype"], van["_userid_value"]) == ("Spare Van", 1, None)
    statuses = (await planner.get("bookingstatuses?$select=name,status,msdyn_fieldservicestatus"))["value"]
    meaning = {row["name"]: (row["status"], row["msdyn_fieldservicestatus"]) for row in statuses}
    assert set(meaning) == set(contoso.statuses)
    assert meaning["Canceled"] == (3, None)
    assert meaning["Field Service Canceled"] == (3, 690970005)
    assert meaning["Completed"] == (2, 690970004)


async def test_work_orders_belong_to_customers(planner: Client, contoso: Contoso) -> None:
    body = await planner.get(
        f"msdyn_workorders({contoso.work_orders['WO-00002']})?$select=msdyn_name,msdyn_workordersummary"
        "&$expand=msdyn_serviceaccount($select=name)"
    )
    assert body["msdyn_name"] == "WO-00002"
    assert body["msdyn_serviceaccount"]["name"] in contoso.customers


def test_seeding_again_keeps_ids_and_secrets(contoso: Contoso, directory: Directory, dataverse: Dataverse) -> None:
    assert seed_contoso(directory, None, dataverse) == contoso


def test_secrets_come_from_the_seed(directory: Directory, dataverse: Dataverse, contoso: Contoso) -> None:
    first = contoso.booking_sync.secrets
    directory.clear()
    dataverse.reset()
    again = seed_contoso(directory, None, dataverse)
    assert again.people == contoso.people
    assert again.booking_sync.secrets != first
    assert again.booking_sync.secrets != again.planner.secrets


async def test_reset_forgets_rows_and_users(
    planner: Client, contoso: Contoso, cloud: Cloud, dataverse: Dataverse
) -> None:
    assert contoso.people
    assert cloud.services["dataverse"] is dataverse
    dataverse.reset()
    assert (await planner.call("GET", "WhoAmI")).status == 403


async def test_a_crowd_has_its_bookings_dealt_out_to_everybody(
    planner: Client, contoso: Contoso, directory: Directory, dataverse: Dataverse, cloud: Cloud
) -> None:
    before = cloud.recorder.last
    people = seed_crowd(contoso, directory, dataverse, mailboxes=3, bookings=30)
    assert people == tuple(f"crowd-000{number}@contoso.test" for number in (1, 2, 3))
    assert all(directory.find(address) for address in people)
    assert cloud.recorder.last == before
    filtered = "bookableresourcebookings?$select=name,starttime,endtime&$expand=Resource($select=msdyn_primaryemail)"
    rows = (await planner.get(filtered + "&$filter=startswith(name,'Booking ')&$orderby=starttime"))["value"]
    assert len(rows) == 30
    mine = [row for row in rows if row["Resource"]["msdyn_primaryemail"] == people[0]]
    starts = [datetime.fromisoformat(row["starttime"]).astimezone(UTC) for row in mine]
    assert len(set(starts)) == len(mine) == 10
    assert (starts[0].hour, starts[7].hour, starts[8] - starts[0]) == (8, 15, timedelta(days=1))
    assert seed_crowd(contoso, directory, dataverse, mailboxes=3, bookings=30) == people
    assert len((await planner.get("bookableresourcebookings?$select=name"))["value"]) == 30


@pytest.mark.parametrize(("mailboxes", "bookings"), [(0, 5), (-1, 0), (5_001, 0), (5, -1), (5, 200_001)])
def test_a_crowd_has_its_limits(
    contoso: Contoso, directory: Directory, dataverse: Dataverse, *, mailboxes: int, bookings: int
) -> None:
    with pytest.raises(ValueError, match="'mailboxes' must be"):
        seed_crowd(contoso, directory, dataverse, mailboxes=mailboxes, bookings=bookings)

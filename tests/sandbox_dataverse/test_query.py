"""What of which rows is shown, in which order, how much at a time."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

import pytest

from sandbox.http import Json
from sandbox.seed import Contoso
from tests.sandbox_dataverse.clients import ROOT, Client, a_booking

BOOKINGS = "bookableresourcebookings"
FORMATTED = "OData.Community.Display.V1.FormattedValue"


@pytest.fixture
async def bookings(planner: Client, contoso: Contoso) -> list[str]:
    """Three bookings on three days for three people; the last has no name."""
    ids = []
    for day, (who, name) in enumerate((("alice", "Lift"), ("bob", "boiler"), ("carol", None)), start=2):
        body = a_booking(
            contoso,
            name=name,
            starttime=f"2026-03-0{day}T08:00:00Z",
            duration=day * 30,
            **{"Resource@odata.bind": f"/bookableresources({contoso.resource(who)})"},
        )
        ids.append(await planner.create(BOOKINGS, body))
    return ids


async def listed(client: Client, options: str, **headers: str) -> list[Json]:
    rows: list[Json] = (await client.get(f"{BOOKINGS}?{options}", **headers))["value"]
    return rows


async def numbers(client: Client, bookings: list[str], text: str, more: str = "") -> list[int]:
    """The places in `bookings` of the rows that fit the filter."""
    rows = await listed(client, f"$select=name&$orderby=starttime&$filter={quote(text)}{more}")
    return [bookings.index(row["bookableresourcebookingid"]) for row in rows]


async def test_select_shows_the_columns_and_the_key(planner: Client, bookings: list[str]) -> None:
    body = await planner.get(f"{BOOKINGS}?$select=name,_resource_value&$orderby=starttime")
    assert body["@odata.context"] == f"{ROOT}/$metadata#{BOOKINGS}(name,_resource_value)"
    assert set(body["value"][0]) == {"@odata.etag", "name", "_resource_value", "bookableresourcebookingid"}
    assert [row["bookableresourcebookingid"] for row in body["value"]] == bookings


async def test_expand_reaches_over_lookups_in_lookups(planner: Client, contoso: Contoso, bookings: list[str]) -> None:
    expand = (
        "Resource($select=name;$expand=UserId($select=azureactivedirectoryobjectid)),BookingStatus($select=status),"
        "msdyn_workorder($select=msdyn_name;$expand=msdyn_serviceaccount($select=name))"
    )
    row = await planner.get(f"{BOOKINGS}({bookings[0]})?$select=name&$expand={expand}")
    user = row["Resource"]["UserId"]
    assert row["Resource"]["name"] == "Alice Anderson"
    assert user["azureactivedirectoryobjectid"] == contoso.people["alice"].account.id
    assert user["systemuserid"] == user["ownerid"] == contoso.people["alice"].user_id
    assert row["BookingStatus"]["status"] == 2
    assert row["msdyn_workorder"]["msdyn_serviceaccount"]["name"] in contoso.customers
    assert all(
        "@odata.etag" in one for one in (row, user, row["Resource"], row["BookingStatus"], row["msdyn_workorder"])
    )


async def test_an_empty_lookup_expands_to_null(planner: Client, contoso: Contoso) -> None:
    row = await planner.get(
        f"bookableresources({contoso.resource('room-1')})?$select=name&$expand=UserId($select=fullname)"
    )
    assert row["UserId"] is None


async def test_a_collection_expands_and_can_be_followed(planner: Client, contoso: Contoso, bookings: list[str]) -> None:
    alice, way = contoso.resource("alice"), "bookableresource_bookableresourcebooking_Resource"
    row = await planner.get(f"bookableresources({alice})?$select=name&$expand={way}($select=name;$top=1)")
    followed = await planner.get(f"bookableresources({alice})/{way}?$select=name")
    assert [one["bookableresourcebookingid"] for one in row[way]] == bookings[:1]
    assert [one["bookableresourcebookingid"] for one in followed["value"]] == bookings[:1]
    resource = await planner.get(f"{BOOKINGS}({bookings[0]})/Resource?$select=name")
    assert resource["name"] == "Alice Anderson"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("name eq 'LIFT'", [0]),
        ("name ne 'lift'", [1, 2]),
        ("name eq null", [2]),
        ("name ne null", [0, 1]),
        ("contains(name,'OIL')", [1]),
        ("not contains(name,'oil')", [0, 2]),
        ("startswith(name,'l') or endswith(name,'er')", [0, 1]),
        ("duration gt 60", [1, 2]),
        ("duration ge 60 and duration le 90", [0, 1]),
        ("not (duration lt 90)", [1, 2]),
        ("starttime ge 2026-03-03T08:00:00Z", [1, 2]),
        ("starttime lt 2026-03-03T09:00:00+01:00", [0]),
        ("starttime gt 2026-03-03", [1, 2]),
        ("msdyn_allowoverlapping eq false", [0, 1, 2]),
        ("Resource/name eq 'bob brandt'", [1]),
        ("Resource/UserId/domainname eq 'carol@contoso.test'", [2]),
        ("header eq null", None),
        ("Microsoft.Dynamics.CRM.In(PropertyName='name',PropertyValues=['Lift','Boiler'])", [0, 1]),
        ("Microsoft.Dynamics.CRM.In(PropertyName='duration',PropertyValues=['60','120'])", [0, 2]),
        ('duration gt 0 and Microsoft.Dynamics.CRM.In(PropertyName="x",PropertyValues=[])', None),
    ],
)
async def test_filters(planner: Client, bookings: list[str], text: str, found: list[int] | None) -> None:
    if found is None:
        assert (await planner.call("GET", f"{BOOKINGS}?$filter={quote(text)}")).status in (400, 501)
    else:
        assert await numbers(planner, bookings, text) == found


async def test_filters_by_lookup_take_a_bare_guid(planner: Client, contoso: Contoso, bookings: list[str]) -> None:
    bob = contoso.resource("bob")
    assert await numbers(planner, bookings, f"_resource_value eq {bob.upper()}") == [1]
    assert await numbers(
        planner, bookings, f"Microsoft.Dynamics.CRM.In(PropertyName='_resource_value',PropertyValues=['{bob}'])"
    ) == [1]
    assert (await planner.call("GET", f"{BOOKINGS}?$filter=_resource_value eq '{bob}'")).status == 400


async def test_parameter_aliases_stand_for_values_but_not_inside_text(planner: Client, bookings: list[str]) -> None:
    assert await numbers(planner, bookings, "name eq @who and duration gt @least", "&@who='lift'&@least=1") == [0]
    assert await numbers(planner, bookings, "name eq '@who'") == []
    assert (await planner.call("GET", f"{BOOKINGS}?$filter=name eq @who")).status == 400
    assert (await planner.call("GET", f"{BOOKINGS}?@who='x'")).status == 501


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ("$select=nonsense", 400),
        ("$select=Name", 400),
        ("$select=Resource", 501),
        ("$select=*", 501),
        ("$filter=nonsense eq 1", 400),
        ("$filter=name eq", 400),
        ("$filter=name eq 1", 400),
        ("$filter=resource/name eq 'x'", 400),
        ("$filter=name in ('a','b')", 501),
        ("$filter=duration add 1 eq 2", 501),
        ("$filter=name eq name", 501),
        ("$filter=tolower(name) eq 'x'", 501),
        ("$filter=Microsoft.Dynamics.CRM.Today(PropertyName='starttime')", 501),
        ("$filter=starttime gt 2026-03-03T08:00:00", 400),
        ("$expand=resource", 400),
        ("$expand=Resource($top=1)", 501),
        ("$expand=Resource/UserId", 501),
        ("$expand=Resource($select=name", 400),
        ("$orderby=nonsense", 400),
        ("$orderby=name sideways", 400),
        ("$top=many", 400),
        ("$count=yes", 400),
        ("$skiptoken=mine", 400),
        ("$top=1&$top=2", 400),
    ],
)
async def test_options_that_do_not_fit_are_refused(planner: Client, options: str, status: int) -> None:
    assert (await planner.call("GET", f"{BOOKINGS}?{options}")).status == status


async def test_order_puts_rows_without_a_value_first_and_ignores_case(planner: Client, bookings: list[str]) -> None:
    up = [row["name"] for row in await listed(planner, "$select=name&$orderby=name")]
    down = [row["name"] for row in await listed(planner, "$select=name&$orderby=name desc,starttime")]
    by_path = [row["name"] for row in await listed(planner, "$select=name&$orderby=Resource/name desc")]
    assert (up, down, by_path) == ([None, "boiler", "Lift"], ["Lift", "boiler", None], [None, "boiler", "Lift"])
    assert len(bookings) == 3


async def test_top_and_count(planner: Client, bookings: list[str]) -> None:
    body = await planner.get(f"{BOOKINGS}?$select=name&$top=1&$count=true&$orderby=starttime desc")
    assert (body["@odata.count"], len(body["value"])) == (3, 1)
    assert "@odata.nextLink" not in body
    assert body["value"][0]["bookableresourcebookingid"] == bookings[2]
    counted = await planner.call("GET", f"{BOOKINGS}/$count?$filter=duration gt 60")
    assert (counted.headers["Content-Type"], counted.body) == ("text/plain", b"2")


async def test_pages_follow_the_next_link_though_rows_go_in_between(planner: Client, bookings: list[str]) -> None:
    prefer = "odata.maxpagesize=1"
    first = await planner.call("GET", f"{BOOKINGS}?$select=name&$orderby=starttime&$top=2", headers={"Prefer": prefer})
    assert first.headers["Preference-Applied"] == prefer
    assert "$skiptoken=%3Ccookie%20pagenumber%3D%222%22" in first.json()["@odata.nextLink"]
    await planner.call("DELETE", f"{BOOKINGS}({bookings[0]})")
    second = await planner.get(first.json()["@odata.nextLink"], Prefer=prefer)
    third = await planner.get(second["@odata.nextLink"], Prefer=prefer)
    seen = [body["value"][0]["bookableresourcebookingid"] for body in (first.json(), second, third)]
    assert seen == bookings
    assert "@odata.nextLink" not in third


async def test_a_page_never_holds_more_than_5000_rows(planner: Client, contoso: Contoso) -> None:
    targets = [
        {**a_booking(contoso), "@odata.type": "Microsoft.Dynamics.CRM.bookableresourcebooking"} for _ in range(2501)
    ]
    for _ in range(2):
        answer = await planner.call("POST", f"{BOOKINGS}/Microsoft.Dynamics.CRM.CreateMultiple", {"Targets": targets})
        assert answer.status == 200
        await asyncio.sleep(0)
    body = await planner.get(f"{BOOKINGS}?$select=name&$count=true", Prefer='odata.include-annotations="*"')
    rest = await planner.get(body["@odata.nextLink"])
    assert (len(body["value"]), body["@odata.count"], len(rest["value"])) == (5000, 5000, 2)
    assert body["@Microsoft.Dynamics.CRM.totalrecordcountlimitexceeded"] is True


async def test_annotations_come_when_asked_for(planner: Client, contoso: Contoso, bookings: list[str]) -> None:
    address = f"{BOOKINGS}({bookings[1]})?$select=duration,bookingtype,starttime,_resource_value,statecode"
    row = await planner.get(address, Prefer='odata.include-annotations="*"')
    assert row[f"duration@{FORMATTED}"] == "1.5 hours"
    assert row[f"bookingtype@{FORMATTED}"] == "Solid"
    assert row[f"starttime@{FORMATTED}"] == "3/3/2026 8:00 AM"
    assert row[f"statecode@{FORMATTED}"] == "Active"
    assert row[f"_resource_value@{FORMATTED}"] == "Bob Brandt"
    assert row["_resource_value@Microsoft.Dynamics.CRM.lookuplogicalname"] == "bookableresource"
    assert row["_resource_value@Microsoft.Dynamics.CRM.associatednavigationproperty"] == "Resource"
    some = await planner.get(address, Prefer=f'odata.include-annotations="{FORMATTED}",odata.maxpagesize=5')
    assert {name.partition("@")[2] for name in some if "@" in name[1:]} == {FORMATTED}
    assert not [name for name in await planner.get(address) if "@" in name[1:]]
    assert contoso.resource("bob") == row["_resource_value"]

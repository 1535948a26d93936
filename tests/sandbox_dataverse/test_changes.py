"""Change tracking: everything once, then what has changed since."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from yarl import URL

from sandbox.cloud import Cloud
from sandbox.dataverse.operations import Operation
from sandbox.dataverse.pipeline import Pipeline, PluginAborted
from sandbox.dataverse.routes import ORGANIZATION_ID, Dataverse
from sandbox.http import Json
from sandbox.seed import Contoso
from tests.sandbox_dataverse.clients import ROOT, Client, a_booking

BOOKINGS = "bookableresourcebookings"
KEY = "bookableresourcebookingid"
QUERY = f"{BOOKINGS}?$select=name,duration"
TRACK = "odata.track-changes"
ORGANIZATION = f"organizations({ORGANIZATION_ID})"


@pytest.fixture
async def bookings(planner: Client, contoso: Contoso) -> list[str]:
    """The ids of five bookings, the oldest first."""
    return [await planner.create(BOOKINGS, a_booking(contoso, duration=number)) for number in range(5)]


async def first(client: Client) -> str:
    """The delta link of a first round."""
    link: str = (await client.get(QUERY, Prefer=TRACK))["@odata.deltaLink"]
    return link


async def rounds(client: Client, address: str, size: int, **between: str) -> tuple[list[list[Json]], str]:
    """The pages from `address` on and the delta link at their end; `between` is patched after the first page."""
    pages: list[list[Json]] = []
    while True:
        body = await client.get(address, Prefer=f"{TRACK}, odata.maxpagesize={size}")
        pages.append(body["value"])
        if "@odata.deltaLink" in body:
            assert "@odata.nextLink" not in body
            return pages, body["@odata.deltaLink"]
        address = body["@odata.nextLink"]
        for booking, name in between.items() if len(pages) == 1 else ():
            await client.patch(f"{BOOKINGS}({booking})", {"name": name})


def ids(rows: list[Json]) -> list[str]:
    return [row.get(KEY) or row["id"] for row in rows]


async def test_the_first_round_gives_all_rows_and_a_delta_link(planner: Client, bookings: list[str]) -> None:
    answer = await planner.call("GET", QUERY, headers={"Prefer": TRACK})
    body = answer.json()
    assert (answer.status, answer.headers["Preference-Applied"]) == (200, TRACK)
    assert body["@odata.context"] == f"{ROOT}/$metadata#{BOOKINGS}(name,duration)"
    assert ids(body["value"]) == bookings
    assert set(body["value"][0]) == {"@odata.etag", "name", "duration", KEY}
    link = body["@odata.deltaLink"]
    assert link.startswith(f"{ROOT}/{BOOKINGS}?$select=name,duration&$deltatoken=")
    assert "%2103%2f01%2f2026%2008%3a00%3a00" in link
    assert dict(parse_qsl(urlsplit(link).query))["$deltatoken"].endswith("!03/01/2026 08:00:00")


async def test_nothing_changed_is_an_empty_value_and_a_new_link(planner: Client, bookings: list[str]) -> None:
    body = await planner.get(await first(planner))
    assert bookings
    assert body["value"] == []
    assert body["@odata.context"] == f"{ROOT}/$metadata#{BOOKINGS}(name,duration)/$delta"
    assert (await planner.get(body["@odata.deltaLink"]))["value"] == []


async def test_changed_rows_come_by_version_and_deleted_ones_after_them(
    planner: Client, contoso: Contoso, bookings: list[str]
) -> None:
    link = await first(planner)
    await planner.call("DELETE", f"{BOOKINGS}({bookings[0]})")
    await planner.patch(f"{BOOKINGS}({bookings[3]})", {"name": "Third"})
    await planner.patch(f"{BOOKINGS}({bookings[1]})", {"msdyn_effort": 2.0})
    await planner.patch(f"accounts({contoso.customers['Fabrikam']})", {"name": "Elsewhere"})
    body = await planner.get(link)
    *rows, deleted = body["value"]
    assert ids(rows) == [bookings[3], bookings[1]]
    assert (rows[0]["name"], rows[1]["name"]) == ("Third", "Boiler service")
    assert rows[0]["@odata.etag"] < rows[1]["@odata.etag"]
    assert deleted == {
        "@odata.context": f"{ROOT}/$metadata#{BOOKINGS}/$deletedEntity",
        "id": bookings[0],
        "reason": "deleted",
    }
    assert (await planner.get(body["@odata.deltaLink"]))["value"] == []
    assert ids((await planner.get(link))["value"]) == [bookings[3], bookings[1], bookings[0]]


async def test_a_row_made_and_deleted_between_two_rounds_is_still_told_of(planner: Client, contoso: Contoso) -> None:
    link = await first(planner)
    booking = await planner.create(BOOKINGS, a_booking(contoso))
    await planner.call("DELETE", f"{BOOKINGS}({booking})")
    assert (await planner.get(link))["value"] == [
        {"@odata.context": f"{ROOT}/$metadata#{BOOKINGS}/$deletedEntity", "id": booking, "reason": "deleted"}
    ]


async def test_a_row_deleted_and_made_again_has_changed(planner: Client, contoso: Contoso, bookings: list[str]) -> None:
    link = await first(planner)
    await planner.call("DELETE", f"{BOOKINGS}({bookings[0]})")
    await planner.create(BOOKINGS, a_booking(contoso, bookableresourcebookingid=bookings[0], name="Again"))
    assert [row["name"] for row in (await planner.get(link))["value"]] == ["Again"]


async def test_a_rolled_back_deletion_is_not_told_of(
    planner: Client, bookings: list[str], dataverse: Dataverse
) -> None:
    def abort(operation: Operation, _: Pipeline) -> None:
        raise PluginAborted(operation.message)

    link = await first(planner)
    dataverse.plugins.append(abort)
    assert (await planner.call("DELETE", f"{BOOKINGS}({bookings[0]})")).status == 400
    assert (await planner.get(link))["value"] == []


async def test_changes_come_in_pages(planner: Client, bookings: list[str]) -> None:
    pages, link = await rounds(planner, QUERY, 2)
    assert [ids(page) for page in pages] == [bookings[:2], bookings[2:4], bookings[4:]]
    for booking in bookings[3:]:
        await planner.call("DELETE", f"{BOOKINGS}({booking})")
    for booking in bookings[:3]:
        await planner.patch(f"{BOOKINGS}({booking})", {"name": "New"})
    pages, link = await rounds(planner, link, 2)
    assert [ids(page) for page in pages] == [bookings[:2], [bookings[2], bookings[3]], bookings[4:]]
    assert (await planner.get(link))["value"] == []


async def test_a_next_link_needs_no_preference(planner: Client, bookings: list[str]) -> None:
    body = await planner.get(QUERY, Prefer=f"{TRACK},odata.maxpagesize=3")
    assert "@odata.deltaLink" not in body
    rest = await planner.get(body["@odata.nextLink"])
    assert ids(rest["value"]) == bookings[3:]
    assert "@odata.deltaLink" in rest


async def test_links_survive_clients_that_quote_anew(planner: Client, bookings: list[str]) -> None:
    body = await planner.get(QUERY, Prefer=f"{TRACK},odata.maxpagesize=3")
    rest = await planner.get(str(URL(body["@odata.nextLink"])))
    link = str(URL(rest["@odata.deltaLink"]))
    assert link != rest["@odata.deltaLink"]
    assert ids(rest["value"]) == bookings[3:]
    assert (await planner.get(link))["value"] == []


async def test_what_changes_while_pages_are_read_is_not_lost(
    planner: Client, contoso: Contoso, bookings: list[str]
) -> None:
    pages, link = await rounds(planner, QUERY, 2, **{bookings[0]: "shown before", bookings[4]: "not yet shown"})
    assert set(ids([row for page in pages for row in page])) == set(bookings)
    delta = (await planner.get(link))["value"]
    assert [row["name"] for row in delta] == ["shown before", "not yet shown"]
    made = await planner.create(BOOKINGS, a_booking(contoso))
    pages, link = await rounds(planner, link, 1, **{bookings[4]: "once more", made: "and the new one"})
    assert {row["name"] for row in (await planner.get(link))["value"]} == {"once more", "and the new one"}


async def test_a_row_deleted_while_pages_are_read_is_in_the_next_round(planner: Client, bookings: list[str]) -> None:
    prefer = f"{TRACK},odata.maxpagesize=3"
    body = await planner.get(QUERY, Prefer=prefer)
    await planner.call("DELETE", f"{BOOKINGS}({bookings[0]})")
    body = await planner.get(body["@odata.nextLink"], Prefer=prefer)
    assert ids((await planner.get(body["@odata.deltaLink"]))["value"]) == bookings[:1]


async def test_changes_can_be_counted(planner: Client, bookings: list[str]) -> None:
    token = urlsplit(await first(planner)).query.partition("&")[2]
    await planner.patch(f"{BOOKINGS}({bookings[1]})", {"name": "New"})
    await planner.call("DELETE", f"{BOOKINGS}({bookings[0]})")
    counted = await planner.call("GET", f"{BOOKINGS}/$count?{token}")
    assert (counted.status, counted.body) == (200, b"2")


@pytest.mark.parametrize("option", ["$filter=duration gt 1", "$orderby=name", "$expand=Resource", "$top=1"])
async def test_options_that_change_tracking_does_not_know(planner: Client, bookings: list[str], option: str) -> None:
    link = await first(planner)
    for address in (f"{QUERY}&{option}", f"{link}&{option}"):
        answer = await planner.call("GET", address, headers={"Prefer": TRACK})
        name = option.partition("=")[0]
        assert answer.status == 400
        assert answer.json()["error"]["message"] == (
            f'The "{name}" query parameter isn\'t supported when Change Tracking is enabled.'
        )
    assert bookings


@pytest.mark.parametrize(
    ("address", "status"),
    [
        (f"{QUERY}&$count=true", 501),
        (f"{BOOKINGS}/$count", 501),
        (f"{BOOKINGS}?$select=nonsense", 400),
        ("contacts?$select=fullname", 400),
        ("EntityDefinitions?$select=LogicalName", 501),
        ("WhoAmI", 501),
        (f"{BOOKINGS}({'0' * 8}-0000-0000-0000-{'0' * 12})", 501),
    ],
)
async def test_the_preference_elsewhere_is_refused(planner: Client, address: str, status: int) -> None:
    assert (await planner.call("GET", address, headers={"Prefer": TRACK})).status == status


async def test_the_preference_on_a_write_is_refused(planner: Client, contoso: Contoso) -> None:
    answer = await planner.call("POST", BOOKINGS, a_booking(contoso), headers={"Prefer": TRACK})
    assert answer.status == 501


@pytest.mark.parametrize("token", ["", "1", "919042", "x!08/22/2017 08:10:44", "1!22/22/2017 08:10:44", "1!2017-08-22"])
async def test_a_malformed_token_is_400(planner: Client, token: str) -> None:
    assert (await planner.call("GET", f"{QUERY}&$deltatoken={quote(token)}")).status == 400


@pytest.mark.parametrize("held", ["[]", "{", "[1,2,3]", '["x",0,1]'])
async def test_a_malformed_page_is_400(planner: Client, held: str) -> None:
    cookie = f'<cookie pagenumber="2" pagingcookie="{quote(quote(held))}" istracking="True" />'
    assert (await planner.call("GET", f"{QUERY}&$skiptoken={quote(cookie)}")).status == 400


async def test_a_plain_page_is_no_page_of_changes(planner: Client, bookings: list[str]) -> None:
    plain = (await planner.get(QUERY, Prefer="odata.maxpagesize=1"))["@odata.nextLink"]
    tracked = (await planner.get(QUERY, Prefer=f"{TRACK},odata.maxpagesize=1"))["@odata.nextLink"]
    assert (await planner.call("GET", plain, headers={"Prefer": TRACK})).status == 400
    assert ids((await planner.get(tracked))["value"]) == bookings[1:]


async def test_a_token_expires_after_seven_days(planner: Client, bookings: list[str], cloud: Cloud) -> None:
    link = await first(planner)
    cloud.clock.advance(timedelta(days=6, hours=23))
    assert (await planner.get(link))["value"] == []
    cloud.clock.advance(timedelta(hours=2))
    answer = await planner.call("GET", link)
    assert (answer.status, answer.json()["error"]) == (
        400,
        {
            "code": "0x80044352",
            "message": "Version stamp associated with the client has expired. Please perform a full sync.",
        },
    )
    token = urlsplit(link).query.partition("&")[2]
    assert (await planner.call("GET", f"{BOOKINGS}/$count?{token}")).status == 400
    assert len((await planner.get(QUERY, Prefer=TRACK))["value"]) == len(bookings)


async def test_the_organization_says_when_tokens_expire(planner: Client, cloud: Cloud) -> None:
    await planner.patch(ORGANIZATION, {"expirechangetrackingindays": 30})
    link = await first(planner)
    cloud.clock.advance(timedelta(days=29))
    assert (await planner.call("GET", link)).status == 200
    cloud.clock.advance(timedelta(days=2))
    assert (await planner.call("GET", link)).status == 400


async def test_a_fault_expires_a_token_once(planner: Client, cloud: Cloud) -> None:
    link = await first(planner)
    cloud.faults.add({"service": "dataverse", "do": "expire_cursor", "path": f"*/{BOOKINGS}"})
    expired = await planner.call("GET", link)
    assert (expired.status, expired.json()["error"]["code"]) == (400, "0x80044352")
    assert cloud.recorder.calls[-1].fault == "expire_cursor"
    assert (await planner.call("GET", link)).status == 200


async def test_a_token_from_before_a_reset_has_expired(planner: Client, contoso: Contoso, dataverse: Dataverse) -> None:
    await planner.create(BOOKINGS, a_booking(contoso))
    later = dataverse.state.version + 1
    answer = await planner.call("GET", f"{QUERY}&$deltatoken={quote(f'{later}!03/01/2026 08:00:00')}")
    assert answer.json()["error"]["code"] == "0x80044352"


async def test_a_setting_says_which_tables_are_tracked(planner: Client, cloud: Cloud) -> None:
    cloud.settings.change({"dataverse.change_tracking": ["contact"]})
    assert (await planner.call("GET", QUERY, headers={"Prefer": TRACK})).status == 400
    assert (await planner.call("GET", "contacts?$select=fullname", headers={"Prefer": TRACK})).status == 200
    with pytest.raises(ValueError, match="logical names"):
        cloud.settings.change({"dataverse.change_tracking": ["nonsense"]})

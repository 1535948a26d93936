"""Open extensions of events: made with the event or later, read back, and found by their name only."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sandbox.http import Json
from tests.sandbox.apps import ALICE, BOOKING, App, code

NAME = "Com.Contoso.Bookings"
ID = f"Microsoft.OutlookServices.OpenTypeExtension.{NAME}"
THIS = f"Extensions($filter=id eq '{NAME}')"
HAVING = f"Extensions/any(f:f/id eq '{NAME}')"


def an_extension(**data: Json) -> dict[str, Json]:
    return {"@odata.type": "microsoft.graph.openTypeExtension", "extensionName": NAME, **data}


def shown(**data: Json) -> dict[str, Json]:
    return {"@odata.type": "#microsoft.graph.openTypeExtension", "id": ID, "extensionName": NAME, **data}


def at(event: Json, extension: str = "") -> str:
    return f"/users/{ALICE}/events/{event['id']}" + (f"/extensions/{extension}" if extension else "")


async def test_one_that_comes_with_the_event_stands_in_the_answer(app: App) -> None:
    event = await app.create(extensions=[an_extension(bookingId="b-1", visits=2, tags=["a", "b"])])
    assert event["extensions"] == [shown(bookingId="b-1", visits=2, tags=["a", "b"])]
    assert "extensions" not in (await app.get(at(event))).json()
    assert (await app.get(at(event), expand=THIS)).json()["extensions"] == event["extensions"]


@pytest.mark.parametrize("called", [NAME, ID, f"microsoft.graph.openTypeExtension.{NAME}"])
async def test_one_that_is_added_later_is_called_by_its_name_or_its_id(app: App, called: str) -> None:
    event = await app.create()
    added = await app.call("POST", at(event) + "/extensions", an_extension(bookingId="b-1"))
    assert added.status == 201
    assert added.json()["id"] == ID
    read = await app.get(at(event, called))
    assert {name: value for name, value in read.json().items() if name != "@odata.context"} == shown(bookingId="b-1")
    updated = await app.call("PATCH", at(event, called), an_extension(bookingId="b-2", more=True))
    assert updated.status == 200
    assert (await app.get(at(event), expand=THIS)).json()["extensions"] == [shown(bookingId="b-2", more=True)]
    assert (await app.call("DELETE", at(event, called))).status == 204
    assert code(await app.get(at(event, called))) == (404, "ErrorItemNotFound")
    assert "extensions" not in (await app.get(at(event), expand=THIS)).json()


async def test_every_change_makes_a_new_version_of_the_item(app: App) -> None:
    event = await app.create()
    await app.call("POST", at(event) + "/extensions", an_extension(bookingId="b-1"))
    refused = await app.call("PATCH", at(event), {"subject": "?"}, headers={"If-Match": event["@odata.etag"]})
    assert refused.status == 412


async def test_events_are_found_by_the_name_and_come_with_it(app: App) -> None:
    await app.create(subject="plain")
    await app.create(subject="other", extensions=[{**an_extension(bookingId="b-1"), "extensionName": "Com.Contoso.X"}])
    await app.create(subject="ours", extensions=[an_extension(bookingId="b-2")])
    found = await app.list(f"/users/{ALICE}/events", expand=THIS, filter=HAVING)
    assert [(event["subject"], event["extensions"]) for event in found] == [("ours", [shown(bookingId="b-2")])]


@pytest.mark.parametrize(
    "expand",
    ["extensions", f"{THIS},singleValueExtendedProperties($filter=id eq '{BOOKING}')"],
    ids=["all at once, which fails", "with properties, which nobody documents"],
)
async def test_expansions_that_are_refused(app: App, expand: str) -> None:
    await app.create(extensions=[an_extension(bookingId="b-1")])
    assert (await app.get(f"/users/{ALICE}/events", expand=expand)).status == 501


async def test_no_event_is_found_by_what_is_in_an_extension(app: App) -> None:
    answer = await app.get(f"/users/{ALICE}/events", filter="Extensions/any(f:f/bookingId eq 'b-1')")
    assert code(answer) == (501, "NotImplemented")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"@odata.type": "microsoft.graph.openTypeExtension"}, 501),
        (an_extension(nested={"a": 1}), 501),
        ({**an_extension(), "extensionName": "Com.Microsoft.Mine"}, 501),
        ([an_extension()], 400),
    ],
    ids=["nameless", "nested", "Microsoft's own", "a list"],
)
async def test_bodies_that_are_refused(app: App, body: Json, status: int) -> None:
    event = await app.create()
    assert (await app.call("POST", at(event) + "/extensions", body)).status == status


async def test_an_update_that_leaves_something_out_is_refused(app: App) -> None:
    event = await app.create(extensions=[an_extension(bookingId="b-1", more=True)])
    assert code(await app.call("PATCH", at(event, NAME), an_extension(bookingId="b-2"))) == (501, "NotImplemented")


async def test_who_sees_the_basics_only_sees_no_extension(app: App, app_with: Callable[..., App]) -> None:
    event = await app.create(extensions=[an_extension(bookingId="b-1")])
    basic = app_with("Calendars.ReadBasic")
    assert (await basic.get(at(event, NAME))).status == 403
    assert (await basic.get(at(event), expand=THIS)).status == 403

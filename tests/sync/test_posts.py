"""Whatever message a webhook is registered for, its posts alone bring the calendars up to date."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from tests.simulation.planner import TOMORROW, Planner, times
from tests.simulation.world import FUNCTIONS, World
from tests.sync.test_one_way import only, told

BOOKINGS = "bookableresourcebookings"
TYPE = {"@odata.type": "Microsoft.Dynamics.CRM.bookableresourcebooking"}
SHORT, LONG = "x", "x" * 8_000


async def call(now: World, method: str, path: str, body: Any = None) -> Any:
    headers = {"If-Match": "*"} if method == "PATCH" else None
    status, answer, answered = await now.call_dataverse(method, path, body, headers)
    assert status < 300, answer
    made = {name.lower(): value for name, value in answered.items()}.get("odata-entityid", "")
    return made.rpartition("(")[2].rstrip(")") if method == "POST" and answer is None else answer


async def listen_only_to(now: World, message: str) -> None:
    """Instead of the three usual steps, one for `message`."""
    for step in (await call(now, "GET", "sdkmessageprocessingsteps?$select=name"))["value"]:
        await call(now, "DELETE", f"sdkmessageprocessingsteps({step['sdkmessageprocessingstepid']})")
    about = f"sdkmessageid/name eq '{message}' and primaryobjecttypecode eq 'bookableresourcebooking'"
    columns = "sdkmessagefilterid,_sdkmessageid_value"
    [found] = (await call(now, "GET", f"sdkmessagefilters?$select={columns}&$filter={quote(about)}"))["value"]
    endpoint = {"name": message, "url": f"{FUNCTIONS}/x", "contract": 8, "authtype": 4, "authvalue": "key"}
    endpoint_id = await call(now, "POST", "serviceendpoints", endpoint)
    step = {
        "name": message,
        "stage": 40,
        "mode": 1,
        "eventhandler_serviceendpoint@odata.bind": f"/serviceendpoints({endpoint_id})",
        "sdkmessageid@odata.bind": f"/sdkmessages({found['_sdkmessageid_value']})",
        "sdkmessagefilterid@odata.bind": f"/sdkmessagefilters({found['sdkmessagefilterid']})",
    }
    await call(now, "POST", "sdkmessageprocessingsteps", step)


def row(now: World, person: str, **more: Any) -> dict[str, Any]:
    return {
        **TYPE,
        "name": "Planned by the dozen",
        **times(TOMORROW, 60),
        "bookingtype": 1,
        "Resource@odata.bind": f"/bookableresources({now.contoso.resource(person)})",
        "BookingStatus@odata.bind": f"/bookingstatuses({now.contoso.statuses['Committed']})",
        **more,
    }


async def many(now: World, action: str, rows: list[dict[str, Any]]) -> Any:
    return await call(now, "POST", f"{BOOKINGS}/Microsoft.Dynamics.CRM.{action}", {"Targets": rows})


@pytest.mark.parametrize("text", [SHORT, LONG], ids=["whole", "too large"])
def test_create_multiple(text: str) -> None:
    async def story(now: World, _planner: Planner) -> None:
        await listen_only_to(now, "CreateMultiple")
        people = ["alice", "bob", "carol"] * 15
        await many(now, "CreateMultiple", [row(now, person, msdyn_slottext=text) for person in people])
        await now.settle()
        posts = [call for call in now.cloud.recorder.calls if call.service == "webhook"]
        assert [post.status for post in posts] == [202]
        assert [len(now.events(person)) for person in ("alice", "bob", "carol")] == [15, 15, 15]

    told(story)


def test_update_multiple() -> None:
    async def story(now: World, planner: Planner) -> None:
        bookings = [await planner.book(person) for person in ("alice", "bob")]
        await now.settle()
        await listen_only_to(now, "UpdateMultiple")
        later = TOMORROW + timedelta(days=1)
        key = "bookableresourcebookingid"
        await many(now, "UpdateMultiple", [{**TYPE, key: booking, **times(later, 60)} for booking in bookings])
        await now.settle()
        assert {only(now.events(person)).content.start.at for person in ("alice", "bob")} == {later}

    told(story)


def test_an_update_of_too_many_rows_is_refused_and_found_by_change_tracking() -> None:
    async def story(now: World, planner: Planner) -> None:
        bookings = [await planner.book("alice") for _ in range(40)]
        await now.settle()
        now.wake(*sorted(await now.app.pull.round()))
        await now.settle()
        await listen_only_to(now, "UpdateMultiple")
        now.cloud.recorder.clear()
        change = {**TYPE, "name": "Renamed", "msdyn_slottext": LONG}
        await many(now, "UpdateMultiple", [{**change, "bookableresourcebookingid": booking} for booking in bookings])
        await now.settle()
        assert [call.status for call in now.cloud.recorder.calls if call.service == "webhook"] == [422]
        assert {event.content.subject for event in now.events("alice")} == {"Boiler service"}
        now.wake(*sorted(await now.app.pull.round()))
        await now.settle()
        assert {event.content.subject for event in now.events("alice")} == {"Renamed"}

    told(story)


async def deactivate(now: World, booking: str) -> None:
    await call(now, "PATCH", f"{BOOKINGS}({booking})", {"statecode": 1, "name": "Renamed"})


async def give_away(now: World, booking: str) -> None:
    bob = now.contoso.people["bob"].user_id
    await call(
        now, "PATCH", f"{BOOKINGS}({booking})", {"ownerid@odata.bind": f"/systemusers({bob})", "name": "Renamed"}
    )


@pytest.mark.parametrize(("message", "change"), [("SetState", deactivate), ("Assign", give_away)])
def test_state_and_owner(message: str, change: Callable[[World, str], Awaitable[None]]) -> None:
    async def story(now: World, planner: Planner) -> None:
        booking = await planner.book("alice")
        await now.settle()
        await listen_only_to(now, message)
        await change(now, booking)
        await now.settle()
        assert only(now.events("alice")).content.subject == "Renamed"

    told(story)

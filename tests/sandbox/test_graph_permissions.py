"""Which application permission each operation of Graph takes (Microsoft Graph docs, "Permissions reference")."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sandbox.cloud import Cloud
from sandbox.entra.routes import Entra
from sandbox.graph.routes import BATCH, Graph
from sandbox.http import Request
from tests.sandbox.apps import ALICE, App, an_event, code
from tests.sandbox.test_graph_batch import by_id, part
from tests.sandbox.test_graph_series import a_series

READ = {"Calendars.ReadBasic", "Calendars.ReadBasic.All", "Calendars.Read", "Calendars.ReadWrite"}
WRITE = {"Calendars.ReadWrite"}
PEOPLE = {
    "User.ReadBasic.All",
    "User.Read.All",
    "User.ReadWrite.All",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
}
ALL = READ | WRITE | PEOPLE
OPERATIONS = {
    ("GET", "calendar"): READ,
    ("GET", "calendars"): READ,
    ("GET", "calendars/{calendar}"): READ,
    ("GET", "calendarView"): READ,
    ("GET", "calendarView/delta"): READ,
    ("GET", "calendarView/delta()"): READ,
    ("GET", "events"): READ,
    ("GET", "events/{event}"): READ,
    ("GET", "events/{event}/instances"): READ,
    ("POST", "events"): WRITE,
    ("PATCH", "events/{event}"): WRITE,
    ("DELETE", "events/{event}"): WRITE,
    ("POST", "events/{event}/cancel"): WRITE,
    ("POST", "events/{event}/permanentDelete"): WRITE,
    ("POST", "events/{event}/extensions"): WRITE,
    ("GET", "events/{event}/extensions/{extension}"): {"Calendars.Read", "Calendars.ReadWrite"},
    ("PATCH", "events/{event}/extensions/{extension}"): WRITE,
    ("DELETE", "events/{event}/extensions/{extension}"): WRITE,
    ("GET", ""): PEOPLE,
}
"""Below `/users/{user}`; what is below a calendar takes the same."""
UNBOUNDED = ("/events/delta", "/events/delta()")
"""Refused, whatever the permissions."""


def sufficient(method: str, template: str) -> set[str]:
    """The permissions any one of which is enough for an operation."""
    below = template.removeprefix("/users").removeprefix("/{user}").lstrip("/")
    for calendar in ("calendar/", "calendars/{calendar}/"):
        below = below.removeprefix(calendar)
    return OPERATIONS[method, below]


async def test_every_operation_takes_its_permissions_and_no_others(
    graph: Graph, app: App, app_with: Callable[..., App]
) -> None:
    values = {
        "{user}": ALICE,
        "{extension}": "Com.Contoso.Old",
        "{calendar}": (await app.list(f"/users/{ALICE}/calendars"))[0]["id"],
    }
    asked = 0
    for route in graph.operations:
        if route.template == BATCH or route.template.startswith("/subscriptions") or route.template.endswith(UNBOUNDED):
            continue
        enough = sufficient(route.method, route.template)
        for role in sorted(ALL):
            series = await a_series(app, extensions=[{"extensionName": "Com.Contoso.Old"}])
            values["{event}"] = series["id"]
            path = route.template
            for name, value in values.items():
                path = path.replace(name, value)
            path += (
                "?startDateTime=2026-03-01&endDateTime=2026-03-08"
                if "/calendarView" in path or "/instances" in path
                else ""
            )
            content = {"POST": an_event(), "PATCH": {"subject": "Moved"}}.get(route.method)
            if "/extensions" in path:
                content = {"extensionName": "Com.Contoso.New" if route.method == "POST" else "Com.Contoso.Old"}
            body = {} if path.endswith(("/cancel", "/permanentDelete")) else content
            answer = await app_with(role).call(route.method, path, body)
            asked += 1
            if role in enough:
                assert answer.status < 300, (role, route.method, path, answer.body)
            else:
                denied = "Authorization_RequestDenied" if enough == PEOPLE else "ErrorAccessDenied"
                assert code(answer) == (403, denied), (role, route.method, path)
    assert asked > 200


async def test_a_denied_calendar_is_worded_as_exchange_does(app_with: Callable[..., App]) -> None:
    answer = await app_with("User.Read.All").get(f"/users/{ALICE}/events")
    assert answer.json()["error"]["message"] == "Access is denied. Check credentials and try again."
    answer = await app_with("Calendars.ReadWrite").get("/users")
    assert answer.json()["error"]["message"] == "Insufficient privileges to complete the operation."


async def test_parts_of_a_batch_are_checked_one_by_one(app_with: Callable[..., App]) -> None:
    answers = await by_id(app_with("Calendars.Read"), part(1), part(2, url="/users"))
    assert (answers["1"]["status"], answers["2"]["status"]) == (200, 403)


@pytest.mark.parametrize("audience", ["https://dataverse.test", "https://vault.azure.net", "https://graph.example"])
async def test_a_token_for_another_resource_is_refused_whatever_its_roles(
    app: App, cloud: Cloud, entra: Entra, audience: str
) -> None:
    token = entra.tokens.issue(app.application, audience, sorted(ALL))
    answer = await cloud.serve("graph", Request.of("GET", "/v1.0/users", headers={"Authorization": f"Bearer {token}"}))
    assert code(answer) == (401, "InvalidAuthenticationToken")
    assert "Invalid audience" in answer.json()["error"]["message"]

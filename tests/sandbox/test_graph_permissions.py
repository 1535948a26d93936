"""Which application permission each operation of Graph takes (Microsoft Graph docs, "Permissions reference")."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlencode

import pytest

from sandbox.cloud import Cloud
from sandbox.directory import Directory
from sandbox.entra.routes import Entra
from sandbox.graph.routes import Graph
from sandbox.http import Request
from tests.sandbox.apps import ALICE, BOB, App, code
from tests.sandbox.specimens import ALL, operations, path_of
from tests.sandbox.test_graph_batch import by_id, part


async def test_every_operation_takes_its_permissions_and_no_others(
    graph: Graph, app: App, app_with: Callable[..., App], directory: Directory
) -> None:
    asked = 0
    for route, specimen in operations(graph):
        for role in sorted(ALL):
            path = await path_of(route, graph, app, directory)
            query = f"?{urlencode(specimen.query)}" if specimen.query else ""
            answer = await app_with(role).call(route.method, path + query, specimen.body)
            asked += 1
            if role in specimen.roles:
                assert answer.status < 300, (role, route.method, path, answer.body)
            else:
                assert code(answer) == (403, specimen.denied), (role, route.method, path)
    assert asked > 800


async def test_a_denied_calendar_is_worded_as_exchange_does(app_with: Callable[..., App]) -> None:
    answer = await app_with("User.Read.All").get(f"/users/{ALICE}/events")
    assert answer.json()["error"]["message"] == "Access is denied. Check credentials and try again."
    answer = await app_with("Calendars.ReadWrite").get("/users")
    assert answer.json()["error"]["message"] == "Insufficient privileges to complete the operation."


async def test_an_access_policy_keeps_an_application_to_its_mailboxes(app: App, directory: Directory) -> None:
    directory.register(replace(app.application, mailboxes=frozenset({BOB})))
    answer = await app.get(f"/users/{ALICE}/events")
    assert code(answer) == (403, "ErrorAccessDenied")
    assert "[RAOP]" in answer.json()["error"]["message"]
    assert (await app.get(f"/users/{BOB}/events")).status == (await app.get(f"/users/{ALICE}")).status == 200


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

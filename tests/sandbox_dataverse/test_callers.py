"""Who may call, with which headers, and as whom."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sandbox.cloud import Cloud
from sandbox.dataverse.routes import ORGANIZATION_ID
from sandbox.directory import Application, Directory, known_id
from sandbox.entra.routes import Entra
from sandbox.http import Request
from sandbox.seed import Contoso
from tests.sandbox_dataverse.clients import ROOT, Client, a_booking


async def test_who_am_i_names_the_application_user(sync: Client) -> None:
    answer = await sync.call("GET", "WhoAmI")
    assert answer.json()["UserId"] == known_id("systemuser", "Booking Sync")
    assert answer.json()["OrganizationId"] == ORGANIZATION_ID
    assert answer.headers["x-ms-dop-hint"] == "4"


async def test_a_call_without_a_token_is_401_with_a_challenge(cloud: Cloud, contoso: Contoso) -> None:
    answer = await cloud.serve("dataverse", Request.of("GET", f"{ROOT}/WhoAmI"))
    assert answer.status == 401
    assert contoso.organization_id not in answer.headers["WWW-Authenticate"]
    assert answer.headers["WWW-Authenticate"].startswith("Bearer authorization_uri=https://")


async def test_a_token_for_another_resource_is_401(cloud: Cloud, entra: Entra, contoso: Contoso) -> None:
    token = entra.tokens.issue(contoso.planner, "https://graph.microsoft.com")
    request = Request.of("GET", f"{ROOT}/WhoAmI", headers={"Authorization": f"Bearer {token}"})
    assert (await cloud.serve("dataverse", request)).status == 401


async def test_an_application_without_a_user_is_403(planner: Client, directory: Directory) -> None:
    stranger = directory.register(
        Application(client_id=known_id("stranger"), object_id=known_id("so"), name="Stranger", secrets=())
    )
    answer = await replace(planner, application=stranger).call("GET", "WhoAmI")
    assert (answer.status, answer.json()["error"]["code"]) == (403, "0x80072560")


async def test_a_disabled_application_user_is_403(planner: Client) -> None:
    await planner.patch(f"systemusers({known_id('systemuser', 'Planner')})", {"isdisabled": True})
    assert (await planner.call("GET", "WhoAmI")).status == 403


@pytest.mark.parametrize("header", ["CallerObjectId", "MSCRMCallerID"])
async def test_an_impersonated_user_is_the_creator_and_the_caller_acts_on_behalf(
    planner: Client, contoso: Contoso, header: str
) -> None:
    alice = contoso.people["alice"]
    planner.headers[header] = alice.account.id if header == "CallerObjectId" else alice.user_id
    booking = await planner.create("bookableresourcebookings", a_booking(contoso))
    row = await planner.get(
        f"bookableresourcebookings({booking})?$select=_createdby_value,_createdonbehalfby_value,_ownerid_value"
    )
    assert row["_createdby_value"] == row["_ownerid_value"] == alice.user_id
    assert row["_createdonbehalfby_value"] == known_id("systemuser", "Planner")


async def test_impersonating_nobody_is_403(planner: Client) -> None:
    answer = await planner.call("GET", "WhoAmI", headers={"CallerObjectId": known_id("nobody")})
    assert answer.status == 403


@pytest.mark.parametrize("version", ["v9.0", "v9.1", "v9.2"])
async def test_three_versions_of_the_web_api_answer(planner: Client, version: str) -> None:
    answer = await planner.call("GET", f"{ROOT.replace('v9.2', version)}/WhoAmI")
    assert f"/{version}/$metadata#" in answer.json()["@odata.context"]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("unknownthings", {}),
        ("WhoAmI/more", {}),
        ("", {}),
        ("RetrieveCurrentOrganization", {}),
        ("bookingstatuses?$apply=x", {}),
        ("bookingstatuses?fetchXml=x", {}),
        ("bookingstatuses?$skip=1", {}),
        ("bookingstatuses", {"Prefer": "respond-async"}),
        ("bookingstatuses", {"Prefer": "odata.continue-on-error"}),
        ("bookingstatuses", {"MSCRM.BypassBusinessLogicExecution": "CustomAsync"}),
        ("bookingstatuses", {"MSCRM.SolutionUniqueName": "BookingSync"}),
        ("bookingstatuses", {"OData-Version": "3.0"}),
        ("bookingstatuses", {"Accept": "application/json;odata.metadata=full"}),
        ("systemusers(domainname='alice@contoso.test')", {}),
        ("https://dataverse.test/XRMServices/2011/Organization.svc", {}),
    ],
)
async def test_what_is_not_modelled_is_refused_with_501(planner: Client, path: str, headers: dict[str, str]) -> None:
    answer = await planner.call("GET", path, headers=headers)
    assert answer.status == 501
    assert "does not know" in answer.json()["error"]["message"]

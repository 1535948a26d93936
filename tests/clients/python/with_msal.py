"""Microsoft's authentication library by itself: tokens of an application, and refusals."""

from __future__ import annotations

from msal import ConfidentialClientApplication
from steps import sandbox, step, tell

GRAPH = ["https://graph.microsoft.com/.default"]


def application(secret: str) -> ConfidentialClientApplication:
    return ConfidentialClientApplication(
        sandbox.client_id,
        client_credential=secret,
        authority=f"{sandbox.login}/{sandbox.tenant_id}",
        instance_discovery=False,
    )


with step("token: by client secret, for Graph and for Dataverse, the second time from the cache"):
    client = application(sandbox.client_secret)
    first = client.acquire_token_for_client(GRAPH)
    assert first["token_type"] == "Bearer"
    assert 0 < first["expires_in"] <= 3599
    assert client.acquire_token_for_client([f"{sandbox.dataverse}/.default"])["access_token"] != first["access_token"]
    again = client.acquire_token_for_client(GRAPH)
    assert again["access_token"] == first["access_token"]
    assert again["token_source"] == "cache"

with step("token: a wrong secret is refused by its number"):
    refused = application("wrong").acquire_token_for_client(GRAPH)
    assert refused["error"] == "invalid_client"
    assert 7000215 in refused["error_codes"]

with step("token: a scope that is none is refused"):
    refused = client.acquire_token_for_client(["https://nothing.test/.default"])
    assert 500011 in refused["error_codes"]

tell("msal")

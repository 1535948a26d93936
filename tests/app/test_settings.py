"""Settings are typed, documented, and the same in every place."""

from __future__ import annotations

import ast
import inspect
import json
from dataclasses import fields
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

import shared.settings
from shared.errors import SettingsError
from shared.settings import Settings
from shared.sync.model import ShowAs

ROOT = Path(__file__).parents[2]
GUID = "7a1d0000-0000-4000-8000-0000000000aa"
COMPLETE = {
    "AzureWebJobsStorage": "UseDevelopmentStorage=true",
    "IDENTITY_TENANT_ID": GUID,
    "IDENTITY_CLIENT_ID": GUID.upper(),
    "IDENTITY_CLIENT_SECRET": "s3cret",
    "DATAVERSE_URL": "https://contoso.crm4.dynamics.com/",
    "DATAVERSE_ORGANIZATION_ID": GUID,
}

NOBODY = {"IDENTITY_CLIENT_ID": "", "IDENTITY_CLIENT_SECRET": ""}


def read(**changes: str) -> Settings:
    return Settings.from_environment({**COMPLETE, **changes})


def test_defaults_are_enough() -> None:
    settings = read()
    assert settings.client == GUID
    assert settings.dataverse == "https://contoso.crm4.dynamics.com"
    assert (settings.past, settings.future, settings.shards) == (timedelta(days=7), timedelta(days=180), 8)
    assert settings.show_as == {"proposed": ShowAs.TENTATIVE, "committed": ShowAs.BUSY}


def test_all_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({"SYNC_SHARDS": "65", "DATAVERSE_URL": "http://x", "SYNC_SHOW_AS": "committed=away"})
    for name in (
        "IDENTITY_TENANT_ID is missing",
        "AzureWebJobsStorage",
        "SYNC_SHARDS must be a number from 1 to 64",
        "DATAVERSE_URL must be an address",
        "SYNC_SHOW_AS must be pairs",
    ):
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SYNC_SHARDS", "0"),
        ("SYNC_SHARDS", "eight"),
        ("SYNC_WINDOW_PAST_DAYS", "-1"),
        ("SYNC_WINDOW_FUTURE_DAYS", "4000"),
        ("SYNC_JOURNAL_MONTHS", "121"),
        ("GRAPH_URL", "https://graph.microsoft.com/v1.0"),
        ("IDENTITY_TENANT_ID", "contoso"),
        ("IDENTITY_CLIENT_ID", "contoso"),
        ("AZURE_CLIENT_ID", "contoso"),
        ("KEYVAULT_URL", "http://contoso.vault.azure.net"),
        ("KEYVAULT_CACHE_MINUTES", "0"),
        ("SYNC_SHOW_AS", "busy"),
        ("SYNC_CANCELED", "hide"),
        ("SYNC_STATUS_CATEGORIES", "working=Working"),
        ("SYNC_STATUS_CATEGORIES", "in_progress"),
        ("SYNC_TIME_ZONE", "Mars/Olympus"),
        ("SYNC_ADOPT_EXTENSION", "com.contoso.bookings"),
        ("SYNC_ADOPT_EXTENSION", "com.contoso.bookings:id' or 'a' eq 'a"),
        ("SYNC_MAILBOXES", f"{GUID}=room-1@contoso.test"),
        ("SYNC_MAILBOXES", GUID),
        ("SYNC_SHOW_AS", "comitted=busy"),
    ],
)
def test_a_wrong_value_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        read(**{name: value})


VAULT = "https://contoso.vault.azure.net"


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"IDENTITY_CLIENT_ID": GUID, "IDENTITY_CLIENT_SECRET": "x"}, id="secret in the settings"),
        pytest.param(
            {"IDENTITY_CLIENT_ID": GUID, "IDENTITY_CREDENTIAL_NAME": "x", "KEYVAULT_URL": VAULT}, id="from the vault"
        ),
        pytest.param({}, id="system-assigned identity"),
        pytest.param({"AZURE_CLIENT_ID": GUID, "KEYVAULT_URL": VAULT}, id="user-assigned identity"),
    ],
)
def test_who_the_app_is_can_be_said_in_these_ways(given: dict[str, str]) -> None:
    settings = Settings.from_environment({**COMPLETE, **NOBODY, **given})
    assert (settings.client, settings.managed_identity) == (
        given.get("IDENTITY_CLIENT_ID", ""),
        given.get("AZURE_CLIENT_ID", ""),
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param(
            {"IDENTITY_CLIENT_ID": GUID, "IDENTITY_CLIENT_SECRET": "x", "IDENTITY_CREDENTIAL_NAME": "y"},
            [
                "IDENTITY_CREDENTIAL_NAME and IDENTITY_CLIENT_SECRET are both given",
                "KEYVAULT_URL is missing, and IDENTITY_CREDENTIAL_NAME",
            ],
            id="two proofs",
        ),
        pytest.param({"IDENTITY_CLIENT_ID": GUID}, ["IDENTITY_CREDENTIAL_NAME is missing"], id="no proof"),
        pytest.param({"IDENTITY_CLIENT_SECRET": "x"}, ["IDENTITY_CLIENT_ID is missing"], id="proof of nobody"),
        pytest.param(
            {"IDENTITY_CLIENT_ID": GUID, "IDENTITY_CREDENTIAL_NAME": "x"}, ["KEYVAULT_URL is missing"], id="no vault"
        ),
    ],
)
def test_what_is_missing_or_contradicts_is_named(given: dict[str, str], said: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({**COMPLETE, **NOBODY, **given})
    found = str(caught.value).split("; ")
    assert len(found) == len(said)
    assert all(problem.startswith(start) for problem, start in zip(found, said, strict=True))


def test_a_text_may_be_empty_on_purpose() -> None:
    assert read().category == "Dynamics 365"
    assert read(SYNC_CATEGORY="").category == ""
    assert read(SYNC_SHARDS="").shards == 8


def test_rules_for_statuses() -> None:
    settings = read(
        SYNC_STATUS_CATEGORIES=f"in_progress = On site, {GUID.upper()}=Special,", SYNC_SHOW_AS="completed=free"
    )
    assert settings.categories == {"in_progress": "On site", GUID: "Special"}
    assert settings.show_as == {"completed": ShowAs.FREE}


@pytest.mark.parametrize("name", ["Europe/Vienna", "W. Europe Standard Time"])
def test_a_time_zone_has_two_names(name: str) -> None:
    assert read(SYNC_TIME_ZONE=name).zone.name == "W. Europe Standard Time"


def test_no_secret_shows() -> None:
    assert "s3cret" not in repr(read())
    assert "s3cret" not in str(read())


def names() -> set[str]:
    return {item.metadata["name"] for item in fields(Settings)}


def test_the_sample_file_holds_every_setting_and_no_other() -> None:
    values = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]
    assert set(values) == names() | {"FUNCTIONS_WORKER_RUNTIME"}
    assert all(isinstance(value, str) for value in values.values())


def test_the_samples_defaults_are_the_codes() -> None:
    values = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]
    for item in fields(Settings):
        default, name = item.metadata["default"], item.metadata["name"]
        if default and name not in ("GRAPH_URL", "IDENTITY_AUTHORITY"):
            assert values[name] == default, name


def test_every_setting_is_documented() -> None:
    """The text under each field is its documentation, and docs/settings.md has it."""
    tree = ast.parse(inspect.getsource(shared.settings))
    [body] = [node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Settings"]
    documented = {
        first.target.id: str(second.value.value)
        for first, second in pairwise(body)
        if isinstance(first, ast.AnnAssign)
        and isinstance(first.target, ast.Name)
        and isinstance(second, ast.Expr)
        and isinstance(second.value, ast.Constant)
    }
    page = (ROOT / "docs" / "settings.md").read_text()
    for item in fields(Settings):
        text = " ".join(documented[item.name].split())
        assert f"| `{item.metadata['name']}` |" in page
        assert text.replace("|", "\\|") in page, item.name

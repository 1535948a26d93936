"""Tokens by MSAL against the simulated Entra ID, over real TLS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from sandbox.simulators import Simulators
from shared.app import SystemClock
from shared.errors import DeniedError, NotSentError
from shared.identity import MsalTokens

GRAPH = "https://graph.microsoft.com/.default"


@pytest.fixture
async def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Simulators]:
    """The simulators, trusted by this process."""
    async with Simulators(tmp_path) as simulators:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(simulators.ca))
        yield simulators


@contextmanager
def tokens(cloud: Simulators, secret: str | None = None, authority: str | None = None) -> Iterator[MsalTokens]:
    app = next(app for app in cloud.directory.applications.values() if app.name == "Booking Sync")
    made = MsalTokens(
        authority=authority or cloud.endpoints["login"],
        tenant=cloud.directory.tenant_id,
        client_id=app.client_id,
        secret=secret or app.secrets[0],
        clock=SystemClock(),
    )
    with closing(made):
        yield made


def asked(cloud: Simulators) -> int:
    return sum(call.service == "login" and call.method == "POST" for call in cloud.cloud.recorder.calls)


async def test_many_callers_make_one_request(cloud: Simulators) -> None:
    with tokens(cloud) as held:
        got = await asyncio.gather(*(held.token(GRAPH) for _ in range(50)))
    assert len(set(got)) == 1
    assert asked(cloud) == 1


async def test_a_refused_token_is_replaced_once(cloud: Simulators) -> None:
    with tokens(cloud) as held:
        old = await held.token(GRAPH)
        held.discard(GRAPH, old)
        new = await held.token(GRAPH)
        held.discard(GRAPH, old)
        assert await held.token(GRAPH) == new
    assert asked(cloud) == 2


async def test_each_audience_has_its_own_token(cloud: Simulators) -> None:
    with tokens(cloud) as held:
        dataverse = f"{cloud.endpoints['dataverse']}/.default"
        assert await held.token(GRAPH) != await held.token(dataverse)


async def test_a_wrong_secret_is_named_by_its_code_and_not_quoted(cloud: Simulators) -> None:
    with tokens(cloud, secret="wrong-secret") as held, pytest.raises(DeniedError) as caught:
        await held.token(GRAPH)
    assert "7000215" in str(caught.value)
    assert "wrong-secret" not in str(caught.value)


async def test_an_authority_that_is_down_is_transient(cloud: Simulators) -> None:
    with tokens(cloud, authority="https://localhost:1") as held, pytest.raises(NotSentError):
        await held.token(GRAPH)

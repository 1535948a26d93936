"""An app without any stored secret, through the real worker."""

from __future__ import annotations

import pytest

from sandbox.up import Up
from tests.host.test_up import IDENTITY, asked, book, event_called

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_the_managed_identity_needs_no_registration_and_no_vault() -> None:
    settings = {"IDENTITY_CLIENT_ID": "", "IDENTITY_CREDENTIAL_NAME": "", "KEYVAULT_URL": ""}
    async with Up(settings=settings) as up, up.client() as client:
        await book(client, "By identity")
        await event_called(client, "By identity")
        assert asked(up) == {("identity", IDENTITY)}

"""Who answers at the Dataverse address, and what every request there needs."""

from __future__ import annotations

import asyncio

from shared.errors import RefusedError
from shared.http import Caller

ROOT = "/api/data/v9.2"
HEADERS = {"OData-Version": "4.0", "OData-MaxVersion": "4.0", "If-None-Match": "null"}
"""Required on every request (Microsoft docs, "Compose HTTP requests and handle errors")."""


class Organization:
    """The only organisation that this app works for (R14)."""

    def __init__(self, caller: Caller, organization: str) -> None:
        """`organization` is its id, in lower case."""
        self._caller = caller
        self._organization = organization
        self._checked = False
        self._lock = asyncio.Lock()

    async def check(self) -> None:
        """Ask once per process who answers there: a copied environment must not reach live mailboxes.

        Raises `RefusedError` when it is another one.
        """
        async with self._lock:
            if self._checked:
                return
            answer = await self._caller.call("GET", f"{ROOT}/WhoAmI", headers=HEADERS)
            found = str((answer.json() or {}).get("OrganizationId", "")).lower()
            if found != self._organization:
                raise RefusedError(
                    f"DATAVERSE_URL leads to organisation {found or '?'}, but DATAVERSE_ORGANIZATION_ID names another; "
                    "nothing is written until they agree"
                )
            self._checked = True

"""The app's rows in Storage, as an administrator meets them in Storage Explorer.

Of their keys it knows three beginnings: `mark:` for work that waits, `dead:` for work that was given up, `journal:` for
what was decided.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from azure.data.tables.aio import TableServiceClient

WAITING, GIVEN_UP, JOURNAL = "mark:", "dead:", "journal:"
_AFTER = "~"


class AppTable:
    """The app's one table."""

    def __init__(self, connection: str, name: str) -> None:
        """Name the table; `connection` is the account's connection string."""
        self._connection = connection
        self._name = name

    async def count(self, beginning: str) -> int:
        """How many rows have a row key with this beginning, in all partitions."""
        wanted = f"RowKey ge '{beginning}' and RowKey lt '{beginning}{_AFTER}'"
        async with TableServiceClient.from_connection_string(self._connection) as service:
            rows = service.get_table_client(self._name).query_entities(wanted, select=["RowKey"])
            return len([row async for row in rows])

    async def losers(self, booking: str) -> list[Mapping[str, str]]:
        """What somebody did to a booking or to its event and was overruled, by field; the newest last."""
        wanted = f"RowKey ge '{JOURNAL}' and RowKey lt '{JOURNAL}{_AFTER}' and booking eq '{booking}'"
        async with TableServiceClient.from_connection_string(self._connection) as service:
            rows = service.get_table_client(self._name).query_entities(wanted, select=["at", "lost"])
            found = sorted([row async for row in rows], key=lambda row: str(row["at"]))
        return [json.loads(row["lost"]) for row in found if row["lost"]]

    async def wipe(self) -> None:
        """Lose every row at one instant, while the app works: the table goes, and whoever is first makes it again."""
        async with TableServiceClient.from_connection_string(self._connection) as service:
            await service.delete_table(self._name)
            await service.create_table_if_not_exists(self._name)

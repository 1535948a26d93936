"""Many bookings at once through the whole app on the real loop, with tokens as in production.

Storage and the way to Graph and Dataverse are in memory; Entra, Key Vault and the managed identity are asked by
Microsoft's own packages, over real sockets.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from random import Random

from sandbox.dataverse.routes import ORGANIZATION_ID
from sandbox.dataverse.schema import Reference
from sandbox.directory import known_id
from sandbox.seed import seed_contoso
from sandbox.simulators import Simulators
from shared.app import Outside, build, tokens_of
from shared.http import HttpRequest, HttpResponse
from shared.settings import Settings
from shared.sync.model import UNROUTED, all_shards
from shared.tables.memory import MemoryTables
from tests.intake.test_dataverse_post import post
from tests.simulation.world import DATAVERSE, GRAPH, InProcess

PEOPLE = 10
SHARDS = 4


async def next_turn() -> None:
    """Let whatever can run in the background run."""
    await asyncio.sleep(0)


class Burst:
    """One app, and what it does with a burst. `midway` happens once, as soon as some of the events are there."""

    def __init__(self, cloud: Simulators, identity: Mapping[str, str], bookings: int = 50) -> None:
        """Set the app up with the settings `identity` for who it is."""
        self.cloud = cloud
        self.midway: Callable[[], None] | None = None
        cloud.entra.resources[DATAVERSE] = cloud.dataverse.name
        settings = Settings.from_environment(
            {
                "AzureWebJobsStorage": "unused",
                "SYNC_SHARDS": str(SHARDS),
                "IDENTITY_TENANT_ID": cloud.directory.tenant_id,
                "IDENTITY_AUTHORITY": cloud.endpoints["login"],
                "AZURE_CLIENT_ID": known_id("application", "Booking Sync Identity"),
                "GRAPH_URL": GRAPH,
                "DATAVERSE_URL": DATAVERSE,
                "DATAVERSE_ORGANIZATION_ID": ORGANIZATION_ID,
                **identity,
            }
        )
        self._network = InProcess(cloud.cloud)
        self._clock = cloud.cloud.clock
        self._tables = MemoryTables()
        self._bookings = bookings
        tokens = tokens_of(settings, self._clock, ca=str(cloud.ca))
        outside = Outside(
            clock=self._clock,
            random=Random(0),
            new_secret=lambda: "secret",
            secrets=None,
            transport=self,
            tokens=tokens,
            tables=self._tables,
        )
        self._app = build(settings, outside)

    async def send(self, request: HttpRequest) -> HttpResponse:
        """The network between the app and the services."""
        if self.midway is not None and self.events() >= self._bookings // 10:
            midway, self.midway = self.midway, None
            midway()
        return await self._network.send(request)

    async def play(self) -> None:
        """Post all bookings at once and let the app work until nothing is left to do."""
        await self.post()
        await self.finish()

    async def finish(self) -> None:
        """Let the app work until nothing is left to do."""
        async with asyncio.timeout(60):
            while self._rows("mark"):
                await self.work()

    async def post(self) -> None:
        """Post all bookings."""
        for number in range(self._bookings):
            body = post("Create", PrimaryEntityId=self._book(number), OrganizationId=ORGANIZATION_ID)
            await self._app.inbox.accept_post(json.dumps(body).encode(), "application/json")

    async def work(self) -> None:
        """Let all shards work off what is due."""
        await self._app.engine.drain(UNROUTED)  # routes; on a new table, the first one finds that it is new
        await asyncio.gather(*(self._app.engine.drain(shard) for shard in all_shards(SHARDS)))

    def events(self) -> int:
        """How many events there are in all calendars."""
        mailboxes = [account for account in self.cloud.directory.accounts.values() if account.has_mailbox]
        return sum(sum(1 for _ in self.cloud.graph.state.mailbox(account).events_of()) for account in mailboxes)

    def outcomes(self) -> Counter[str]:
        """How the bookings ended, routing aside."""
        return Counter(str(entry["outcome"]) for entry in self._rows("journal") if entry["reason"] != "routed")

    def tokens_asked(self) -> Counter[str]:
        """Answers to requests for tokens and secrets: service and status, challenges aside."""
        return Counter(
            f"{call.service} {call.status}"
            for call in self.cloud.cloud.recorder.calls
            if (call.service == "login" and call.method == "POST")
            or call.service == "identity"
            or (call.service == "keyvault" and call.status != 401)
        )

    def _book(self, number: int) -> str:
        contoso = seed_contoso(self.cloud.directory, self.cloud.graph, self.cloud.dataverse)
        person = [name for name in contoso.people if contoso.people[name].account.has_mailbox][number % PEOPLE]
        start = self._clock.now() + timedelta(days=1, hours=number)
        booking = known_id("booking", str(number))
        self.cloud.dataverse.load(
            "bookableresourcebooking",
            booking,
            {
                "name": f"Booking {number}",
                "starttime": start,
                "endtime": start + timedelta(hours=1),
                "duration": 60,
                "bookingtype": 1,
                "resource": Reference("bookableresource", contoso.resource(person)),
                "bookingstatus": Reference("bookingstatus", contoso.statuses["Committed"]),
            },
        )
        return booking

    def _rows(self, kind: str) -> list[Mapping[str, object]]:
        rows = [stored for partition in self._tables.partitions().values() for stored in partition]
        return [stored.values for stored in rows if stored.row.startswith(f"{kind}:")]

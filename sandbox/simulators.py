"""All simulators together: built, seeded, and listening on loopback."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from sandbox.client import Client
from sandbox.clock import Clock
from sandbox.cloud import Cloud
from sandbox.control import Control
from sandbox.crowd import seed_crowd
from sandbox.dataverse.routes import Dataverse
from sandbox.directory import Directory, known_id
from sandbox.entra.managed_identity import ManagedIdentity
from sandbox.entra.routes import Entra
from sandbox.graph.routes import Graph
from sandbox.http import Request, Response
from sandbox.keyvault.routes import KeyVault
from sandbox.page.board import Board
from sandbox.page.desk import Desk
from sandbox.page.routes import Page
from sandbox.page.switches import Panel
from sandbox.seed import seed_contoso, seed_vault
from sandbox.seed_bookings import seed_bookings
from sandbox.server import Authority, Handler, HttpSender, open_listener

LATENCY = {
    "graph.latency": {"read": 0.01, "write": 0.03},
    "dataverse.latency": {"read": 0.005, "write": 0.02},
}
"""Over sockets an operation takes a moment: too short to be waited for, long enough that requests can be at once."""


@dataclass(frozen=True, slots=True)
class Behind:
    """One service of a cloud, as a listener sees it."""

    cloud: Cloud
    service: str

    async def handle(self, request: Request) -> Response:
        """Pass the call through the cloud's log and faults."""
        return await self.cloud.serve(self.service, request)

    def error(self, status: int, code: str, message: str) -> Response:
        """An error in the service's shape."""
        return self.cloud.services[self.service].error(status, code, message)


class Simulators:
    """A local Microsoft cloud with the Contoso organisation in it.

    Inside `async with`, `endpoints` holds the base URLs of `login`, `graph`, `dataverse`, `keyvault`, `identity` (where
    the app gets the tokens of its managed identity, by plain HTTP), `control` and `page` (for people, by plain HTTP,
    too); `ca` is the PEM file of the authority that clients must trust.
    """

    def __init__(
        self, directory: Path, *, ports: Mapping[str, int] | None = None, seed: int = 0, clock: Clock | None = None
    ) -> None:
        """Make the cloud; `ports` fixes ports by service name, and the CA goes into the file system's `directory`."""
        self.cloud = Cloud(clock=clock, seed=seed)
        self.directory = Directory()
        self.entra = Entra(self.cloud, self.directory)
        self.graph = Graph(self.cloud, self.directory, self.entra.tokens)
        self.dataverse = Dataverse(self.cloud, self.directory, self.entra.tokens)
        self.keyvault = KeyVault(self.cloud, self.entra.tokens, self.directory.tenant_id)
        self.identity = ManagedIdentity(self.cloud, self.entra.tokens)
        self.control = Control(
            self.cloud,
            seed=self.seed,
            repeat={"webhook": self.dataverse.webhooks.repeat, "notification": self.graph.notifications.repeat},
            notifications=self.graph.notifications.overview,
            signal=self.graph.notifications.signal,
            by_hand=self.graph.by_hand.do,
            reset=self.reset,
        )
        board = Board(self.directory, self.dataverse, self.graph)
        panel = Panel(self.cloud.faults, known_id("application", "Booking Sync"))
        self.page = Page(self.cloud, self.directory, board, panel)
        for service in (self.entra, self.graph, self.dataverse, self.keyvault, self.identity):
            self.cloud.add(service)
        self.cloud.settings.begin_with(LATENCY)
        self._ports = dict(ports or {})
        self._authority = Authority(directory)
        self._opened = AsyncExitStack()
        self.ca = self._authority.pem
        self.endpoints: dict[str, str] = {}

    def seed(self, organization: str, mailboxes: int = 0, bookings: int = 0) -> None:
        """Fill the cloud, with so many people and bookings more than Contoso has by itself.

        Raises `ValueError` for an organisation that is not known, and for too many.
        """
        if organization != "contoso":
            raise ValueError(f"unknown organization '{organization}'; there is: contoso")
        contoso = seed_contoso(self.directory, self.graph, self.dataverse)
        seed_vault(contoso, self.directory, self.keyvault)
        seed_bookings(contoso, self.graph.businesses)
        self.identity.assign(contoso.managed_identity)
        if mailboxes or bookings:
            seed_crowd(contoso, self.directory, self.dataverse, mailboxes=mailboxes, bookings=bookings)

    def write_certificate(self) -> tuple[Path, Path]:
        """A certificate for localhost and its key as PEM files, for a listener in another process."""
        return self._authority.write_certificate()

    def reset(self) -> None:
        """Forget everything but the registered applications: whoever resets shall still be able to get in."""
        self.cloud.reset()
        self.directory.forget_people()

    async def __aenter__(self) -> Self:
        self.seed("contoso")
        handlers: dict[str, Handler] = {name: Behind(self.cloud, name) for name in self.cloud.services}
        handlers |= {"control": self.control, "page": self.page}
        async with AsyncExitStack() as opened:
            self.cloud.send = await opened.enter_async_context(HttpSender(self._authority))
            for name, handler in handlers.items():
                authority = None if name in (self.identity.name, "page") else self._authority
                listener = await open_listener(handler, authority, port=self._ports.get(name, 0))
                opened.push_async_callback(listener.close)
                self.endpoints[name] = listener.base_url
            planner = self.directory.applications[known_id("application", "Planner")]
            person = Client(self.endpoints, self.ca, self.directory.tenant_id, planner)
            self.page.desk = Desk(await opened.enter_async_context(person))
            self._opened = opened.pop_all()
        self.entra.resources[self.endpoints["dataverse"]] = self.dataverse.name
        self.keyvault.authority = self.endpoints["login"]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._opened.aclose()

"""A small cloud with four accounts and an application that may do everything."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from sandbox.clock import Clock
from sandbox.cloud import Cloud
from sandbox.directory import Account, Application, Directory, known_id
from sandbox.entra.routes import Entra
from sandbox.graph.routes import Graph
from tests.sandbox.apps import ALICE, BOB, ROOM, UNLICENSED, App
from tests.sandbox.loops import loop_factories

pytest_asyncio_loop_factories = loop_factories


@pytest.fixture
def cloud() -> Cloud:
    return Cloud(clock=Clock(datetime(2026, 3, 1, 8, tzinfo=UTC)), seed=1)


@pytest.fixture
def directory() -> Directory:
    directory = Directory()
    for address, name in ((ALICE, "Alice Adams"), (BOB, "Bob Brown")):
        directory.add(Account(id=known_id("user", address), name=name, address=address))
    directory.add(Account(id=known_id("user", ROOM), name="Room 1", address=ROOM, is_room=True, enabled=False))
    directory.add(Account(id=known_id("user", UNLICENSED), name="Una", address=UNLICENSED, has_mailbox=False))
    directory.register(
        Application(
            client_id=known_id("app", "sync"),
            object_id=known_id("app object", "sync"),
            name="Booking sync",
            secrets=("old-secret", "good-secret"),
            graph_roles=("Calendars.Read", "Calendars.ReadWrite", "User.Read.All"),
        )
    )
    return directory


@pytest.fixture
def entra(cloud: Cloud, directory: Directory) -> Entra:
    entra = Entra(cloud, directory)
    cloud.add(entra)
    return entra


@pytest.fixture
def graph(cloud: Cloud, directory: Directory, entra: Entra) -> Graph:
    graph = Graph(cloud, directory, entra.tokens)
    cloud.add(graph)
    return graph


@pytest.fixture
def app_with(cloud: Cloud, graph: Graph, entra: Entra, directory: Directory) -> Callable[..., App]:
    """Makes an application with the given Graph permissions."""
    assert graph.name in cloud.services

    def make(*roles: str) -> App:
        name = "+".join(roles)
        client_id, object_id = known_id("app", name), known_id("app object", name)
        application = Application(
            client_id=client_id, object_id=object_id, name=name, secrets=("secret",), graph_roles=roles
        )
        return App(cloud, entra.tokens, directory.register(application))

    return make


@pytest.fixture
async def app(app_with: Callable[..., App]) -> App:
    """The application under which most tests call."""
    return app_with("Calendars.Read", "Calendars.ReadWrite", "User.Read.All")

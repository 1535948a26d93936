"""A seeded environment, its planner and its sync app, and a receiver of webhooks."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sandbox.clock import Clock
from sandbox.cloud import Cloud
from sandbox.dataverse.routes import Dataverse
from sandbox.directory import Directory
from sandbox.entra.routes import Entra
from sandbox.seed import Contoso, seed_contoso
from tests.sandbox.loops import loop_factories
from tests.sandbox_dataverse.clients import BASE, Client, Receiver

pytest_asyncio_loop_factories = loop_factories


@pytest.fixture
def cloud() -> Cloud:
    return Cloud(clock=Clock(datetime(2026, 3, 1, 8, tzinfo=UTC)), seed=1)


@pytest.fixture
def directory() -> Directory:
    return Directory()


@pytest.fixture
def entra(cloud: Cloud, directory: Directory) -> Entra:
    entra = Entra(cloud, directory)
    entra.resources[BASE] = "dataverse"
    cloud.add(entra)
    return entra


@pytest.fixture
def dataverse(cloud: Cloud, directory: Directory, entra: Entra) -> Dataverse:
    dataverse = Dataverse(cloud, directory, entra.tokens)
    cloud.add(dataverse)
    return dataverse


@pytest.fixture
def contoso(directory: Directory, dataverse: Dataverse) -> Contoso:
    return seed_contoso(directory, None, dataverse)


@pytest.fixture
def planner(cloud: Cloud, entra: Entra, contoso: Contoso) -> Client:
    return Client(cloud=cloud, tokens=entra.tokens, application=contoso.planner)


@pytest.fixture
def sync(cloud: Cloud, entra: Entra, contoso: Contoso) -> Client:
    return Client(cloud=cloud, tokens=entra.tokens, application=contoso.booking_sync)


@pytest.fixture
def receiver(cloud: Cloud) -> Receiver:
    receiver = Receiver()
    cloud.send = receiver.send
    return receiver

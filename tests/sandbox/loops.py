"""Tests on virtual time: `pytestmark = VIRTUAL_TIME` in a module whose tests wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from tests.simulation.loop import VirtualLoop

VIRTUAL_TIME = pytest.mark.asyncio(loop_factories=["virtual"])


def loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop of a test, for the hook `pytest_asyncio_loop_factories`."""
    marker = item.get_closest_marker("asyncio")
    if marker is not None and "loop_factories" in marker.kwargs:
        return {"virtual": VirtualLoop}
    return {"real": asyncio.new_event_loop}

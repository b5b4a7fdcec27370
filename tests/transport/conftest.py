"""A real hub of two states, and its own connection to it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from broker.transport.link import Link
from tests.support.hub import BOUND_S, RunningHub, running_hub
from tests.support.region import make_region


@pytest_asyncio.fixture
async def hub(tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with running_hub(make_region(("SG", "MY")), tmp_path / "hub") as running:
        yield running


@pytest_asyncio.fixture
async def link(hub: RunningHub) -> AsyncIterator[Link]:
    async with hub.hub_link() as link:
        await link.wait_connected(BOUND_S)
        yield link

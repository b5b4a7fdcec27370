"""A hub that says nothing about its directory is late at first, and then suspicious."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from broker import clock
from broker.node.mirror import PATIENCE
from broker.node.node import Node
from broker.transport.errors import Unreachable
from keys.errors import DirectoryError
from tests.support.directory import found
from tests.support.hub import BOUND_S, running_hub
from tests.support.nodes import Clock, opened_node
from tests.support.region import make_region

pytestmark = pytest.mark.hub


@pytest.fixture
def present_time() -> Clock:
    time = Clock()
    time.stopped = clock.now()
    return time


@pytest_asyncio.fixture
async def node(tmp_path: Path, present_time: Clock) -> AsyncIterator[Node]:
    """At a server behind which nobody answers for the hub, as when that starts again."""
    real = found(tmp_path / "founded")
    region = make_region(("SG",), now=clock.now())
    async with (
        running_hub(region, tmp_path / "hub") as hub,
        opened_node(hub, "SG", tmp_path, now=present_time) as node,
    ):
        await node.link.wait_connected(BOUND_S)
        node.upkeep.directory = real.client("SG/node/directory")
        yield node


async def test_only_a_hub_that_says_nothing_for_long_is_an_alarm(
    node: Node, present_time: Clock
) -> None:
    for _ in range(2):
        with pytest.raises(Unreachable):
            await node.upkeep.refresh_directory()
    for jump in (PATIENCE, -PATIENCE):
        present_time.jumped = jump  # which is no time that it was silent
        with pytest.raises(Unreachable):
            await node.upkeep.refresh_directory()
    assert present_time.stopped
    present_time.stopped += PATIENCE
    with pytest.raises(DirectoryError) as caught:  # which is said as an alarm
        await node.upkeep.refresh_directory()
    assert caught.value.code == "directory-unreachable"

"""Files that follow their alert: two nodes, a gateway, the hub's service and a real server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from broker import clock
from broker.hub.attachments import AttachmentService
from broker.node.node import Node
from schemas.desk import ArrivalState, SendingState
from tests.support.attachments import (
    a_file,
    handed,
    received,
    serving_attachments,
    until_here,
    until_sent,
)
from tests.support.gateway import running_gateway
from tests.support.hub import BOUND_S, RunningHub, running_hub
from tests.support.nodes import request, running_node, send
from tests.support.region import TestRegion, make_region

pytestmark = pytest.mark.hub


@dataclass
class Stage:
    """SG and MY at work."""

    region: TestRegion
    hub: RunningHub
    service: AttachmentService
    folder: Path
    sg: Node
    my: Node


@pytest_asyncio.fixture
async def hub(tmp_path: Path) -> AsyncIterator[RunningHub]:
    region = make_region(("SG", "MY", "TH"), now=clock.now())
    async with running_hub(region, tmp_path / "hub") as running:
        yield running


@pytest_asyncio.fixture
async def stage(hub: RunningHub, tmp_path: Path) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running_gateway(hub))
        service = await stack.enter_async_context(serving_attachments(hub, tmp_path / "chunks"))
        sg, my = [
            await stack.enter_async_context(running_node(hub, code, tmp_path))
            for code in ("SG", "MY")
        ]
        yield Stage(hub.region, hub, service, tmp_path, sg, my)


async def test_files_follow_their_alert_byte_for_byte(stage: Stage) -> None:
    first, second = a_file(3), a_file(1, spare=0)
    async with asyncio.timeout(BOUND_S):
        files = (await handed(stage.sg, first, "a.bin"), await handed(stage.sg, second, "b.bin"))
        asked = request(stage.region, ("MY",), attachments=files)
        submission = await send(stage.sg, stage.region, asked)
        last = await until_sent(stage.sg, submission)
        assert [each.state for each in last.attachments] == [SendingState.UPLOADED] * 2
        assert last.id is not None
        await until_here(stage.my, last.id)
        item = await stage.my.item(last.id)
        assert [(each.name, each.state) for each in item.attachments] == [
            ("a.bin", ArrivalState.COMPLETE),
            ("b.bin", ArrivalState.COMPLETE),
        ]
        assert await received(stage.my, last.id, 1) == first
        assert await received(stage.my, last.id, 2) == second
        assert await received(stage.my, last.id, 1, start=300_000) == first[300_000:]

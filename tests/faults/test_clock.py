"""A node whose clock is wrong by ten minutes: desks may queue, nothing leaves until it is right."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
import pytest_asyncio

from broker import clock
from broker.hub.services import MemberServices
from broker.node.node import Node
from broker.transport.link import Link
from keys.directory.repository import DirectoryRepository
from schemas.desk import NodeStatus, RecipientState, SubmissionState
from tests.support.gateway import running_gateway
from tests.support.hub import BOUND_S, RunningHub, running_hub
from tests.support.nodes import Clock, opened_node, request, running_node, send, until_over
from tests.support.region import TestRegion, make_region
from tests.support.waiting import must_come

pytestmark = [pytest.mark.hub, pytest.mark.timeout(300), pytest.mark.slow]
WRONG = timedelta(minutes=10)


@dataclass
class Stage:
    """A hub that tells its time, a gateway, and MY at work."""

    region: TestRegion
    hub: RunningHub
    link: Link
    folder: Path
    my: Node

    @asynccontextmanager
    async def sg(self, now: Clock) -> AsyncIterator[Node]:
        async with opened_node(self.hub, "SG", self.folder, now=now) as node, node.running():
            yield node

    async def submitted(self) -> int:
        """How many envelopes SG ever handed to the hub."""
        info = await self.link.api("STREAM.INFO.SUBMIT_SG", {})
        return int(info["state"]["last_seq"])


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    region = make_region(("SG", "MY"), now=clock.now())
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(region, tmp_path / "hub"))
        link = await stack.enter_async_context(running_gateway(hub))
        unused = DirectoryRepository(tmp_path / "none", pinned_root=b"")
        await MemberServices(unused, lambda _: ()).serve(link)
        my = await stack.enter_async_context(running_node(hub, "MY", tmp_path))
        yield Stage(region, hub, link, tmp_path, my)


async def status_when(node: Node, right: Callable[[NodeStatus], bool]) -> NodeStatus:
    """The node's status once it is `right`."""
    async with must_come(BOUND_S, lambda: "the node never showed the status waited for"):
        while True:
            status = await node.status()
            if right(status):
                return status
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("ahead", [WRONG, -WRONG], ids=["ahead", "behind"])
async def test_what_is_queued_meanwhile_is_kept_and_goes_once_it_is_right(
    stage: Stage, ahead: timedelta
) -> None:
    now = Clock(ahead)
    asked = request(stage.region, ("MY",))
    queued: list[UUID] = []

    async def hold(node: Node) -> None:
        status = await status_when(node, lambda status: status.clock.state == "skew")
        assert status.sealing == "clock-skew"
        assert status.clock.skew_s == pytest.approx(ahead.total_seconds(), abs=5)
        submission = await send(node, stage.region, asked)
        assert submission.state is SubmissionState.QUEUED
        queued.append(submission.submission_id)
        for each in queued:
            shown = await node.submission(each)
            assert (shown.state, shown.waiting_for) == (SubmissionState.QUEUED, "clock-skew")
            assert shown.recipients[0].state is RecipientState.QUEUED
        assert await node.outgoing.seal_due() == 0
        assert await stage.submitted() == 0

    async with stage.sg(now) as sg:
        await hold(sg)
    async with stage.sg(now) as sg:  # started again, as wrong as before
        await hold(sg)
        await hold(sg)
        now.ahead = timedelta(0)
        for each in queued:
            last = await until_over(sg, each)
            assert last.recipients[0].state is RecipientState.DELIVERED
            assert last.waiting_for == ""
        assert (await sg.status()).clock.state == "ok"
        assert (await sg.status()).sealing == ""
    items = (await stage.my.inbox()).items
    assert len({item.id for item in items}) == len(items) == len(queued)
    assert all(abs(item.created - clock.now()) < timedelta(minutes=1) for item in items)


async def test_what_was_sealed_before_it_went_wrong_is_not_submitted(stage: Stage) -> None:
    now = Clock()
    async with opened_node(stage.hub, "SG", stage.folder, now=now) as sg:
        submission = await send(sg, stage.region, request(stage.region, ("MY",)))
        assert await sg.outgoing.seal_due() == 1
        now.ahead = WRONG
        await sg.upkeep.ask_time_first()
        assert await sg.outgoing.submit_due() == 0
        assert await stage.submitted() == 0
        now.ahead = timedelta(0)
        async with sg.running():
            last = await until_over(sg, submission.submission_id)
            assert last.recipients[0].state is RecipientState.DELIVERED


async def test_an_answer_waits_for_the_right_time_and_no_longer(stage: Stage) -> None:
    """A `delivered` dated ten minutes ahead would keep its sender waiting for as long."""
    now = Clock(WRONG)
    kid = stage.region.members["MY"].officer_kid
    asked = request(stage.region, ("SG",), officer_kid=kid)
    async with stage.sg(now) as sg:
        await status_when(sg, lambda status: status.sealing == "clock-skew")
        submission = await send(stage.my, stage.region, asked)
        await status_when(sg, lambda status: status.inbox == 1)
        waiting = await stage.my.submission(submission.submission_id)
        assert waiting.recipients[0].delivered_at is None
        now.ahead = timedelta(0)
        async with must_come(BOUND_S, lambda: "what was queued meanwhile did not go"):
            last = await until_over(stage.my, submission.submission_id)
        assert last.recipients[0].state is RecipientState.DELIVERED

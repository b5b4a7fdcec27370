"""What fails behind judging: a child finds it, no second verdict is made, and a person is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from broker import clock
from broker.admission.judge import Arrival
from broker.envelope.decision import parse_delivery
from broker.gateway.directory import DirectoryInForce
from broker.gateway.trial import carry_dry
from broker.gateway.worker import STUCK_ATTEMPTS, TRUSTED_ATTEMPTS
from broker.transport.link import Link
from broker.transport.streamstates import messages_on
from schemas.decision import parse_decision
from schemas.receipt import DecisionReceipt
from tests.support.envelopes import Made, make
from tests.support.gateway import Source, mail, receipt, running_gateway, submit
from tests.support.hub import BOUND_S, RunningHub, running_hub
from tests.support.region import TestRegion, make_region


async def nothing_survives(_: Arrival) -> bool:
    """A trial in which every child dies."""
    return False


def test_a_child_makes_all_that_a_worker_would_record_and_deliver() -> None:
    region = make_region(("SG", "MY", "VN"), now=clock.now())
    made = make(region, ("MY", "VN"))
    arrival = Arrival(made.sealed.raw, "SG", str(made.label.lane), str(made.label.id))
    directory = DirectoryInForce.read(Source(region.view))
    decision, statement, *copies = carry_dry(arrival, directory, region.now)
    assert parse_decision(decision).header.digest == made.sealed.digest
    assert statement
    for copy in copies:
        assert parse_delivery(copy).delivered.frame.digest == made.sealed.digest
    assert len(copies) == 2
    refused = carry_dry(Arrival(b"rubbish", "SG", "normal", "x"), directory, region.now)
    assert parse_decision(refused[0]).header.code
    assert len(refused) == 2


@dataclass
class Stage:
    region: TestRegion
    hub: RunningHub
    link: Link
    sg: Link

    async def come_again(self, times: int) -> None:
        """Take what SG submitted, and give it back, as workers that die do."""
        async with asyncio.timeout(BOUND_S):
            for attempt in range(1, times + 1):
                (message,) = await self.link.pull(
                    "SUBMIT_SG", "GATEWAY-normal", batch=1, timeout_s=BOUND_S
                )
                assert message.attempts == attempt
                await message.nak()

    async def records(self, made: Made) -> list[str]:
        """Subjects of everything decided."""
        year = clock.now().year
        found = await messages_on(self.link, f"AUDIT_{year}", f"audit.{year}.SG.>")
        assert found[0].subject == f"audit.{year}.SG.{made.label.id}"
        return [each.subject for each in found[1:]]


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    region = make_region(("SG", "MY"), now=clock.now())
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(region, tmp_path / "hub"))
        link = await stack.enter_async_context(hub.hub_link())
        sg = await stack.enter_async_context(hub.member_link("SG"))
        for each in (link, sg):
            await each.wait_connected(BOUND_S)
        yield Stage(region, hub, link, sg)


async def said(capsys: pytest.CaptureFixture[str], words: str) -> None:
    """Return once a worker wrote these words."""
    text = ""
    async with asyncio.timeout(BOUND_S):
        while words not in text:
            await asyncio.sleep(0.02)
            text += "".join(capsys.readouterr())  # where it writes was settled by an earlier test


@pytest.mark.hub
async def test_no_second_verdict_stands_beside_one_that_cannot_be_carried_out(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make(stage.region, ("MY",))
    async with running_gateway(stage.hub):
        await submit(stage.sg, made)
        first = await receipt(stage.sg)
        await mail(stage.link, "MY")
    await submit(stage.sg, made, attempt=2)
    await stage.come_again(TRUSTED_ATTEMPTS)
    async with running_gateway(stage.hub, trial=nothing_survives):
        await said(capsys, "not-carried-out")
        assert await stage.records(made) == []
        info = await stage.link.api("CONSUMER.INFO.SUBMIT_SG.GATEWAY-normal", {})
        assert info["num_ack_pending"] == 1
        other = make(stage.region, ("MY",), tail=2, counter=2)
        await submit(stage.sg, other)  # nobody waits behind it
        told = await receipt(stage.sg)
    assert isinstance(first, DecisionReceipt)
    assert isinstance(told, DecisionReceipt)
    assert parse_decision(told.decision).header.id == other.label.id


@pytest.mark.hub
async def test_what_fails_again_and_again_is_an_alarm(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    async def broken(_: Arrival) -> bool:
        raise ArithmeticError

    await submit(stage.sg, make(stage.region, ("MY",)))
    await stage.come_again(STUCK_ATTEMPTS)
    async with running_gateway(stage.hub, trial=broken):
        await said(capsys, "submission-stuck")

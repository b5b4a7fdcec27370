"""Openings are made before a decision stands, and recovered from it; auditors have one too."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio

from broker import clock
from broker.gateway import record
from broker.gateway.decide import Decider
from broker.log.audited import parse_audited
from broker.transport.link import Link
from broker.transport.message import Stored
from keys.primitives.sealing import OpenKey
from schemas.receipt import DecisionReceipt
from tests.support.envelopes import Made, decide, make
from tests.support.gateway import mail, receipt, running_gateway, submit
from tests.support.hub import BOUND_S, RunningHub, running_hub
from tests.support.region import TestRegion, make_region

pytestmark = [pytest.mark.hub, pytest.mark.timeout(60)]


@dataclass
class Stage:
    region: TestRegion
    hub: RunningHub
    auditors: OpenKey
    sg: Link
    my: Link
    own: Link

    async def standing(self, made: Made) -> Stored:
        subject = record.decided("SG", made.label.id)
        found = await self.own.get_last(record.stream_of(subject), subject)
        assert found is not None
        return found


def with_auditors(region: TestRegion, key: OpenKey) -> TestRegion:
    document = region.view.hub.model_copy(update={"auditors_key": key.public.raw})
    return replace(region, view=replace(region.view, hub=document))


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    key = OpenKey.generate()
    region = with_auditors(make_region(("SG", "MY"), now=clock.now()), key)
    async with (
        running_hub(region, tmp_path / "hub") as hub,
        hub.member_link("SG") as sg,
        hub.member_link("MY") as my,
        hub.hub_link() as own,
    ):
        for link in (sg, my, own):
            await link.wait_connected(BOUND_S)
        yield Stage(region, hub, key, sg, my, own)


async def test_auditors_open_what_sender_and_recipient_were_told(stage: Stage) -> None:
    made = make(stage.region, ("MY",))
    async with running_gateway(stage.hub):
        await submit(stage.sg, made)
        told = await receipt(stage.sg)
    assert isinstance(told, DecisionReceipt)
    opening = parse_audited((await stage.standing(made)).payload).opening
    assert opening is not None
    assert opening.open(stage.auditors) == told.decision
    delivery = await mail(stage.my, "MY")
    standing = parse_audited((await stage.standing(made)).payload).open(stage.region.record_keys)
    assert delivery.decision.salts == standing.decision.salts


async def test_a_worker_that_finds_a_record_forwards_it_and_makes_nothing_anew(
    stage: Stage,
) -> None:
    """As after a crash between the record and what follows from it."""
    made, region = make(stage.region, ("MY",)), stage.region
    dead = Decider("gw-dead", region.gateway_kid, region.gateway_sign_key, region.record_keys)
    decision = decide(region, made.sealed.raw)
    first = dead.audited(decision, auditors=region.view.auditors)
    trail = record.AuditTrail(stage.own)
    await trail.stand(record.decided("SG", made.label.id), first.to_bytes())
    async with running_gateway(stage.hub, name="gw-2"):
        await submit(stage.sg, made)
        told = await receipt(stage.sg)
        delivery = await mail(stage.my, "MY")
    assert isinstance(told, DecisionReceipt)
    assert told.decision == first.decision_bytes
    shown = first.decision.for_recipient("MY")
    assert delivery.decision.to_bytes() == shown.to_bytes()
    assert (await stage.standing(made)).payload == first.to_bytes()


async def test_without_a_key_of_auditors_nothing_is_sealed(stage: Stage) -> None:
    made = make(stage.region, ("MY",))
    plain = stage.region.view.hub.model_copy(update={"auditors_key": None})
    hub = replace(
        stage.hub,
        region=replace(stage.region, view=replace(stage.region.view, hub=plain)),
    )
    async with running_gateway(hub):
        await submit(stage.sg, made)
        await receipt(stage.sg)
    assert parse_audited((await stage.standing(made)).payload).opening is None

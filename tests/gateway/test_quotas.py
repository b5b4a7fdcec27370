"""A member that floods waits, by itself: nothing is recorded, and nobody else is slowed."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from broker import clock
from broker.admission.judgement import NotNow
from broker.admission.quota import Quotas
from broker.envelope.officer import make_audience
from broker.envelope.seal import Recipient, seal
from broker.envelope.submitted import parse_submitted
from broker.gateway.pace import Pace
from broker.transport.link import Link
from schemas.content import Content
from schemas.control import PairState, control_intent, encode_control
from schemas.label import Label, Sender
from schemas.receipt import DecisionReceipt, TemporaryRefusal
from schemas.vocabulary import Kind, Status
from tests.support.envelopes import Made, make, seal_content
from tests.support.gateway import mail, no_mail, receipt, running_gateway, submit
from tests.support.hub import BOUND_S, RunningHub, running_hub
from tests.support.labels import uuid7_at
from tests.support.region import TestRegion, make_region

pytestmark = pytest.mark.hub
SLOW = 0.02  # a token in 50 s: none comes back while a test runs


@dataclass
class Stage:
    hub: RunningHub
    region: TestRegion
    sg: Link
    my: Link


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    region = make_region(("SG", "MY"), now=clock.now())
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(region, tmp_path / "hub"))
        links = [await stack.enter_async_context(hub.member_link(code)) for code in ("SG", "MY")]
        for link in links:
            await link.wait_connected(BOUND_S)
        yield Stage(hub, region, *links)


async def test_above_its_quota_a_member_is_told_to_wait_and_others_are_not(stage: Stage) -> None:
    quotas = Quotas(rate_per_s=SLOW, burst=3)
    region = stage.region
    async with running_gateway(stage.hub, quotas=quotas):
        made = [make(region, ("MY",), tail=n, counter=n) for n in range(1, 6)]
        for each in made:
            await submit(stage.sg, each)
        told = [await receipt(stage.sg) for _ in made]
        waits = [each for each in told if isinstance(each, TemporaryRefusal)]
        assert len(told) - len(waits) == quotas.burst
        assert {(each.code, 0 < each.retry_after_s <= 51) for each in waits} == {("quota", True)}
        for _ in range(3):
            await mail(stage.my, "MY")
        await no_mail(stage.my, "MY")
        sender = Sender(member="MY", agency="RMP")
        theirs = make(region, ("SG",), tail=9, sender=sender)
        await submit(stage.my, theirs, sender="MY")
        assert isinstance(await receipt(stage.my, "MY"), DecisionReceipt)
        # Nothing stands against what waited: the same bytes pass once there is room.
        waited = next(each for each in made if each.label.id == waits[0].id)
    async with running_gateway(stage.hub):
        await submit(stage.sg, waited, attempt=2)
        assert isinstance(await receipt(stage.sg), DecisionReceipt)


def pair_state(region: TestRegion, to: str, number: int) -> Made:
    now = region.now + timedelta(milliseconds=number)
    meant = control_intent(
        Kind.PAIR_STATE,
        sender=Sender(member="SG", agency="SPF"),
        ref=None,
        status=Status.ACTUAL,
        now=now,
    )
    label = Label.from_intent(meant, id=uuid7_at(now, number), directory=region.view.version)
    content = Content(encode_control(PairState(now, 1, 1, number)))
    audience = make_audience([to])
    return Made(label, content, audience, seal_content(region, label, content, audience))


async def test_numbers_are_told_to_a_peer_at_a_bounded_rate(stage: Stage) -> None:
    quotas = Quotas(pair_state_rate_per_s=SLOW, pair_state_burst=2)
    async with running_gateway(stage.hub, quotas=quotas):
        for number in range(1, 5):
            await submit(stage.sg, pair_state(stage.region, "MY", number))
        told = [await receipt(stage.sg) for _ in range(4)]
        waits = [each for each in told if isinstance(each, TemporaryRefusal)]
        assert [each.code for each in waits] == ["control-rate"] * 2
        await submit(stage.sg, make(stage.region, ("MY",), tail=50))  # an alert does not wait
        assert isinstance(await receipt(stage.sg), DecisionReceipt)


def test_who_is_written_to_that_is_nobody_takes_no_memory() -> None:
    region = make_region(("SG", "MY"), now=clock.now())
    pace, members = Pace(), region.view.members()
    told = pair_state(region, "MY", 1)
    sender = region.members["SG"]

    def over(*to: str) -> NotNow | None:
        """Whether the same must wait that was sealed to these, to MY's key."""
        key, at = region.view.encryption_key, told.label.created
        sealed = seal(
            told.label,
            told.content.to_bytes(),
            recipients=[Recipient(name, (1, 1), *key("MY", at=at), bytes(32)) for name in to],
            node_kid=sender.kid,
            node_key=sender.sign_key,
        )
        return pace.over(parse_submitted(sealed.raw), members)

    for number in range(20):
        for to in ((f"NOBODY{number}",), ("MY", f"NOBODY{number}")):
            assert over(*to) is None
    assert set(pace._buckets._of) == {("SG",)}
    assert over("MY") is None
    assert set(pace._buckets._of) == {("SG",), ("SG", "MY")}


async def test_two_workers_together_let_no_more_through_than_one(stage: Stage) -> None:
    whole = Quotas(rate_per_s=SLOW, burst=6)
    part = whole.shared_by(2)
    assert (part.rate_per_s, part.burst) == (SLOW / 2, 3)
    async with (
        running_gateway(stage.hub, name="gw-1", quotas=part),
        running_gateway(stage.hub, name="gw-2", quotas=part),
    ):
        for number in range(1, 17):
            await submit(stage.sg, make(stage.region, ("MY",), tail=number, counter=number))
        told = [await receipt(stage.sg) for _ in range(16)]
        passed = sum(isinstance(each, DecisionReceipt) for each in told)
        assert part.burst <= passed <= whole.burst


def test_a_share_is_never_too_small_to_let_anything_through() -> None:
    part = Quotas().shared_by(64)
    assert part.burst >= 1
    assert part.pair_state_burst == 1

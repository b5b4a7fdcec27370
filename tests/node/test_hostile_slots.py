"""A member cannot hold up another's mail by what stands in the slots of an envelope."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from broker import clock
from broker.envelope.errors import EnvelopeError
from broker.envelope.seal import Recipient, seal
from broker.node.present import Present
from keys.primitives.hashing import random_bytes
from schemas.content import encode_alert
from schemas.receipt import DecisionReceipt
from tests.support.envelopes import Made, an_alert, delivery, label_for, make
from tests.support.gateway import receipt, running_gateway, submit
from tests.support.hostile import ByHand, let_through, seal_by_hand
from tests.support.hub import BOUND_S, running_hub
from tests.support.nodes import Clock, lonely_node, running_node
from tests.support.region import TestRegion, make_region

NO_MEMBERS = ("x1", "my", "M", "MY ", "MY\n", "M\0", "1X", "\uff2d\uff39", "X" * 17)


def hostile(region: TestRegion, name: str, *, disclosed: bool = True, tail: int = 9) -> ByHand:
    label = label_for(region, an_alert(), tail=tail, disclose_recipients=disclosed)
    return seal_by_hand(region, label, encode_alert(an_alert()), names=("MY", name))


@pytest.mark.parametrize("name", NO_MEMBERS)
def test_an_honest_node_seals_to_no_such_name(name: str) -> None:
    region = make_region(("SG", "MY"))
    kid, key = region.view.encryption_key("MY", at=region.now)
    to = Recipient(name, (1, 1), kid, key, random_bytes(32))
    sg, label = region.members["SG"], make(region, ("MY",)).label
    with pytest.raises(EnvelopeError) as caught:
        seal(label, b"", recipients=[to], node_kid=sg.kid, node_key=sg.sign_key)
    assert caught.value.code == "bad-slots"


@pytest.mark.hub
@pytest.mark.parametrize("disclosed", [True, False])
async def test_the_gateway_refuses_all_of_it_and_the_lane_goes_on(
    tmp_path: Path, *, disclosed: bool
) -> None:
    region = make_region(("SG", "MY"), now=clock.now())
    wrong, good = hostile(region, "x1", disclosed=disclosed), make(region, ("MY",))
    sealed = replace(good.sealed, raw=wrong.raw, digest=wrong.digest)
    async with (
        asyncio.timeout(4 * BOUND_S),
        running_hub(region, tmp_path / "hub") as hub,
        running_gateway(hub),
        running_node(hub, "MY", tmp_path) as my,
        hub.member_link("SG") as sg,
    ):
        await sg.wait_connected(BOUND_S)
        await submit(sg, Made(wrong.label, good.content, good.audience, sealed))
        told = await receipt(sg)
        assert isinstance(told, DecisionReceipt)
        assert told.copies == ()
        assert b"bad-slots" in told.decision
        await submit(sg, good)
        while not (await my.inbox()).items:  # noqa: ASYNC110 - each look is one at the database
            await asyncio.sleep(0.02)
        assert [item.id for item in (await my.inbox()).items] == [good.label.id]
        assert (await my.status()).quarantined == 0


@pytest.mark.usefixtures("databases")
@pytest.mark.parametrize("name", NO_MEMBERS)
async def test_a_copy_that_a_gateway_lets_through_is_refused_once_and_its_sender_told(
    tmp_path: Path, name: str
) -> None:
    region = make_region(("SG", "MY"), now=clock.now())
    raw = let_through(region, hostile(region, name))
    async with lonely_node(region, "MY", tmp_path / "my.db") as my:
        assert await my.incoming.take(raw, final=False)
        assert await my.incoming.take(raw, final=False)
        good = make(region, ("MY",))
        assert await my.incoming.take(delivery(region, good.sealed.raw, "MY"))
        assert [item.id for item in (await my.inbox()).items] == [good.label.id]
        status = await my.status()
        assert status.quarantined == 1
        assert [(each.code, each.peer) for each in status.alarms] == [
            ("quarantined-bad-slots", "SG")
        ]
        async with my.database.read() as connection:
            assert await my.incoming.controls.count(connection) == 2  # one answer to each


async def test_what_makes_no_item_is_refused_at_once_by_whatever_rule_nobody_foresaw(
    tmp_path: Path,
) -> None:
    region = make_region(("SG", "MY"), now=clock.now())
    raw = delivery(region, make(region, ("MY",)).sealed.raw, "MY")
    async with lonely_node(region, "MY", tmp_path / "my.db") as my:
        whole = my.incoming.present
        my.incoming.present = Present("MY", now=cast("Clock", lambda: None))  # no item has no time
        my.incoming.present.take(region.view)
        assert await my.incoming.take(raw, final=False)
        assert [each.code for each in (await my.status()).alarms] == ["quarantined-node-fault"]
        assert (await my.inbox()).items == ()
        my.incoming.present = whole
        good = make(region, ("MY",), tail=2)
        assert await my.incoming.take(delivery(region, good.sealed.raw, "MY"))
        assert [item.id for item in (await my.inbox()).items] == [good.label.id]
        async with my.database.read() as connection:
            assert await my.incoming.controls.count(connection) == 2  # one answer to each

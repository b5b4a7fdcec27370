"""Each bit of a delivery is under a signature, a hash or a seal: none changes on its way unseen."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from broker import clock
from broker.envelope.decision import parse_delivery
from broker.envelope.errors import EnvelopeError
from broker.node.node import Node
from tests.support.envelopes import delivery, make
from tests.support.nodes import lonely_node
from tests.support.region import TestRegion, make_region

Scene = tuple[Node, bytes]


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    region: TestRegion = make_region(("SG", "MY", "VN"), now=clock.now())
    raw = delivery(region, make(region, ("MY", "VN")).sealed.raw, "MY")
    async with lonely_node(region, "MY", tmp_path / "my.db") as node:
        yield node, raw


def arrives(node: Node, raw: bytes) -> bool:
    """Whether a node takes it for what was sent."""
    try:
        node.incoming.open(parse_delivery(raw), node.present.view)
    except EnvelopeError:
        return False
    return True


@pytest.mark.parametrize(
    "bits", [1, pytest.param(8, marks=[pytest.mark.soak, pytest.mark.timeout(300)])]
)
async def test_a_delivery_with_any_bit_flipped_is_refused(scene: Scene, bits: int) -> None:
    """One bit of each byte always, all of them where there is time."""
    node, raw = scene
    assert arrives(node, raw)
    taken = []
    for at in range(len(raw)):
        for bit in range(bits):
            flipped = bytearray(raw)
            flipped[at] ^= 1 << (at + bit) % 8
            if arrives(node, bytes(flipped)):
                taken.append((at, bit))
    assert taken == []


async def test_a_delivery_that_is_cut_or_has_more_behind_it_is_refused(scene: Scene) -> None:
    node, raw = scene
    assert not any(arrives(node, raw[:length]) for length in range(len(raw)))
    assert not any(arrives(node, raw + bytes([more])) for more in range(256))

"""One changed bit in a node's database: the same content, or a clear error; never another."""

import random  # noqa: TID251 - seeded places, so that a failure can be repeated
from pathlib import Path

import pytest

from broker import clock
from broker.errors import BrokerError
from keys.errors import KeysError
from tests.support.envelopes import delivery, make
from tests.support.nodes import lonely_node
from tests.support.region import make_region

pytestmark = pytest.mark.timeout(400)
SEED, FLIPS, COUNT = 20261125, 120, 4
REGION = make_region(("SG", "MY"), now=clock.now())


async def contents(path: Path) -> list[str]:
    async with lonely_node(REGION, "MY", path) as node:
        await node.status()
        page = await node.inbox(limit=100)
        items = [await node.item(item.id) for item in page.items]
        assert sorted(items, key=lambda item: item.position) == list(page.items)
        return sorted(f"{item.id} {item.alert}" for item in items)


async def test_no_bit_that_flips_changes_what_is_read(tmp_path: Path) -> None:
    whole = tmp_path / "whole.db"
    async with lonely_node(REGION, "MY", whole) as node:
        for counter in range(1, COUNT + 1):
            made = make(REGION, ("MY",), counter=counter, tail=counter)
            assert await node.incoming.take(delivery(REGION, made.sealed.raw, "MY"))
    before = await contents(whole)
    assert len(before) == COUNT
    raw = whole.read_bytes()
    order = random.Random(SEED)  # noqa: S311 - not for a secret
    codes: set[str] = set()
    for number in range(FLIPS):
        bit = order.randrange(len(raw) * 8)
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << (bit % 8)
        copy = tmp_path / f"{number}.db"
        copy.write_bytes(changed)
        try:
            after = await contents(copy)
        except (BrokerError, KeysError) as error:
            codes.add(error.code)
        else:
            assert after == before, bit
        copy.unlink()
    assert "database-damaged" in codes
    assert "" not in codes

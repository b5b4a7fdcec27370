"""A receipt that fails in a way nobody foresaw ends no node: it comes again, then is given up."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from broker import clock
from broker.node.incoming import MAX_FAULTS
from broker.store.database import Database
from schemas.receipt import TemporaryRefusal, encode_receipt
from tests.support.handed import Handed
from tests.support.labels import uuid7_at
from tests.support.nodes import lonely_node
from tests.support.region import make_region

NOW = clock.now()
RECEIPT = encode_receipt(TemporaryRefusal(uuid7_at(NOW, 1), bytes(32), "quota", 5))


@pytest.mark.parametrize(("attempt", "told"), [(1, b"-NAK"), (MAX_FAULTS + 1, b"+ACK")])
async def test_it_comes_again_and_then_no_more(tmp_path: Path, attempt: int, told: bytes) -> None:
    handed = Handed(RECEIPT, "receipt.MY.x", "RECEIPT_MY.MY")
    async with lonely_node(make_region(("SG", "MY"), now=NOW), "MY", tmp_path / "my.db") as my:
        broken = replace(my.receipts, database=cast("Database", None))  # what no check expects
        await broken._take(handed.message(attempt))
    assert [each[:4] for each in handed.told] == [told]

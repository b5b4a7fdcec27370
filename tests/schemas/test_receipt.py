"""Receipts and notices: one encoding of each, and times that exist."""

from uuid import UUID

import pytest

from schemas import canonical
from schemas.errors import SchemaError
from schemas.receipt import (
    DecisionReceipt,
    Notice,
    Receipt,
    TemporaryRefusal,
    Where,
    encode_receipt,
    parse_notice,
    parse_receipt,
)

ID = UUID(int=7)
NOTICE = Notice(Where.EXPIRED, ID, bytes(32), "SG", "MY", 1_790_000_000_000)


@pytest.mark.parametrize(
    "receipt",
    [DecisionReceipt(b"d", (("MY", Where.HELD),)), TemporaryRefusal(ID, bytes(32), "quota", 5)],
)
def test_true_is_not_taken_for_the_version_one(receipt: Receipt) -> None:
    raw = encode_receipt(receipt)
    assert parse_receipt(raw) == receipt
    value = canonical.decode(raw, max_bytes=1024)
    assert isinstance(value, list)
    with pytest.raises(SchemaError):
        parse_receipt(canonical.encode([True, *value[1:]]))


@pytest.mark.parametrize(("name", "odd"), [("v", True), ("at", True), ("at", -1), ("at", 2**62)])
def test_a_notice_has_one_encoding_and_a_time_that_exists(name: str, odd: int) -> None:
    assert parse_notice(NOTICE.to_bytes()) == NOTICE
    value = canonical.decode(NOTICE.to_bytes(), max_bytes=1024)
    assert isinstance(value, dict)
    with pytest.raises(SchemaError):
        parse_notice(canonical.encode({**value, name: odd}))

"""What the log puts back: bound to its subject or its stream, and to the sequencer's key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.log.errors import LogError
from broker.log.rebuilt import check_ready, check_rebuilt, decided_before, is_rebuilt, ready
from keys.primitives.signing import SignKey

KEY = SignKey(bytes(range(32)))
SUBJECT = "audit.2026.SG.0193a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b"
STREAM = bytes(16)


def test_both_verify_where_they_stand() -> None:
    decided, mark = decided_before(SUBJECT, KEY), ready(STREAM, KEY)
    check_rebuilt(decided, SUBJECT, KEY.public)
    check_rebuilt(mark, "audit.2026.log.ready", KEY.public)
    check_ready(mark, STREAM, KEY.public)
    assert is_rebuilt(decided)
    assert is_rebuilt(mark)


def test_neither_stands_for_the_other_nor_elsewhere() -> None:
    decided, mark = decided_before(SUBJECT, KEY), ready(STREAM, KEY)
    for check in (
        lambda: check_rebuilt(decided, f"{SUBJECT}.x", KEY.public),
        lambda: check_rebuilt(decided, SUBJECT, SignKey.generate().public),
        lambda: check_ready(decided, STREAM, KEY.public),
        lambda: check_ready(mark, bytes(15) + b"\1", KEY.public),
        lambda: check_ready(mark, STREAM, SignKey.generate().public),
    ):
        with pytest.raises(LogError) as caught:
            check()
        assert caught.value.code == "bad-rebuilt"


@pytest.mark.parametrize("raw", [decided_before(SUBJECT, KEY), ready(STREAM, KEY)])
def test_any_changed_bit_is_refused(raw: bytes) -> None:
    for bit in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(LogError):
            check_rebuilt(bytes(changed), SUBJECT, KEY.public)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused(raw: bytes) -> None:
    is_rebuilt(raw)
    with pytest.raises(LogError):
        check_rebuilt(raw, SUBJECT, KEY.public)

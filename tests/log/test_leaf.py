"""Leaves: one layout, nothing else, and a signature over every byte that a gateway wrote."""

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.log.errors import LogError
from broker.log.leaf import (
    LEAF_CONTEXT,
    MAX_LEAF_BYTES,
    ZERO,
    Leaf,
    LeafKind,
    SignedStatement,
    Statement,
    leaf_fields,
    parse_leaf,
    signed_part,
)
from keys.primitives.signing import SignKey

KEY = SignKey.generate()
NUMBER = st.integers(0, 2**64 - 1)
HASH = st.binary(min_size=32, max_size=32)
STATEMENTS = st.builds(
    Statement,
    st.sampled_from(LeafKind),
    st.integers(0, (2**64 - 1) // 10).map(lambda tens: tens * 10),
    st.text("abc-é0", min_size=1, max_size=32),
    NUMBER,
    NUMBER,
    HASH,
    HASH,
    HASH,
    HASH,
)


def a_statement(**changes: Any) -> Statement:  # noqa: ANN401
    made = Statement(LeafKind.DECISION, 1_790_000_000, "gateway-1", 7, 0, b"r" * 32, b"b" * 32)
    return replace(made, **changes)


def a_leaf(**changes: Any) -> Leaf:  # noqa: ANN401
    return a_statement(**changes).sign(KEY).found_at(b"AUDIT_2026".ljust(16), 12)


def code_of(raw: bytes) -> str:
    with pytest.raises(LogError) as caught:
        parse_leaf(raw)
    return caught.value.code


@given(STATEMENTS, NUMBER)
def test_a_leaf_reads_as_it_was_written(statement: Statement, seq: int) -> None:
    leaf = SignedStatement(statement, bytes(64)).found_at(bytes(16), seq)
    raw = leaf.to_bytes()
    assert len(raw) <= MAX_LEAF_BYTES
    assert parse_leaf(raw) == leaf


@given(st.binary(max_size=420))
def test_any_bytes_are_a_leaf_or_refused(raw: bytes) -> None:
    try:
        leaf = parse_leaf(raw)
    except LogError:
        return
    assert leaf.to_bytes() == raw


def test_every_flipped_bit_is_refused_or_breaks_the_signature() -> None:
    raw = a_leaf().to_bytes()
    unsigned = 24  # the place in the stream, which the sequencer wrote
    for place in range((len(raw) - unsigned) * 8):
        flipped = bytearray(raw)
        flipped[place // 8] ^= 1 << place % 8
        with pytest.raises(LogError):
            parse_leaf(bytes(flipped)).signed.verify(KEY.public)
    parse_leaf(raw).signed.verify(KEY.public)


@pytest.mark.parametrize(
    "changes",
    [
        {"time_s": 1_790_000_001},
        {"time_s": -10},
        {"gateway": ""},
        {"gateway": "é" * 33},
        {"seq": 2**64},
        {"boot": -1},
        {"c_route": b""},
        {"ref": ZERO + b"x"},
    ],
)
def test_what_is_out_of_bounds_is_not_written(changes: dict[str, Any]) -> None:
    with pytest.raises(LogError) as caught:
        a_leaf(**changes)
    assert caught.value.code == "bad-leaf"


def test_what_is_out_of_bounds_is_not_read() -> None:
    raw = a_leaf().to_bytes()
    assert code_of(b"\x02" + raw[1:]) == "unknown-leaf"
    assert code_of(raw[:1] + b"\x09" + raw[2:]) == "unknown-leaf"
    assert code_of(raw[:1] + b"\0" + raw[2:]) == "unknown-leaf"
    assert code_of(raw + b"\0") == "bad-leaf"
    assert code_of(raw[:-1]) == "bad-leaf"
    assert code_of(b"") == "bad-leaf"
    assert code_of(raw[:10] + b"\0" + raw[11:]) == "bad-leaf"
    assert code_of(raw[:11] + b"\xff" + raw[12:]) == "bad-leaf"
    assert code_of(raw[:9] + bytes([raw[9] ^ 1]) + raw[10:]) == "bad-leaf"


@pytest.mark.parametrize(("stream", "seq"), [(bytes(15), 0), (bytes(16), -1), (bytes(16), 2**64)])
def test_a_place_out_of_bounds_is_not_written(stream: bytes, seq: int) -> None:
    with pytest.raises(LogError):
        a_statement().sign(KEY).found_at(stream, seq).to_bytes()


def test_another_gateways_key_does_not_verify() -> None:
    with pytest.raises(LogError) as caught:
        a_leaf().signed.verify(SignKey.generate().public)
    assert caught.value.code == "bad-signature"


def test_the_repr_keeps_no_signature() -> None:
    assert "signature" not in repr(a_leaf())


@given(STATEMENTS, st.integers(0, 399), st.integers(0, 255), st.integers(0, 40))
def test_the_fields_alone_are_read_as_a_leaf_is_or_refused_as_it_is(
    statement: Statement, place: int, byte: int, cut: int
) -> None:
    whole = statement.sign(KEY).found_at(bytes(16), 3).to_bytes()
    place %= len(whole)
    touched = whole[:place] + bytes((byte,)) + whole[place + 1 :]
    for raw in (whole, touched, whole[: len(whole) - cut], whole[:cut]):
        try:
            leaf = parse_leaf(raw)
        except LogError as error:
            with pytest.raises(LogError) as caught:
                leaf_fields(raw)
            assert caught.value.code == error.code  # noqa: PT017 - the other must say the same
        else:
            assert leaf_fields(raw) == (*vars_of(leaf.signed.statement), leaf.signed.signature)
            assert signed_part(raw) == LEAF_CONTEXT + leaf.signed.statement.to_bytes()


def vars_of(statement: Statement) -> tuple[object, ...]:
    return tuple(getattr(statement, each.name) for each in fields(statement))

"""Canonical MessagePack: one value, one encoding."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import canonical
from schemas.errors import CanonicalError

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.binary(max_size=40)
)
keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


def depth(value: canonical.Value) -> int:
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 0


@given(values.filter(lambda value: depth(value) <= canonical.MAX_DEPTH))
def test_what_is_encoded_decodes_to_itself(value: canonical.Value) -> None:
    assert canonical.decode(canonical.encode(value), max_bytes=1 << 20) == value


@given(st.binary(max_size=64))
def test_any_bytes_decode_to_their_own_encoding_or_are_refused(raw: bytes) -> None:
    try:
        value = canonical.decode(raw, max_bytes=64)
    except CanonicalError:
        return
    assert canonical.encode(value) == raw


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"\x82\xa1a\x01\xa1a\x02", id="repeated key"),
        pytest.param(b"\x82\xa1b\x01\xa1a\x02", id="keys out of order"),
        pytest.param(b"\xcc\x01", id="non-minimal integer"),
        pytest.param(b"\xd9\x01a", id="non-minimal string length"),
        pytest.param(b"\xcb" + bytes(8), id="float"),
        pytest.param(b"\xd4\x01\x00", id="extension type"),
        pytest.param(b"\x81\x01\x01", id="integer key"),
        pytest.param(b"\x01\x01", id="trailing bytes"),
        pytest.param(b"\xcf" + b"\xff" * 8, id="integer beyond 63 bits"),
        pytest.param(b"\x91" * 9 + b"\x01", id="nine levels"),
        pytest.param(b"\x81\xa1a" * 9 + b"\x01", id="nine maps"),
        pytest.param(b"\x92\x01\xcb" + bytes(8), id="float in a list"),
        pytest.param(b"\x92\x01\xca" + bytes(4), id="short float in a list"),
        pytest.param(b"\x81\xa1a\xcb" + bytes(8), id="float in a map"),
        pytest.param(b"\x81\xa1a\x91\xd4\x01\x00", id="extension type in a list in a map"),
        pytest.param(b"\x91\xd6\xff" + bytes(4), id="timestamp in a list"),
        pytest.param(b"\x92\x01\xcf" + b"\xff" * 8, id="integer beyond 63 bits in a list"),
        pytest.param(b"\x81\xa1a\xcf\x80" + bytes(7), id="integer beyond 63 bits in a map"),
        pytest.param(b"\x81\xc4\x01a\x01", id="key of bytes"),
        pytest.param(b"\x82\xa1a\x01\xc4\x01b\x01", id="key of bytes beside a string"),
        pytest.param(b"\x91\x82\xa1b\x01\xa1a\x02", id="keys out of order in a list"),
        pytest.param(b"\x81\xa1a\x82\xa1b\x01\xa1b\x02", id="repeated key in a map"),
        pytest.param(b"\x91" * 2000 + b"\x01", id="two thousand levels"),
        pytest.param(b"\xa1\xff", id="not UTF-8"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_another_encoding_of_the_same_value_is_refused(raw: bytes) -> None:
    with pytest.raises(CanonicalError):
        canonical.decode(raw, max_bytes=1 << 20)


@given(values.filter(lambda value: depth(value) <= canonical.MAX_DEPTH))
def test_what_was_read_is_packed_as_it_stood(value: canonical.Value) -> None:
    raw = canonical.encode(value)
    assert canonical.pack(canonical.unpack(raw)) == raw


def test_a_float_has_no_encoding() -> None:
    with pytest.raises(CanonicalError):
        canonical.encode({"a": msgpack.unpackb(b"\xcb" + bytes(8))})


def test_more_bytes_than_allowed_are_refused_before_parsing() -> None:
    with pytest.raises(CanonicalError, match="at most 3"):
        canonical.decode(b"\xc1" * 4, max_bytes=3)


@pytest.mark.parametrize("empty", [b"\x90", b"\x80"], ids=["lists", "maps"])
def test_a_few_bytes_do_not_grow_to_hundreds_of_megabytes(empty: bytes) -> None:
    count = canonical.MAX_CONTAINERS
    with pytest.raises(CanonicalError) as caught:
        canonical.decode(b"\xdd" + count.to_bytes(4, "big") + empty * count, max_bytes=2**20)
    assert caught.value.code == "too-many"

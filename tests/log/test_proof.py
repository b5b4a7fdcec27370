"""A proof in a file: its parts come back, and what it may hold beside them has room."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.log.errors import LogError
from broker.log.proof import MAX_PROOF_BYTES, InclusionProof, parse_proof

HEAD = b"c2sp.org/tlog-proof@v1\n"
HASHES = st.lists(st.binary(min_size=32, max_size=32), max_size=63)


@given(st.integers(0, 2**63 - 1), HASHES, st.binary(max_size=99), st.none() | st.binary(min_size=1))
def test_a_proof_comes_back(
    index: int, hashes: list[bytes], note: bytes, extra: bytes | None
) -> None:
    made = InclusionProof(index, tuple(hashes), note, extra)
    assert parse_proof(made.to_bytes()) == made


def test_what_is_beside_the_proof_may_be_as_large_as_an_entry() -> None:
    made = InclusionProof(7, (bytes(32),), b"note", b"x" * 64 * 1024 * 1024)
    raw = made.to_bytes()
    assert len(raw) < MAX_PROOF_BYTES
    assert parse_proof(raw) == made


@pytest.mark.parametrize("count", [64, 65, 66, 67, 100])
def test_more_hashes_than_a_tree_is_high_are_refused(count: int) -> None:
    raw = InclusionProof(7, (bytes(32),) * count, b"note").to_bytes()
    with pytest.raises(LogError, match="at most 63 hashes"):
        parse_proof(raw)


def test_lines_without_end_cost_no_more_than_the_file() -> None:
    raw = HEAD + b"index 1\n" + b"a\n" * 2_000_000 + b"\nnote"
    tracemalloc.start()
    with pytest.raises(LogError):
        parse_proof(raw)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * len(raw)

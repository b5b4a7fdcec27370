"""Proofs that lie in a bundle: they hold, and of the same history, or it is said why not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from broker.log.merkle import leaf_hash
from tests.audit.asking import Desk, line_of
from tests.audit.bundles import START_S, entry, note_of, proof_of, put, write_log

ENTRIES = [entry(seq) for seq in range(300)]
NOTE = note_of(ENTRIES, (START_S + 900, START_S + 900))
OLDER = note_of(ENTRIES[:200], (START_S, START_S))
TWIN = [*ENTRIES[:5], entry(5, boot=8), *ENTRIES[6:]]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write_log(tmp_path / "log", ENTRIES, NOTE)


def test_proofs_hold_with_their_own_leaf_or_the_bundles(desk: Desk, log: Path) -> None:
    put(log, "proofs/newest.tlog-proof", proof_of(ENTRIES, 257, NOTE).to_bytes())
    put(log, "proofs/older.tlog-proof", proof_of(ENTRIES[:200], 5, OLDER).to_bytes())
    put(log, "proofs/older.leaf", ENTRIES[5])
    put(log, "proofs/readme", b"nobody reads this")
    code, output = desk.verify(log, quorum=2)
    assert code == 0, output
    assert line_of(output, "proofs") == "PASS proofs: 2 verify"
    assert line_of(output, "older checkpoints").endswith("2 of 2 lead to the newest")
    assert desk.ask("verify", str(log), "--tiles-only", quorum=2)[0] == 0


BROKEN: dict[str, Callable[[], bytes]] = {
    "rubbish": lambda: b"rubbish",
    "empty": bytes,
    "another-index": lambda: replace(proof_of(ENTRIES, 257, NOTE), index=256).to_bytes(),
    "no-such-index": lambda: replace(proof_of(ENTRIES, 257, NOTE), index=299).to_bytes(),
    "another-hash": lambda: replace(
        proof_of(ENTRIES, 257, NOTE),
        hashes=(leaf_hash(b""), *proof_of(ENTRIES, 257, NOTE).hashes[1:]),
    ).to_bytes(),
    "a-hash-too-few": lambda: replace(
        proof_of(ENTRIES, 257, NOTE), hashes=proof_of(ENTRIES, 257, NOTE).hashes[1:]
    ).to_bytes(),
    "another-signature": lambda: proof_of(ENTRIES, 257, NOTE).to_bytes()[:-9] + b"AAAAAAA=\n",
    "one-key-of-two": lambda: proof_of(
        ENTRIES, 257, b"\n".join(NOTE.split(b"\n")[:5]) + b"\n"
    ).to_bytes(),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_proof_that_does_not_hold_is_told(desk: Desk, log: Path, case: str) -> None:
    put(log, "proofs/bad.tlog-proof", BROKEN[case]())
    put(log, "proofs/good.tlog-proof", proof_of(ENTRIES, 3, NOTE).to_bytes())
    code, output = desk.verify(log)
    assert code == 1, output
    assert "FAIL proofs: 1 do not verify: bad.tlog-proof" in output
    assert "PASS proofs: 1 verify" in output


def test_the_leaf_beside_a_proof_is_the_one_that_is_proved(desk: Desk, log: Path) -> None:
    put(log, "proofs/x.tlog-proof", proof_of(ENTRIES, 257, NOTE).to_bytes())
    put(log, "proofs/x.leaf", ENTRIES[256])
    code, output = desk.verify(log)
    assert (code, "FAIL proofs" in output) == (1, True)


def test_a_proof_without_a_quorum_is_no_broken_log(desk: Desk, log: Path) -> None:
    lone = note_of(ENTRIES[:200], (START_S,))
    put(log, "proofs/x.tlog-proof", proof_of(ENTRIES[:200], 5, lone).to_bytes())
    code, output = desk.verify(log, quorum=2)
    assert code == 3
    assert line_of(output, "proofs").startswith("FAIL proofs: 1 without a quorum")


def test_a_missing_quorum_hides_no_false_proof(desk: Desk, log: Path) -> None:
    """A quorum may still come; a leaf that is not under the checkpoint never will be."""
    lone = note_of(ENTRIES[:200], (START_S,))
    put(log, "proofs/x.tlog-proof", replace(proof_of(ENTRIES[:200], 5, lone), index=6).to_bytes())
    code, output = desk.verify(log, quorum=2)
    assert code == 1
    assert line_of(output, "proofs").endswith("do not verify: x.tlog-proof [inclusion-failed]")


def test_a_proof_of_another_history_is_a_fork(desk: Desk, log: Path) -> None:
    for size in (200, 300):
        note = note_of(TWIN[:size])
        put(log, "proofs/x.tlog-proof", proof_of(TWIN[:size], 7, note).to_bytes())
        code, output = desk.verify(log)
        assert code == 4
        assert "FAIL FORK: proofs/x.tlog-proof" in output
        assert "FAIL proofs: 1 do not verify: x.tlog-proof [other-history]" in output


def test_a_proof_beyond_the_bundle_cannot_be_held_against_it(desk: Desk, log: Path) -> None:
    more = [*ENTRIES, entry(300)]
    put(log, "proofs/x.tlog-proof", proof_of(more, 7, note_of(more)).to_bytes())
    code, output = desk.verify(log)
    assert code == 3
    assert line_of(output, "proofs").startswith("SKIP proofs: 1 of leaves or sizes")


def test_a_proof_whose_leaf_is_missing_waits(desk: Desk, log: Path) -> None:
    put(log, "proofs/x.tlog-proof", proof_of(ENTRIES, 257, NOTE).to_bytes())
    (log / "tile/entries/001.p/44").unlink()
    code, output = desk.verify(log)
    assert (code, line_of(output, "proofs")[:4]) == (3, "SKIP")
    put(log, "proofs/x.leaf", ENTRIES[257])
    assert line_of(desk.verify(log)[1], "proofs")[:4] == "PASS"

"""A signer signs one history: whatever it is asked, and wherever it was killed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.ledger.errors import LedgerError
from broker.ledger.signer import MAX_LEAVES, Signer
from broker.log.checkpoint import Checkpoint, parse_checkpoint
from broker.log.errors import LogError
from broker.log.merkle import Frontier, leaf_hash
from broker.log.note import Note, SignatureLine, parse_note

ORIGIN = "log.example/kentong"


def sign(checkpoint: Checkpoint) -> Note:
    """One line whose bytes say what was signed: the keys are another module's matter."""
    return checkpoint.signed((SignatureLine.of(ORIGIN, 1, checkpoint.root),))


def hashes(count: int, first: int = 0) -> list[bytes]:
    return [leaf_hash(b"%d" % number) for number in range(first, first + count)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path / "signer.json"


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises((LedgerError, LogError)) as caught:
        call()
    return caught.value.code


def checkpoint_of(note: bytes) -> Checkpoint:
    return parse_checkpoint(parse_note(note).text)


def test_it_signs_the_root_that_it_computes(path: Path) -> None:
    signer = Signer.create(path, ORIGIN, sign)
    assert checkpoint_of(signer.checkpoint).size == 0
    first = checkpoint_of(signer.append(0, hashes(5)))
    second = checkpoint_of(signer.append(5, hashes(300, 5)))
    assert (first.origin, first.size, second.size) == (ORIGIN, 5, 305)
    assert first.root == Frontier().append(hashes(5)).root()
    assert second.root == Frontier().append(hashes(305)).root()


def test_after_a_crash_it_goes_on_where_it_was(path: Path) -> None:
    note = Signer.create(path, ORIGIN, sign).append(0, hashes(3))
    again = Signer.open(path, ORIGIN, sign)
    assert (again.size, again.checkpoint) == (3, note)
    assert again.append(0, hashes(3)) == note  # its answer was lost on the way
    assert checkpoint_of(again.append(3, hashes(1, 3))).size == 4


def test_there_is_no_second_history(path: Path) -> None:
    signer = Signer.create(path, ORIGIN, sign)
    signer.append(0, hashes(3))
    signer.append(3, hashes(2, 3))
    before = path.read_bytes()
    assert code_of(lambda: signer.append(3, hashes(2, 9))) == "fork"
    assert code_of(lambda: signer.append(3, hashes(1, 3))) == "fork"
    assert code_of(lambda: signer.append(0, hashes(5))) == "wrong-size"
    assert code_of(lambda: signer.append(4, hashes(1))) == "wrong-size"
    assert code_of(lambda: signer.append(6, hashes(1))) == "wrong-size"
    assert code_of(lambda: signer.append(-1, hashes(1))) == "wrong-size"
    assert path.read_bytes() == before


def test_bad_calls_change_nothing(path: Path) -> None:
    signer = Signer.create(path, ORIGIN, sign)
    assert code_of(lambda: signer.append(0, [])) == "no-leaves"
    assert code_of(lambda: signer.append(0, [b"short"])) == "bad-hash"
    assert code_of(lambda: signer.append(0, [bytes(32)] * (MAX_LEAVES + 1))) == "too-many"
    assert Signer.open(path, ORIGIN, sign).size == 0


def test_a_log_is_founded_once_and_never_by_accident(path: Path) -> None:
    assert code_of(lambda: Signer.open(path, ORIGIN, sign)) == "no-signer-state"
    Signer.create(path, ORIGIN, sign)
    assert code_of(lambda: Signer.create(path, ORIGIN, sign)) == "exists"
    assert code_of(lambda: Signer.open(path, "other.example", sign)) == "wrong-origin"


def test_a_damaged_file_is_refused(path: Path) -> None:
    Signer.create(path, ORIGIN, sign).append(0, hashes(3))
    raw = path.read_bytes()
    for wrong in (b"", raw[:-9], raw.replace(b'"size": 3', b'"size": 4'), b"[]"):
        path.write_bytes(wrong)
        assert code_of(lambda: Signer.open(path, ORIGIN, sign)) == "signer-damaged"


def test_what_is_not_on_the_disk_is_not_signed(tmp_path: Path) -> None:
    folder = tmp_path / "signer"
    folder.mkdir(mode=0o700)
    signer = Signer.create(folder / "signer.json", ORIGIN, sign)
    (folder / "signer.json").unlink()
    folder.rmdir()
    assert code_of(lambda: signer.append(0, hashes(1))) == "signer-disk"
    assert signer.size == 0


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8))
def test_any_steps_give_the_tree_of_all(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("signer")
    folder.chmod(0o700)
    signer = Signer.create(folder / "signer.json", ORIGIN, sign)
    for step in steps:
        signer.append(signer.size, hashes(step, signer.size))
    total = sum(steps)
    assert checkpoint_of(signer.checkpoint).root == Frontier().append(hashes(total)).root()

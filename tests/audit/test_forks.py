"""Evidence of two histories: it stands by itself, and is neither overwritten nor lost unsaid."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from broker.audit.bundle import opened
from broker.audit.forks import Fork, with_tiles
from broker.log.tiles import TILE_WIDTH
from tests.audit.asking import Desk, line_of
from tests.audit.bundles import entry, note_of, put, write_log

ENTRIES = [entry(seq) for seq in range(600)]
TWIN = [*ENTRIES[:5], entry(5, boot=8), *ENTRIES[6:]]
FOREIGN = [b"record %d" % number for number in range(TILE_WIDTH**2 + 2 * TILE_WIDTH + 9)]
OTHERS = [b"another", *FOREIGN[1:]]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write_log(tmp_path / "log", ENTRIES)


def evidence_of(log: Path, entries: Sequence[bytes], other: bytes) -> Fork:
    with opened(log) as bundle:
        (found,) = with_tiles([Fork("checkpoints/x", note_of(entries), other)], bundle)
    return found


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("forks") / "large", FOREIGN)


@pytest.mark.parametrize(
    "size", [1, 255, 256, 257, 65_535, 65_536, 65_537, 65_792, len(FOREIGN) - 9, len(FOREIGN) - 1]
)
def test_a_few_tiles_show_it_to_whoever_never_saw_the_log(
    desk: Desk, large: Path, size: int
) -> None:
    found = evidence_of(large, FOREIGN, note_of(OTHERS[:size]))
    assert found.shown
    assert len(found.tiles) <= 6
    for path, raw in found.files().items():
        put(desk.folder / "evidence", path, raw)
    code, output = desk.ask("verify", str(desk.folder / "evidence"), "--tiles-only")
    assert (code, line_of(output, "root")[:4]) == (4, "PASS"), output
    assert f"FAIL FORK: checkpoints/{size}" in output


def test_no_evidence_is_made_of_one_history(large: Path) -> None:
    assert not evidence_of(large, FOREIGN, note_of(FOREIGN[:300])).shown


def test_two_roots_of_one_size_need_no_tiles(log: Path) -> None:
    found = evidence_of(log, ENTRIES, note_of(TWIN))
    assert (found.shown, dict(found.tiles)) == (True, {})


def test_a_damaged_tile_is_made_again_of_its_entries_or_said(desk: Desk, log: Path) -> None:
    put(log, "checkpoints/300", note_of(TWIN[:300]))
    put(log, "tile/0/001", bytes(32 * 256))
    kept = desk.folder / "kept"
    code, output = desk.verify(log, "--evidence", str(kept))
    assert (code, line_of(output, "evidence")[:4]) == (4, "PASS")
    put(log, "tile/1/000.p/2", bytes(64))
    code, output = desk.verify(log, "--evidence", str(desk.folder / "damaged"))
    assert (code, line_of(output, "evidence")[:4]) == (4, "WARN")
    assert "keep the whole bundle" in line_of(output, "evidence")


def test_a_folder_that_cannot_be_written_silences_no_fork(desk: Desk, log: Path) -> None:
    put(log, "checkpoints/300", other := note_of(TWIN[:300]))
    put(desk.folder, "file", b"no folder")
    code, output = desk.verify(log, "--evidence", str(desk.folder / "file" / "kept"))
    assert code == 4
    assert "FAIL FORK: checkpoints/300" in output
    assert line_of(output, "evidence").startswith("FAIL evidence: ")
    assert other.decode() in output  # in the folder's place
    told = desk.told(log, "--evidence", str(desk.folder / "file"))
    assert (told["exit"], len(told["forks"])) == (4, 1)


def test_evidence_of_before_is_never_overwritten(desk: Desk, log: Path) -> None:
    kept = desk.folder / "kept"
    for size in (300, 400):
        put(log, f"checkpoints/{size}", note_of(TWIN[:size]))
        assert desk.verify(log, "--evidence", str(kept))[0] == 4
    assert len(list(kept.iterdir())) == 2  # the one of before, found again, and a new one
    found = next(kept.glob("fork-*/checkpoints/300"))
    found.write_bytes(b"something else")
    code, output = desk.verify(log, "--evidence", str(kept))
    assert (code, line_of(output, "evidence")[:4]) == (4, "FAIL")
    assert found.read_bytes() == b"something else"


def test_json_says_where_it_lies(desk: Desk, log: Path) -> None:
    put(log, "checkpoints/300", note_of(TWIN[:300]))
    output = desk.verify(log, "--json", "--evidence", str(desk.folder / "kept"))[1]
    told = {each["check"]: each["detail"] for each in json.loads(output)["checks"]}
    (folder,) = (desk.folder / "kept").iterdir()
    assert told["evidence"].startswith(str(folder))

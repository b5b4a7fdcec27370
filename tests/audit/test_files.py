"""A file that cannot be read ends no check early; what a system leaves behind accuses nobody."""

from pathlib import Path

import pytest

from broker.audit.bundle import opened
from broker.audit.export import Export, Place
from tests.audit.asking import Desk, line_of
from tests.audit.bundles import entry, note_of, proof_of, put, write_log

ENTRIES = [entry(seq) for seq in range(600)]
TWIN = [*ENTRIES[:5], entry(5, boot=8), *ENTRIES[6:]]
LEFT_BEHIND = (".DS_Store", "._300", "Thumbs.db", ".300")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write_log(tmp_path / "log", ENTRIES)


def unreadable(path: Path) -> None:
    """Whoever opens it goes round in a circle; this holds for root as well."""
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(path.name)


PLACES = ("checkpoints/7", "tile/0/000", "tile/1/000.p/2", "tile/entries/001", "openings/3",
          "proofs/x.tlog-proof", "proofs/x.leaf", "checkpoint")  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_one_file_that_cannot_be_read_is_told_and_the_rest_checked(
    desk: Desk, log: Path, place: str
) -> None:
    put(log, "proofs/x.tlog-proof", proof_of(ENTRIES, 7, note_of(ENTRIES)).to_bytes())
    unreadable(log / place)
    code, output = desk.verify(log)
    assert code == 2, output
    assert line_of(output, "files") == f"FAIL files: 1 cannot be read: {place}"
    assert "cosignature times: " in output  # the last check of all


@pytest.mark.parametrize("place", PLACES[:-1])
def test_what_is_worse_shows_behind_it(desk: Desk, log: Path, place: str) -> None:
    unreadable(log / place)
    put(log, "checkpoints/600", note_of(TWIN))
    code, output = desk.verify(log)
    assert (code, "FAIL FORK: checkpoints/600" in output) == (4, True)
    put(log, "checkpoints/600", b"rubbish")
    assert desk.verify(log)[0] == 1


def test_a_folder_in_a_files_place_is_told(desk: Desk, log: Path) -> None:
    for path in ("checkpoints/7", "openings/7", "proofs/x.tlog-proof"):
        (log / path).mkdir(parents=True)
    code, output = desk.verify(log)
    assert code == 2
    for check in ("older checkpoints", "openings", "proofs"):
        assert line_of(output, check).startswith("FAIL")
        assert "cannot be read" in line_of(output, check)


@pytest.mark.parametrize("folder", ["checkpoints", "openings", "proofs"])
def test_what_a_system_left_behind_is_no_broken_log(desk: Desk, log: Path, folder: str) -> None:
    for name in (*LEFT_BEHIND, "._x.tlog-proof"):
        put(log, f"{folder}/{name}", b"\0\5\26\7")
    code, output = desk.verify(log)
    assert code == 0, output
    told = "WARN files: 5 are none of a log's and were not read: "
    assert line_of(output, "files").startswith(f"{told}{folder}/")
    assert "FAIL" not in output


def test_a_checkpoint_by_any_name_counts_if_the_log_signed_it(desk: Desk, log: Path) -> None:
    put(log, "checkpoints/600.theirs", note_of(TWIN))
    assert desk.verify(log)[0] == 4
    put(log, "checkpoints/600.theirs", note_of(ENTRIES[:600]))
    code, output = desk.verify(log)
    assert (code, "files" in output) == (0, False)


def test_what_a_system_left_behind_is_not_exported(log: Path, tmp_path: Path) -> None:
    for folder in ("openings", "proofs"):
        put(tmp_path, f"{folder}/.DS_Store", b"left behind")
        put(tmp_path, f"{folder}/._x.tlog-proof", b"left behind")
    put(log, "checkpoints/.300", note_of(ENTRIES[:300]))
    with opened(log) as tiles:
        made = Export.of(Place(tiles, tmp_path / "openings", tmp_path / "proofs"))
        paths = [path for path, _ in made.files()]
    assert not [path for path in paths if "/." in path]

"""Which parts of a bundle need not be there, and which must: as docs/log.md tells auditors."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.audit.asking import Desk, line_of
from tests.audit.bundles import START_S, entry, note_of, of_log, proof_of, put, write_log
from tests.audit.test_openings import EXERCISE, OTHER, erasure, of, opening_of_erasure

ENTRIES = [of(OTHER, 0), entry(0), of(EXERCISE, 1), erasure(0, entry(0)), of_log(1, kind=7)]
NOTE = note_of(ENTRIES, (START_S, START_S))
PAGE = Path(__file__).parents[2] / "docs" / "log.md"
WHOLE = ("openings", "erasures", "proofs", "older checkpoints", "entries", "tiles")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A bundle with every part that one can have."""
    made = write_log(tmp_path / "log", ENTRIES, NOTE)
    put(made, "openings/0", OTHER.to_bytes())
    put(made, "openings/3", opening_of_erasure(1))
    put(made, "proofs/x.tlog-proof", proof_of(ENTRIES, 1, NOTE).to_bytes())
    put(made, "checkpoints/2", note_of(ENTRIES[:2], (START_S,)))
    return made


def test_with_every_part_each_is_checked(desk: Desk, log: Path) -> None:
    code, output = desk.verify(log, quorum=2)
    assert code == 0, output
    assert {line_of(output, check)[:4] for check in WHOLE} == {"PASS"}


ABSENT: dict[str, tuple[Callable[[Path], object], int, str]] = {
    "openings": (lambda log: (log / "openings/0").unlink(), 0, "PASS openings"),
    "all openings": (lambda log: shutil.rmtree(log / "openings"), 0, "SKIP openings"),
    "openings of erasures": (lambda log: (log / "openings/3").unlink(), 0, "SKIP erasures"),
    "proofs": (lambda log: shutil.rmtree(log / "proofs"), 0, "SKIP proofs"),
    "checkpoints": (
        lambda log: (shutil.rmtree(log / "checkpoints"), shutil.rmtree(log / "proofs")),
        0,
        "SKIP older checkpoints",
    ),
    "entries": (lambda log: (log / "tile/entries/000.p/5").unlink(), 3, "FAIL entries"),
    "a tile": (lambda log: (log / "tile/0/000.p/5").unlink(), 3, "FAIL tiles"),
    "witnesses": (lambda log: put(log, "checkpoint", note_of(ENTRIES)), 3, "FAIL witnesses"),
    "the checkpoint": (lambda log: (log / "checkpoint").unlink(), 2, "FAIL checkpoint"),
}


@pytest.mark.parametrize("part", ABSENT)
def test_what_is_not_there_ends_as_the_page_says(desk: Desk, log: Path, part: str) -> None:
    take, wanted, said = ABSENT[part]
    take(log)
    code, output = desk.verify(log, quorum=2)
    assert (code, f"\n{said}" in output) == (wanted, True), output


def test_the_page_has_a_line_for_each_part() -> None:
    page = PAGE.read_text("utf-8").split("| part | where it is not there |")[1].split("\n\n")[0]
    ends = re.findall(r"ends with (\d)", page)
    assert [ends.count(code) for code in "023"] == [5, 1, 6]

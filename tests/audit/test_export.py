"""What the hub writes out can be verified: whole, or since what was verified before."""

import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from broker.cli.admin.audit import TILES
from broker.cli.main import build
from broker.errors import BrokerError
from broker.ledger.place import LedgerPlace
from broker.log.commitments import statement_of
from broker.settings import settings
from tests.audit.asking import Desk, line_of
from tests.audit.bundles import START_S, entry, leaf, note_of, proof_of, put, write_log
from tests.audit.test_openings import OTHER, REAL

FIRST = leaf(statement_of(REAL, boot=3, seq=0))


def entries(count: int) -> list[bytes]:
    return [FIRST, *(entry(seq) for seq in range(count - 1))]


ENTRIES = entries(900)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A hub's home with a log of 900 leaves, of which 700 have a quorum."""
    folder = tmp_path / "hub"
    tiles = write_log(folder / TILES, ENTRIES)
    for bundle in ("tile/entries/002.p/188", "tile/0/002.p/188", "tile/1/000.p/2"):
        assert not (tiles / bundle).exists()  # deleted when the full ones came
    put(tiles, "cosigned", note_of(ENTRIES[:700], (START_S + 999,) * 3))
    for size in (1, 256, 300, 650, 700, 900):
        put(tiles, f"checkpoints/{size}", note_of(ENTRIES[:size]))
    monkeypatch.setenv("KENTONG_HOME", str(folder))
    settings.cache_clear()
    yield folder
    settings.cache_clear()


def export(out: Path, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(build(chosen="audit"), ["audit", "export", str(out), *words])
    if isinstance(result.exception, BrokerError):
        return 1, result.exception.code
    assert result.exception is None, result.exception
    return result.exit_code, result.output


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_the_log_is_where_the_hub_keeps_it(home: Path) -> None:
    assert LedgerPlace(home).files.folder == home / TILES


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("name", ["log.tar", "log"])
def test_the_newest_with_a_quorum_goes_out(desk: Desk, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out" / name
    code, said = export(out)
    assert code == 0
    assert "700 leaves" in said
    assert "No checkpoint has a quorum" not in said
    code, output = desk.verify(out, quorum=3)
    assert code == 0, output
    assert line_of(output, "older checkpoints").endswith("5 of 5 lead to the newest")
    assert export(out) == (1, "exists")
    assert [each.name for each in out.parent.iterdir()] == [name]


def test_without_a_quorum_it_is_said(desk: Desk, home: Path, tmp_path: Path) -> None:
    (home / TILES / "cosigned").unlink()
    code, said = export(tmp_path / "log.tar")
    assert code == 0
    assert "No checkpoint has a quorum of witnesses yet" in said
    assert line_of(desk.verify(tmp_path / "log.tar")[1], "entries").startswith("PASS entries: 900")


SINCE = [0, 1, 255, 256, 257, 300, 511, 512, 513, 699, 700]


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("seen", SINCE)
def test_what_is_new_is_enough_for_who_verified_the_rest(
    desk: Desk, tmp_path: Path, seen: int
) -> None:
    kept, out = tmp_path / "kept", tmp_path / "new"
    kept.write_bytes(note_of(ENTRIES[:seen], (START_S,) * 3))
    assert export(out, "--since", str(kept))[0] == 0
    code, output = desk.verify(out, "--since", str(kept), quorum=3)
    unread = seen // 256 * 256
    assert code == (3 if unread else 0), output
    assert line_of(output, "root")[:4] == "PASS"
    assert line_of(output, "tiles")[:4] == "PASS"
    if unread:
        said = f"SKIP entries: {unread} of the {seen} leaves under the checkpoint that you kept"
        assert said in output
        assert "FAIL" not in output
        assert "SKIP counters" in output
        code, output = desk.verify(out)
        assert (code, "FAIL entries: 1 missing" in output or unread > 256) == (3, True)
    whole = write_log(tmp_path / "earlier", ENTRIES[:seen], kept.read_bytes())
    code, output = desk.verify(out, "--since", str(whole), quorum=3)
    assert code == 0, output  # with the earlier bundle nothing is missing
    assert "PASS entries: 700 of 700" in output


@pytest.mark.usefixtures("home")
def test_another_past_does_not_lead_to_what_is_new(desk: Desk, tmp_path: Path) -> None:
    out, kept = tmp_path / "new", tmp_path / "kept"
    kept.write_bytes(note_of([entry(9), *ENTRIES[1:600]]))
    assert export(out, "--since", str(kept))[0] == 0
    code, output = desk.verify(out, "--since", str(kept))
    assert (code, "FAIL FORK: the one that you kept" in output) == (4, True)
    kept.write_bytes(note_of(ENTRIES[:600]))
    assert desk.verify(out, "--since", str(kept))[0] == 3
    path = out / "tile/1/000.p/2"
    path.write_bytes(bytes(32) + path.read_bytes()[32:])
    assert desk.verify(out, "--since", str(kept))[0] == 1


@pytest.mark.usefixtures("home")
def test_an_earlier_one_than_the_bundle_begins_at_is_not_reached(
    desk: Desk, tmp_path: Path
) -> None:
    out, kept = tmp_path / "new", tmp_path / "kept"
    kept.write_bytes(note_of(ENTRIES[:650]))
    assert export(out, "--since", str(kept))[0] == 0
    kept.write_bytes(note_of(ENTRIES[:100]))
    code, output = desk.verify(out, "--since", str(kept))
    assert code == 3
    assert "SKIP older checkpoints: 1 could not be compared: the one that you kept" in output
    assert "FAIL entries" in output


@pytest.mark.usefixtures("home")
def test_nothing_is_new_to_who_has_seen_more(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes(note_of(ENTRIES))
    assert export(tmp_path / "new", "--since", str(kept)) == (1, "since-newer")
    kept.write_bytes(b"rubbish")
    assert export(tmp_path / "new", "--since", str(kept)) == (1, "bad-note")
    assert not (tmp_path / "new").exists()


@pytest.mark.usefixtures("home")
def test_openings_and_proofs_go_along(desk: Desk, tmp_path: Path) -> None:
    shown, proofs = tmp_path / "shown", tmp_path / "proofs"
    put(shown, "0", REAL.to_bytes())
    note = note_of(ENTRIES[:300], (START_S,) * 3)
    put(proofs, "x.tlog-proof", proof_of(ENTRIES[:300], 7, note).to_bytes())
    put(proofs, "x.leaf", ENTRIES[7])
    put(proofs, "private-notes", b"stay here")
    out = tmp_path / "log.tar"
    added = ("--openings", str(shown), "--proofs", str(proofs))
    assert export(out, *added)[0] == 0
    code, output = desk.verify(out, quorum=3)
    assert code == 0, output
    assert line_of(output, "openings") == "PASS openings: 1 match their leaves"
    assert line_of(output, "proofs") == "PASS proofs: 1 verify"
    with tarfile.open(out) as archive:
        assert "proofs/private-notes" not in archive.getnames()
    put(shown, "0", OTHER.to_bytes())
    assert export(tmp_path / "bad.tar", *added) == (1, "bad-opening")
    assert export(tmp_path / "bad.tar", "--openings", str(tmp_path / "no")) == (1, "bad-file")
    assert not (tmp_path / "bad.tar").exists()


def test_a_log_with_a_hole_is_not_written_out(home: Path, tmp_path: Path) -> None:
    (home / TILES / "tile/entries/001").unlink()
    for name in ("log.tar", "log"):
        assert export(tmp_path / name) == (1, "tile-missing")
    assert [each.name for each in tmp_path.iterdir()] == ["hub"]
    shutil.rmtree(home / TILES)
    assert export(tmp_path / "log")[0] == 1

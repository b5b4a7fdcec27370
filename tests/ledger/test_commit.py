"""A log killed at any step goes on as one history: nothing signed is lost, nothing stands twice."""

import subprocess
import sys
from pathlib import Path

import pytest

from broker.ledger.commit import Committer
from broker.ledger.errors import LedgerError
from broker.ledger.state import Locked
from broker.log.checkpoint import Checkpoint, parse_checkpoint
from broker.log.merkle import Frontier, consistency_proof, leaf_hash, tree_root
from broker.log.note import parse_note
from broker.log.notekeys import verify_note
from broker.log.tiles import bundles_of, lookup_in, tiles_of
from broker.log.witness import Acceptable, Seen, WitnessRequest, judge
from broker.store.database import StoreError
from broker.store.tilefiles import TileFiles
from tests.ledger.growing import BATCHES, KEY, STEPS, Position, a_log, entries

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


def grown(folder: Path, step: str, growths: int, checkpoint_s: float, url: str = "") -> int:
    """How the process that grew the log ended."""
    words = (str(folder), step, str(growths), str(checkpoint_s), url)
    command = (sys.executable, "-m", "tests.ledger.growing", *words)
    root = Path(__file__).parents[2]
    return subprocess.run(command, cwd=root, check=False, timeout=50).returncode  # noqa: S603 - ours


def whole(committer: Committer) -> Checkpoint:
    """The checkpoint of a log, every tile and entry under it read and hashed again."""
    raw = committer.files.checkpoint()
    assert raw is not None
    note = parse_note(raw)
    verify_note(note, (KEY.vkey,))
    checkpoint = parse_checkpoint(note.text)
    size = checkpoint.size
    for tile in tiles_of(size):
        assert len(committer.files.read(tile)) == tile.width
    assert tree_root(size, lookup_in(committer.files.read, size)) == checkpoint.root
    read = [entry for bundle in bundles_of(size) for entry in committer.files.read(bundle)]
    assert read == [entry.raw for entry in entries(0, size)]
    assert Frontier().append(map(leaf_hash, read)).root() == checkpoint.root
    assert not (committer.files.folder / "staging").exists()
    return checkpoint


def accepted(before: bytes, committer: Committer) -> None:
    """Fail unless a witness that cosigned what was in sight before cosigns what is there now."""
    old = parse_checkpoint(parse_note(before).text)
    note = parse_note(committer.files.checkpoint() or b"")
    size = parse_checkpoint(note.text).size
    assert size > old.size  # never smaller
    proof = consistency_proof(old.size, size, lookup_in(committer.files.read, size))
    seen = Seen(old.size, old.root, 1) if old.size else Seen()
    asked = WitnessRequest(old.size, proof, note).to_bytes()
    assert isinstance(judge(asked, keys=(KEY.vkey,), seen=seen), Acceptable)


@pytest.mark.parametrize("checkpoint_s", [0, 3600])
@pytest.mark.parametrize("growths", [1, 4, 6])
@pytest.mark.parametrize("step", STEPS)
async def test_killed_at_a_step_it_goes_on(
    folder: Path, step: str, growths: int, checkpoint_s: float
) -> None:
    delayed = bool(checkpoint_s)
    lives = step == "never" or (step == "published" and delayed)
    assert grown(folder, step, growths, checkpoint_s) == (0 if lives else -9)
    before = sum(BATCHES[: growths - 1])
    expected = before if step == "staged" else before + BATCHES[growths - 1]
    in_sight = TileFiles(folder / "tiles").checkpoint()
    assert in_sight is not None
    if delayed:
        assert parse_checkpoint(parse_note(in_sight).text).size == 0
    async with a_log(folder) as committer:
        locked = await committer.recover()
        assert locked.size == expected
        assert whole(committer).size == expected
        assert await committer.state.count() == expected
        if expected:
            assert (await committer.state.positions())["AUDIT_2026"].next_seq == expected
        assert await committer.recover() == locked  # once more changes nothing
        more = await committer.grow(
            expected, entries(expected, 5), {"AUDIT_2026": Position("then", expected + 5)}
        )
        assert more.size == expected + 5
        assert whole(committer).size == expected + 5
        accepted(in_sight, committer)
        taken = [entry.number for entry in entries(0, 3)]
        assert (await committer.state.known(taken)).keys() == set(taken)


def files_in(folder: Path) -> dict[str, bytes]:
    names = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in names}


@pytest.mark.parametrize("step", ["signed", "locked", "half-shown"])
async def test_a_staged_file_that_the_disk_changed_is_never_shown(folder: Path, step: str) -> None:
    """Of 257 and 557 leaves: the growth fills a tile of each kind, and begins others."""
    assert grown(folder, step, 5, 0) == -9
    tiles = folder / "tiles"
    before = files_in(tiles)
    staged = [name for name in before if name.startswith("staging/")]
    if step != "signed":  # then the lock record has what stands in the notes
        staged = [name for name in staged if not name.endswith("/notes.json")]
    assert {name.split("/")[3] for name in staged if "tile" in name} >= {"0", "1", "entries"}
    for name in staged:
        for changed in (flipped(before[name]), before[name][:-1], None):
            (tiles / name).unlink()
            if changed is not None:
                (tiles / name).write_bytes(changed)
            async with a_log(folder) as committer:
                locked = await committer.state.locked()
                with pytest.raises((LedgerError, StoreError)) as caught:
                    await committer.recover()
                signed = step == "signed"
                codes = {"signer-ahead"} if signed else {"tile-damaged", "tile-missing"}
                assert caught.value.code in codes, name
                assert await committer.state.locked() == locked  # what was read is read again
                positions = await committer.state.positions()
                assert positions["AUDIT_2026"].next_seq == locked.size
            now = files_in(tiles)
            now.pop(name, None)
            assert now == {other: raw for other, raw in before.items() if other != name}
            (tiles / name).write_bytes(before[name])
    async with a_log(folder) as committer:
        assert (await committer.recover()).size == sum(BATCHES[:5])
        assert whole(committer).size == sum(BATCHES[:5])


def flipped(raw: bytes) -> bytes:
    return bytes([*raw[:-2], raw[-2] ^ 1, raw[-1]])


async def test_a_second_sequencer_loses_and_stops(folder: Path) -> None:
    async with a_log(folder) as committer:
        await committer.recover()
        await committer.grow(0, entries(0, 2), {})
        with pytest.raises(LedgerError) as caught:
            await committer.state.advance(0, Locked(1, b"other"), read={}, taken=())
        assert caught.value.code == "fenced"
        with pytest.raises(LedgerError) as caught:
            await committer.grow(0, entries(7, 3), {})
        assert caught.value.code == "fenced"
        with pytest.raises(LedgerError) as caught:
            await committer.signer.append(0, [leaf_hash(b"other")] * 3)
        assert caught.value.code == "fork"
        assert (await committer.recover()).size == 2
        assert whole(committer).size == 2


async def test_a_number_has_one_leaf(folder: Path) -> None:
    async with a_log(folder) as committer:
        await committer.grow(0, entries(0, 2), {})
        with pytest.raises(Exception, match="database refused"):
            await committer.grow(2, entries(1, 1), {})


async def test_a_signer_put_back_to_yesterday_is_noticed(folder: Path) -> None:
    state = folder / "signer.json"
    async with a_log(folder) as committer:
        await committer.grow(0, entries(0, 2), {})
        old = state.read_bytes()
        await committer.grow(2, entries(2, 2), {})
    state.write_bytes(old)
    async with a_log(folder) as committer:
        with pytest.raises(LedgerError) as caught:
            await committer.recover()
        assert caught.value.code == "signer-behind"


def put_back(database: Path, old: bytes) -> None:
    for path in database.parent.glob("log.db*"):
        path.unlink()
    database.write_bytes(old)


async def test_a_store_put_back_to_yesterday_is_noticed(folder: Path) -> None:
    database = folder / "log.db"
    async with a_log(folder) as committer:
        await committer.grow(0, entries(0, 2), {})
    old = database.read_bytes()
    async with a_log(folder) as committer:
        await committer.grow(2, entries(2, 2), {})
    put_back(database, old)
    async with a_log(folder) as committer:
        with pytest.raises(LedgerError) as caught:
            await committer.recover()
        assert caught.value.code == "signer-ahead"


async def test_a_damaged_tile_stops_it_before_anything_is_signed(folder: Path) -> None:
    async with a_log(folder) as committer:
        await committer.grow(0, entries(0, 2), {})
        tile = committer.files.folder / "tile" / "0" / "000.p" / "2"
        raw = tile.read_bytes()
        tile.write_bytes(raw[:-1])
        with pytest.raises(StoreError) as caught:
            await committer.grow(2, entries(2, 1), {})
        assert caught.value.code == "tile-damaged"
        tile.unlink()
        with pytest.raises(StoreError) as caught:
            await committer.grow(2, entries(2, 1), {})
        assert caught.value.code == "tile-missing"
        tile.write_bytes(raw)
        assert (await committer.recover()).size == 2


async def test_a_log_is_founded_once(folder: Path) -> None:
    async with a_log(folder) as committer:
        with pytest.raises(LedgerError) as caught:
            await committer.found()
        assert caught.value.code == "exists"


async def test_while_it_grows_fast_its_checkpoint_is_shown_at_times(folder: Path) -> None:
    def shown(committer: Committer) -> int:
        raw = committer.files.checkpoint()
        assert raw is not None
        return parse_checkpoint(parse_note(raw).text).size

    async with a_log(folder, checkpoint_s=3600) as committer:
        await committer.recover()
        for size in (0, 300, 600):
            await committer.grow(size, entries(size, 300), {})
            await committer.show_if_due()
            assert shown(committer) == 0
            assert (await committer.signer.state())[0] == size + 300
            assert (await committer.state.locked()).size == size + 300
        await committer.show_checkpoint()
        assert shown(committer) == whole(committer).size == 900
        committer.checkpoint_s = 0
        await committer.grow(900, entries(900, 1), {})
        assert shown(committer) == 901

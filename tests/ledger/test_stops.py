"""Where a log must not go on it stops, says why, and signs nothing; repaired, it goes on."""

import asyncio
import errno
import resource
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from broker import clock
from broker.errors import BrokerError
from broker.ledger.commit import Committer, Entry
from broker.ledger.errors import LedgerError
from broker.ledger.signer import Signer
from broker.ledger.signer_socket import SignerClient, serving
from broker.ledger.state import Number
from broker.log.checkpoint import parse_checkpoint
from broker.log.note import parse_note
from broker.store.database import StoreError
from broker.store.tilefiles import TileFiles
from tests.ledger.failing import COUNT, NO_SOCKET, SIZE
from tests.ledger.growing import KEY, ORIGIN, Position, a_log, entries, sign
from tests.ledger.test_commit import whole

pytestmark = pytest.mark.timeout(120)
LEAVES = 300


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


async def made(folder: Path, *counts: int) -> None:
    async with a_log(folder) as committer:
        size = (await committer.recover()).size
        for count in counts:
            size = (await committer.grow(size, entries(size, count), {})).size


async def stops(folder: Path) -> str:
    """Why the log does not start; and nothing more is signed."""
    before = signed(folder)
    with pytest.raises(BrokerError) as caught:
        await made(folder, 1)
    assert signed(folder) == before
    return caught.value.code


def signed(folder: Path) -> bytes:
    return (folder / "signer.json").read_bytes()


def flipped(raw: bytes, bit: int) -> bytes:
    changed = bytearray(raw)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("tile/entries/001.p/44", {"tile-damaged"}),
        ("tile/0/001.p/44", {"tile-damaged"}),
        ("tile/1/000.p/1", {"tile-damaged"}),
        ("checkpoint", {"checkpoint-damaged"}),
    ],
)
async def test_one_changed_bit_of_a_file_is_refused(
    folder: Path, name: str, codes: set[str]
) -> None:
    await made(folder, LEAVES)
    path = folder / "tiles" / name
    raw = path.read_bytes()
    bits = len(raw) * 8
    for bit in sorted({*range(0, bits, max(1, bits // 40) | 1), bits - 1}):
        path.write_bytes(flipped(raw, bit))
        assert await stops(folder) in codes, bit
    path.write_bytes(raw)
    async with a_log(folder) as committer:
        await committer.recover()
        assert whole(committer).size == LEAVES


async def test_a_bit_that_changes_while_it_runs_is_refused(folder: Path) -> None:
    async with a_log(folder) as committer:
        await committer.recover()
        await committer.grow(0, entries(0, LEAVES), {})
        before = signed(folder)
        for name in ("tile/entries/001.p/44", "tile/0/001.p/44", "tile/1/000.p/1"):
            path = folder / "tiles" / name
            raw = path.read_bytes()
            path.write_bytes(flipped(raw, 99))
            with pytest.raises(BrokerError) as caught:
                await committer.grow(LEAVES, entries(LEAVES, 1), {})
            assert caught.value.code == "tile-damaged"
            path.write_bytes(raw)
        assert signed(folder) == before


async def test_every_changed_bit_of_the_signers_file_is_refused(folder: Path) -> None:
    await made(folder, LEAVES)
    path = folder / "signer.json"
    raw = path.read_bytes()
    Signer.open(path, ORIGIN, sign)
    for bit in range(len(raw) * 8):
        path.write_bytes(flipped(raw, bit))
        with pytest.raises(LedgerError) as caught:
            Signer.open(path, ORIGIN, sign)
        assert caught.value.code in {"signer-damaged", "wrong-origin"}


async def test_one_changed_bit_of_the_lock_record_is_refused(folder: Path) -> None:
    await made(folder, LEAVES)
    with closing(sqlite3.connect(folder / "log.db")) as database:
        (note,) = database.execute("select note from log_lock").fetchone()
        raw = note.encode()
        for bit in range(0, len(raw) * 8, 37):
            changed = flipped(raw, bit)
            try:
                text: str | bytes = changed.decode()
            except UnicodeDecodeError:
                continue  # the driver refuses what is no text
            database.execute("update log_lock set note = ?", (text,))
            database.commit()
            assert await stops(folder) == "lock-damaged", bit
        database.execute("update log_lock set note = ?, size = size + 1", (note,))
        database.commit()
        assert await stops(folder) == "lock-damaged"
        database.execute("update log_lock set size = size - 1")
        database.commit()
    async with a_log(folder) as committer:
        assert (await committer.recover()).size == LEAVES


async def test_a_lost_database_is_not_taken_for_a_new_log(folder: Path) -> None:
    """At no leaves the signer cannot tell; the checkpoint in sight can."""
    await made(folder)
    in_sight = TileFiles(folder / "tiles").checkpoint()
    take_away(folder / "log.db")
    async with a_log(folder) as committer:
        assert not await committer.state.is_founded()
        with pytest.raises(LedgerError) as caught:
            await committer.found()
        assert caught.value.code == "database-lost"
        assert not await committer.state.is_founded()
        assert committer.files.checkpoint() == in_sight


PARTS = ("signer.json", "tiles", "log.db")
STOPS = {
    frozenset({"signer.json"}): "signer-behind",
    frozenset({"tiles"}): "tile-missing",
    frozenset({"log.db"}): "signer-ahead",
    frozenset({"signer.json", "tiles"}): "signer-behind",
    frozenset({"signer.json", "log.db"}): "signer-behind",
    frozenset({"tiles", "log.db"}): "signer-ahead",
}


@pytest.mark.parametrize("older", STOPS, ids=lambda older: "+".join(sorted(older)))
async def test_what_comes_out_of_an_old_backup_is_noticed(
    folder: Path, older: frozenset[str]
) -> None:
    log = folder / "log"
    log.mkdir(mode=0o700)
    await made(log, 100, 100)
    shutil.copytree(log, folder / "backup", ignore=NO_SOCKET)
    await made(log, 50, LEAVES - 250)
    shutil.copytree(log, folder / "newest", ignore=NO_SOCKET)
    for part in older:
        put_back(folder / "backup" / part, log / part)
    assert await stops(log) == STOPS[older]
    for part in older:
        put_back(folder / "newest" / part, log / part)
    async with a_log(log) as committer:
        assert (await committer.recover()).size == LEAVES


def take_away(target: Path) -> None:
    for path in target.parent.glob(f"{target.name}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def put_back(source: Path, target: Path) -> None:
    take_away(target)
    shutil.copytree(source, target) if source.is_dir() else shutil.copy2(source, target)


async def test_a_clock_that_went_back_stops_both_until_it_is_right_again(folder: Path) -> None:
    now = clock.now()
    times = {"sequencer": now, "signer": now}
    async with a_log(folder, signers_clock=lambda: times["signer"]) as committer:
        committer.now = lambda: times["sequencer"]
        await committer.recover()
        await committer.grow(0, entries(0, 2), {})
        before = signed(folder)
        for who in times:
            times[who] = now - timedelta(hours=1)
            with pytest.raises(LedgerError) as caught:
                await committer.grow(2, entries(2, 1), {})
            assert caught.value.code == "clock-back"
            times[who] = now
        assert signed(folder) == before
    # Started again, they have not forgotten; and a second before is before.
    times = {"sequencer": now - timedelta(seconds=1), "signer": now - timedelta(seconds=1)}
    async with a_log(folder, signers_clock=lambda: times["signer"]) as committer:
        committer.now = lambda: times["sequencer"]
        with pytest.raises(LedgerError) as caught:
            await committer.recover()
        assert caught.value.code == "clock-back"
        times["sequencer"] = now
        assert (await committer.recover()).size == 2
        with pytest.raises(LedgerError) as caught:
            await committer.grow(2, entries(2, 1), {})
        assert caught.value.code == "clock-back"
        assert signed(folder) == before
        times["signer"] = now
        assert (await committer.grow(2, entries(2, 1), {})).size == 3


async def test_a_signer_that_cannot_write_ends_and_a_new_one_goes_on(folder: Path) -> None:
    await made(folder, 2)
    set_mode = folder.chmod
    signer = Signer.open(folder / "signer.json", ORIGIN, sign)
    before = signed(folder)
    async with serving(signer, folder / "s") as ended:
        client = SignerClient(folder / "s")
        set_mode(0o755)  # others could read it now, so it is not written
        with pytest.raises(LedgerError) as caught:
            await client.append(2, [bytes(32)])
        assert caught.value.code == "signer-disk"
        assert (await ended).code == "signer-disk"
        set_mode(0o700)
        with pytest.raises(LedgerError) as caught:
            await client.append(2, [bytes(32)])
        assert caught.value.code == "signer-disk"
    assert signed(folder) == before
    async with a_log(folder) as committer:
        assert (await committer.recover()).size == 2


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What lets an fsync fail, made by the machine's C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    source = Path(__file__).with_name("fsync_fails.c")
    made = tmp_path_factory.mktemp("library") / "fsync_fails.so"
    command = (compiler, "-shared", "-fPIC", "-O1", "-o", str(made), str(source), "-ldl")
    subprocess.run(command, check=True, timeout=60)  # noqa: S603 - a compiler of the machine
    return made


def grown_while_failing(folder: Path, library: Path) -> str:
    return subprocess.run(  # noqa: S603 - ours
        (sys.executable, "-m", "tests.ledger.failing", str(folder), str(library)),
        cwd=Path(__file__).parents[2],
        env={"LD_PRELOAD": str(library), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        timeout=100,
    ).stdout


async def test_any_fsync_that_fails_stops_it_and_a_restart_goes_on(
    folder: Path, library: Path
) -> None:
    (folder / "before").mkdir(mode=0o700)
    await made(folder / "before", SIZE)
    done = grown_while_failing(folder, library)
    told = (line.split() for line in done.splitlines() if line.startswith("ended "))
    *failed, last = (words[1:] for words in told)
    assert last[2] == "whole"
    assert {ended for _, _, ended in failed} == {"log-disk", "signer-disk", "disk-full"}
    assert {int(code) for _, code, _ in failed} == {errno.EIO, errno.ENOSPC}
    for number, _, ended in failed:
        copy = folder / number
        in_sight = TileFiles(copy / "tiles").checkpoint()
        async with a_log(copy) as committer:
            size = (await committer.recover()).size
            assert size in {SIZE, SIZE + COUNT}, (number, ended)
            assert in_sight is not None
            assert whole(committer).size == size
            read = {"A": Position("then", 2)}
            assert (await committer.grow(size, entries(size, 1), read)).size == size + 1


async def test_a_full_disk_stops_it_and_room_lets_it_go_on(folder: Path) -> None:
    """Full for this process alone: getrlimit(2), RLIMIT_FSIZE."""
    await made(folder, 4)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with a_log(folder) as committer:
        await committer.recover()
        resource.setrlimit(resource.RLIMIT_FSIZE, (2048, before[1]))
        try:
            with pytest.raises(StoreError) as caught:
                await committer.grow(4, entries(4, COUNT), {})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert caught.value.code == "log-disk"
    async with a_log(folder) as committer:
        assert (await committer.recover()).size == 4
        assert (await committer.grow(4, entries(4, COUNT), {})).size == 4 + COUNT
        assert whole(committer).size == 4 + COUNT


async def test_a_database_out_of_reach_stops_it_after_signing_and_a_restart_goes_on(
    folder: Path,
) -> None:
    """Another process holds SQLite's lock when the lock record shall move."""
    await made(folder, SIZE)
    async with a_log(folder) as committer:
        await committer.recover()
        read = {"A": Position("then", 9)}
        with closing(sqlite3.connect(folder / "log.db")) as other:
            other.execute("begin immediate")
            with pytest.raises(StoreError) as caught:
                await committer.grow(SIZE, entries(SIZE, COUNT), read)
        assert caught.value.code == "database-locked"
        assert (await committer.signer.state())[0] == SIZE + COUNT
        assert (await committer.state.locked()).size == SIZE
        assert parse_checkpoint(parse_note(in_sight(committer)).text).size == SIZE
    async with a_log(folder) as committer:
        assert (await committer.recover()).size == SIZE + COUNT
        assert whole(committer).size == SIZE + COUNT
        assert (await committer.state.positions())["A"].next_seq == 9


def in_sight(committer: Committer) -> bytes:
    raw = committer.files.checkpoint()
    assert raw is not None
    return raw


async def test_one_folder_has_one_writer(folder: Path) -> None:
    files = TileFiles(folder / "tiles")
    with files.written():
        with pytest.raises(StoreError) as caught, files.written():
            pass
        assert caught.value.code == "fenced"
    with files.written():
        pass


async def test_of_two_sequencers_exactly_one_goes_on(folder: Path) -> None:
    await made(folder, 4)
    shutil.copytree(folder / "tiles", folder / "other")
    async with a_log(folder) as first:
        second = Committer(TileFiles(folder / "other"), first.signer, first.state, (KEY.vkey,))
        both = (first, second)
        for each in both:
            await each.recover()
        results = await asyncio.gather(
            *(
                each.grow(4, [Entry(b"of %d" % number, Number("g", number, 0))], {})
                for number, each in enumerate(both)
            ),
            return_exceptions=True,
        )
        lost = [result for result in results if isinstance(result, LedgerError)]
        assert len(lost) == 1
        assert lost[0].code in {"fenced", "fork", "wrong-size"}
        assert (await first.signer.state())[0] == 5
        assert (await first.state.locked()).size == 5

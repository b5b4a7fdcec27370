"""Writers of files that leave a place or stand beside its state: backups, carried mail, notes."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from shutil import rmtree

from broker.carry.done import Done
from broker.carry.files import new_file
from broker.carry.form import Header, Record, To, What, check_whole
from broker.carry.place import FerryPlace
from broker.cli.admin.node_backup import put_back, write_backup
from broker.cli.admin.node_place import NodeConfig, NodePlace
from broker.hub.memory import Known, StreamMemory, read_memory, write_memory
from broker.log.merkle import small_root
from broker.node.sealing import INCARNATION
from broker.store.archive import read_archive
from broker.store.scratch import remove_unused
from broker.store.tilefiles import TileFiles
from broker.store.witnessed import WitnessedAt
from keys.home import Home
from schemas.moments import moment
from tests.faults.writer import Writer, nothing
from tests.support.region import NOW

ROOT = b"the root that this node trusts"
HEADER = Header(To.HUB, "SG", "0123456789abcdef", 1_790_000_000_000)
DIGEST = bytes([3]) * 32
ENTRIES = [b"%040d" % number for number in range(300)]  # more than one tile


def _make_node(folder: Path) -> None:
    place = NodePlace(folder)
    Home(folder).pin_root(ROOT)
    place.write(NodeConfig(member="SG", hub_url=""), b"the authority of the hub")

    async def work() -> None:
        async with place.database(sole=True) as database:
            await database.empty_journal()

    asyncio.run(work())


def _back_up(folder: Path) -> None:
    write_backup(NodePlace(folder), folder / "backup.tar", quiet=True)


def _is_backed_up(folder: Path) -> bool:
    """It stands there whole, or not at all."""
    remove_unused(folder, folder / "node")  # as the node does when it starts
    if not (folder / "backup.tar").exists():
        return False
    into = folder / "again"
    read_archive(folder / "backup.tar", into)
    assert _incarnation(into) == 0
    rmtree(into)
    return True


def _make_backup(folder: Path) -> None:
    _make_node(folder)
    _back_up(folder)
    rmtree(folder / "node")
    rmtree(folder / "region")


def _put_back(folder: Path) -> None:
    put_back(folder / "backup.tar", folder)


def _is_put_back(folder: Path) -> bool:
    """The node is there as a new incarnation, with the root that it trusts, or not at all."""
    remove_unused(folder)
    if not NodePlace(folder).folder.exists():
        return False
    assert Home(folder).pinned_root() == ROOT
    assert _incarnation(folder) > 0
    return True


def _incarnation(folder: Path) -> int:
    """0 for a node that was never put back."""
    assert NodePlace(folder).config().member == "SG"
    with closing(sqlite3.connect(NodePlace(folder).folder / "node.db")) as database:
        found = database.execute("SELECT value FROM meta WHERE name = ?", (INCARNATION,)).fetchone()
    return 0 if found is None else int(found[0])


def _carry_out(folder: Path) -> None:
    with new_file(folder / "out.kentong", HEADER) as writer:
        for number in range(3):
            writer.add(Record(What.COPY, "normal", number, b"x" * 100))
        writer.end()


def _is_carried(folder: Path) -> bool:
    if not (folder / "out.kentong").exists():
        return False
    with (folder / "out.kentong").open("rb") as file:
        assert check_whole(file).records == 3
    return True


def _note_done(folder: Path) -> None:
    done = Done(folder / "carry")
    done.add([DIGEST])
    done.save()


def _ask(folder: Path) -> None:
    place = FerryPlace(folder)
    place.folder.mkdir(mode=0o700, exist_ok=True)
    assert place.ask(HEADER, [DIGEST], now=moment(HEADER.made_ms))


def _is_asked(folder: Path) -> bool:
    asked = FerryPlace(folder).asked()
    assert asked.file in {"", HEADER.id}
    return bool(asked.file)


def _remember(folder: Path) -> None:
    known = {"AUDIT_2026": Known(created="2026-11-01", last_seq=7)}
    write_memory(folder / "streams.json", StreamMemory(streams=known))


def _tiles(folder: Path) -> TileFiles:
    return TileFiles(folder / "tiles")


def _make_tiles(folder: Path) -> None:
    (folder / "tiles").mkdir(mode=0o700)
    _tiles(folder).add(0, ENTRIES[:200])
    _tiles(folder).publish_note("checkpoint", b"200")


def _grow(folder: Path) -> None:
    """As a node's copy of the log grows: the leaves first, and then what says that they count."""
    _tiles(folder).add(200, ENTRIES[200:])
    _tiles(folder).publish_note("checkpoint", b"300")


def _has_grown(folder: Path) -> bool:
    """What counts is there and hashes to what was signed, whatever stands beyond it."""
    size = int(_tiles(folder).checkpoint() or b"0")
    assert size in {200, 300}
    _tiles(folder).check_edge(size, small_root(ENTRIES[:size]))
    return size == 300


def _make_witnessed(folder: Path) -> None:
    (folder / "tiles").mkdir(mode=0o700)


CARRIED = {
    "a backup": Writer(_make_node, _back_up, _is_backed_up),
    "a backup put back": Writer(_make_backup, _put_back, _is_put_back),
    "a file to carry": Writer(nothing, _carry_out, _is_carried),
    "what was carried": Writer(
        nothing, _note_done, lambda folder: Done(folder / "carry").hashes == (DIGEST,)
    ),
    "what a ferry is asked": Writer(nothing, _ask, _is_asked),
    "a copy of the log": Writer(_make_tiles, _grow, _has_grown),
    "the hub's memory of its streams": Writer(
        nothing, _remember, lambda folder: bool(read_memory(folder / "streams.json").streams)
    ),
    "when witnesses last stood behind the log": Writer(
        _make_witnessed,
        lambda folder: WitnessedAt(folder / "tiles").write(NOW),
        lambda folder: WitnessedAt(folder / "tiles").read() is not None,
    ),
}

"""What a killed process left may hold keys and alerts that are gone since: it goes."""

import asyncio
from pathlib import Path

from broker import clock
from broker.cli.admin.node_backup import write_backup
from broker.cli.admin.node_place import NodeConfig, NodePlace, run_node
from broker.store.archive import read_archive
from keys.files import is_half, make_private_folder
from keys.home import Home
from keys.identity import create_identity
from keys.keystore import FLOOR_LOG2N

PASS = b"correct horse"
BOUND_S = 60.0


def made(home: Path) -> NodePlace:
    """A node without a link, which was never started."""
    make_private_folder(home / "node")
    create_identity(Home(home).node_keys, PASS, "SG", now=clock.now(), log2n=FLOOR_LOG2N)
    Home(home).pin_root(b"{}")
    place = NodePlace(home)
    place.write(NodeConfig(member="SG", hub_url=""), b"the authority of the hub")
    return place


async def run_once(place: NodePlace) -> None:
    ready = asyncio.Event()
    async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as group:
        node = group.create_task(run_node(place, PASS, on_ready=lambda *_: ready.set()))
        await ready.wait()
        node.cancel()


async def test_a_node_that_starts_removes_what_killed_backups_left(tmp_path: Path) -> None:
    place = made(tmp_path)
    left = [
        place.folder / ".backup-k3j2h1",
        tmp_path / ".backup-4i5j6k",
        tmp_path / ".restore-4711",
    ]
    for folder in left:
        folder.mkdir()
        (folder / "node.db").write_bytes(b"alerts that are erased by now")
    await run_once(place)
    assert [folder for folder in left if folder.exists()] == []


async def test_what_was_left_half_written_is_in_no_backup(tmp_path: Path) -> None:
    place = made(tmp_path)
    await run_once(place)
    (store,) = Home(tmp_path).node_keys.glob("*.keystore")
    store.with_name(f".{store.name}.0123456789ab").write_bytes(store.read_bytes())
    path, count = await asyncio.to_thread(write_backup, place, tmp_path / "backup.tar", quiet=True)
    await asyncio.to_thread(read_archive, path, tmp_path / "again")
    names = [each.name for each in (tmp_path / "again").rglob("*") if each.is_file()]
    assert len(names) == count
    assert store.name in names
    assert not any(map(is_half, names))

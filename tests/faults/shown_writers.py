"""Writers of what is kept to be shown or is handed out: evidence, proofs, the log, a file."""

import asyncio
from datetime import timedelta
from pathlib import Path

from broker.api.tokens import Scope, TokenBook
from broker.audit.bundle import opened
from broker.audit.export import Export, Place
from broker.node.evidence import NAMED, OURS, THEIRS, EvidenceFolder, Split
from keys.directory.bundle import parse_bundle
from keys.directory.client import DirectoryClient
from tests.audit.bundles import entry, write_log
from tests.faults import received_writers as received
from tests.faults.writer import Writer, nothing
from tests.support.desks import offered
from tests.support.directory import found as found_region
from tests.support.region import NOW

LEAVES = 300  # more than one tile
SPLIT = Split(NOW, {THEIRS: b"theirs" * 100, NAMED: b"named"})
_ROOTS: list[bytes] = []  # Of the region, once founded: it is given to a reader out of band.


# --- the directory ---


def _reader(folder: Path) -> DirectoryClient:
    (root,) = _ROOTS or [b""]
    return DirectoryClient(folder / "reader", pinned_root=root)


def _keep_split(folder: Path) -> None:
    EvidenceFolder(_reader(folder)).keep(SPLIT)


def _is_split_kept(folder: Path) -> bool:
    """All files of it, or no folder that anybody would take for evidence."""
    place = EvidenceFolder(_reader(folder)).folder
    found = [each for each in place.glob("*") if not each.name.startswith(".")]
    for each in found:
        files = {file.name: file.read_bytes() for file in each.iterdir()}
        assert files == {OURS: b"{}\n", **SPLIT.files}
    assert len(found) <= 1
    return bool(found)


def _make_proven(folder: Path) -> None:
    """A reader that has one version as proved, and another one that is proved next."""
    region = found_region(folder / "region")
    _ROOTS.append(region.founded.root)
    for number, change in enumerate((None, "MY"), 1):
        if change is not None:
            region.suspend(change, kid=None, now=NOW + timedelta(hours=1))
        bundle = region.repository.bundle()
        (folder / f"bundle-{number}").write_bytes(bundle.to_bytes())
    (folder / "reader").mkdir(mode=0o700)
    _prove(folder, 1)


def _prove(folder: Path, number: int = 2) -> None:
    raw = (folder / f"bundle-{number}").read_bytes()
    _reader(folder).keep_proven(parse_bundle(raw))


def _is_proven(folder: Path) -> bool:
    copy = _reader(folder).load_proven()
    assert copy is not None
    assert copy.view.version.snapshot in {1, 2}
    return copy.view.version.snapshot == 2


# --- the log ---


def _make_log(folder: Path) -> None:
    write_log(folder / "log", [entry(seq) for seq in range(LEAVES)])


def _files(log: Path) -> list[tuple[str, bytes]]:
    with opened(log) as tiles:
        return list(Export.of(Place(tiles)).files())


def _write_out(folder: Path, name: str) -> None:
    with opened(folder / "log") as tiles:
        Export.of(Place(tiles)).write(folder / name)


def _is_written_out(folder: Path, name: str) -> bool:
    """It stands there with every file, or not at all."""
    if not (folder / name).exists():
        return False
    assert _files(folder / name) == _files(folder / "log")
    return True


# --- a file that a desk fetches ---


def _make_fetched(folder: Path) -> None:
    received._make_arriving(folder)
    received._compare(folder)

    async def work() -> None:
        async with received._node(folder) as node:
            book = TokenBook(node.database)
            _, token = await book.add("desk", frozenset(Scope), now=received.clock.now())
            (folder / "token").write_text(token)

    asyncio.run(work())


def _fetch(folder: Path) -> None:
    """Through the node's API, as a desk does."""

    async def work() -> None:
        token = (folder / "token").read_text()
        async with (
            received._node(folder) as node,
            offered(node, folder / "s") as desks,
            desks.client(token) as client,
        ):
            (item,) = (await client.inbox()).items
            await client.save_attachment(item.id, 1, folder / "film.bin")

    asyncio.run(work())


def _is_fetched(folder: Path) -> bool:
    """It has its name only when it is whole."""
    path = folder / "film.bin"
    if not path.exists():
        return False
    assert path.read_bytes() == received.CONTENT
    return True


SHOWN = {
    "evidence of two directories": Writer(nothing, _keep_split, _is_split_kept),
    "the directory that the log proved": Writer(_make_proven, _prove, _is_proven),
    "a log exported to a file": Writer(
        _make_log,
        lambda folder: _write_out(folder, "out.tar"),
        lambda folder: _is_written_out(folder, "out.tar"),
    ),
    "a log exported to a folder": Writer(
        _make_log,
        lambda folder: _write_out(folder, "out"),
        lambda folder: _is_written_out(folder, "out"),
    ),
    "a file that a desk fetches": Writer(_make_fetched, _fetch, _is_fetched),
}

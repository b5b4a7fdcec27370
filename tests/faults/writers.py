"""Every writer of durable state, killed before each of its steps towards the disk.

Arguments: writer, folder, library. Started with the library preloaded: FOLDER/before is the state,
FOLDER/N becomes the copy whose N-th step never happened, and one line tells what it held then:
"old" or "new", and "new" again once the same was done anew. The last line is of the copy where
nothing happened to the writer.
"""

import asyncio
import ctypes
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from broker import clock
from broker.api.tokens import Scope, TokenBook
from broker.cli.form import Draft
from broker.client.profiles import Profile, Profiles
from broker.hub.suspensions import read_suspensions, write_suspensions
from broker.ledger.signer import Signer
from broker.log.checkpoint import Checkpoint, parse_checkpoint
from broker.log.merkle import leaf_hash
from broker.log.note import Note, SignatureLine, parse_note
from broker.node.errors import NodeError
from broker.node.logevidence import LogEvidence
from broker.node.node import Node
from broker.store.database import Database, open_database, sqlite_url
from broker.store.scratch import BACKUP, RESTORE
from broker.store.tables import metadata
from keys.files import is_half
from keys.keystore import FLOOR_LOG2N, MAGIC, Entry, KeyStore
from schemas.attachment import CHUNK_BYTES
from tests.faults.carried_writers import CARRIED
from tests.faults.file_writers import FILES
from tests.faults.hub_writers import HUBS
from tests.faults.log_writers import LOGGED
from tests.faults.received_writers import RECEIVED
from tests.faults.sent_writers import SENT
from tests.faults.shown_writers import SHOWN
from tests.faults.writer import Writer, nothing
from tests.support.directory import RealRegion
from tests.support.directory import found as found_region
from tests.support.nodes import lonely_node, request, sign
from tests.support.region import NOW, make_region

PASSPHRASE = b"correct horse battery staple"
ENTRY = Entry("symmetric", bytes(32))
ORIGIN = "log.example/kentong"
LATER = NOW + timedelta(hours=1)
MOST_STEPS = 400
REGION = make_region(("SG", "MY"), now=clock.now())
FILE = bytes([9]) * (CHUNK_BYTES + 5)
KEY = "0199a2b0-0000-7000-8000-000000000001"


# --- files ---


def _store(folder: Path) -> KeyStore:
    return KeyStore.open(folder / "a.keystore", PASSPHRASE)


def _make_store(folder: Path) -> None:
    KeyStore.create(folder / "a.keystore", PASSPHRASE, {"old": ENTRY}, log2n=FLOOR_LOG2N)


def _has_new(folder: Path) -> bool:
    names = set(_store(folder).entries)
    assert names in ({"old"}, {"old", "new"})
    assert _stores(folder) == 1  # what else there is would keep a key that is destroyed later
    return "new" in names


def _without_old(folder: Path) -> bool:
    names = set(_store(folder).entries)
    assert names in ({"old"}, {"new"})
    assert _stores(folder) == 1
    return "new" in names


def _stores(folder: Path) -> int:
    """Of all files there, whatever their names, how many are key stores."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sum(path.read_bytes().startswith(MAGIC) for path in files)


def _profiles(folder: Path) -> Profiles:
    return Profiles.load(folder)


def _make_profile(folder: Path) -> None:
    _profiles(folder).add("old", Profile(url="unix:///a", token="t"))  # noqa: S106 - for nothing


def _draft(folder: Path) -> Draft:
    return Draft.load(folder / "draft.json")


def _answer(folder: Path) -> None:
    draft = _draft(folder)
    draft.answers["to"] = "MY"
    draft.save()


def _suspend(folder: Path) -> None:
    path = folder / "suspensions.json"
    write_suspensions(path, read_suspensions(path).suspend("SG", "a reason", now=NOW))


def _sign_checkpoint(checkpoint: Checkpoint) -> Note:
    return checkpoint.signed((SignatureLine.of(ORIGIN, 1, checkpoint.root),))


def _signer(folder: Path) -> Signer:
    return Signer.open(folder / "signer.json", ORIGIN, _sign_checkpoint)


def _make_signer(folder: Path) -> None:
    Signer.create(folder / "signer.json", ORIGIN, _sign_checkpoint)


def _append(folder: Path) -> None:
    _signer(folder).append(0, [leaf_hash(b"a"), leaf_hash(b"b")])


def _has_signed(folder: Path) -> bool:
    signer = _signer(folder)
    assert parse_checkpoint(parse_note(signer.checkpoint).text).size == signer.size
    assert signer.size in {0, 2}
    return signer.size == 2


def _keep(folder: Path) -> None:
    LogEvidence(folder / "evidence" / "log").keep("log-fork", b"what was shown" * 100)


def _is_kept(folder: Path) -> bool:
    kept = list((folder / "evidence").rglob("log-fork-*"))
    assert all(path.read_bytes() == b"what was shown" * 100 for path in kept)
    return bool(kept)


# --- the directory ---


def _region(folder: Path) -> RealRegion:
    (template,) = _TEMPLATES
    repository = type(template.repository)(
        folder / "region" / "hub" / "hub" / "directory", pinned_root=template.founded.root
    )
    founded = replace(template.founded, repository=repository)
    return replace(template, folder=folder / "region", founded=founded)


_TEMPLATES: list[RealRegion] = []  # One element once founded: its keys are in memory alone.


def _make_region(folder: Path) -> None:
    _TEMPLATES.append(found_region(folder / "region"))
    assert _region(folder).repository.folder == _TEMPLATES[0].repository.folder


def _publish(folder: Path) -> None:
    _region(folder).suspend("MY", kid=None, now=LATER)


def _is_published(folder: Path) -> bool:
    version = _region(folder).repository.trusted().version.snapshot
    assert version in {1, 2}
    return version == 2


def _make_reader(folder: Path) -> None:
    _make_region(folder)
    region = _region(folder)
    asyncio.run(region.client().refresh(region.fetch, now=NOW))
    _publish(folder)


def _read_on(folder: Path) -> None:
    region = _region(folder)
    asyncio.run(region.client().refresh(region.fetch, now=LATER))


def _has_read(folder: Path) -> bool:
    copy = _region(folder).client().load()
    assert copy is not None
    assert copy.view.version.snapshot in {1, 2}
    return copy.view.version.snapshot == 2


# --- databases ---


def _opened(folder: Path, work: Callable[[Database], object]) -> object:
    async def run() -> object:
        async with open_database(sqlite_url(folder / "node.db"), metadata) as database:
            found = work(database)
            return await found if asyncio.iscoroutine(found) else found

    return asyncio.run(run())


def _make_database(folder: Path) -> None:
    _opened(folder, lambda _: None)


def _add_token(folder: Path) -> None:
    async def add(database: Database) -> None:
        await TokenBook(database).add("desk", frozenset(Scope), now=NOW)

    _opened(folder, add)


def _has_token(folder: Path) -> bool:
    async def count(database: Database) -> int:
        return len(await TokenBook(database).records())

    found = _opened(folder, count)
    assert found in {0, 1}
    return found == 1


def _node(folder: Path) -> AbstractAsyncContextManager[Node]:
    return lonely_node(REGION, "SG", folder / "node.db")


def _make_node(folder: Path) -> None:
    async def work() -> None:
        async with _node(folder) as node:
            draft = await node.create_draft(request(REGION, ("MY",)))
            (folder / "draft-id").write_text(str(draft.draft_id))
            (folder / "signature").write_bytes(sign(REGION, draft))

    asyncio.run(work())


async def _submitted(node: Node, folder: Path) -> None:
    await node.submit_draft(
        UUID((folder / "draft-id").read_text()),
        signature=(folder / "signature").read_bytes(),
        officer_kid=REGION.members["SG"].officer_kid,
        idempotency_key=KEY,
    )


def _queue(folder: Path) -> None:
    async def work() -> None:
        async with _node(folder) as node:
            await _submitted(node, folder)

    asyncio.run(work())


def _is_queued(folder: Path) -> bool:
    async def work() -> int:
        async with _node(folder) as node:
            found = (await node.outbox()).items
            if found:  # the same request again is the same submission
                await _submitted(node, folder)
                assert (await node.outbox()).items == found
            return len(found)

    count = asyncio.run(work())
    assert count in {0, 1}
    return count == 1


def _make_queued(folder: Path) -> None:
    _make_node(folder)
    _queue(folder)


def _seal(folder: Path) -> None:
    async def work() -> None:
        async with _node(folder) as node:
            await node.outgoing.seal_due()

    asyncio.run(work())


def _is_sealed(folder: Path) -> bool:
    """Number, envelope and state of the submission are there together, or none of them."""

    async def work() -> bool:
        async with _node(folder) as node, node.database.read() as connection:
            count = {
                name: (
                    await connection.exec_driver_sql(f"SELECT count(*) FROM {name}")  # noqa: S608 - ours
                ).scalar_one()
                for name in ("outbox", "envelopes", "sent")
            }
            (shown,) = (await node.outbox()).items
            assert len(set(count.values())) == 1, count
            assert (shown.id is not None) == bool(count["outbox"])
            return count["outbox"] == 1

    return asyncio.run(work())


WRITERS = {
    "a key added": Writer(
        _make_store, lambda folder: _store(folder).change({"new": ENTRY}), _has_new
    ),
    "a key destroyed": Writer(
        _make_store,
        lambda folder: _store(folder).change({"new": ENTRY}, destroy=("old",)),
        _without_old,
    ),
    "a profile": Writer(
        _make_profile,
        lambda folder: _profiles(folder).add("new", Profile(url="unix:///b", token="t")),  # noqa: S106
        lambda folder: "new" in _profiles(folder).names,
    ),
    "an answer of a draft": Writer(
        lambda folder: Draft(folder / "draft.json", {"type": "cyber"}).save(),
        _answer,
        lambda folder: "to" in _draft(folder).answers,
    ),
    "a suspension": Writer(
        nothing,
        _suspend,
        lambda folder: bool(read_suspensions(folder / "suspensions.json").entries),
    ),
    "the log's signature": Writer(_make_signer, _append, _has_signed),
    "evidence": Writer(nothing, _keep, _is_kept),
    "the published directory": Writer(_make_region, _publish, _is_published),
    "a node's directory": Writer(_make_reader, _read_on, _has_read),
    "a token": Writer(_make_database, _add_token, _has_token),
    "a queued alert": Writer(_make_node, _queue, _is_queued),
    "a sealed alert": Writer(_make_queued, _seal, _is_sealed),
    **RECEIVED,
    **SENT,
    **FILES,
    **LOGGED,
    **HUBS,
    **SHOWN,
    **CARRIED,
}


def _left_over(folder: Path) -> list[str]:
    """Everything below a folder that is whole nowhere, though nobody writes it any more."""
    names = [path.name for path in folder.rglob(".*")]
    return [
        name
        for name in names
        if is_half(name) or name.startswith((BACKUP, RESTORE)) or name.endswith(".part")
    ]


def main() -> None:
    """Do it, one child a step."""
    writer, folder = WRITERS[sys.argv[1]], Path(sys.argv[2])
    library = ctypes.CDLL(sys.argv[3])
    before = folder / "before"
    before.mkdir(mode=0o700)
    writer.prepare(before)
    assert not writer.look(before)
    for number in range(1, MOST_STEPS):
        copy = folder / str(number)
        shutil.copytree(before, copy, symlinks=True)
        child = os.fork()
        if not child:
            with suppress(BaseException):
                library.die_at(number)
                writer.change(copy)
                library.die_at(0)
                os._exit(0)
            os._exit(7)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        held = writer.look(copy)
        if not held:
            with suppress(NodeError):
                writer.change(copy)
        print(number, ended, "new" if held else "old", flush=True)  # noqa: T201 - to the test
        assert writer.look(copy), f"after step {number} it cannot be done again"
        assert not (left := _left_over(copy)), f"after step {number} there is left: {left}"
        shutil.rmtree(copy)
        if ended == 0:
            return
    sys.exit("it never came to an end")


if __name__ == "__main__":
    main()

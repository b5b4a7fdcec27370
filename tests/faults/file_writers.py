"""Writers of attached files: at the hub, from a desk to its node, on their way from it."""

import asyncio
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from sqlalchemy import update

from broker import clock
from broker.envelope.chunks import SEALED_CHUNK_BYTES
from broker.hub.chunkheads import Head
from broker.hub.chunkstore import ChunkStore
from broker.node.node import Node
from broker.store import tables
from broker.store.chunkfiles import ChunkFiles
from keys.primitives.hashing import sha256
from schemas.attachment import CHUNK_BYTES
from schemas.desk import AttachmentRequest, SendingState
from tests.faults import sent_writers as sent
from tests.faults.received_writers import counts
from tests.faults.writer import Writer, nothing
from tests.support.nodes import lonely_node
from tests.support.region import NOW, make_region

LATER = NOW + timedelta(hours=1)
REGION = make_region(("SG", "MY"), now=clock.now())
IDENT = UUID("0199a2b0-0000-7000-8000-000000000002")
CHUNK = bytes([7]) * SEALED_CHUNK_BYTES
PROMISED = Head(("MY",), (2,), LATER)
FILE = bytes([9]) * (CHUNK_BYTES + 5)
ANNOUNCED = AttachmentRequest(name="a.bin", media_type="a/b", bytes=len(FILE), sha256=sha256(FILE))


def _node(folder: Path) -> AbstractAsyncContextManager[Node]:
    return lonely_node(REGION, "SG", folder / "node.db")


# --- files at the hub, and from a desk ---


def _chunks(folder: Path) -> ChunkFiles:
    return ChunkFiles(folder / "chunks")


def _keep_chunk(folder: Path) -> None:
    assert _chunks(folder).keep("SG/a", 0, 0, CHUNK)


def _has_chunk(folder: Path) -> bool:
    _chunks(folder).tidy("SG")  # as at a start
    found = _chunks(folder).read("SG/a", 0, 0)
    assert found in {None, CHUNK}
    assert _chunks(folder).first_missing("SG/a", 0, 1) == (found is not None)
    return found is not None


def _store_of(folder: Path) -> ChunkStore:
    store = ChunkStore(_chunks(folder), 10**9)
    asyncio.run(store.load())
    return store


def _promise(folder: Path) -> None:
    asyncio.run(_store_of(folder).open("SG", IDENT, PROMISED, ["MY", "TH"], patient=True))


def _is_promised(folder: Path) -> bool:
    found = _store_of(folder).head("SG", IDENT, now=NOW)
    assert found in {None, PROMISED}
    return found is not None


def _make_kept(folder: Path) -> None:
    _promise(folder)
    asyncio.run(_store_of(folder).keep("SG", IDENT, 0, 0, CHUNK))


def _take(folder: Path) -> None:
    asyncio.run(_store_of(folder).done("SG", IDENT, "MY"))


def _is_taken(folder: Path) -> bool:
    """Once it is said that all was taken, no chunk is left, at the latest after a start."""
    store = _store_of(folder)
    found = store.head("SG", IDENT, now=NOW)
    assert found is not None
    kept = asyncio.run(store.chunk("SG", IDENT, 0, 0))
    assert kept == (None if found.over else CHUNK)
    return found.over


def _make_upload(folder: Path) -> None:
    async def work() -> None:
        async with _node(folder) as node:
            upload = await node.create_attachment("desk", ANNOUNCED)
            await node.put_chunk("desk", upload.attachment_id, 0, FILE[:CHUNK_BYTES])
            (folder / "upload").write_text(str(upload.attachment_id))

    asyncio.run(work())


def _hand_over(folder: Path) -> None:
    """The last chunk, after which the node compares the whole."""

    async def work() -> None:
        async with _node(folder) as node:
            ident = UUID((folder / "upload").read_text())
            await node.put_chunk("desk", ident, 1, FILE[CHUNK_BYTES:])

    asyncio.run(work())


def _is_handed_over(folder: Path) -> bool:
    async def work() -> bool:
        async with _node(folder) as node:
            await node.staging.tidy()
            shown = await node.create_attachment("desk", ANNOUNCED)  # the same one goes on
            assert str(shown.attachment_id) == (folder / "upload").read_text()
            assert shown.next in {1, 2}
            return shown.complete

    return asyncio.run(work())


def _take_back(folder: Path) -> None:
    async def work() -> None:
        async with _node(folder) as node:
            await node.withdraw_attachment("desk", UUID((folder / "upload").read_text()))

    asyncio.run(work())


def _is_taken_back(folder: Path) -> bool:
    """A file that is gone leaves no chunk behind, at the latest after a start."""

    async def work() -> bool:
        async with _node(folder) as node:
            await node.staging.tidy()
            listed = (await node.attachments_waiting("desk")).items
            assert len(listed) == len(node.staging.files.shelves())
            assert all(each.next == 1 for each in listed)
            return not listed

    return asyncio.run(work())


def _expire(folder: Path) -> None:
    asyncio.run(_store_of(folder).expire(LATER))


def _is_expired(folder: Path) -> bool:
    """What is left of an envelope is whole, or it is nothing, at the latest after a start."""
    store = _store_of(folder)
    if store.head("SG", IDENT, now=NOW) is not None:
        assert asyncio.run(store.chunk("SG", IDENT, 0, 0)) in {None, CHUNK}
        return False
    assert asyncio.run(store.chunk("SG", IDENT, 0, 0)) is None
    return True


# --- files on their way from a node ---


def _make_expired(folder: Path) -> None:
    """An accepted alert whose file did not reach the hub in its time."""
    sent._make_due(folder)

    async def work(node: Node) -> None:
        long_ago = update(tables.uploads).values(expires_ms=1)
        await node.database.change(lambda c: c.execute(long_ago))

    sent._with_node(folder, work)


def _give_up(folder: Path) -> None:
    async def work(node: Node) -> None:
        node.present.compared(timedelta(0))  # with the hub's clock
        await node.uploads.upload_due()

    sent._with_node(folder, work)


def _is_given_up(folder: Path) -> bool:
    """That it goes no more, what is shown of it and the alarm are there together, or none."""

    async def work(node: Node) -> bool:
        (file,) = (await sent._only(node)).attachments
        over = file.state is SendingState.REFUSED
        assert over or file.state is SendingState.WAITING
        assert await counts(node, "uploads", "alarms") == ([0, 1] if over else [1, 0])
        assert len(node.staging.files.shelves()) == 1
        return over

    return sent._with_node(folder, work)


def _make_over(folder: Path) -> None:
    _make_expired(folder)
    _give_up(folder)


def _forget_file(folder: Path) -> None:
    sent._with_node(folder, lambda node: node.uploads.forget_over())


def _is_file_forgotten(folder: Path) -> bool:
    """No chunk is left without its row, at the latest after a start; what became of it stays."""

    async def work(node: Node) -> bool:
        await node.staging.tidy()
        (rows,) = await counts(node, "attachments")
        assert len(node.staging.files.shelves()) == rows
        (file,) = (await sent._only(node)).attachments
        assert file.state is SendingState.REFUSED
        return rows == 0

    return sent._with_node(folder, work)


FILES = {
    "a chunk": Writer(nothing, _keep_chunk, _has_chunk),
    "what was promised to the hub": Writer(nothing, _promise, _is_promised),
    "chunks that were taken": Writer(_make_kept, _take, _is_taken),
    "a file handed over": Writer(_make_upload, _hand_over, _is_handed_over),
    "a file taken back": Writer(_make_upload, _take_back, _is_taken_back),
    "chunks past their time": Writer(_make_kept, _expire, _is_expired),
    "a file that the hub did not take": Writer(_make_expired, _give_up, _is_given_up),
    "a file that nobody waits for": Writer(_make_over, _forget_file, _is_file_forgotten),
}

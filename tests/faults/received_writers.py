"""Writers of what a node receives: an alert, its refusal, its file, a reader's place, its end."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from sqlalchemy import func, select

from broker import clock
from broker.envelope.chunks import file_key, seal_chunk
from broker.node.node import Node
from broker.node.retention import destroy_due
from broker.node.rewrapping import rewrap
from broker.node.vault import Vault
from broker.store import tables
from keys.primitives.hashing import sha256
from schemas.attachment import CHUNK_BYTES, Manifest
from schemas.desk import ArrivalState
from schemas.label import Facts
from tests.faults.writer import Writer
from tests.support.envelopes import an_alert, delivery, label_for, seal_content, signed_content
from tests.support.nodes import lonely_node
from tests.support.region import make_region

REGION = make_region(("SG", "MY"), now=clock.now())
OTHER_KEY = bytes([5]) * 32
CONTENT = bytes([9]) * (CHUNK_BYTES + 5)
FILM = Manifest("a.bin", "application/x-film", len(CONTENT), sha256(CONTENT))
ResultT = TypeVar("ResultT")


def _node(folder: Path) -> AbstractAsyncContextManager[Node]:
    return lonely_node(REGION, "MY", folder / "node.db")


def _with_node(folder: Path, work: Callable[[Node], Awaitable[ResultT]]) -> ResultT:
    async def run() -> ResultT:
        async with _node(folder) as node:
            return await work(node)

    return asyncio.run(run())


async def counts(node: Node, *names: str) -> list[int]:
    """How many rows there are of each table."""
    async with node.database.read() as connection:
        return [
            (
                await connection.execute(
                    select(func.count()).select_from(tables.metadata.tables[name])
                )
            ).scalar_one()
            for name in names
        ]


def _made(folder: Path, *, understated: bool) -> None:
    """An empty node, and beside it the copy of an alert with a file."""
    facts = Facts(personal_data=not understated, victim=False, minor=False, biometrics=False)
    label = label_for(REGION, an_alert(), facts=facts)
    content, audience = signed_content(REGION, label, an_alert(), ["MY"], manifests=(FILM,))
    sealed = seal_content(REGION, label, content, audience)
    (folder / "mail").write_bytes(delivery(REGION, sealed.raw, "MY"))
    key = file_key(sealed.attachments_key, 0)
    for index in range(FILM.chunks):
        plain = CONTENT[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES]
        (folder / f"chunk-{index}").write_bytes(seal_chunk(key, FILM, 0, index, plain))
    _with_node(folder, lambda node: counts(node, "inbox"))


def _make_mail(folder: Path) -> None:
    _made(folder, understated=False)


def _take(folder: Path) -> None:
    _with_node(folder, lambda node: node.incoming.take((folder / "mail").read_bytes()))


def _is_received(folder: Path) -> bool:
    """The alert, that it was taken, its file and the answer to its sender, or none of them."""
    names = ("inbox", "received", "arrivals", "controls", "retention")
    found = _with_node(folder, lambda node: counts(node, *names))
    assert len(set(found)) == 1, found
    return found[0] == 1


def _is_refused(folder: Path) -> bool:
    """The copy as evidence, the alarm, the answer, and that no file of it is wanted, or nothing."""
    names = ("quarantine", "alarms", "controls", "arrivals")
    found = _with_node(folder, lambda node: counts(node, *names))
    assert len(set(found)) == 1, found
    return found[0] == 1


def _make_arriving(folder: Path) -> None:
    """An alert whose chunks are here, and were not yet compared as a whole."""
    _made(folder, understated=False)
    _take(folder)

    async def keep(node: Node) -> None:
        (item,) = (await node.inbox()).items
        for index in range(FILM.chunks):
            raw = (folder / f"chunk-{index}").read_bytes()
            node.arrivals.files.keep(str(item.id), 0, index, raw)

    _with_node(folder, keep)


def _compare(folder: Path) -> None:
    _with_node(folder, lambda node: node.arrivals.fetch_due())


def _is_whole(folder: Path) -> bool:
    async def look(node: Node) -> bool:
        (item,) = (await node.inbox()).items
        (shown,) = item.attachments
        if shown.state is not ArrivalState.COMPLETE:
            return False
        _, pieces = await node.attachment(item.id, 1)
        assert b"".join([each async for each in pieces]) == CONTENT
        return True

    return _with_node(folder, look)


def _acknowledge(folder: Path) -> None:
    _with_node(folder, lambda node: node.acknowledge("desk.reader", 1))


def _is_acknowledged(folder: Path) -> bool:
    found = _with_node(folder, lambda node: node.cursor("desk.reader"))
    assert found.position in {0, 1}
    return found.position == 1


def _destroy(folder: Path) -> None:
    async def work(node: Node) -> None:
        late = clock.now() + timedelta(days=4000)
        await destroy_due(node.database, node.arrivals.files, late)

    _with_node(folder, work)


def _is_destroyed(folder: Path) -> bool:
    """Content and key go first; a chunk that is left is noise, and goes when it is done again."""
    inbox, keys, received = _with_node(
        folder, lambda node: counts(node, "inbox", "arrivals", "received")
    )
    assert received == 1  # that it was here stays known: it is not taken twice
    if inbox:
        return False
    assert keys in {0, 1}  # a row without chunks, by which the hub will be told
    _destroy(folder)
    assert _with_node(folder, lambda node: counts(node, "retention")) == [0]
    assert list((folder / "node.db-attachments").rglob("0-*")) == []
    return True


def _rewrap(folder: Path) -> None:
    old = Vault(REGION.members["MY"].storage_key)
    _with_node(
        folder,
        lambda node: node.database.change(lambda c: rewrap(c, old, Vault(OTHER_KEY))),
    )


def _is_rewrapped(folder: Path) -> bool:
    """Everything opens with the new key, or everything with the old one."""

    async def look(node: Node) -> set[bool]:
        new = Vault(OTHER_KEY)
        async with node.database.read() as connection:
            inbox = (await connection.execute(select(tables.inbox))).one()
            file = (await connection.execute(select(tables.arrivals))).one()
        return {
            new.opens(inbox.sealed, name=f"inbox/{inbox.id}"),
            new.opens(file.sealed, name=f"arrival/{file.envelope_id}/{file.number}"),
        }

    (found,) = _with_node(folder, look)
    return found


def _make_received(folder: Path) -> None:
    _made(folder, understated=False)
    _take(folder)


RECEIVED = {
    "a received alert": Writer(
        lambda folder: _made(folder, understated=False), _take, _is_received
    ),
    "a refused alert": Writer(lambda folder: _made(folder, understated=True), _take, _is_refused),
    "a file that arrived": Writer(_make_arriving, _compare, _is_whole),
    "a reader's place": Writer(_make_received, _acknowledge, _is_acknowledged),
    "an alert past its time": Writer(_make_arriving, _destroy, _is_destroyed),
    "another storage key": Writer(_make_received, _rewrap, _is_rewrapped),
}

"""A node without a link writes what waits for the hub into a file.

Sealing asks for what it asks of a node with a link: a directory that is fresh. So alerts that were
queued are sealed if the last file came here within the hour in which the hub signed its directory;
else they stay queued, and what was sealed before goes alone.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.carry.attached import FileRequests
from broker.carry.destroying import destroy_over
from broker.carry.done import Done
from broker.carry.files import new_file
from broker.carry.form import HASH_BYTES, CarryError, Header, Record, To, What
from broker.node import submissions
from broker.node.ids import to_ms
from broker.node.node import Node
from broker.node.present import MAX_SKEW, Present
from broker.store.tables import outbox
from schemas.vocabulary import Lane

_HASHES: Final = 8192  # in one record
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Left:
    """What went into a file.

    Attributes:
        file: Its id.
        envelopes: Sealed ones: alerts, and answers to others'.
        done: Copies and receipts that the hub need not keep.
        queued: Alerts that stay here, not sealed.
        hindrance: Code of why; empty if nothing keeps this node from sealing.
        size: Bytes of the file.
        asks: Requests about attached files, most of them with a chunk or for one.
    """

    file: str
    envelopes: int
    done: int
    queued: int
    hindrance: str
    size: int
    asks: int


async def write_for_hub(node: Node, done: Done, path: Path, progress: Progress) -> Left:
    """Seal what may be sealed, and write all that waits for the hub to `path`.

    What is in the file stays in the outbox until a receipt comes back: a file that is lost loses
    nothing, and one that is taken twice changes nothing.

    Raises:
        CarryError: `exists`, `cannot-write`, or `carry-full`.
        NodeError: `no-directory`: nothing was ever carried here.
        StoreError: The database cannot be read or written.
        KeysError: This node has no key that the directory lets it sign with.
    """
    present = node.present
    compare_clocks(present)
    await destroy_over(node)
    await _seal(node)
    now = present.now()
    kid, key = node.identity.signer(present.view, at=now)
    hashes = done.hashes
    file = secrets.token_hex(16)
    log = present.view.hub.log
    origin = "" if log is None else log.origin
    leaves = 0 if log is None or node.log is None else (await node.log.mirror.sizes(origin))[0]
    header = Header(To.HUB, present.member, file, to_ms(now), origin=origin, leaves=leaves)
    async with node.database.read() as connection:
        numbers = await _numbers(connection)
        waiting, damaged = await submissions.queued(connection, limit=1000)
        with new_file(path, header) as writer:
            for start in range(0, len(hashes), _HASHES):
                part = hashes[start : start + _HASHES]
                writer.add(Record(What.DONE, "", len(part), b"".join(part)))
            for place, number in enumerate(numbers, 1):
                writer.add(await _envelope(connection, number))
                progress(place, len(numbers))
            before = writer.records
            try:
                await FileRequests(node, writer).write()
            except CarryError as error:
                if error.code != "carry-full":
                    raise
            asks = writer.records - before
            writer.end(kid, key)
            size = writer.size
    done.told(file)
    done.save()
    return Left(
        file, len(numbers), len(hashes), len(waiting) + damaged, present.hindrance(), size, asks
    )


def compare_clocks(present: Present) -> None:
    """Note a clock that is behind: the hub signed the directory held before this moment."""
    if present.has_directory:
        ahead = present.signed_before() - present.now()
        present.skew = -ahead if ahead > MAX_SKEW else None


def hashes_in(record: Record) -> list[bytes]:
    """Return the hashes in a record of what is done; a rest that is none is left out."""
    raw = record.payload
    return [raw[at : at + HASH_BYTES] for at in range(0, len(raw) - HASH_BYTES + 1, HASH_BYTES)]


async def _seal(node: Node) -> None:
    """Seal all that waits: alerts, answers, and the numbers that peers compare."""
    if node.present.hindrance():
        await node.outgoing.seal_due()  # it says on each what it waits for
        return
    while await node.outgoing.seal_due():
        pass  # a batch at a time, until nothing moves on
    await node.upkeep.tell_pairs()
    while await node.upkeep.controls.seal_due():
        pass


async def _numbers(connection: AsyncConnection) -> list[int]:
    """Return what waits, the most urgent first, then in the order in which it was sealed."""
    found = await connection.execute(select(outbox.c.number, outbox.c.subject))
    order = [str(lane) for lane in Lane]
    rows = [(order.index(subject.split(".")[2]), number) for number, subject in found]
    return [number for _, number in sorted(rows)]


async def _envelope(connection: AsyncConnection, number: int) -> Record:
    row = (
        await connection.execute(
            select(outbox.c.subject, outbox.c.raw).where(outbox.c.number == number)
        )
    ).one()
    return Record(What.ENVELOPE, row.subject, number, row.raw)

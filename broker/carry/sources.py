"""What a ferry collects besides mail: the directory, and what is new of the log, file by file.

The node asks for these files as it would ask the hub, and proves every one of them.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Final

from broker.log.checkpoint import parse_checkpoint
from broker.log.leaf import ZERO
from broker.log.merkle import consistency_proof
from broker.log.note import parse_note
from broker.log.tiles import TILE_WIDTH, Tile, lookup_in
from broker.node.logreading import LogReading
from broker.node.mirror import CHUNK
from broker.store.tilefiles import CHECKPOINT, COSIGNED
from broker.transport.services import HubServices
from keys.directory import layout
from keys.directory.bundle import Bundle
from keys.directory.metadata import Root, Snapshot, Timestamp, read_metadata
from keys.primitives.hashing import sha256

MAX_NEW_LEAVES: Final = 200_000
"""In one file; a node that was away for longer gets the rest with the next."""


def directory_answers(bundle: Bundle) -> Iterator[tuple[str, bytes]]:
    """Yield the name and bytes of each file of a verified directory, as the hub serves them."""
    timestamp = read_metadata(
        Timestamp, bundle.timestamp.encode(), max_bytes=layout.MAX_TIMESTAMP_BYTES
    ).signed
    snapshot = read_metadata(
        Snapshot, bundle.snapshot.encode(), max_bytes=layout.MAX_SNAPSHOT_BYTES
    ).signed
    for text in bundle.roots:
        raw = text.encode()
        version = read_metadata(Root, raw, max_bytes=layout.MAX_ROOT_BYTES).signed.version
        yield _metadata(layout.ROOT, version), raw
    yield _metadata(layout.TIMESTAMP, 0), bundle.timestamp.encode()
    yield _metadata(layout.SNAPSHOT, timestamp.snapshot_meta.version), bundle.snapshot.encode()
    for role, text in ((layout.TARGETS, bundle.targets), *bundle.roles.items()):
        yield _metadata(role, snapshot.meta[f"{role}.json"].version), text.encode()
    for path, text in bundle.files.items():
        raw = text.encode()
        yield f"dir.{layout.target_path(path, sha256(raw).hex())}", raw


async def log_answers(
    hub: HubServices, leaves: int, *, witnessed: bool
) -> AsyncIterator[tuple[str, bytes]]:
    """Yield the files of the log that a copy of `leaves` leaves needs to grow.

    Args:
        hub: Asked for them.
        leaves: What the node has.
        witnessed: Whether witnesses cosign this log.

    Raises:
        BrokerError: The hub does not answer, or does not show a file yet.
    """
    reading, name = LogReading(hub), COSIGNED if witnessed else CHECKPOINT
    note = await reading.note(name)
    if note is None:
        return
    yield f"log.{name}", note
    size = parse_checkpoint(parse_note(note).text).size
    for tile in dict.fromkeys(tiles_between(leaves, size)):
        yield f"log.{tile.path}", await reading.tile(tile)


def tiles_between(old: int, new: int) -> Iterator[Tile]:
    """Yield what `Mirror` reads when its copy grows from `old` leaves to `new`."""
    size, stop = old, min(new, old + MAX_NEW_LEAVES)
    while size < stop:
        end = min(new, size + CHUNK)
        for index in range(size // TILE_WIDTH, -(-end // TILE_WIDTH)):
            yield Tile(None, index, min(TILE_WIDTH, end - index * TILE_WIDTH))
        wanted: dict[Tile, tuple[bytes, ...]] = {}

        def note(tile: Tile, wanted: dict[Tile, tuple[bytes, ...]] = wanted) -> tuple[bytes, ...]:
            return wanted.setdefault(tile, (ZERO,) * tile.width)

        consistency_proof(end, new, lookup_in(note, new))
        yield from wanted
        size = end


def _metadata(role: str, version: int) -> str:
    return f"dir.{layout.metadata_path(role, version)}"

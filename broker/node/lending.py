"""Gives the hub leaves of this node's copy that it lacks: a log that was put back from a backup.

The hub asks for one file after the other in place of something to cosign. They are commitments that
every member may read; what the hub makes of them it has to prove to every witness again.
"""

import asyncio
from dataclasses import dataclass

from broker.log.errors import LogError
from broker.log.tiles import TILE_WIDTH, Tile, encode_bundle, parse_path
from broker.logs import get_logger
from broker.store.database import StoreError
from broker.store.tilefiles import CHECKPOINT, SEEN, TileFiles
from broker.transport.services import LEND, HubServices, Witnessing

_log = get_logger()


@dataclass(frozen=True)
class Lending:
    """What one node may give.

    Attributes:
        files: Its copy of the log.
    """

    files: TileFiles

    async def lend(self, hub: HubServices, asked: bytes, known: bytes) -> bytes:
        """Hand in what is asked for until something else is; return that.

        Args:
            hub: Who asks.
            asked: Its answer to `Witnessing.NEXT`, not trusted.
            known: What this node says there: the size that it cosigned last.

        Raises:
            BrokerError: The hub does not answer.
        """
        while asked.startswith(LEND):
            path = asked.removeprefix(LEND).removesuffix(b"\n")
            raw = await asyncio.to_thread(self.file, path.decode("ascii", "replace"))
            _log.info("leaves-lent", count=len(raw))
            await hub.witness(Witnessing.LEAVES, path + b"\n" + raw)
            asked = await hub.witness(Witnessing.NEXT, known)
        return asked

    def file(self, path: str) -> bytes:
        """Return a note of the copy, or a bundle of its leaves; empty if it has none of that name.

        Args:
            path: Not trusted.
        """
        if path in {CHECKPOINT, SEEN}:
            return self.files.raw(path) or b""
        try:
            tile = parse_path(path)
        except LogError:
            return b""
        if tile.level is not None:
            return b""
        for width in range(tile.width, TILE_WIDTH + 1):  # the copy may go on beyond
            try:
                entries = self.files.read(Tile(None, tile.index, width))
            except StoreError:
                continue
            return encode_bundle(entries[: tile.width])
        return b""

"""The chunks of files that desks hand over, each sealed under the node's storage key.

A chunk stands on the disk before anybody is told so, and never changes afterwards: so the whole
that was compared with its SHA-256 is the whole that goes.
"""

import asyncio
import hashlib
from dataclasses import dataclass, field
from uuid import UUID

from broker.node.errors import NodeError
from broker.node.vault import Vault
from broker.store.chunkfiles import ChunkFiles


@dataclass
class StagedChunks:
    """A folder of them, a shelf for each file."""

    vault: Vault
    files: ChunkFiles
    _here: dict[str, int] = field(default_factory=dict)  # Of this loop alone; the disk has it too.

    async def here(self, ident: UUID, count: int) -> int:
        """Return how many of a file's `count` chunks are here, from its first on."""
        shelf = str(ident)
        if shelf not in self._here:
            found = await asyncio.to_thread(self.files.first_missing, shelf, 0, count)
            self._here.setdefault(shelf, found)
        return self._here[shelf]

    async def keep(self, ident: UUID, index: int, raw: bytes) -> None:
        """Keep a chunk, durably; the same one again changes nothing.

        Raises:
            NodeError: `chunk-differs`.
            StoreError: `disk-full`; nothing was kept.
        """
        sealed = self.vault.seal(raw, name=_name(ident, index))
        if not await asyncio.to_thread(self.files.keep, str(ident), 0, index, sealed):
            await self.compare(ident, index, raw)  # no two are sealed to the same bytes

    def note(self, ident: UUID, index: int) -> None:
        """Note that a chunk is here, and all before it."""
        self._here[str(ident)] = max(index + 1, self._here.get(str(ident), 0))

    async def compare(self, ident: UUID, index: int, raw: bytes) -> None:
        """Return if this chunk is the one that is here.

        Raises:
            NodeError: `chunk-differs`, or `storage-damaged`.
        """
        if await self.chunk(ident, index) != raw:
            raise NodeError(
                "chunk-differs", "another chunk was handed over at this place", kind="conflict"
            )

    async def chunk(self, ident: UUID, index: int) -> bytes:
        """Return a chunk in clear.

        Raises:
            NodeError: `storage-damaged`.
        """
        return await asyncio.to_thread(self._plain, ident, index)

    async def digest(self, ident: UUID, count: int) -> bytes:
        """Return the SHA-256 of a file of `count` chunks.

        Raises:
            NodeError: `storage-damaged`.
        """
        return await asyncio.to_thread(self._digest, ident, count)

    async def remove(self, ident: UUID) -> None:
        """Remove a file. Safe to repeat."""
        self._here.pop(str(ident), None)
        await asyncio.to_thread(self.files.remove, str(ident))

    def _plain(self, ident: UUID, index: int) -> bytes:
        sealed = self.files.read(str(ident), 0, index)
        return self.vault.open(sealed or b"", name=_name(ident, index))

    def _digest(self, ident: UUID, count: int) -> bytes:
        whole = hashlib.sha256()
        for index in range(count):
            whole.update(self._plain(ident, index))
        return whole.digest()


def _name(ident: UUID, index: int) -> str:
    return f"attachment/{ident}/{index}"

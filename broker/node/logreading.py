"""Reads files of the log from the hub, which nobody trusts: every tile is proved by who asked."""

from dataclasses import dataclass
from typing import Final

from broker.log.errors import LogError
from broker.log.leaf import ZERO
from broker.log.merkle import consistency_proof, verify_consistency
from broker.log.tiles import TILE_WIDTH, Tile, lookup_in, parse_bundle, parse_hashes
from broker.store.tilefiles import over_name
from broker.transport.services import HubServices

MAX_NOTE_BYTES: Final = 1_000_000
MAX_TILE_BYTES: Final = TILE_WIDTH * 65_537
MISSING: Final = "tile-missing"


@dataclass(frozen=True)
class LogReading:
    """The log as one hub shows it now."""

    hub: HubServices

    async def note(self, name: str, *, known: bytes = b"") -> bytes | None:
        """Return a note, or None if there is none.

        Args:
            name: Of the note.
            known: The one that was read last: with the signatures of all witnesses it is long.

        Raises:
            BrokerError: The hub does not answer.
        """
        return await self.hub.log_file(name, max_bytes=MAX_NOTE_BYTES, known=known)

    async def note_over(self, number: int) -> bytes | None:
        """Return the oldest note that the hub keeps over leaf `number`, or None if it has none.

        Raises:
            BrokerError: The hub does not answer.
        """
        return await self.note(over_name(number))

    async def tile(self, tile: Tile) -> bytes:
        """Return a tile.

        Raises:
            BrokerError: The hub does not answer.
            LogError: `tile-missing`: it does not show it; it may later.
        """
        raw = await self.hub.log_file(tile.path, max_bytes=MAX_TILE_BYTES)
        if raw is None and tile.width < TILE_WIDTH:  # the full one may have taken its place
            whole = await self.hub.log_file(
                Tile(tile.level, tile.index).path, max_bytes=MAX_TILE_BYTES
            )
            if whole is not None:
                return _cut(whole, tile)
        if raw is None:
            raise LogError(MISSING, f"the hub does not show {tile.path}", retry="later")
        return raw

    async def entries(self, index: int, width: int) -> tuple[bytes, ...]:
        """Return the first `width` entries of a bundle.

        Raises:
            LogError: As `tile`, or it is none.
        """
        return parse_bundle(await self.tile(Tile(None, index, width)), width)

    async def check_grown(self, old: int, old_root: bytes, new: int, new_root: bytes) -> None:
        """Return if a tree of `new` leaves begins with that of `old`, by the hub's own tiles.

        Raises:
            LogError: `consistency-failed`, `tile-missing`, or a tile is none.
        """
        if not old:
            return
        wanted: dict[Tile, tuple[bytes, ...]] = {}

        def note(tile: Tile) -> tuple[bytes, ...]:
            return wanted.setdefault(tile, (ZERO,) * tile.width)

        consistency_proof(old, new, lookup_in(note, new))
        for tile in wanted:
            wanted[tile] = parse_hashes(await self.tile(tile), tile.width)
        proof = consistency_proof(old, new, lookup_in(note, new))
        verify_consistency(old=old, new=new, proof=proof, old_root=old_root, new_root=new_root)


def _cut(whole: bytes, tile: Tile) -> bytes:
    if tile.level is not None:
        return whole[: tile.width * len(ZERO)]
    place = 0
    for _ in range(tile.width):
        place += 2 + int.from_bytes(whole[place : place + 2], "big")
    return whole[:place]

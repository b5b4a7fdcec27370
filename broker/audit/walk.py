"""A log from its first leaf to its last, as far as a bundle has it, a bundle of entries at a time.

Where a part is missing, its root is taken out of a tile above it, so that the rest can still be
held against the signed root: a pruned log, and an export since a checkpoint, are such logs.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from broker.audit.bundle import Bundle
from broker.audit.findings import Places
from broker.log.errors import LogError
from broker.log.tiles import HASH_BYTES, TILE_WIDTH, Tile, parse_bundle, parse_hashes

_LENGTH: Final = struct.Struct(">H")


@dataclass(frozen=True)
class Part:
    """At most 256 leaves that stand together.

    Attributes:
        first: Index of the first.
        width: How many.
        entries: Their bundle, well-formed; None: not there, or not asked for.
        hashes: Their tile of level 0, of any length; None if it is not there.
    """

    first: int
    width: int
    entries: bytes | None
    hashes: bytes | None


@dataclass(frozen=True)
class Gap:
    """Leaves of which nothing is there.

    Attributes:
        first: Index of the first.
        width: How many: a power of 256; zero where nobody can say what comes.
        level: Of the tile that names them.
        root: What that tile names; to be believed once the whole leads to a signed root.
    """

    first: int
    width: int = 0
    level: int = 0
    root: bytes = b""


@dataclass
class Walk:
    """Reads a tree of `size` leaves. Takes no more steps than there are files and hashes in them.

    Attributes:
        size: As the checkpoint says; not trusted, so it may be absurd.
        tiles_only: Do not read entries.
        missing: Bundles of entries, or with `tiles_only` tiles, that are not there.
        damaged: Those that hold something else.
        read: Leaves of which the entries are there.
        unread: Leaves in gaps.
        unread_below: Where the last gap ends.
    """

    bundle: Bundle
    size: int
    tiles_only: bool = False
    missing: Places = field(default_factory=Places)
    damaged: Places = field(default_factory=Places)
    read: int = 0
    unread: int = 0
    unread_below: int = 0

    def steps(self) -> Iterator[Part | Gap]:
        """Yield the leaves in their order; a gap of width zero is the last."""
        place = 0
        while place < self.size:
            step = self._part(place) or self._gap(place)
            if isinstance(step, Gap):
                self.unread += step.width
                self.unread_below = place + step.width
            elif step.entries is not None:
                self.read += step.width
            yield step
            if not step.width:
                return
            place += step.width

    def _part(self, place: int) -> Part | None:
        index, width = place // TILE_WIDTH, min(TILE_WIDTH, self.size - place)
        tile = Tile(0, index, width)
        hashes = read_tile(self.bundle, tile)
        entries = None if self.tiles_only else self._entries(Tile(None, index, width))
        sound = hashes is not None and len(hashes) == width * HASH_BYTES
        if entries is None and not sound:
            if self.tiles_only:
                (self.missing if hashes is None else self.damaged).add(tile.path)
            return None
        return Part(place, width, entries, hashes)

    def _entries(self, tile: Tile) -> bytes | None:
        raw = read_tile(self.bundle, tile)
        if raw is None:
            self.missing.add(tile.path)
            return None
        try:
            parse_bundle(raw, tile.width)
        except LogError:
            self.damaged.add(tile.path)
            return None
        return raw

    def _gap(self, place: int) -> Gap:
        """Return the largest subtree that begins here and that a tile names."""
        level, width = 1, TILE_WIDTH
        while place % width == 0 and place + width <= self.size:
            index, offset = divmod(place // width, TILE_WIDTH)
            tile = Tile(level, index, min(TILE_WIDTH, self.size // width - index * TILE_WIDTH))
            raw = read_tile(self.bundle, tile)
            if raw is not None and len(raw) == tile.width * HASH_BYTES:
                return Gap(place, width, level, parse_hashes(raw, tile.width)[offset])
            level, width = level + 1, width * TILE_WIDTH
        return Gap(place)


def read_tile(bundle: Bundle, tile: Tile) -> bytes | None:
    """Return a tile or bundle; a partial one out of a wider one, if only such is there.

    A log may delete a partial tile as soon as the full one is there (tlog-tiles).
    """
    raw = bundle.read(tile.path)
    if raw is not None or tile.width == TILE_WIDTH:
        return raw
    full = Tile(tile.level, tile.index).path
    widths = [int(name) for name in bundle.names(f"{full}.p") if name.isascii() and name.isdigit()]
    for width in sorted({TILE_WIDTH, *(each for each in widths if each < TILE_WIDTH)}):
        if width > tile.width:
            raw = bundle.read(Tile(tile.level, tile.index, width).path)
            if raw is not None:
                return _first_of(raw, tile)
    return None


def _first_of(raw: bytes, tile: Tile) -> bytes:
    if tile.level is not None:
        return raw[: tile.width * HASH_BYTES]
    place = 0
    for _ in range(tile.width):
        place += _LENGTH.size + int.from_bytes(raw[place : place + _LENGTH.size], "big")
    return raw[:place]

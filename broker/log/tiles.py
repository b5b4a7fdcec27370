"""Tiles: the tree and its entries cut into files that never change. Source: C2SP tlog-tiles.

    tile/<level>/<n>[.p/<width>]     hashes of one level, 32 bytes each, 256 in a full tile
    tile/entries/<n>[.p/<width>]     u16 length || entry, 256 in a full bundle

Level 0 holds leaf hashes; a hash of level l + 1 is the root of a full tile of level l.
"""

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from broker.log.errors import LogError
from broker.log.merkle import NodeLookup, check_size, node_hash

TILE_WIDTH: Final = 256
TILE_BITS: Final = 8
HASH_BYTES: Final = 32
MAX_ENTRY_BYTES: Final = 65_535
MAX_LEVEL: Final = 63
MAX_BUNDLE_BYTES: Final = TILE_WIDTH * (MAX_ENTRY_BYTES + 2)
_GROUP: Final = 1000
_LENGTH: Final = struct.Struct(">H")
_PATH: Final = re.compile(
    r"tile/(?P<level>entries|0|[1-9][0-9]?)/(?P<n>(?:x[0-9]{3}/){0,6}[0-9]{3})"
    r"(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)


@dataclass(frozen=True, order=True)
class Tile:
    """One file.

    Attributes:
        level: Of hashes, from 0; None for a bundle of entries.
        index: From 0, along the level.
        width: How much it holds: 256 if full, never 0.
    """

    level: int | None
    index: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        """Refuse what has no path."""
        level = self.level or 0
        if not (0 <= level <= MAX_LEVEL and self.index >= 0 and 0 < self.width <= TILE_WIDTH):
            raise LogError("bad-tile", "there is no such tile")

    @property
    def path(self) -> str:
        """Path below the log's prefix, without a leading slash."""
        groups = [f"{self.index % _GROUP:03}"]
        rest = self.index // _GROUP
        while rest:
            groups.append(f"x{rest % _GROUP:03}")
            rest //= _GROUP
        level = "entries" if self.level is None else str(self.level)
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{level}/{'/'.join(reversed(groups))}{partial}"


def parse_path(path: str) -> Tile:
    """Return the tile that `path` names.

    Raises:
        LogError: `bad-tile`: it names none, or not in the one way.
    """
    found = _PATH.fullmatch(path)
    if found is None:
        raise LogError("bad-tile", "no path of a tile")
    level = None if found["level"] == "entries" else int(found["level"])
    index = int(re.sub("[x/]", "", found["n"]))
    tile = Tile(level, index, int(found["width"] or TILE_WIDTH))
    if tile.path != path:
        raise LogError("bad-tile", "no path of a tile")
    return tile


def tiles_of(size: int) -> Iterator[Tile]:
    """Yield every tile of hashes of a tree, level by level, the partial one of a level last."""
    check_size(size)
    level, count = 0, size
    while count:
        full, rest = divmod(count, TILE_WIDTH)
        for index in range(full):
            yield Tile(level, index)
        if rest:
            yield Tile(level, full, rest)
        level, count = level + 1, full


def bundles_of(size: int) -> Iterator[Tile]:
    """Yield every bundle of entries of a tree of `size` leaves."""
    check_size(size)
    full, rest = divmod(size, TILE_WIDTH)
    for index in range(full):
        yield Tile(None, index)
    if rest:
        yield Tile(None, full, rest)


def parse_hashes(raw: bytes, width: int) -> tuple[bytes, ...]:
    """Return the hashes in a tile.

    Raises:
        LogError: `bad-tile`: it has another width.
    """
    if len(raw) != width * HASH_BYTES:
        raise LogError("bad-tile", f"a tile of {width} hashes has {width * HASH_BYTES} bytes")
    return tuple(raw[i : i + HASH_BYTES] for i in range(0, len(raw), HASH_BYTES))


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Return the entries as they stand in a bundle.

    Raises:
        LogError: `bad-entry`: one is longer than 65,535 bytes.
    """
    if any(len(entry) > MAX_ENTRY_BYTES for entry in entries):
        raise LogError("bad-entry", f"an entry has at most {MAX_ENTRY_BYTES} bytes")
    return b"".join(_LENGTH.pack(len(entry)) + entry for entry in entries)


def parse_bundle(raw: bytes, width: int) -> tuple[bytes, ...]:
    """Return the entries of a bundle.

    Raises:
        LogError: `bad-bundle`: it does not hold exactly `width` entries.
    """
    entries: list[bytes] = []
    place = 0
    while place < len(raw) and len(entries) < width:
        start = place + _LENGTH.size
        place = start + int.from_bytes(raw[place:start], "big")
        entries.append(raw[start:place])
    if place != len(raw) or len(entries) != width:
        raise LogError("bad-bundle", f"a bundle that does not hold {width} entries")
    return tuple(entries)


def tile_root(hashes: Sequence[bytes]) -> bytes:
    """Return the root of a full tile: one hash of the level above."""
    if len(hashes) != TILE_WIDTH:
        raise LogError("bad-tile", "only a full tile has a hash above it")
    row = list(hashes)
    while len(row) > 1:
        row = [node_hash(left, right) for left, right in zip(row[::2], row[1::2], strict=True)]
    return row[0]


def lookup_in(read: Callable[[Tile], Sequence[bytes]], size: int) -> NodeLookup:
    """Return a lookup of any perfect subtree of a tree of `size` leaves.

    Args:
        read: The hashes of a tile; asked only for tiles of this tree.
        size: Of the tree; partial tiles are asked for in its widths.
    """
    check_size(size)

    def lookup(level: int, index: int) -> bytes:
        tile_level, height = divmod(level, TILE_BITS)
        first = index << height
        at, offset = divmod(first, TILE_WIDTH)
        count = size >> (TILE_BITS * tile_level)
        row = list(read(Tile(tile_level, at, min(TILE_WIDTH, count - at * TILE_WIDTH))))
        row = row[offset : offset + (1 << height)]
        if len(row) != 1 << height:
            raise LogError("bad-tile", "the tree has no such node")
        while len(row) > 1:
            row = [node_hash(left, right) for left, right in zip(row[::2], row[1::2], strict=True)]
        return row[0]

    return lookup

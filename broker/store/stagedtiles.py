"""Holds a staged growth against the root that was signed, before any file of it is shown.

What is shown never changes. A file that the disk damaged between writing and showing must not
become one of those, nor may the log forget where it read what such a file holds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from broker.log.errors import LogError
from broker.log.merkle import leaf_hash, tree_root
from broker.log.tiles import TILE_WIDTH, Tile, lookup_in, parse_path, tile_root
from broker.store.database import StoreError
from broker.store.tilefiles import NOTES, TileFiles

_BITS: Final = TILE_WIDTH.bit_length() - 1  # of a tile's height


def check_staged(files: TileFiles, size: int, root: bytes) -> None:
    """Return if what is staged for `size` leaves, over what is shown, is of the tree under `root`.

    Part of it may be shown already: a growth that was interrupted once more.

    Args:
        files: What is shown, and what is staged.
        size: Of the tree that was signed.
        root: Likewise; verified.

    Raises:
        StoreError: `tile-missing` or `tile-damaged`.
    """
    if not size:
        return
    over = _Over(files, TileFiles(files.staged(size)), size)
    try:
        if tree_root(size, lookup_in(over.read, size)) != root:
            raise _damaged("the tree")
        for tile in over.staged():
            over.check(tile)
    except LogError as error:
        raise StoreError("tile-damaged", f"what is staged: {error}") from error


@dataclass(frozen=True)
class _Over:
    """What would be in sight."""

    shown: TileFiles
    aside: TileFiles
    size: int

    def read(self, tile: Tile) -> tuple[bytes, ...]:
        staged = (self.aside.folder / tile.path).is_file()
        return (self.aside if staged else self.shown).read(tile)

    def staged(self) -> Iterator[Tile]:
        folder = self.aside.folder
        for path in folder.rglob("*") if folder.is_dir() else ():
            if path.is_file() and path.name != NOTES:
                yield parse_path(path.relative_to(folder).as_posix())

    def check(self, tile: Tile) -> None:
        """Return if the tile is what the tree has there; the right edge is under the root."""
        if tile != self._tile(tile.level, tile.index):
            raise _damaged(tile.path)
        row = self.read(tile)
        if not tile.level:  # a bundle, or the hashes of one
            entries = self.read(Tile(None, tile.index, tile.width))
            hashes = self.read(Tile(0, tile.index, tile.width))
            if tuple(map(leaf_hash, entries)) != hashes:
                raise _damaged(tile.path)
        if tile.level is not None and tile.width == TILE_WIDTH:
            above = self._tile(tile.level + 1, tile.index // TILE_WIDTH)
            if tile_root(row) != self.read(above)[tile.index % TILE_WIDTH]:
                raise _damaged(tile.path)

    def _tile(self, level: int | None, index: int) -> Tile:
        """Return the tile that the tree has there.

        Raises:
            LogError: `bad-tile`: it has none.
        """
        count = self.size >> _BITS * (level or 0)
        return Tile(level, index, min(TILE_WIDTH, count - index * TILE_WIDTH))


def _damaged(what: str) -> StoreError:
    return StoreError("tile-damaged", f"{what} is not what was signed")

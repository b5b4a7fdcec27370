"""Keeps the last checkpoint that was cosigned before the log speaks of another directory.

A directory may say that a key is stolen. What the key's owner had signed before is believed where
witnesses said in time that it was in the log; the later their last word before the revocation
is, the more of it can be proved. Between two such moments one checkpoint an hour is kept.
"""

from broker.log.checkpoint import parse_checkpoint
from broker.log.leaf import KIND_AT, LeafKind
from broker.log.note import parse_note
from broker.log.tiles import TILE_WIDTH, Tile
from broker.store.tilefiles import COSIGNED, TileFiles, older_name


def keep_before_directory(files: TileFiles, size: int) -> None:
    """Keep the cosigned note that is shown, if a directory's leaf stands between it and `size`.

    Args:
        files: The published log.
        size: Of the tree whose note is shown next.

    Raises:
        StoreError: A tile is missing or damaged, or the disk takes no more.
        LogError: The note that is shown is none.
    """
    shown = files.raw(COSIGNED)
    if shown is None:
        return
    before = parse_checkpoint(parse_note(shown).text).size
    if _speaks_of_directory(files, before, size):
        files.publish_note(older_name(before), shown)


def _speaks_of_directory(files: TileFiles, start: int, end: int) -> bool:
    for index in range(start // TILE_WIDTH, -(-end // TILE_WIDTH)):
        first = index * TILE_WIDTH
        entries = files.read(Tile(None, index, min(TILE_WIDTH, end - first)))
        added = entries[max(0, start - first) :]
        if any(entry[KIND_AT : KIND_AT + 1] == bytes([LeafKind.DIRECTORY]) for entry in added):
            return True
    return False

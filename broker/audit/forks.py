"""Two histories of one log as a bundle of its own: whoever verifies it ends with 4, as we did.

checkpoint            the newest, as the log signed it
checkpoints/<size>    the other, which no tree under the newest begins with
tile/...              of the newest tree, as much as gives its root at both sizes

Two signed roots of one size need no tiles. Of two sizes, the notes alone prove nothing to anybody
who does not have the leaves, so the tiles in which the smaller size ends go with them: at each
level one, and one at the end of the whole.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from broker.audit.bundle import CHECKPOINT, OLDER, Bundle
from broker.audit.findings import Findings
from broker.audit.openings import Entries
from broker.audit.tree import Tree
from broker.audit.walk import Walk, read_tile
from broker.log.checkpoint import Checkpoint, parse_checkpoint
from broker.log.errors import LogError
from broker.log.merkle import leaf_hash
from broker.log.note import parse_note
from broker.log.tiles import TILE_BITS, TILE_WIDTH, Tile
from keys.primitives.hashing import sha256

MAX_SHOWN: Final = 16  # forks whose tiles are held: one proves as much as all
_NAME_CHARS: Final = 16


@dataclass(frozen=True)
class Fork:
    """Two notes that the log signed, and that cannot both be true.

    Attributes:
        path: Where the other was found.
        tiles: By their paths; what shows it to whoever does not have the leaves.
        shown: Whether these files alone show it.
    """

    path: str
    newest: bytes = field(repr=False)
    other: bytes = field(repr=False)
    tiles: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    shown: bool = False

    @property
    def name(self) -> str:
        """A name that these two notes have and no others."""
        return f"fork-{sha256(sha256(self.newest), sha256(self.other)).hex()[:_NAME_CHARS]}"

    def files(self) -> dict[str, bytes]:
        """Return the bundle."""
        other = f"{OLDER}/{_checkpoint(self.other).size}"
        return {CHECKPOINT: self.newest, other: self.other, **self.tiles}


def with_tiles(forks: Sequence[Fork], bundle: Bundle) -> list[Fork]:
    """Return the forks, the first of them with what shows them, as far as `bundle` has it."""
    return [_with_tiles(each, bundle) for each in forks[:MAX_SHOWN]] + list(forks[MAX_SHOWN:])


def _with_tiles(fork: Fork, bundle: Bundle) -> Fork:
    newest, other = _checkpoint(fork.newest), _checkpoint(fork.other)
    if newest.size == other.size:
        return replace(fork, shown=True)
    tiles: dict[str, bytes] = {}
    for tile in _edges(newest.size, other.size):
        raw = read_tile(bundle, tile) if tile.level else _hashes(bundle, tile, newest.size)
        if raw is not None:
            tiles[tile.path] = raw
    made = replace(fork, tiles=tiles)
    return replace(made, shown=_shows(made.files(), newest, other))


def _edges(size: int, older: int) -> Iterator[Tile]:
    """Yield the tiles of a tree of `size` in which the first `older` leaves, or all, end."""
    level = 0
    while count := size >> (TILE_BITS * level):
        at = {older >> (TILE_BITS * (level + 1)), (count - 1) // TILE_WIDTH}
        for index in sorted(at):
            if index * TILE_WIDTH < count:
                yield Tile(level, index, min(TILE_WIDTH, count - index * TILE_WIDTH))
        level += 1


def _hashes(bundle: Bundle, tile: Tile, size: int) -> bytes | None:
    """Return a tile of level 0: out of its entries, which were hashed again, if they are there."""
    entries, first = Entries(bundle, size), tile.index * TILE_WIDTH
    try:
        found = [entries.at(first + offset) for offset in range(tile.width)]
    except LogError:
        found = [None]
    hashes = [leaf_hash(entry) for entry in found if entry is not None]
    return b"".join(hashes) if len(hashes) == tile.width else read_tile(bundle, tile)


def _shows(files: Mapping[str, bytes], newest: Checkpoint, other: Checkpoint) -> bool:
    """Whether the files lead to the newest root, and to another one than the other's on the way."""
    walk = Walk(_Held(files), newest.size, tiles_only=True)
    tree = Tree(walk, (other.size,))
    for step in walk.steps():
        tree.take(step, None)
    leads = tree.finish(Findings(), newest.root)
    return leads and tree.roots.get(other.size) not in {None, other.root}


def _checkpoint(note: bytes) -> Checkpoint:
    return parse_checkpoint(parse_note(note).text)


@dataclass(frozen=True)
class _Held:
    """A bundle in memory."""

    files: Mapping[str, bytes]

    def read(self, path: str) -> bytes | None:
        return self.files.get(path)

    def names(self, folder: str) -> list[str]:
        return sorted(
            path.removeprefix(f"{folder}/") for path in self.files if path.startswith(f"{folder}/")
        )

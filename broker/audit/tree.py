"""The tree of a bundle, computed again from what lies in it, a step at a time.

Held at any moment: one root for every bit of the size, one unfinished tile for every level, and
the roots of the older sizes that were asked for.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from broker.audit.findings import Exit, Findings, Places
from broker.audit.leafread import LeavesRead
from broker.audit.walk import Gap, Part, Walk, read_tile
from broker.log.merkle import EMPTY_ROOT, Frontier, node_hash
from broker.log.tiles import HASH_BYTES, TILE_BITS, TILE_WIDTH, Tile, tile_root

ENTRIES: Final = "entries"
ROOT: Final = "root"
TILES: Final = "tiles"


@dataclass
class Tree:
    """Grows with each step, and compares every tile with what it should be.

    Attributes:
        walk: Whose steps these are.
        asked: Sizes of which the root is wanted on the way.
        roots: Those roots, where nothing was missing in their midst.
    """

    walk: Walk
    asked: Collection[int] = ()
    roots: dict[int, bytes] = field(default_factory=dict)
    size: int = 0
    _peaks: list[tuple[int, bytes]] = field(default_factory=list)
    _rows: dict[int, list[bytes]] = field(default_factory=dict)
    _wrong: Places = field(default_factory=Places)
    _missing: Places = field(default_factory=Places)
    _compared: int = 0

    def __post_init__(self) -> None:
        """Put the sizes in the order in which they come by."""
        self._wanted = sorted(set(self.asked), reverse=True)
        self._note_roots(())

    def take(self, step: Part | Gap, read: LeavesRead | None) -> None:
        """Grow by a step: by its entries, else by its tile, else by what a tile says above it."""
        if isinstance(step, Gap):
            if step.width:
                self._push(step.level, step.root)
                self._note_roots(())
            return
        hashes = _split(step.hashes or b"") if read is None else read.hashes
        self._compare(Tile(0, step.first // TILE_WIDTH, step.width), hashes, step.hashes)
        self._note_roots(hashes)
        if len(hashes) == TILE_WIDTH:
            self._push(1, read.root if read is not None and read.root else tile_root(hashes))
        else:
            for each in hashes:
                self._grow(0, each)

    def finish(self, findings: Findings, root: bytes, *, kept: int | None = None) -> bool:
        """Say what was found, and return whether all that was read leads to the signed root.

        Args:
            findings: Where to say it.
            root: What the checkpoint says.
            kept: Size of a checkpoint that the auditor verified before; what is missing below it
                need not be hashed again.
        """
        for level, row in sorted(self._rows.items()):
            if row:
                self._tile(level, row)
        self._say_entries(findings, kept)
        whole = self.size == self.walk.size
        computed = Frontier(self.size, tuple(peak for _, peak in self._peaks)).root()
        if not whole:
            said = f"cannot be computed: leaves from {self.size} on are missing"
            findings.failed(ROOT, said, Exit.UNMET)
        elif computed == root:
            findings.passed(ROOT, f"computed from {self.size} leaves: {root.hex()}")
        else:
            findings.failed(ROOT, f"computed {computed.hex()}, signed {root.hex()}")
        if self._wrong.count:
            findings.failed(TILES, f"{self._wrong.count} differ: {self._wrong.shown}")
        if self._missing.count:
            said = f"{self._missing.count} missing: {self._missing.shown}"
            findings.failed(TILES, said, Exit.UNMET)
        if not self._wrong.count and not self._missing.count:
            findings.passed(TILES, f"{self._compared} compared with what the leaves make of them")
        return whole and computed == root

    def _say_entries(self, findings: Findings, kept: int | None) -> None:
        walk = self.walk
        check = TILES if walk.tiles_only else ENTRIES
        if walk.tiles_only:
            findings.skipped(ENTRIES, "not read: tiles only")
        if walk.damaged.count:
            said = f"{walk.damaged.count} hold something else: {walk.damaged.shown}"
            findings.failed(check, said)
        if walk.missing.count and kept is not None and 0 < walk.unread_below <= kept:
            said = (
                f"{walk.unread} of the {kept} leaves under the checkpoint that you kept are not in"
                " this bundle, so they were not hashed again"
            )
            findings.skipped(check, said, Exit.UNMET)
        elif walk.missing.count:
            said = f"{walk.missing.count} missing: {walk.missing.shown}"
            findings.failed(check, said, Exit.UNMET)
        if not walk.tiles_only and (walk.read or not walk.size):
            findings.passed(ENTRIES, f"{walk.read} of {walk.size} hashed again")

    def _note_roots(self, hashes: Sequence[bytes]) -> None:
        """Note the roots of the sizes asked for, up to these leaf hashes, which come next."""
        end = self.size + len(hashes)
        while self._wanted and self._wanted[-1] <= end:
            size = self._wanted.pop()
            if size == 0:
                self.roots[0] = EMPTY_ROOT
            elif size >= self.size:  # else it lay within a gap
                grown = Frontier(self.size, tuple(peak for _, peak in self._peaks))
                self.roots[size] = grown.append(hashes[: size - self.size]).root()

    def _push(self, level: int, root: bytes) -> None:
        """Grow by a full tile of the level below `level`, and fill the row of tiles above it."""
        self._grow(level * TILE_BITS, root)
        row = self._rows.setdefault(level, [])
        row.append(root)
        while len(row) == TILE_WIDTH:
            self._tile(level, row)
            above = tile_root(row)
            row.clear()
            level += 1
            row = self._rows.setdefault(level, [])
            row.append(above)

    def _grow(self, height: int, root: bytes) -> None:
        self.size += 1 << height
        while self._peaks and self._peaks[-1][0] == height:
            root = node_hash(self._peaks.pop()[1], root)
            height += 1
        self._peaks.append((height, root))

    def _tile(self, level: int, row: Sequence[bytes]) -> None:
        index = ((self.size >> (TILE_BITS * level)) - 1) // TILE_WIDTH
        tile = Tile(level, index, len(row))
        self._compare(tile, row, read_tile(self.walk.bundle, tile))

    def _compare(self, tile: Tile, hashes: Sequence[bytes], raw: bytes | None) -> None:
        self._compared += 1
        if raw is None:
            self._missing.add(tile.path)
        elif raw != b"".join(hashes):
            self._wrong.add(tile.path)


def _split(raw: bytes) -> tuple[bytes, ...]:
    return tuple(raw[at : at + HASH_BYTES] for at in range(0, len(raw), HASH_BYTES))

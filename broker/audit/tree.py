"""The tree of a bundle, computed again from what lies in it."""

from collections.abc import Callable, Iterable, Sequence

from broker.audit.bundle import Bundle
from broker.audit.findings import Exit, Findings
from broker.log.errors import LogError
from broker.log.tiles import (
    TILE_WIDTH,
    Tile,
    bundles_of,
    parse_bundle,
    parse_hashes,
    tile_root,
    tiles_of,
)


def read_entries(findings: Findings, bundle: Bundle, size: int) -> list[bytes] | None:
    """Return exactly `size` entries, or say what is wrong with them."""
    found = _read(findings, bundle, bundles_of(size), parse_bundle, "entries")
    if found is not None:
        findings.passed("entries", f"{size} in {-(-size // TILE_WIDTH)} bundles")
    return found


def read_leaf_hashes(findings: Findings, bundle: Bundle, size: int) -> list[bytes] | None:
    """Return exactly `size` leaf hashes out of the tiles of level 0, or say what is wrong."""
    lowest = (tile for tile in tiles_of(size) if tile.level == 0)
    return _read(findings, bundle, lowest, parse_hashes, "tiles")


def check_tiles(findings: Findings, bundle: Bundle, leaf_hashes: Sequence[bytes]) -> None:
    """Compare every tile of every level with what the leaves make of it."""
    row, level, count = list(leaf_hashes), 0, 0
    wrong: list[str] = []
    missing: list[str] = []
    for tile in tiles_of(len(leaf_hashes)):
        if tile.level != level:
            full = len(row) - len(row) % TILE_WIDTH
            row = [tile_root(row[i : i + TILE_WIDTH]) for i in range(0, full, TILE_WIDTH)]
            level = tile.level or 0
        first = tile.index * TILE_WIDTH
        raw = bundle.read(tile.path)
        if raw is None:
            missing.append(tile.path)
        elif raw != b"".join(row[first : first + tile.width]):
            wrong.append(tile.path)
        count += 1
    if wrong:
        findings.failed("tiles", f"{len(wrong)} differ, first {wrong[0]}")
    if missing:
        findings.failed("tiles", f"{len(missing)} missing, first {missing[0]}", Exit.UNMET)
    if not wrong and not missing:
        findings.passed("tiles", f"{count} hashed again")


def _read(
    findings: Findings,
    bundle: Bundle,
    tiles: Iterable[Tile],
    parse: Callable[[bytes, int], tuple[bytes, ...]],
    check: str,
) -> list[bytes] | None:
    found: list[bytes] = []
    for tile in tiles:
        raw = bundle.read(tile.path)
        if raw is None:
            findings.failed(check, f"{tile.path} is missing", Exit.UNMET)
            return None
        try:
            found += parse(raw, tile.width)
        except LogError as error:
            findings.failed(check, f"{tile.path}: {error}")
            return None
    return found

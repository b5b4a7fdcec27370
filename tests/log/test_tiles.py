"""Tiles: one path each, one content each, and every node of the tree found in them."""

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.log.errors import LogError
from broker.log.merkle import (
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from broker.log.tiles import (
    MAX_ENTRY_BYTES,
    Tile,
    bundles_of,
    encode_bundle,
    lookup_in,
    parse_bundle,
    parse_hashes,
    parse_path,
    tile_root,
    tiles_of,
)

PATHS = {
    "tile/0/000": Tile(0, 0),
    "tile/3/x001/x234/067": Tile(3, 1234067),
    "tile/0/x001/000.p/1": Tile(0, 1000, 1),
    "tile/entries/999.p/255": Tile(None, 999, 255),
    "tile/63/005": Tile(63, 5),
}


def read_of(count: int) -> dict[Tile, tuple[bytes, ...]]:
    """Every tile of a tree of `count` leaves, made the long way."""
    row = [leaf_hash(b"%d" % number) for number in range(count)]
    made: dict[Tile, tuple[bytes, ...]] = {}
    for tile in tiles_of(count):
        assert tile.level is not None
        if tile.level and tile.index == 0:
            row = [tile_root(row[i : i + 256]) for i in range(0, len(row) - 255, 256)]
        first = tile.index * 256
        made[tile] = tuple(row[first : first + tile.width])
    return made


@pytest.mark.parametrize("path", PATHS)
def test_a_path_and_its_tile(path: str) -> None:
    assert PATHS[path].path == path
    assert parse_path(path) == PATHS[path]


@pytest.mark.parametrize(
    "path",
    [
        "", "/tile/0/000", "tile/0/000/", "tile/0/0", "tile/00/000", "tile/64/000", "tile/-1/000",
        "tile/0/x000/001", "tile/0/001/000", "tile/0/000.p/0", "tile/0/000.p/256",
        "tile/0/000.p/999", "tile/0/0.p/01", "tile/0/../000", "tile/0/000\n", "checkpoint",
    ],
)  # fmt: skip
def test_another_path_is_refused(path: str) -> None:
    with pytest.raises(LogError):
        parse_path(path)


@given(st.text("tile/0x1.pentries23456789", max_size=40))
def test_any_path_is_read_or_refused(path: str) -> None:
    try:
        tile = parse_path(path)
    except LogError:
        return
    assert tile.path == path
    assert re.fullmatch(r"[a-z0-9/.]+", path)


def test_which_tiles_a_tree_has() -> None:
    assert list(tiles_of(0)) == []
    assert list(tiles_of(256)) == [Tile(0, 0), Tile(1, 0, 1)]
    found = list(tiles_of(70_000))
    assert [tile for tile in found if tile.level == 0] == [
        *(Tile(0, index) for index in range(273)),
        Tile(0, 273, 112),
    ]
    assert found[274:] == [Tile(1, 0), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert list(bundles_of(257)) == [Tile(None, 0), Tile(None, 1, 1)]


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 600, 65_536 + 300])
def test_every_proof_comes_out_of_tiles(size: int) -> None:
    tiles = read_of(size)

    def read(tile: Tile) -> Sequence[bytes]:
        return tiles[tile]

    lookup = lookup_in(read, size)
    leaves = [leaf_hash(b"%d" % number) for number in range(size)]
    root = tree_root(size, lookup)
    assert root == Frontier().append(leaves).root()
    for index in {0, size // 3, size - 1}:
        proof = inclusion_proof(index, size, lookup)
        verify_inclusion(leaf=leaves[index], index=index, size=size, proof=proof, root=root)
    for old in {1, size // 2, size - 1} - {0, size}:
        old_root = Frontier().append(leaves[:old]).root()
        proof = consistency_proof(old, size, lookup)
        verify_consistency(old=old, new=size, old_root=old_root, new_root=root, proof=proof)
    with pytest.raises((LogError, KeyError)):
        lookup(0, size)


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=256))
def test_a_bundle_reads_as_it_was_written(entries: list[bytes]) -> None:
    raw = encode_bundle(entries)
    assert parse_bundle(raw, len(entries)) == tuple(entries)
    for wrong in (raw + b"\0", raw[:-1]):
        with pytest.raises(LogError):
            parse_bundle(wrong, len(entries))
    with pytest.raises(LogError):
        parse_bundle(raw, len(entries) + 1)


@given(st.binary(max_size=200), st.integers(1, 256))
def test_any_bytes_are_a_bundle_or_refused(raw: bytes, width: int) -> None:
    try:
        entries = parse_bundle(raw, width)
    except LogError:
        return
    assert encode_bundle(entries) == raw


def test_what_is_out_of_bounds_is_refused() -> None:
    with pytest.raises(LogError):
        encode_bundle([bytes(MAX_ENTRY_BYTES + 1)])
    with pytest.raises(LogError):
        parse_hashes(bytes(33), 1)
    with pytest.raises(LogError):
        tile_root([bytes(32)] * 255)
    for level, index, width in ((64, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, 257), (-1, 0, 1)):
        with pytest.raises(LogError):
            Tile(level, index, width)

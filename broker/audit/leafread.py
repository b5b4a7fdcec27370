"""What one process does with bundles of entries: hash, read, check signatures. No state, no I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from broker.log.errors import LogError
from broker.log.leaf import ZERO, parse_leaf, signed_bytes
from broker.log.merkle import leaf_hash
from broker.log.tiles import TILE_WIDTH, parse_bundle, tile_root
from keys.errors import SignatureError
from keys.primitives.signing import VerifyKey

Said: TypeAlias = tuple[int, int, int, str, int, int]
"""Of one leaf: index, kind, time_s, gateway, boot, seq. Plain, so that it travels quickly."""


@dataclass(frozen=True)
class LeavesRead:
    """What stands in one bundle.

    Attributes:
        hashes: Of all entries.
        root: Of those, if they are a full tile.
        said: Of all entries that are leaves.
        bad: Indices of those that are none.
        forged: Indices of leaves that no known gateway signed.
        refs: Indices of leaves that refer to another.
    """

    hashes: tuple[bytes, ...]
    root: bytes
    said: list[Said]
    bad: list[int]
    forged: list[int]
    refs: list[int]


def read_bundles(
    bundles: Sequence[tuple[int, int, bytes]], keys: tuple[bytes, ...]
) -> list[LeavesRead]:
    """Return what stands in some bundles.

    Args:
        bundles: Index of the first leaf, how many there are, and the well-formed bundle.
        keys: Raw Ed25519 keys; none: signatures are not looked at.
    """
    return [_read(first, parse_bundle(raw, width), _keyring(keys)) for first, width, raw in bundles]


class _Keyring:
    """Knows which key was a gateway's last, and tries that one first."""

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        self._keys = [VerifyKey(raw) for raw in keys]
        self._last: dict[str, VerifyKey] = {}

    def signed(self, gateway: str, entry: bytes) -> bool:
        if not self._keys:
            return True
        signature, message = signed_bytes(entry)
        last = self._last.get(gateway)
        for key in (last, *self._keys) if last is not None else self._keys:
            try:
                key.verify(signature, message)
            except SignatureError:
                continue
            self._last[gateway] = key
            return True
        return False


@lru_cache(maxsize=1)
def _keyring(keys: tuple[bytes, ...]) -> _Keyring:
    return _Keyring(keys)


def _read(first: int, entries: tuple[bytes, ...], keyring: _Keyring) -> LeavesRead:
    hashes = tuple(leaf_hash(entry) for entry in entries)
    root = tile_root(hashes) if len(hashes) == TILE_WIDTH else b""
    read = LeavesRead(hashes, root, [], [], [], [])
    for index, entry in enumerate(entries, start=first):
        try:
            leaf = parse_leaf(entry)
        except LogError:
            read.bad.append(index)
            continue
        said = leaf.signed.statement
        read.said.append((index, said.kind.value, said.time_s, said.gateway, said.boot, said.seq))
        if said.ref != ZERO:
            read.refs.append(index)
        if not keyring.signed(said.gateway, entry):
            read.forged.append(index)
    return read

"""What one process does with bundles of entries: hash, read, check signatures. No state, no I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import TypeAlias

from broker.log.errors import LogError
from broker.log.leaf import (
    BY_GATEWAYS,
    BY_THE_LOG,
    SEQUENCER,
    ZERO,
    LeafKind,
    leaf_fields,
    signed_part,
)
from broker.log.merkle import leaf_hash
from broker.log.tiles import TILE_WIDTH, parse_bundle, tile_root
from keys.errors import SignatureError
from keys.primitives.signing import VerifyKey

Said: TypeAlias = tuple[int, int, int, str, int, int]
"""Of one leaf: index, kind, time_s, gateway, boot, seq. Plain, so that it travels quickly."""


@dataclass(frozen=True)
class LeafKey:
    """A key under which leaves are signed, and whose it is.

    Attributes:
        raw: 32 bytes of Ed25519.
        of_log: Whether it is the sequencer's. That one states what no gateway says, and gives
            numbers back that a gateway left open; it decides nothing.
    """

    raw: bytes
    of_log: bool = False


@dataclass(frozen=True)
class LeavesRead:
    """What stands in one bundle.

    Attributes:
        hashes: Of all entries.
        root: Of those, if they are a full tile.
        said: Of all entries that are leaves.
        bad: Indices of those that are none.
        forged: Indices of leaves that nobody signed who may state them.
        refs: Indices of leaves that refer to another.
        voided: Indices of voids of a gateway's number that the log signed in its place.
    """

    hashes: tuple[bytes, ...]
    root: bytes
    said: list[Said]
    bad: list[int]
    forged: list[int]
    refs: list[int]
    voided: list[int]


def read_bundles(
    bundles: Sequence[tuple[int, int, bytes]], keys: tuple[LeafKey, ...]
) -> list[LeavesRead]:
    """Return what stands in some bundles.

    Args:
        bundles: Index of the first leaf, how many there are, and the well-formed bundle.
        keys: Of gateways and of the log; none: signatures are not looked at.
    """
    return [_read(first, parse_bundle(raw, width), _keyring(keys)) for first, width, raw in bundles]


class _Signer(Enum):
    """Who signed a leaf that they may state."""

    GATEWAY = 1
    LOG = 2
    NOBODY = 3


class _Keys:
    """Knows which key was a name's last, and tries that one first."""

    def __init__(self, keys: Sequence[LeafKey]) -> None:
        self._keys = [VerifyKey(key.raw) for key in keys]
        self._last: dict[str, VerifyKey] = {}

    def signed(self, name: str, signature: bytes, message: bytes) -> bool:
        last = self._last.get(name)
        if last is not None and _verifies(last, signature, message):
            return True
        for key in self._keys:
            if key is not last and _verifies(key, signature, message):
                self._last[name] = key
                return True
        return False


class _Keyring:
    """Who signed a leaf, and whether they may state it."""

    def __init__(self, keys: tuple[LeafKey, ...]) -> None:
        self._gateways = _Keys([key for key in keys if not key.of_log])
        self._log = _Keys([key for key in keys if key.of_log])

    def signer(self, kind: LeafKind, gateway: str, signature: bytes, message: bytes) -> _Signer:
        if gateway == SEQUENCER:
            known = kind in BY_THE_LOG and self._log.signed(SEQUENCER, signature, message)
            return _Signer.LOG if known else _Signer.NOBODY
        if kind not in BY_GATEWAYS:
            return _Signer.NOBODY
        if self._gateways.signed(gateway, signature, message):
            return _Signer.GATEWAY
        voided = kind is LeafKind.VOID and self._log.signed(SEQUENCER, signature, message)
        return _Signer.LOG if voided else _Signer.NOBODY


def _verifies(key: VerifyKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message)
    except SignatureError:
        return False
    return True


@lru_cache(maxsize=1)
def _keyring(keys: tuple[LeafKey, ...]) -> _Keyring | None:
    return _Keyring(keys) if keys else None


def _read(first: int, entries: tuple[bytes, ...], keyring: _Keyring | None) -> LeavesRead:
    hashes = tuple(map(leaf_hash, entries))
    root = tile_root(hashes) if len(hashes) == TILE_WIDTH else b""
    read = LeavesRead(hashes, root, [], [], [], [], [])
    names: dict[str, str] = {}  # one string for all leaves of a name travels once
    for index, entry in enumerate(entries, start=first):
        try:
            kind, time_s, gateway, boot, seq, _, _, ref, _, signature = leaf_fields(entry)
        except LogError:
            read.bad.append(index)
            continue
        gateway = names.setdefault(gateway, gateway)
        read.said.append((index, int(kind), time_s, gateway, boot, seq))
        if ref != ZERO:
            read.refs.append(index)
        if keyring is not None:
            signer = keyring.signer(kind, gateway, signature, signed_part(entry))
            if signer is _Signer.NOBODY:
                read.forged.append(index)
            elif signer is _Signer.LOG and gateway != SEQUENCER:
                read.voided.append(index)
    return read

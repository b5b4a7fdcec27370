"""Canonical MessagePack: one value, one encoding. Source: schemas/SPEC.md, section 2.

Minimal integers, unique string keys in ascending UTF-8 byte order, no floats, no extension types,
depth at most 8. `msgpack` accepts a repeated key and keeps the last; two implementations would
then read two labels under one signature. So `decode` re-encodes and demands identical bytes.

Every message is read and written many times on its way: what was read is looked at once, each
list and map as a whole, and packed as it stands.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

import msgpack

from schemas.errors import CanonicalError

MAX_DEPTH: Final = 8
MAX_CONTAINERS: Final = 400_000  # real alerts have one in 23 bytes: 182,000 in 4 MiB
MAX_INT: Final = 2**63 - 1  # what every language of a second implementation can hold

_PLAIN: Final = frozenset({type(None), bool, str, bytes})  # encoded as they are
_SCALAR: Final = frozenset({*_PLAIN, int})
_READ: Final = frozenset({*_SCALAR, list, dict})  # no float, no extension type
_KEYS: Final = frozenset({str})
_PACKER: Final = msgpack.Packer(use_bin_type=True)  # made once: its buffer is a quarter of a MiB

_ContainerT = TypeVar("_ContainerT")
Value: TypeAlias = "bool | int | str | bytes | list[Value] | dict[str, Value] | None"


def encode(value: Value) -> bytes:
    """Return the canonical encoding of `value`.

    Raises:
        CanonicalError: A float, a non-string key, another type, an integer beyond 63 bits, a lone
            surrogate, or more than `MAX_DEPTH` levels.
    """
    return pack(_ordered(value, 1))


def pack(value: Value) -> bytes:
    """Return the canonical encoding of what has one, its maps in the order of their keys already.

    For values that `unpack` returned, and forms that are written out in code: nothing is looked
    at. In doubt, use `encode`.

    Raises:
        CanonicalError: A lone surrogate, or an integer beyond 64 bits.
    """
    try:
        packed: bytes = _PACKER.pack(value)
    except (ValueError, TypeError, OverflowError) as error:  # UnicodeEncodeError is a ValueError
        raise CanonicalError("not-encodable", "a value has no canonical encoding") from error
    return packed


def decode(raw: bytes, *, max_bytes: int) -> Value:
    """Return the value of which `raw` is the canonical encoding.

    Args:
        raw: Not yet trusted.
        max_bytes: Refused before parsing when longer.

    Raises:
        CanonicalError: Too long, undecodable, trailing bytes, or not canonical.
    """
    if len(raw) > max_bytes:
        raise CanonicalError("too-large", f"{len(raw)} bytes, at most {max_bytes} are read")
    value = unpack(raw)
    if pack(value) != raw:
        raise CanonicalError("not-canonical", "the bytes are not the canonical encoding")
    return value


def unpack(raw: bytes) -> Value:
    """Return the value that `raw`, whose length is checked, encodes in one way or another.

    It has a canonical encoding, and its maps stand in order: `raw` is that encoding if and only
    if `pack` gives it back.

    Raises:
        CanonicalError: It is no MessagePack, or holds what has no canonical encoding; `too-many`.
    """
    # Each takes a byte at least, so a shorter message need not be counted.
    count = _Count() if len(raw) > MAX_CONTAINERS else None
    try:
        value: Value = msgpack.unpackb(
            raw, raw=False, strict_map_key=True, object_hook=count, list_hook=count
        )
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise CanonicalError("not-canonical", "the bytes are not MessagePack") from error
    _check((value,), 0)
    return value


@dataclass
class _Count:
    """Counts lists and maps while they are read: an empty one is a byte there and sixty here."""

    left: int = MAX_CONTAINERS

    def __call__(self, container: _ContainerT) -> _ContainerT:
        self.left -= 1
        if self.left < 0:
            raise CanonicalError("too-many", f"more than {MAX_CONTAINERS} lists and maps")
        return container


def _check(items: Collection[Value], depth: int) -> None:
    """Return if what was read into `items` may stand at `depth`, its maps in order."""
    types = {*map(type, items)}
    if types <= _PLAIN:
        return
    if not types <= _READ:
        raise CanonicalError("not-encodable", "a value has no canonical encoding")
    if int in types and max([item for item in items if type(item) is int]) > MAX_INT:
        raise CanonicalError("not-encodable", "an integer does not fit 63 bits")
    if types <= _SCALAR:
        return
    if depth >= MAX_DEPTH:
        raise CanonicalError("too-deep", f"more than {MAX_DEPTH} levels")
    for item in items:
        if type(item) is list:
            _check(item, depth + 1)
        elif type(item) is dict:
            _check_keys([*item])
            _check(item.values(), depth + 1)


def _check_keys(keys: list[str]) -> None:
    if not _KEYS.issuperset(map(type, keys)):
        raise CanonicalError("not-encodable", "a map key is not a string")
    if sorted(keys) != keys:  # the order of code points is that of their UTF-8 bytes
        raise CanonicalError("not-canonical", "map keys are out of order")


def _ordered(value: Value, depth: int) -> Value:
    """Return `value` with its maps in order, if all of it has a canonical encoding."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, int):
        if not -MAX_INT - 1 <= value <= MAX_INT:
            raise CanonicalError("not-encodable", "an integer does not fit 63 bits")
        return value
    if isinstance(value, str | bytes):  # a member of an enumeration, say
        return value
    if depth > MAX_DEPTH:
        raise CanonicalError("too-deep", f"more than {MAX_DEPTH} levels")
    # Most items are plain; a call for each of them would take most of the time.
    if isinstance(value, list):
        return [item if type(item) in _PLAIN else _ordered(item, depth + 1) for item in value]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise CanonicalError("not-encodable", "a map key is not a string")
        # The order of code points is that of their UTF-8 bytes.
        return {
            key: item if type(item := value[key]) in _PLAIN else _ordered(item, depth + 1)
            for key in sorted(value)
        }
    raise CanonicalError("not-encodable", f"{type(value).__name__} has no canonical encoding")

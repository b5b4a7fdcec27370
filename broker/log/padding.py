"""Lengths of what is sealed on the AUDIT stream: one for nearly all, so that they tell nothing.

padded  u32 length || bytes || zeros, to a whole number of steps
"""

import struct
from typing import Final

from broker.log.errors import LogError

STEP_BYTES: Final = 2048  # a decision for six recipients and less, refusals and controls alike
_LENGTH: Final = struct.Struct(">I")


def padded(raw: bytes) -> bytes:
    """Return `raw` filled up."""
    whole = _LENGTH.size + len(raw)
    return _LENGTH.pack(len(raw)) + raw + bytes(-whole % STEP_BYTES)


def padded_size(length: int) -> int:
    """Return how many bytes `length` bytes become."""
    whole = _LENGTH.size + length
    return whole + -whole % STEP_BYTES


def unpadded(raw: bytes) -> bytes:
    """Return what was filled up.

    Raises:
        LogError: `bad-padding`.
    """
    if len(raw) >= _LENGTH.size:
        (length,) = _LENGTH.unpack_from(raw)
        found = raw[_LENGTH.size : _LENGTH.size + length]
        if padded(found) == raw:
            return found
    raise LogError("bad-padding", "what was sealed is not filled up as it must be")

"""The leaf that an erasure speaks of: named by a commitment, for whoever is shown its salt.

    ref      HMAC-SHA256(salt, hash of the leaf)
    opening  32 bytes salt, u64 index of the leaf

Once the salt is destroyed, nobody can tell which leaf was erased. In the record's place on the
AUDIT stream stands the signed statement alone: its id stays decided, and nothing else is known.
"""

import struct
from typing import Final

from broker.log.errors import LogError
from broker.log.leaf import LeafKind, parse_signed
from keys.primitives.hashing import hmac_sha256

SALT_BYTES: Final = 32
_OPENING: Final = struct.Struct(f">{SALT_BYTES}sQ")


def erasure_ref(salt: bytes, about: bytes) -> bytes:
    """Return the commitment of an erasure to the leaf with the hash `about`."""
    return hmac_sha256(salt, about)


def encode_erasure(salt: bytes, index: int) -> bytes:
    """Return the opening of an erasure of the leaf at `index`."""
    return _OPENING.pack(salt, index)


def parse_erasure(raw: bytes) -> tuple[bytes, int]:
    """Return the salt and the index in the opening of an erasure.

    Raises:
        LogError: `bad-opening`.
    """
    if len(raw) != _OPENING.size:
        raise LogError("bad-opening", f"the opening of an erasure has {_OPENING.size} bytes")
    salt, index = _OPENING.unpack(raw)
    return salt, index


def is_erasure(raw: bytes) -> bool:
    """Return whether a message of the AUDIT stream stands for an erased record."""
    try:
        return parse_signed(raw).statement.kind is LeafKind.ERASURE
    except LogError:
        return False

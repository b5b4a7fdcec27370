"""The short name of a key, the same for every kind. Source: schemas/SPEC.md section 4."""

from typing import Final

from keys.primitives.hashing import sha256

KID_BYTES: Final = 16  # nobody searches collisions among a region's own keys: 128 bits name them
_DOMAIN: Final = b"kentong/kid/1\0"


def kid_of(raw: bytes) -> bytes:
    """Return the 16-byte key identifier of the raw public key `raw`."""
    return sha256(_DOMAIN, raw)[:KID_BYTES]

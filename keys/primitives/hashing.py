"""SHA-256, HMAC and random bytes. Sources: FIPS 180-4, RFC 2104."""

import hashlib
import hmac
import secrets
from typing import Final

DIGEST_BYTES: Final = 32


def sha256(*parts: bytes) -> bytes:
    """Return the 32-byte SHA-256 of the concatenation of `parts`.

    Callers fix the length of every part but the last, or prefix it, so that no two inputs collide.
    """
    return hashlib.sha256(b"".join(parts)).digest()


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """Return the 32-byte HMAC-SHA256 of `message` under `key` (RFC 2104)."""
    return hmac.digest(key, message, "sha256")


def equal(left: bytes, right: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(left, right)


def random_bytes(count: int) -> bytes:
    """Return `count` bytes from the operating system's generator."""
    return secrets.token_bytes(count)

"""Content at rest: sealed under a key of its own, which the node's storage key wraps.

Layout: 12-byte nonce || wrapped key (48 bytes) || ciphertext. Erasing the wrapped key erases the
content, on old backups too once the storage key is rotated.
"""

from dataclasses import dataclass, field
from typing import Final

from broker.node.errors import NodeError
from keys.errors import DecryptionError
from keys.primitives.hashing import random_bytes
from keys.primitives.symmetric import (
    KEY_BYTES,
    NONCE_BYTES,
    TAG_BYTES,
    gcm_open,
    gcm_seal,
)

WRAP_CONTEXT: Final = b"kentong/at-rest/1\0"
_HEAD: Final = NONCE_BYTES + KEY_BYTES + TAG_BYTES


@dataclass(frozen=True)
class Vault:
    """Seals and opens with the node's storage key."""

    storage_key: bytes = field(repr=False)

    def seal(self, plaintext: bytes, *, name: str) -> bytes:
        """Return `plaintext` sealed for the row called `name`, which it is bound to."""
        key, nonce, aad = random_bytes(KEY_BYTES), random_bytes(NONCE_BYTES), _aad(name)
        wrapped = gcm_seal(self.storage_key, key, aad=aad, nonce=nonce)
        return nonce + wrapped + gcm_seal(key, plaintext, aad=aad)

    def open(self, sealed: bytes, *, name: str) -> bytes:
        """Return what was sealed for the row called `name`.

        Raises:
            NodeError: `storage-damaged`: altered, of another row, or under another storage key.
        """
        key = self._unwrapped(sealed, name=name)
        try:
            return gcm_open(key, sealed[_HEAD:], aad=_aad(name))
        except DecryptionError as error:
            raise _damaged() from error

    def opens(self, sealed: bytes, *, name: str) -> bool:
        """Return whether this storage key wraps the key of what was sealed; reads no content."""
        try:
            self._unwrapped(sealed, name=name)
        except NodeError:
            return False
        return True

    def rewrapped(self, sealed: bytes, other: "Vault", *, name: str) -> bytes:
        """Return the same content with its key wrapped under `other`'s storage key.

        Raises:
            NodeError: `storage-damaged`.
        """
        key, nonce = self._unwrapped(sealed, name=name), random_bytes(NONCE_BYTES)
        wrapped = gcm_seal(other.storage_key, key, aad=_aad(name), nonce=nonce)
        return nonce + wrapped + sealed[_HEAD:]

    def _unwrapped(self, sealed: bytes, *, name: str) -> bytes:
        nonce, wrapped = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:_HEAD]
        try:
            return gcm_open(self.storage_key, wrapped, aad=_aad(name), nonce=nonce)
        except DecryptionError as error:
            raise _damaged() from error


def _damaged() -> NodeError:
    return NodeError(
        "storage-damaged", "what was stored does not open any more", kind="unavailable"
    )


def _aad(name: str) -> bytes:
    return WRAP_CONTEXT + name.encode()

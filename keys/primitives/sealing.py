"""HPKE single-shot sealing to one recipient, suite 1. Source: RFC 9180; schemas/SPEC.md section 5.

Suite 1 is KEM MLKEM768-X25519 (a post-quantum hybrid, so that what is recorded today cannot be
read in twenty years), HKDF-SHA256 and AES-256-GCM. The library's single-shot call has no AAD, so
what is bound goes into `info`.
"""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)
from typing_extensions import override

from keys.errors import DecryptionError, KeyFileError

_MLKEM_PUBLIC_BYTES: Final = 1184  # FIPS 203 section 8, table 3
_MLKEM_SEED_BYTES: Final = 64
_X25519_BYTES: Final = 32
PUBLIC_BYTES: Final = _MLKEM_PUBLIC_BYTES + _X25519_BYTES
SECRET_BYTES: Final = _MLKEM_SEED_BYTES + _X25519_BYTES
OVERHEAD_BYTES: Final = 1120 + 16  # encapsulation (1088 + 32) and the GCM tag

_SUITE_1 = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class SealKey:
    """A recipient's public encryption key: ML-KEM-768 key, then X25519 key, raw."""

    def __init__(self, raw: bytes) -> None:
        """Take the 1,216 raw bytes of both public keys.

        Raises:
            DecryptionError: Of another length, or no valid pair of keys.
        """
        if len(raw) != PUBLIC_BYTES:
            raise DecryptionError("bad-key", f"an encryption key has {PUBLIC_BYTES} bytes")
        try:
            mlkem = MLKEM768PublicKey.from_public_bytes(raw[:_MLKEM_PUBLIC_BYTES])
            x25519 = X25519PublicKey.from_public_bytes(raw[_MLKEM_PUBLIC_BYTES:])
        except ValueError as error:
            raise DecryptionError("bad-key", "not an ML-KEM-768 and X25519 key") from error
        self._key = MLKEM768X25519PublicKey(mlkem, x25519)
        self.raw = bytes(raw)

    def seal(self, plaintext: bytes, *, info: bytes) -> bytes:
        """Return encapsulation and ciphertext, `OVERHEAD_BYTES` longer than `plaintext`."""
        return _SUITE_1.encrypt(plaintext, self._key, info=info)


class OpenKey:
    """A recipient's private encryption key. Its `repr` is silent."""

    def __init__(self, secret: bytes) -> None:
        """Take the ML-KEM-768 seed (d || z, FIPS 203) and the X25519 scalar, 96 bytes.

        Raises:
            KeyFileError: Of another length.
        """
        if len(secret) != SECRET_BYTES:
            raise KeyFileError("bad-key", f"a private encryption key has {SECRET_BYTES} bytes")
        self._secret = bytes(secret)
        self._mlkem = MLKEM768PrivateKey.from_seed_bytes(secret[:_MLKEM_SEED_BYTES])
        self._x25519 = X25519PrivateKey.from_private_bytes(secret[_MLKEM_SEED_BYTES:])
        self._key = MLKEM768X25519PrivateKey(self._mlkem, self._x25519)

    @classmethod
    def generate(cls) -> "OpenKey":
        """Return a new key."""
        mlkem = MLKEM768PrivateKey.generate().private_bytes_raw()
        return cls(mlkem + X25519PrivateKey.generate().private_bytes_raw())

    @override
    def __repr__(self) -> str:
        return "OpenKey(...)"

    def open(self, sealed: bytes, *, info: bytes) -> bytes:
        """Return the plaintext of `sealed`, which is not yet trusted.

        Raises:
            DecryptionError: Damaged, sealed to another key, or under another `info`.
        """
        try:
            return _SUITE_1.decrypt(sealed, self._key, info=info)
        except (InvalidTag, ValueError) as error:
            raise DecryptionError("cannot-open", "the stanza does not open") from error

    @property
    def public(self) -> SealKey:
        """The public half."""
        return SealKey(
            self._mlkem.public_key().public_bytes_raw()
            + self._x25519.public_key().public_bytes_raw()
        )

    def secret(self) -> bytes:
        """Return the secret bytes, for a key store alone."""
        return self._secret

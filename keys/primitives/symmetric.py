"""AES-256-GCM and scrypt. Sources: NIST SP 800-38D, RFC 7914."""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from keys.errors import DecryptionError

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
ZERO_NONCE: Final = bytes(NONCE_BYTES)  # safe only under a key that seals exactly one message


def gcm_seal(key: bytes, plaintext: bytes, *, aad: bytes, nonce: bytes = ZERO_NONCE) -> bytes:
    """Return ciphertext and tag. With the default nonce, `key` must never be used again."""
    return AESGCM(key).encrypt(nonce, plaintext, aad)


def gcm_open(key: bytes, sealed: bytes, *, aad: bytes, nonce: bytes = ZERO_NONCE) -> bytes:
    """Return the plaintext of `sealed`, which is not yet trusted.

    Raises:
        DecryptionError: Damaged, under another key, nonce or `aad`.
    """
    if len(sealed) < TAG_BYTES:
        raise DecryptionError("cannot-open", "the ciphertext is shorter than its tag")
    try:
        return AESGCM(key).decrypt(nonce, sealed, aad)
    except InvalidTag as error:
        raise DecryptionError("cannot-open", "the ciphertext does not open") from error


def scrypt(passphrase: bytes, *, salt: bytes, n: int, r: int, p: int) -> bytes:
    """Return a 32-byte key from a passphrase; memory is about 128 * n * r bytes."""
    return Scrypt(salt=salt, length=KEY_BYTES, n=n, r=r, p=p).derive(passphrase)

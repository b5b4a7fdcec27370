"""ML-DSA-44 signatures, pure, with an empty context. Source: FIPS 204, sections 5.2 and 5.3."""

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey
from typing_extensions import override

from keys.errors import KeyFileError, SignatureError

PUBLIC_BYTES: Final = 1312
SEED_BYTES: Final = 32
SIGNATURE_BYTES: Final = 2420


class MLDSAVerifyKey:
    """An ML-DSA-44 public key."""

    def __init__(self, raw: bytes) -> None:
        """Take the 1312 raw bytes of the key.

        Raises:
            SignatureError: Not 1312 bytes.
        """
        if len(raw) != PUBLIC_BYTES:
            raise SignatureError("bad-key", "not an ML-DSA-44 public key")
        self._key = MLDSA44PublicKey.from_public_bytes(raw)
        self.raw = bytes(raw)

    def verify(self, signature: bytes, message: bytes) -> None:
        """Return if `signature` is this key's over exactly `message`.

        Raises:
            SignatureError: It is not.
        """
        try:
            self._key.verify(signature, message)
        except InvalidSignature as error:
            raise SignatureError("bad-signature", "the signature does not verify") from error


class MLDSASignKey:
    """An ML-DSA-44 private key. Its `repr` is silent."""

    def __init__(self, seed: bytes) -> None:
        """Take the 32-byte seed (FIPS 204, algorithm 6).

        Raises:
            KeyFileError: Not 32 bytes.
        """
        if len(seed) != SEED_BYTES:
            raise KeyFileError("bad-key", f"an ML-DSA-44 seed has {SEED_BYTES} bytes")
        self._key = MLDSA44PrivateKey.from_seed_bytes(seed)

    @classmethod
    def generate(cls) -> "MLDSASignKey":
        """Return a new key."""
        return cls(MLDSA44PrivateKey.generate().private_bytes_raw())

    @override
    def __repr__(self) -> str:
        return "MLDSASignKey(...)"

    def sign(self, message: bytes) -> bytes:
        """Return a 2420-byte signature over `message`; another one each time."""
        return self._key.sign(message)

    @property
    def public(self) -> MLDSAVerifyKey:
        """The public half."""
        return MLDSAVerifyKey(self._key.public_key().public_bytes_raw())

    def seed(self) -> bytes:
        """Return the secret seed, for a key store alone."""
        return self._key.private_bytes_raw()


def public_of(seed: bytes) -> bytes:
    """Return the raw public key that a seed gives.

    Raises:
        KeyFileError: Not a seed.
    """
    return MLDSASignKey(seed).public.raw

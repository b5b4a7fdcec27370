"""Ed25519 signatures. Source: RFC 8032 section 5.1."""

from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from typing_extensions import override

from keys.errors import KeyFileError, SignatureError

PUBLIC_BYTES: Final = 32
SEED_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64


class VerifyKey:
    """An Ed25519 public key."""

    def __init__(self, raw: bytes) -> None:
        """Take the 32 raw bytes of the key.

        Raises:
            SignatureError: Not 32 bytes, or no point of the curve.
        """
        try:
            self._key = Ed25519PublicKey.from_public_bytes(raw)
        except ValueError as error:
            raise SignatureError("bad-key", "not an Ed25519 public key") from error
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


class Signing(Protocol):
    """Signs with an Ed25519 private key, wherever that lies: in memory, or in a hardware token."""

    @property
    def public(self) -> VerifyKey:
        """The public half."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature over `message`.

        Raises:
            TokenError: The key lies in a token, which does not sign.
        """
        ...


class SignKey:
    """An Ed25519 private key. Its `repr` is silent."""

    def __init__(self, seed: bytes) -> None:
        """Take the 32-byte seed (RFC 8032 section 5.1.5).

        Raises:
            KeyFileError: Not 32 bytes.
        """
        if len(seed) != SEED_BYTES:
            raise KeyFileError("bad-key", f"an Ed25519 seed has {SEED_BYTES} bytes")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    @classmethod
    def generate(cls) -> "SignKey":
        """Return a new key."""
        return cls(Ed25519PrivateKey.generate().private_bytes_raw())

    @override
    def __repr__(self) -> str:
        return "SignKey(...)"

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature over `message`."""
        return self._key.sign(message)

    @property
    def public(self) -> VerifyKey:
        """The public half."""
        return VerifyKey(self._key.public_key().public_bytes_raw())

    def seed(self) -> bytes:
        """Return the secret seed, for a key store alone."""
        return self._key.private_bytes_raw()

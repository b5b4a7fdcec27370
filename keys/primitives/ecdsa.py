"""ECDSA with SHA-256, to check what others signed. Source: FIPS 186-5 section 6; RFC 5480."""

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from keys.errors import SignatureError


class ECDSAVerifyKey:
    """A public key on P-256, P-384 or P-521. We only check these: there is no other half."""

    def __init__(self, spki: bytes) -> None:
        """Take the key as a DER SubjectPublicKeyInfo (RFC 5480), in its one canonical form.

        Raises:
            SignatureError: Not such a key, another curve, or another encoding of one.
        """
        try:
            key = load_der_public_key(spki)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise SignatureError("bad-key", "not a DER public key") from error
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(
            key.curve, ec.SECP256R1 | ec.SECP384R1 | ec.SECP521R1
        ):
            raise SignatureError("bad-key", "not a key on P-256, P-384 or P-521")
        if key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != spki:
            raise SignatureError("bad-key", "not the canonical encoding of the key")
        self._key = key
        self.spki = bytes(spki)

    def verify(self, signature: bytes, message: bytes) -> None:
        """Return if `signature` (DER) is this key's over the SHA-256 of exactly `message`.

        Raises:
            SignatureError: It is not.
        """
        try:
            self._key.verify(signature, message, ec.ECDSA(SHA256()))
        except InvalidSignature as error:
            raise SignatureError("bad-signature", "the signature does not verify") from error

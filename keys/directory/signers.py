"""Signers of directory metadata: a private key is a URI, and one kind of URI is our key store.

`kentong-file:PATH?NAME` names the key NAME in the key store at PATH, `pkcs11:` an Ed25519 key in a
hardware token (RFC 7512). `hsm:`, `gcpkms:`, `awskms:`,
`azurekms:` and `hv:` are what securesystemslib brings; the directory does not see a difference.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from typing_extensions import override

from keys.directory.metadata import (
    SIGNER_FOR_URI_SCHEME,
    Key,
    SecretsHandler,
    Signature,
    Signer,
    SSlibKey,
)
from keys.errors import KeyFileError
from keys.keystore import KeyStore
from keys.kid import kid_of
from keys.primitives.signing import Signing, SignKey
from keys.token import TokenKey
from keys.tokenuri import SCHEME as TOKEN_SCHEME
from keys.tokenuri import parse_token_uri

SCHEME: Final = "kentong-file"
PIN: Final = "pin"  # how a signer calls what opens its token
_ED25519: Final = "ed25519"


def key_id(key: Key) -> str:
    """Return the identifier that the directory uses for a public key: its kid in hexadecimal.

    Raises:
        ValueError: The key has no public value.
    """
    public = key.keyval.get("public")
    if not isinstance(public, str):
        raise ValueError("a key without its public value")  # noqa: TRY004 - as bytes.fromhex does
    raw = bytes.fromhex(public) if key.keytype == _ED25519 else public.encode()
    return kid_of(raw).hex()


def public_key(raw: bytes) -> Key:
    """Return the metadata form of a raw Ed25519 public key."""
    return SSlibKey(kid_of(raw).hex(), _ED25519, _ED25519, {"public": raw.hex()})


class SignKeySigner(Signer):
    """Signs metadata with an Ed25519 key."""

    def __init__(self, key: Signing) -> None:
        self._sign_key = key
        self._public_key = public_key(key.public.raw)

    @property
    @override
    def public_key(self) -> Key:
        return self._public_key

    @override
    def sign(self, payload: bytes) -> Signature:
        return Signature(self._public_key.keyid, self._sign_key.sign(payload).hex())

    @classmethod
    @override
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: SecretsHandler | None = None
    ) -> "SignKeySigner":
        """Return the signer for a `kentong-file:` URI; the handler is asked for `passphrase`.

        Raises:
            KeyFileError: The store does not open, or its key is not the one `public_key` says.
            ValueError: Another scheme, no name, or no handler.
        """
        scheme, _, rest = priv_key_uri.partition(":")
        path, _, name = rest.rpartition("?")
        if scheme != SCHEME or not path or not name or secrets_handler is None:
            raise ValueError(f"a {SCHEME} URI names a file and a key, and needs a passphrase")
        store = KeyStore.open(
            Path(path), secrets_handler("passphrase").encode("utf-8", "surrogateescape")
        )
        signer = cls(SignKey(store.get(name, "ed25519").secret))
        if signer.public_key.keyid != public_key.keyid:
            raise KeyFileError("other-key", "the key store holds another key than expected")
        return signer


class TokenSigner(SignKeySigner):
    """Signs metadata with an Ed25519 key in a hardware token."""

    @classmethod
    @override
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: SecretsHandler | None = None
    ) -> "TokenSigner":
        """Return the signer for a `pkcs11:` URI; the handler is asked for `pin`.

        Raises:
            TokenError: The token is not there or does not sign as `public_key` says.
            KeyFileError: The URI is no such URI.
            ValueError: No handler.
        """
        if secrets_handler is None:
            raise ValueError("a token needs its PIN")
        ask = secrets_handler

        def pin() -> bytes:
            return ask(PIN).encode("utf-8", "surrogateescape")

        public = bytes.fromhex(public_key.keyval["public"])
        key = TokenKey(parse_token_uri(priv_key_uri), public, pin)
        key.check(by_person=True)
        return cls(key)


SIGNER_FOR_URI_SCHEME[SCHEME] = SignKeySigner
SIGNER_FOR_URI_SCHEME[TOKEN_SCHEME] = TokenSigner


def file_uri(path: Path, name: str) -> str:
    """Return the URI of the key `name` in the key store at `path`."""
    return f"{SCHEME}:{path}?{name}"


def open_signer(uri: str, key: Key, ask: Callable[[str], bytes]) -> Signer:
    """Return the signer that a private key's URI names.

    Args:
        uri: Of any scheme that securesystemslib knows.
        key: Its public half.
        ask: Returns a secret by name: `passphrase`, or `pin` for a token's.

    Raises:
        KeyFileError: It cannot be opened.
    """

    def secret(name: str) -> str:
        return ask(name).decode("utf-8", "surrogateescape")

    try:
        return Signer.from_priv_key_uri(uri, key, secret)
    except KeyFileError:
        raise
    except Exception as error:  # a library of a vendor: its errors are not ours to list
        raise KeyFileError(
            "no-signer", f"the key {uri.partition(':')[0]}: cannot be used"
        ) from error

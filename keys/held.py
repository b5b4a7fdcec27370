"""A signing key as a key store names it: by its seed, or by where in a hardware token it lies."""

from datetime import datetime

from keys.errors import KeyFileError
from keys.keystore import Entry, KeyStore
from keys.primitives.signing import Signing, SignKey
from keys.token import PINSource, TokenKey, no_pin
from keys.tokenuri import parse_token_uri

_MADE = "made"
_PUBLIC = "public"


def entry_of(key: SignKey | TokenKey, *, made: datetime) -> Entry:
    """Return what a key store keeps of a signing key: of a token's, nothing private."""
    if isinstance(key, TokenKey):
        facts = {_MADE: made.isoformat(), _PUBLIC: key.public.raw.hex()}
        return Entry("pkcs11", str(key.where).encode(), facts)
    return Entry("ed25519", key.seed(), {_MADE: made.isoformat()})


def key_of(entry: Entry, pin: PINSource = no_pin) -> Signing:
    """Return the signing key that an entry names; a token is not opened before it signs.

    Args:
        entry: Of a key store.
        pin: Asked for the PIN when a token is opened.

    Raises:
        KeyFileError: `damaged`.
    """
    if entry.kind != "pkcs11":
        return SignKey(entry.secret)
    try:
        where, public = entry.secret.decode(), bytes.fromhex(entry.facts[_PUBLIC])
    except (KeyError, ValueError):
        raise KeyFileError("damaged", "the key store does not say which key of the token") from None
    return TokenKey(parse_token_uri(where), public, pin)


def signing_entry(store: KeyStore, name: str) -> Entry:
    """Return the entry of the signing key called `name`, wherever its private half is.

    Raises:
        KeyFileError: `no-such-key`.
    """
    entry = store.entries.get(name)
    if entry is not None and entry.kind == "pkcs11":
        return entry
    return store.get(name, "ed25519")


def check_tokens(*keys: Signing, by_person: bool = False) -> None:
    """Return if every key among `keys` that lies in a token can be used now.

    Raises:
        TokenError: As `TokenKey.check`.
    """
    for key in keys:
        if isinstance(key, TokenKey):
            key.check(by_person=by_person)

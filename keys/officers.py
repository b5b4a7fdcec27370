"""An officer's private key, which lives at the desk and nowhere else."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from keys.errors import KeyFileError
from keys.keystore import DEFAULT_LOG2N, Entry, KeyStore
from keys.kid import kid_of
from keys.primitives.signing import SignKey

_NAME: Final = "officer"


@dataclass(frozen=True)
class OfficerKey:
    """What an officer, or a national system, signs alerts with. Its `repr` is silent.

    Attributes:
        member: The member that certifies, or is asked to certify, the key.
        officer_id: The pseudonym under which it does.
    """

    member: str
    officer_id: str
    sign_key: SignKey = field(repr=False)

    @property
    def kid(self) -> bytes:
        """The key identifier, which the content's officer block names."""
        return kid_of(self.sign_key.public.raw)

    @property
    def public(self) -> bytes:
        """The raw public key, which the member certifies in `officers.json`."""
        return self.sign_key.public.raw


def create_officer_key(
    path: Path, passphrase: bytes, *, member: str, officer_id: str, log2n: int = DEFAULT_LOG2N
) -> OfficerKey:
    """Make an officer's key in a key store of its own and return it.

    Raises:
        KeyFileError: The file exists already or cannot be written.
    """
    key = SignKey.generate()
    entry = Entry("ed25519", key.seed(), {"member": member, "id": officer_id})
    KeyStore.create(path, passphrase, {_NAME: entry}, log2n=log2n)
    return OfficerKey(member, officer_id, key)


def load_officer_key(path: Path, passphrase: bytes) -> OfficerKey:
    """Return the officer's key kept at `path`.

    Raises:
        KeyFileError: Missing, too open, damaged, or another kind of key store.
    """
    entry = KeyStore.open(path, passphrase).get(_NAME, "ed25519")
    if not {"member", "id"} <= set(entry.facts):
        raise KeyFileError("damaged", f"{path} does not say whose key it holds")
    return OfficerKey(entry.facts["member"], entry.facts["id"], SignKey(entry.secret))

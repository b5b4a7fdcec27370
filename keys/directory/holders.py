"""Who signs the directory: a ministry, with a key on its own machine, and the hub, online.

A ministry's key is named by a URI in `signer.json`; by default it is a key store beside it, and an
HSM or KMS is another URI there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, ValidationError

from keys.directory.metadata import Signer
from keys.directory.proposal import DirectoryKey
from keys.directory.repository import OnlineSigners
from keys.directory.signers import SignKeySigner, file_uri, open_signer, public_key
from keys.errors import KeyFileError
from keys.files import make_private_folder, read_private, write_private
from keys.keystore import DEFAULT_LOG2N, Entry, KeyStore
from keys.primitives.signing import SignKey
from schemas.label import MemberCode, Strict

_STORE: Final = "directory.keystore"
_DESCRIPTION: Final = "signer.json"
_KEY: Final = "directory"
_MAX_BYTES: Final = 16 * 1024
_SNAPSHOT: Final = "snapshot"
_TIMESTAMP: Final = "timestamp"


class _Description(Strict):
    member: MemberCode
    uri: Annotated[str, Field(max_length=1024)]
    key: DirectoryKey


@dataclass(frozen=True)
class Ministry:
    """A member's directory signing key: where it is, and its public half.

    Attributes:
        member: Whose.
        uri: The private key; `kentong-file:` for a key store.
        key: The public key.
    """

    member: str
    uri: str
    key: DirectoryKey

    def signer(self, ask: Callable[[str], bytes]) -> Signer:
        """Return the signer; `ask` gives the passphrase, or a token's PIN.

        Raises:
            KeyFileError: The key cannot be used.
        """
        return open_signer(self.uri, self.key.key(), ask)


def create_ministry(
    folder: Path, passphrase: bytes, member: str, *, log2n: int = DEFAULT_LOG2N
) -> Ministry:
    """Make a member's directory key in `folder`.

    Raises:
        KeyFileError: There is one already, or it cannot be written.
    """
    key = SignKey.generate()
    entries = {_KEY: Entry("ed25519", key.seed(), {"member": member})}
    KeyStore.create(folder / _STORE, passphrase, entries, log2n=log2n)
    public = DirectoryKey.of(public_key(key.public.raw))
    return adopt_ministry(folder, member, uri=file_uri(folder / _STORE, _KEY), key=public)


def adopt_ministry(folder: Path, member: str, *, uri: str, key: DirectoryKey) -> Ministry:
    """Name the key that signs for `member` from now on, wherever it is kept.

    Raises:
        KeyFileError: The folder is too open or cannot be written.
    """
    make_private_folder(folder)
    description = _Description(member=member, uri=uri, key=key)
    write_private(folder / _DESCRIPTION, description.model_dump_json(indent=1).encode() + b"\n")
    return Ministry(member, uri, key)


def load_ministry(folder: Path) -> Ministry:
    """Return the member's directory key that `folder` names.

    Raises:
        KeyFileError: There is none, or its description is too open or damaged.
    """
    raw = read_private(folder / _DESCRIPTION, max_bytes=_MAX_BYTES)
    try:
        found = _Description.model_validate_json(raw)
    except ValidationError:
        raise KeyFileError("damaged", f"{folder / _DESCRIPTION} is damaged") from None
    return Ministry(found.member, found.uri, found.key)


def create_online_keys(
    folder: Path, passphrase: bytes, *, log2n: int = DEFAULT_LOG2N
) -> OnlineSigners:
    """Make the hub's two online directory keys in `folder`.

    Raises:
        KeyFileError: There are some already, or they cannot be written.
    """
    names = (_SNAPSHOT, _TIMESTAMP)
    entries = {name: Entry("ed25519", SignKey.generate().seed()) for name in names}
    return _online(KeyStore.create(folder / _STORE, passphrase, entries, log2n=log2n))


def load_online_signers(folder: Path, passphrase: bytes) -> OnlineSigners:
    """Return the hub's online signers.

    Raises:
        KeyFileError: The key store is missing, too open, damaged or of another kind.
    """
    return _online(KeyStore.open(folder / _STORE, passphrase))


def _online(store: KeyStore) -> OnlineSigners:
    def signer(name: str) -> Signer:
        return SignKeySigner(SignKey(store.get(name, "ed25519").secret))

    return OnlineSigners(snapshot=signer(_SNAPSHOT), timestamp=signer(_TIMESTAMP))

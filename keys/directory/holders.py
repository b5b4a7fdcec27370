"""Who signs the directory: a ministry, with a key on its own machine, and the hub, online.

A ministry's key is named by a URI in `signer.json`; by default it is a key store beside it, and an
HSM or KMS is another URI there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, ValidationError

from keys.directory.metadata import Root, Signer
from keys.directory.proposal import DirectoryKey
from keys.directory.repository import OnlineSigners
from keys.directory.signers import SignKeySigner, file_uri, open_signer, public_key
from keys.errors import KeyFileError
from keys.files import make_private_folder, read_private, write_private
from keys.keystore import DEFAULT_LOG2N, Entry, KeyStore
from keys.primitives.signing import SignKey
from keys.token import TokenKey
from schemas.label import MemberCode, Strict

_STORE: Final = "directory.keystore"
_DESCRIPTION: Final = "signer.json"
_KEY: Final = "directory"
_MAX_BYTES: Final = 16 * 1024
_SNAPSHOT: Final = "snapshot"
_TIMESTAMP: Final = "timestamp"
_NEXT: Final = "next/"  # before the names of keys that wait to be published


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


def ministry_in_token(folder: Path, member: str, key: TokenKey) -> Ministry:
    """Name a key of a hardware token as the one that signs for `member` from now on.

    Raises:
        KeyFileError: The folder is too open or cannot be written.
    """
    public = DirectoryKey.of(public_key(key.public.raw))
    return adopt_ministry(folder, member, uri=str(key.where), key=public)


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


def load_online_signers(
    folder: Path, passphrase: bytes, *, root: Root | None = None
) -> OnlineSigners:
    """Return the hub's online signers.

    Args:
        folder: Of its key stores.
        passphrase: Opens them.
        root: Under which they shall sign; the next keys are returned if it names those.

    Raises:
        KeyFileError: The key store is missing, too open, damaged or of another kind.
    """
    store = KeyStore.open(folder / _STORE, passphrase)
    return _online(store, prefix=_NEXT if root is not None and _names_next(store, root) else "")


def create_next_online_keys(folder: Path, passphrase: bytes) -> OnlineSigners:
    """Make the keys that shall take the place of the hub's online keys, beside those.

    Raises:
        KeyFileError: `exists`: some wait already to be published. Or they cannot be written.
    """
    store = KeyStore.open(folder / _STORE, passphrase)
    if _NEXT + _SNAPSHOT in store.entries:
        raise KeyFileError("exists", "the keys of an earlier change wait to be published")
    names = (_SNAPSHOT, _TIMESTAMP)
    store.change({_NEXT + name: Entry("ed25519", SignKey.generate().seed()) for name in names})
    return _online(store, prefix=_NEXT)


def take_up_online_keys(folder: Path, passphrase: bytes, *, root: Root) -> bool:
    """Put the next online keys in the place of the old ones, if `root` names them; destroy those.

    Returns:
        Whether it does.

    Raises:
        KeyFileError: The key store cannot be read or written.
    """
    store = KeyStore.open(folder / _STORE, passphrase)
    if not _names_next(store, root):
        return False
    names = (_SNAPSHOT, _TIMESTAMP)
    entries = {name: store.get(_NEXT + name, "ed25519") for name in names}
    store.change(entries, destroy=[_NEXT + name for name in names])
    return True


def give_up_next_online_keys(folder: Path, passphrase: bytes) -> None:
    """Destroy next online keys that were never published, if there are any.

    Raises:
        KeyFileError: The key store cannot be read or written.
    """
    store = KeyStore.open(folder / _STORE, passphrase)
    if waiting := [name for name in store.entries if name.startswith(_NEXT)]:
        store.change(destroy=waiting)


def _names_next(store: KeyStore, root: Root) -> bool:
    if _NEXT + _SNAPSHOT not in store.entries:
        return False
    waiting = _online(store, prefix=_NEXT)
    named = (root.roles[_SNAPSHOT].keyids, root.roles[_TIMESTAMP].keyids)
    return named == (
        [waiting.snapshot.public_key.keyid],
        [waiting.timestamp.public_key.keyid],
    )


def _online(store: KeyStore, *, prefix: str = "") -> OnlineSigners:
    def signer(name: str) -> Signer:
        return SignKeySigner(SignKey(store.get(prefix + name, "ed25519").secret))

    return OnlineSigners(snapshot=signer(_SNAPSHOT), timestamp=signer(_TIMESTAMP))

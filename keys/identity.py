"""A member's own private keys, as its node holds them: signing, epochs, storage, broker.

Every key is made on the node and never leaves it; only public halves go into `member.json`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

from keys import epochs
from keys.directory.view import DirectoryView
from keys.errors import KeyFileError
from keys.keystore import DEFAULT_LOG2N, Entry, KeyStore
from keys.kid import kid_of
from keys.primitives.hashing import random_bytes
from keys.primitives.mldsa import MLDSASignKey
from keys.primitives.sealing import OpenKey
from keys.primitives.signing import SignKey
from schemas.directory import EncryptionKey

STORE_NAME: Final = "node.keystore"
_SIGN: Final = "sign/"
_OPEN: Final = "open/"
_STORAGE: Final = "storage"
_ACCOUNT: Final = "nats/account"
_USER: Final = "nats/user"
_WITNESS: Final = "witness"


@dataclass(frozen=True)
class MemberIdentity:
    """What a node signs, opens and connects with. Its `repr` is silent.

    Attributes:
        member: The member's code.
        sign_keys: Node signing keys by key identifier, oldest first; several while one replaces
            another.
        open_keys: Private encryption keys by key identifier.
        epochs: The epoch of each of them.
        storage_key: Wraps content keys at rest; 32 bytes.
        witness_seed: Raw ML-DSA-44 seed, under which the node cosigns the log.
        nats_account_seed: Raw Ed25519 seed of the member's broker account.
        nats_user_seed: Raw Ed25519 seed of the node's broker user.
    """

    member: str
    sign_keys: Mapping[bytes, SignKey] = field(repr=False)
    open_keys: Mapping[bytes, OpenKey] = field(repr=False)
    epochs: Mapping[bytes, str]
    storage_key: bytes = field(repr=False)
    witness_seed: bytes = field(repr=False)
    nats_account_seed: bytes = field(repr=False)
    nats_user_seed: bytes = field(repr=False)

    @classmethod
    def load(cls, folder: Path, passphrase: bytes) -> "MemberIdentity":
        """Return the identity kept in `folder`.

        Raises:
            KeyFileError: The key store is missing, too open, damaged or of another kind.
        """
        return identity_in(KeyStore.open(folder / STORE_NAME, passphrase))

    @property
    def kid(self) -> bytes:
        """Key identifier of the newest signing key."""
        return list(self.sign_keys)[-1]

    @property
    def sign_key(self) -> SignKey:
        """The newest signing key; `signer` tells whether the directory lists it yet."""
        return self.sign_keys[self.kid]

    def signer(self, view: DirectoryView, *, at: datetime) -> tuple[bytes, SignKey]:
        """Return the newest signing key that the directory lets this node use at `at`.

        Raises:
            KeyFileError: `no-signing-key`: none of ours holds there.
        """
        listed = view.member(self.member).verification
        for kid in reversed(list(self.sign_keys)):
            if kid in listed and listed[kid].standing.holds(at=at):
                return kid, self.sign_keys[kid]
        raise KeyFileError("no-signing-key", "the directory holds none of this node's keys now")


def create_identity(
    folder: Path,
    passphrase: bytes,
    member: str,
    *,
    now: datetime,
    log2n: int = DEFAULT_LOG2N,
) -> KeyStore:
    """Make a new node's keys in `folder`, with those of the current epoch and the next three.

    Raises:
        KeyFileError: A key store is there already, or cannot be written.
    """
    entries = {
        _STORAGE: Entry("symmetric", random_bytes(32), {"member": member}),
        _ACCOUNT: _seed(SignKey.generate(), now),
        _USER: _seed(SignKey.generate(), now),
        _WITNESS: Entry("ml-dsa-44", MLDSASignKey.generate().seed(), {"made": now.isoformat()}),
        **_new_signing_key(now),
    }
    for epoch in epochs.wanted(now):
        entries |= _new_epoch_key(epoch)
    return KeyStore.create(folder / STORE_NAME, passphrase, entries, log2n=log2n)


def identity_in(store: KeyStore) -> MemberIdentity:
    """Return the identity in an opened key store.

    Raises:
        KeyFileError: It is not a node's, or a key in it is damaged.
    """
    storage = store.get(_STORAGE, "symmetric")
    signing = [e for name, e in store.entries.items() if name.startswith(_SIGN)]
    opening = [e for name, e in store.entries.items() if name.startswith(_OPEN)]
    if not signing or "member" not in storage.facts:
        raise KeyFileError("not-a-node", f"{store.path} is no node's key store")
    signing.sort(key=lambda entry: entry.facts["made"])
    sign_keys = [SignKey(entry.secret) for entry in signing]
    open_keys = {kid_of(key.public.raw): key for key in (OpenKey(e.secret) for e in opening)}
    return MemberIdentity(
        member=storage.facts["member"],
        sign_keys=MappingProxyType({kid_of(key.public.raw): key for key in sign_keys}),
        open_keys=MappingProxyType(open_keys),
        epochs=MappingProxyType(
            {kid: e.facts["epoch"] for kid, e in zip(open_keys, opening, strict=True)}
        ),
        storage_key=storage.secret,
        witness_seed=store.get(_WITNESS, "ml-dsa-44").secret,
        nats_account_seed=store.get(_ACCOUNT, "ed25519").secret,
        nats_user_seed=store.get(_USER, "ed25519").secret,
    )


def add_signing_key(store: KeyStore, *, now: datetime) -> bytes:
    """Make a further signing key and return its raw public half, to be published.

    Raises:
        KeyFileError: The store cannot be written.
    """
    entries = _new_signing_key(now)
    store.change(entries)
    return SignKey(next(iter(entries.values())).secret).public.raw


def add_epoch_keys(store: KeyStore, *, now: datetime, replace_current: bool = False) -> int:
    """Make the encryption keys still missing for the current epoch and the next three.

    Args:
        store: A node's.
        now: The current time.
        replace_current: Make another key for the current epoch, whose key was compromised.

    Returns:
        How many were made.

    Raises:
        KeyFileError: The store cannot be written.
    """
    present = set(identity_in(store).epochs.values())
    if replace_current:
        present.discard(epochs.epoch_of(now))
    missing = [epoch for epoch in epochs.wanted(now) if epoch not in present]
    entries: dict[str, Entry] = {}
    for epoch in missing:
        entries |= _new_epoch_key(epoch)
    if entries:
        store.change(entries)
    return len(missing)


def destroy_past_keys(store: KeyStore, *, now: datetime) -> tuple[str, ...]:
    """Destroy the private keys kept long enough after their epoch; return those epochs.

    Raises:
        KeyFileError: The store cannot be written.
    """
    past = {
        name: entry.facts["epoch"]
        for name, entry in store.entries.items()
        if name.startswith(_OPEN) and epochs.past_keeping(entry.facts["epoch"], now=now)
    }
    if past:
        store.change(destroy=past)
    return tuple(sorted(past.values()))


def destroy_key(store: KeyStore, kid: bytes) -> None:
    """Destroy one private signing or encryption key at once.

    Raises:
        KeyFileError: `no-such-key`, or `last-key` for the only signing key.
    """
    signing = [name for name in store.entries if name.startswith(_SIGN)]
    names = [n for n in store.entries if n.startswith((_SIGN, _OPEN)) and n.endswith(kid.hex())]
    if not names:
        raise KeyFileError("no-such-key", f"{store.path} has no key {kid.hex()}")
    if signing == names:
        raise KeyFileError("last-key", "a node's only signing key is replaced, not destroyed")
    store.change(destroy=names)


def encryption_keys(identity: MemberIdentity) -> tuple[EncryptionKey, ...]:
    """Return the public halves of a node's encryption keys, as `member.json` lists them."""
    return tuple(
        EncryptionKey(
            key=key.public.raw,
            epoch=identity.epochs[kid],
            not_before=epochs.bounds(identity.epochs[kid])[0],
            not_after=epochs.bounds(identity.epochs[kid])[1],
        )
        for kid, key in sorted(
            identity.open_keys.items(), key=lambda item: (identity.epochs[item[0]], item[0])
        )
    )


def _new_signing_key(now: datetime) -> dict[str, Entry]:
    key = SignKey.generate()
    return {_SIGN + kid_of(key.public.raw).hex(): _seed(key, now)}


def _new_epoch_key(epoch: str) -> dict[str, Entry]:
    key = OpenKey.generate()
    name = f"{_OPEN}{epoch}/{kid_of(key.public.raw).hex()}"
    return {name: Entry("suite-1", key.secret(), {"epoch": epoch})}


def _seed(key: SignKey, now: datetime) -> Entry:
    return Entry("ed25519", key.seed(), {"made": now.isoformat()})

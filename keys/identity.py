"""A member's own private keys, as its node holds them: signing, epochs, storage, broker.

Every key is made on the node and never leaves it; only public halves go into `member.json`. A
signing key may lie in a hardware token instead: then the key store says where.
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
from keys.held import entry_of, key_of
from keys.keystore import DEFAULT_LOG2N, Entry, KeyStore
from keys.kid import kid_of
from keys.primitives.hashing import random_bytes
from keys.primitives.mldsa import MLDSASignKey
from keys.primitives.sealing import OpenKey
from keys.primitives.signing import Signing, SignKey
from keys.token import PINSource, TokenKey, no_pin
from schemas.directory import EncryptionKey

STORE_NAME: Final = "node.keystore"
_SIGN: Final = "sign/"
_OPEN: Final = "open/"
_STORAGE: Final = "storage"
_NEXT_STORAGE: Final = "storage/next"  # while what is at rest is wrapped anew
_ACCOUNT: Final = "nats/account"
_USER: Final = "nats/user"
_WITNESS: Final = "witness"
_NEXT_WITNESS: Final = "witness/next"  # until the directory lets it hold, and beyond


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
        next_witness_seed: Of the key that takes its place once the directory says so; or empty.
        nats_account_seed: Raw Ed25519 seed of the member's broker account.
        nats_user_seed: Raw Ed25519 seed of the node's broker user.
    """

    member: str
    sign_keys: Mapping[bytes, Signing] = field(repr=False)
    open_keys: Mapping[bytes, OpenKey] = field(repr=False)
    epochs: Mapping[bytes, str]
    storage_key: bytes = field(repr=False)
    witness_seed: bytes = field(repr=False)
    nats_account_seed: bytes = field(repr=False)
    nats_user_seed: bytes = field(repr=False)
    next_witness_seed: bytes = field(default=b"", repr=False)

    @classmethod
    def load(cls, folder: Path, passphrase: bytes, pin: PINSource = no_pin) -> "MemberIdentity":
        """Return the identity kept in `folder`; `pin` as for `identity_in`.

        Raises:
            KeyFileError: The key store is missing, too open, damaged or of another kind.
        """
        return identity_in(KeyStore.open(folder / STORE_NAME, passphrase), pin)

    @property
    def kid(self) -> bytes:
        """Key identifier of the newest signing key."""
        return list(self.sign_keys)[-1]

    @property
    def sign_key(self) -> Signing:
        """The newest signing key; `signer` tells whether the directory lists it yet."""
        return self.sign_keys[self.kid]

    def signer(self, view: DirectoryView, *, at: datetime) -> tuple[bytes, Signing]:
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
    signing: TokenKey | None = None,
) -> KeyStore:
    """Make a new node's keys in `folder`, with those of the current epoch and the next three.

    Args:
        folder: Of the key store.
        passphrase: Will open it.
        member: Whose node.
        now: The current time.
        log2n: Cost of the key store.
        signing: The signing key, if it lies in a token.

    Raises:
        KeyFileError: A key store is there already, or cannot be written.
    """
    entries = {
        _STORAGE: Entry("symmetric", random_bytes(32), {"member": member}),
        _ACCOUNT: entry_of(SignKey.generate(), made=now),
        _USER: entry_of(SignKey.generate(), made=now),
        _WITNESS: _witness_entry(now),
        **_signing_key(signing or SignKey.generate(), now),
    }
    for epoch in epochs.wanted(now):
        entries |= _new_epoch_key(epoch)
    return KeyStore.create(folder / STORE_NAME, passphrase, entries, log2n=log2n)


def identity_in(store: KeyStore, pin: PINSource = no_pin) -> MemberIdentity:
    """Return the identity in an opened key store.

    Args:
        store: A node's.
        pin: Asked for the PIN once a key signs that lies in a token.

    Raises:
        KeyFileError: It is not a node's, or a key in it is damaged.
    """
    storage = store.get(_STORAGE, "symmetric")
    signing = [e for name, e in store.entries.items() if name.startswith(_SIGN)]
    opening = [e for name, e in store.entries.items() if name.startswith(_OPEN)]
    if not signing or "member" not in storage.facts:
        raise KeyFileError("not-a-node", f"{store.path} is no node's key store")
    if _NEXT_STORAGE in store.entries:
        raise KeyFileError(
            "storage-half-changed",
            "a change of the storage key was not finished: run kentong node rewrap again",
        )
    signing.sort(key=lambda entry: entry.facts["made"])
    sign_keys = [key_of(entry, pin) for entry in signing]
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
        next_witness_seed=(
            store.get(_NEXT_WITNESS, "ml-dsa-44").secret if _NEXT_WITNESS in store.entries else b""
        ),
    )


def add_signing_key(store: KeyStore, *, now: datetime, token: TokenKey | None = None) -> bytes:
    """Make a further signing key and return its raw public half, to be published.

    Args:
        store: A node's.
        now: The current time.
        token: The key, if it lies in a token; else one is made.

    Raises:
        KeyFileError: `exists`: the store has this key already. Or it cannot be written.
    """
    key = token or SignKey.generate()
    entries = _signing_key(key, now)
    if set(entries) & set(store.entries):
        raise KeyFileError("exists", "this key is one of the node's already: name another")
    store.change(entries)
    return key.public.raw


def next_storage_key(store: KeyStore) -> tuple[bytes, bytes]:
    """Return the storage key and the one that shall take its place; the same if called again.

    Raises:
        KeyFileError: The store cannot be written.
    """
    storage = store.get(_STORAGE, "symmetric")
    if _NEXT_STORAGE not in store.entries:
        store.change({_NEXT_STORAGE: Entry("symmetric", random_bytes(32), storage.facts)})
    return storage.secret, store.get(_NEXT_STORAGE, "symmetric").secret


def take_up_storage_key(store: KeyStore) -> None:
    """Put the next storage key in the place of the old one, and destroy that.

    Raises:
        KeyFileError: There is none, or the store cannot be written.
    """
    store.change({_STORAGE: store.get(_NEXT_STORAGE, "symmetric")}, destroy=[_NEXT_STORAGE])


def replace_witness_key(store: KeyStore, *, now: datetime) -> None:
    """Make the next key under which the node cosigns the log, beside the one of today.

    An earlier next one is then that of today.

    Raises:
        KeyFileError: The store cannot be written.
    """
    entries = {_NEXT_WITNESS: _witness_entry(now)}
    if _NEXT_WITNESS in store.entries:
        entries[_WITNESS] = store.get(_NEXT_WITNESS, "ml-dsa-44")
    store.change(entries)


def replace_connection_keys(store: KeyStore, *, now: datetime) -> None:
    """Put another broker account and user in the place of the old ones.

    Raises:
        KeyFileError: The store cannot be written.
    """
    store.change({n: entry_of(SignKey.generate(), made=now) for n in (_ACCOUNT, _USER)})


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


def _witness_entry(now: datetime) -> Entry:
    return Entry("ml-dsa-44", MLDSASignKey.generate().seed(), {"made": now.isoformat()})


def _signing_key(key: SignKey | TokenKey, now: datetime) -> dict[str, Entry]:
    return {_SIGN + kid_of(key.public.raw).hex(): entry_of(key, made=now)}


def _new_epoch_key(epoch: str) -> dict[str, Entry]:
    key = OpenKey.generate()
    name = f"{_OPEN}{epoch}/{kid_of(key.public.raw).hex()}"
    return {name: Entry("suite-1", key.secret(), {"epoch": epoch})}

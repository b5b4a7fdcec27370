"""Replacing the hub's broker keys: operator, its accounts and their users, all at once.

JetStream keeps streams below a folder that is called like the account which owns them. So while
the server stands still they go over to another account with their folder, whole. Members notice
nothing: their own accounts and users stay, and the hub signs anew what they may do.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from broker.errors import BrokerError
from broker.hub.place import (
    ACCOUNT,
    GATEWAY_STORE,
    HUB_STORE,
    OPERATOR,
    SYSTEM,
    SYSTEM_USER,
    HubPlace,
)
from broker.hub.settings import HubConfig
from broker.transport.accounts import public_nkey, user_jwt_again
from broker.transport.server import ServerPlace
from broker.transport.storeduser import USER
from keys.errors import KeyFileError
from keys.keystore import Entry, KeyStore
from keys.primitives.signing import SignKey
from schemas.directory import HubDocument

_NAMES: Final = (OPERATOR, SYSTEM, ACCOUNT, SYSTEM_USER, USER)
_NEXT: Final = {name: f"next/{name}" for name in _NAMES}
_JETSTREAM: Final = "jetstream"  # as the server calls its folder in the one that it is given


def with_next_broker_keys(
    place: HubPlace, config: HubConfig, passphrase: bytes, document: HubDocument
) -> HubDocument:
    """Make other broker keys and return the document that names them.

    Raises:
        BrokerError: `streams-elsewhere`: servers that run elsewhere keep the streams.
        KeyFileError: `exists`: some wait already to be published. Or they cannot be written.
    """
    if not config.embedded:
        text = "the streams are on servers that run elsewhere, and belong to the account that is"
        raise BrokerError("streams-elsewhere", text)
    store = KeyStore.open(place.keys / HUB_STORE, passphrase)
    if _NEXT[ACCOUNT] in store.entries:
        raise KeyFileError("exists", "the keys of an earlier change wait to be published")
    keys = {name: SignKey.generate() for name in _NAMES}
    store.change({_NEXT[name]: Entry("ed25519", key.seed()) for name, key in keys.items()})
    return document.model_copy(
        update={
            "operator_key": keys[OPERATOR].public.raw,
            "account_key": keys[ACCOUNT].public.raw,
        }
    )


def broker_keys_wait(place: HubPlace, passphrase: bytes, document: HubDocument) -> bool:
    """Return whether `document` names broker keys that the next start of the hub takes up.

    Raises:
        KeyFileError: The key store cannot be read.
    """
    store = KeyStore.open(place.keys / HUB_STORE, passphrase)
    return _NEXT[ACCOUNT] in store.entries and (
        _key(store, _NEXT[ACCOUNT]).public.raw == document.account_key
    )


def take_up_broker_keys(
    place: HubPlace, config: HubConfig, passphrase: bytes, document: HubDocument, *, now: datetime
) -> bool:
    """Put the next broker keys in the place of the old ones if `document` names them.

    Before the server is started. Interrupted, it goes on when it is called again.

    Returns:
        Whether it does.

    Raises:
        BrokerError: `running-already`, or `cannot-write`.
        KeyFileError: A key store cannot be read or written.
    """
    if not broker_keys_wait(place, passphrase, document):
        return False
    store = KeyStore.open(place.keys / HUB_STORE, passphrase)
    old, new = _key(store, ACCOUNT), _key(store, _NEXT[ACCOUNT])
    server = place.server(config)
    with place.locked(), _still(server):
        try:
            _move(server.store / _JETSTREAM, old, new)
            # What the old operator signed; the hub says all of it anew when it starts.
            shutil.rmtree(server.folder / "accounts", ignore_errors=True)
        except OSError as error:
            raise BrokerError("cannot-write", f"{server.store} cannot be changed") from error
        for users in (place.keys / GATEWAY_STORE, _sequencer_store(place.home)):
            if users.exists():
                _sign_again(KeyStore.open(users, passphrase), new, now=now)
        # Last: with it, the new keys are in force.
        entries = {name: store.get(_NEXT[name], "ed25519") for name in _NAMES}
        store.change(entries, destroy=list(_NEXT.values()))
    return True


def give_up_next_broker_keys(place: HubPlace, passphrase: bytes) -> None:
    """Destroy next broker keys that were never published, if there are any.

    Raises:
        KeyFileError: The key store cannot be read or written.
    """
    store = KeyStore.open(place.keys / HUB_STORE, passphrase)
    waiting = [name for name in _NEXT.values() if name in store.entries]
    if waiting:
        store.change(destroy=waiting)


def _key(store: KeyStore, name: str) -> SignKey:
    return SignKey(store.get(name, "ed25519").secret)


def _sequencer_store(home: Path) -> Path:
    return home / "log" / "keys" / "sequencer.keystore"


def _move(folder: Path, old: SignKey, new: SignKey) -> None:
    before, after = (folder / public_nkey("account", key.public.raw) for key in (old, new))
    if before.exists() and not after.exists():
        before.rename(after)


def _sign_again(store: KeyStore, account: SignKey, *, now: datetime) -> None:
    """Let a confined user of the old account be the same one of the new account."""
    entry = store.get(USER, "ed25519")
    jwt = user_jwt_again(entry.facts["jwt"], account, now=now)
    store.change({USER: Entry(entry.kind, entry.secret, {**entry.facts, "jwt": jwt})})


@contextmanager
def _still(server: ServerPlace) -> Iterator[None]:
    """Hold what the server holds while it runs; one that is ending is waited for."""
    if not server.folder.exists():
        yield
        return
    handle = os.open(server.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)

"""The record keys in the gateway's key store: which one seals, which still open, which are lost.

    record/NAME  a record key, since when in its facts; the newest seals
    lost/NAME    the name of one that the operator gave up

A worker notices another one's newer key at the first record under it, and reads the store again;
without such a record, within a minute. So nobody has to be restarted, and nothing is closed to
anybody meanwhile. An older key is destroyed once nothing that it sealed is on the stream.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final

from broker.log.recordkeys import NAME_BYTES, HeldKeys, RecordKey, RecordKeys
from broker.transport.streams import AUDIT_AGE
from keys.errors import KeyFileError
from keys.keystore import Entry, KeyStore
from keys.primitives.symmetric import KEY_BYTES

RECORD: Final = "record/"
LOST: Final = "lost/"
KEPT_FOR: Final = AUDIT_AGE + timedelta(days=1)  # a worker takes up the next one within a minute
_MADE: Final = "made"


@dataclass(frozen=True)
class Rotated:
    """What a rotation did.

    Attributes:
        name: Of the key that seals from now on, in hexadecimal.
        kept: How many older ones still open.
        destroyed: How many were destroyed.
    """

    name: str
    kept: int
    destroyed: int


def record_keys(store: KeyStore) -> RecordKeys:
    """Return the record keys in the gateway's key store.

    Raises:
        KeyFileError: `no-record-key`; `damaged`.
    """

    def reread() -> HeldKeys:
        store.reload()
        return _held(store)

    return RecordKeys(_held(store), reread)


def new_entry(now: datetime) -> dict[str, Entry]:
    """Return a new record key, as the key store has it."""
    key = RecordKey.generate()
    return {RECORD + key.name.hex(): Entry("symmetric", key.secret, {_MADE: now.isoformat()})}


def rotate(path: Path, passphrase: bytes, *, now: datetime) -> Rotated:
    """Make another record key, and destroy those under which nothing is on the stream any more.

    Args:
        path: The gateway's key store.
        passphrase: Opens it.
        now: From when the new key seals.

    Raises:
        KeyFileError: It cannot be read or written.
    """
    store = KeyStore.open(path, passphrase)
    before = _times(store)
    if before:  # by a clock that went back, the newest is the newest still
        now = max(now, before[-1][0] + timedelta(milliseconds=1))
    new = new_entry(now)
    times = [*before, (now, next(iter(new)))]
    over = [name for (_, name), (ended, _) in pairwise(times) if ended + KEPT_FOR < now]
    store.change(new, destroy=over)
    name = next(iter(new)).removeprefix(RECORD)
    return Rotated(name, len(before) - len(over), len(over))


def give_up(path: Path, passphrase: bytes, name: str, *, now: datetime) -> None:
    """Say that a record key is lost: what it sealed counts as decided, and is never asked for.

    Args:
        path: The gateway's key store.
        passphrase: Opens it.
        name: Of the key, in hexadecimal, as the gateway's log has it.
        now: The operator's clock.

    Raises:
        KeyFileError: `bad-name`: not the name of one; `exists`: the store has that key.
    """
    store = KeyStore.open(path, passphrase)
    if len(_name(name)) != NAME_BYTES or name != name.lower():
        raise KeyFileError("bad-name", f"{name!r} is not the name of a record key")
    if RECORD + name in store.entries:
        raise KeyFileError("exists", f"the record key {name} is here, and not lost")
    store.change({LOST + name: Entry("symmetric", b"", {_MADE: now.isoformat()})})


def _held(store: KeyStore) -> HeldKeys:
    found = [RecordKey(_secret(store, name)) for _, name in _times(store)]
    if not found:
        raise KeyFileError(
            "no-record-key", f"{store.path} has no record key: kentong hub rekey-record"
        )
    lost = (_name(each.removeprefix(LOST)) for each in store.entries if each.startswith(LOST))
    return HeldKeys(found[-1], tuple(found[:-1]), frozenset(lost))


def _times(store: KeyStore) -> list[tuple[datetime, str]]:
    """Return when each key was made, and its entry's name, the oldest first."""
    return sorted(_made(store))


def _made(store: KeyStore) -> Iterator[tuple[datetime, str]]:
    for name, entry in store.entries.items():
        if name.startswith(RECORD):
            try:
                yield datetime.fromisoformat(entry.facts[_MADE]), name
            except (KeyError, ValueError):
                raise KeyFileError("damaged", f"{store.path} does not date {name}") from None


def _secret(store: KeyStore, name: str) -> bytes:
    secret = store.get(name, "symmetric").secret
    if len(secret) != KEY_BYTES or RecordKey(secret).name.hex() != name.removeprefix(RECORD):
        raise KeyFileError("damaged", f"{store.path} has another key under {name}")
    return secret


def _name(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise KeyFileError("bad-name", f"{text!r} is not the name of a record key") from None

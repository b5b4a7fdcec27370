"""A file of private keys under one passphrase. Source: docs/key-store.md, format 1.

    magic || canonical [1, header, sealed]

The header gives scrypt's parameters; the key it yields seals all entries at once with AES-256-GCM,
magic, version and header being bound as additional data. A check value in the header tells a
wrong passphrase from a damaged file; it also commits the ciphertext to its key.
"""

import fcntl
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, get_args

from typing_extensions import override

from keys.errors import DecryptionError, KeyFileError
from keys.files import (
    check_private_folder,
    erase_halves,
    make_private_folder,
    read_private,
    write_private,
)
from keys.passphrase import check_passphrase
from keys.primitives.hashing import equal, hmac_sha256, random_bytes
from keys.primitives.symmetric import NONCE_BYTES, gcm_open, gcm_seal, scrypt
from schemas import canonical
from schemas.errors import CanonicalError

MAGIC: Final = b"KENTONG-KEYSTORE"
VERSION: Final = 1
DEFAULT_LOG2N: Final = 17  # 128 MiB and about a third of a second
FLOOR_LOG2N: Final = 15  # for small machines and demonstrations, which say so
CEILING_LOG2N: Final = 20  # 1 GiB: a hostile header must not take more of the machine
MAX_STORE_BYTES: Final = 1024 * 1024
_R: Final = 8  # RFC 7914 section 2; memory is 128 * n * r bytes
_P: Final = 1
_SALT_BYTES: Final = 32
_CHECK: Final = b"kentong/keystore/check/1\0"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9./-]{0,63}")

Kind: TypeAlias = Literal["ed25519", "ml-dsa-44", "suite-1", "symmetric", "share", "pem", "pkcs11"]


@dataclass(frozen=True)
class Entry:
    """One private key.

    Attributes:
        kind: What `secret` is: an Ed25519 seed, a suite 1 private key, 32 bytes, a share of a
            private key, PEM text, or the URI of a key in a hardware token.
        secret: The private bytes, or that URI; silent in `repr`.
        facts: What is public about it, such as its epoch.
    """

    kind: Kind
    secret: bytes = field(repr=False)
    facts: Mapping[str, str] = field(default_factory=dict)


class KeyStore:
    """An opened key store. Its `repr` is silent.

    The derived key stays in memory, so that a store costs one scrypt however often it is written.
    """

    def __init__(
        self, path: Path, header: canonical.Value, key: bytes, entries: Mapping[str, Entry]
    ) -> None:
        self.path = path
        self._header = header
        self._key = key
        self._entries = dict(entries)

    @override
    def __repr__(self) -> str:
        return f"KeyStore({self.path.name!r}, ...)"

    @classmethod
    def create(
        cls,
        path: Path,
        passphrase: bytes,
        entries: Mapping[str, Entry],
        *,
        log2n: int = DEFAULT_LOG2N,
    ) -> "KeyStore":
        """Write a new store and return it opened.

        Raises:
            KeyFileError: It exists already, a name or parameter is bad, or it cannot be written.
        """
        check_passphrase(passphrase)
        key, header = _new_header(passphrase, log2n=log2n)
        make_private_folder(path.parent)
        store = cls(path, header, key, {})
        with _locked(path):
            if path.exists():
                raise KeyFileError("exists", f"{path} exists already")
            store._write(_checked(entries), erase_old=False)
        return store

    @classmethod
    def open(cls, path: Path, passphrase: bytes) -> "KeyStore":
        """Return the store at `path`, opened.

        Raises:
            KeyFileError: Missing, too open, `wrong-passphrase`, `damaged`, or of another version.
        """
        check_passphrase(passphrase)
        check_private_folder(path.parent)
        with _locked(path):  # not while the old file is being erased
            header, sealed = _parse(path, read_private(path, max_bytes=MAX_STORE_BYTES))
        salt, check, log2n = header["salt"], header["check"], header["log2n"]
        if not (isinstance(salt, bytes) and isinstance(check, bytes) and isinstance(log2n, int)):
            raise _damaged(path)
        key = _derive(passphrase, salt=salt, log2n=log2n)
        if not equal(hmac_sha256(key, _CHECK), check):
            raise KeyFileError("wrong-passphrase", f"the passphrase does not open {path}")
        return cls(path, header, key, _unseal(path, header, key, sealed))

    @property
    def entries(self) -> Mapping[str, Entry]:
        """All keys by name, as of opening or the last change."""
        return MappingProxyType(self._entries)

    def get(self, name: str, kind: Kind) -> Entry:
        """Return the key called `name`.

        Raises:
            KeyFileError: No such key, or one of another kind.
        """
        entry = self._entries.get(name)
        if entry is None or entry.kind != kind:
            raise KeyFileError("no-such-key", f"{self.path} has no {kind} key {name!r}")
        return entry

    def change(
        self, put: Mapping[str, Entry] | None = None, *, destroy: Collection[str] = ()
    ) -> None:
        """Add or replace keys and destroy others, in one atomic write.

        The file is read again first, so that two processes do not undo each other's changes.

        Raises:
            KeyFileError: A name to destroy is not there, or the file cannot be read or written.
        """
        with _locked(self.path):
            self._reload()
            missing = set(destroy) - set(self._entries)
            if missing:
                raise KeyFileError("no-such-key", f"{self.path} has no key {min(missing)!r}")
            kept = {name: e for name, e in self._entries.items() if name not in destroy}
            self._write({**kept, **_checked(put or {})}, erase_old=bool(destroy))

    def rewrap(self, passphrase: bytes, *, log2n: int = DEFAULT_LOG2N) -> None:
        """Put the same keys under another passphrase; the old file is overwritten.

        A process that has the store open is told at its next change (`changed`).

        Raises:
            KeyFileError: A bad passphrase or parameter, or the file cannot be read or written.
        """
        check_passphrase(passphrase)
        with _locked(self.path):
            self._reload()
            key, header = _new_header(passphrase, log2n=log2n)
            other = KeyStore(self.path, header, key, {})
            other._write(self._entries, erase_old=True)
            self._key, self._header = key, header  # only once it is on the disk

    def reload(self) -> None:
        """Read what another process wrote since.

        Raises:
            KeyFileError: As `open`; `changed` if it stands under another passphrase now.
        """
        with _locked(self.path):
            self._reload()

    def _reload(self) -> None:
        header, sealed = _parse(self.path, read_private(self.path, max_bytes=MAX_STORE_BYTES))
        if header != self._header:
            raise KeyFileError("changed", f"{self.path} was written anew: open it again")
        self._entries = _unseal(self.path, header, self._key, sealed)

    def _write(self, entries: dict[str, Entry], *, erase_old: bool) -> None:
        nonce = random_bytes(NONCE_BYTES)  # random: far fewer than 2**32 writes of one store
        plain = canonical.encode({n: [e.kind, e.secret, dict(e.facts)] for n, e in entries.items()})
        sealed = nonce + gcm_seal(self._key, plain, aad=_bound(self._header), nonce=nonce)
        raw = MAGIC + canonical.encode([VERSION, self._header, sealed])
        if len(raw) > MAX_STORE_BYTES:
            raise KeyFileError("too-large", f"{self.path} would be too large")
        write_private(self.path, raw, erase_old=erase_old)
        self._entries = entries


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the store at `path`, rid of what a killed process left beside it."""
    lock = path.with_name(f".{path.name}.lock")
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        handle = os.open(lock, flags, 0o600)
    except OSError as error:
        raise KeyFileError("cannot-write", f"{lock} cannot be opened") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        _erase_halves(path)
        yield
    finally:
        os.close(handle)


def _erase_halves(path: Path) -> None:
    try:
        erase_halves(path)
    except OSError as error:
        text = f"what a killed process left beside {path} cannot be removed"
        raise KeyFileError("cannot-write", text) from error


def _new_header(passphrase: bytes, *, log2n: int) -> tuple[bytes, canonical.Value]:
    salt = random_bytes(_SALT_BYTES)
    key = _derive(passphrase, salt=salt, log2n=log2n)
    header: canonical.Value = {
        "kdf": "scrypt",
        "log2n": log2n,
        "r": _R,
        "p": _P,
        "salt": salt,
        "check": hmac_sha256(key, _CHECK),
    }
    return key, header


def _derive(passphrase: bytes, *, salt: bytes, log2n: int) -> bytes:
    if not FLOOR_LOG2N <= log2n <= CEILING_LOG2N:
        raise KeyFileError(
            "bad-parameters", f"scrypt's log2 n lies between {FLOOR_LOG2N} and {CEILING_LOG2N}"
        )
    return scrypt(passphrase, salt=salt, n=2**log2n, r=_R, p=_P)


def _bound(header: canonical.Value) -> bytes:
    return MAGIC + canonical.encode([VERSION, header])


def _checked(entries: Mapping[str, Entry]) -> dict[str, Entry]:
    for name in entries:
        if not _NAME.fullmatch(name):
            raise KeyFileError("bad-name", f"{name!r} is no name for a key")
    return dict(entries)


def _parse(path: Path, raw: bytes) -> tuple[dict[str, canonical.Value], bytes]:
    if not raw.startswith(MAGIC):
        raise KeyFileError("not-a-key-store", f"{path} is not a key store")
    try:
        outer = canonical.decode(raw[len(MAGIC) :], max_bytes=MAX_STORE_BYTES)
    except CanonicalError as error:
        raise _damaged(path) from error
    match outer:
        case [version, *_] if version != VERSION or isinstance(version, bool):
            raise KeyFileError("unknown-version", f"{path} has a format not known here")
        case [_, dict(header), bytes(sealed)] if set(header) == {
            "kdf",
            "log2n",
            "r",
            "p",
            "salt",
            "check",
        }:
            pass
        case _:
            raise _damaged(path)
    if (header["kdf"], header["r"], header["p"]) != ("scrypt", _R, _P):
        raise KeyFileError("bad-parameters", f"{path} names other parameters than format 1 has")
    return header, sealed


def _unseal(path: Path, header: canonical.Value, key: bytes, sealed: bytes) -> dict[str, Entry]:
    nonce, rest = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
    if len(nonce) < NONCE_BYTES:
        raise _damaged(path)
    try:
        plain = gcm_open(key, rest, aad=_bound(header), nonce=nonce)
        fields = canonical.decode(plain, max_bytes=MAX_STORE_BYTES)
    except (DecryptionError, CanonicalError) as error:
        raise _damaged(path) from error
    if not isinstance(fields, dict):
        raise _damaged(path)
    return {name: _entry(path, value) for name, value in fields.items()}


def _entry(path: Path, value: canonical.Value) -> Entry:
    match value:
        case [str(kind), bytes(secret), dict(facts)] if kind in get_args(Kind):
            return Entry(_kind(kind), secret, {n: str(fact) for n, fact in facts.items()})
        case _:
            raise _damaged(path)


def _kind(text: str) -> Kind:
    return next(kind for kind in get_args(Kind) if kind == text)


def _damaged(path: Path) -> KeyFileError:
    return KeyFileError("damaged", f"{path} is damaged: restore it from a backup")

"""The entries of a view: keys and officers, each with when it holds, from verified documents."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import TypeAlias, TypeVar

from keys.directory.validity import STOLEN, Standing
from keys.errors import DirectoryError, KeysError
from keys.kid import kid_of
from keys.primitives.sealing import SealKey
from keys.primitives.signing import VerifyKey
from schemas.directory import (
    EncryptionKey,
    Officer,
    OfficerRole,
    Revocation,
    RevocationReason,
    Validity,
    VerificationKey,
)


@dataclass(frozen=True)
class KeyEntry:
    """A verification key and when it holds."""

    kid: bytes
    key: VerifyKey
    standing: Standing


@dataclass(frozen=True)
class SealEntry:
    """An encryption key of one epoch and when it holds."""

    kid: bytes
    key: SealKey
    epoch: str
    standing: Standing


@dataclass(frozen=True)
class OfficerEntry:
    """A certified officer or system, and when the certificate holds."""

    id: str
    kid: bytes
    key: VerifyKey
    roles: tuple[OfficerRole, ...]
    standing: Standing


KeyT = TypeVar("KeyT", VerifyKey, SealKey)
EntryT = TypeVar("EntryT", KeyEntry, SealEntry, OfficerEntry)
Suspensions: TypeAlias = Mapping[bytes | None, tuple[datetime, RevocationReason]]


def suspensions(code: str, revocations: Iterable[Revocation]) -> Suspensions:
    """Return from when, and why, each key of a member stands suspended; None for all of it."""
    earliest: dict[bytes | None, tuple[datetime, RevocationReason]] = {}
    for entry in revocations:
        if entry.member != code:
            continue
        before = earliest.get(entry.kid)
        if before is None or entry.at < before[0]:
            earliest[entry.kid] = (entry.at, entry.reason)
    return earliest


def key_entry(entry: VerificationKey, cut: Suspensions) -> KeyEntry:
    """Return the entry of a node's or gateway's key.

    Raises:
        DirectoryError: `bad-key`.
    """
    kid = kid_of(entry.key)
    return KeyEntry(kid, _key(VerifyKey, entry.key), _standing(entry, kid, cut))


def seal_entry(entry: EncryptionKey, cut: Suspensions) -> SealEntry:
    """Return the entry of an encryption key.

    Raises:
        DirectoryError: `bad-key`.
    """
    kid = kid_of(entry.key)
    return SealEntry(kid, _key(SealKey, entry.key), entry.epoch, _standing(entry, kid, cut))


def officer_entry(entry: Officer, cut: Suspensions) -> OfficerEntry:
    """Return the entry of a certificate.

    Raises:
        DirectoryError: `bad-key`.
    """
    kid = kid_of(entry.key)
    standing = _standing(entry, kid, cut)
    return OfficerEntry(entry.id, kid, _key(VerifyKey, entry.key), entry.roles, standing)


def _standing(entry: Validity, kid: bytes, cut: Suspensions) -> Standing:
    whole = cut.get(None)
    return Standing.of(entry, cut.get(kid), stolen=whole is not None and whole[1] in STOLEN)


def auditors_key(raw: bytes | None) -> tuple[bytes, SealKey] | None:
    """Return identifier and key of the auditors, if there is one.

    Raises:
        DirectoryError: `bad-key`.
    """
    return None if raw is None else (kid_of(raw), _key(SealKey, raw))


def _key(kind: type[KeyT], raw: bytes) -> KeyT:
    try:
        return kind(raw)
    except KeysError as error:
        raise DirectoryError("bad-key", "a document holds a key that is none") from error


def by_kid(entries: Iterable[EntryT]) -> Mapping[bytes, EntryT]:
    """Return entries by their key's identifier."""
    return MappingProxyType({entry.kid: entry for entry in entries})


def known(entries: Mapping[bytes, EntryT], kid: bytes) -> EntryT:
    """Return the entry of `kid`.

    Raises:
        DirectoryError: `unknown-key`.
    """
    try:
        return entries[kid]
    except KeyError:
        raise DirectoryError("unknown-key", "no such key in the directory") from None

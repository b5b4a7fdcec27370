"""What a member changes in its own documents: rotate, revoke, certify. Pure functions.

Nothing here signs or publishes. A verification key or an officer's certificate is never removed,
only ended, so that what was signed under it can be judged for ever.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeVar

from keys.epochs import past_keeping
from keys.errors import DirectoryError
from keys.identity import MemberIdentity, encryption_keys
from keys.kid import kid_of
from keys.primitives.mldsa import MLDSASignKey
from keys.primitives.signing import SignKey
from schemas.directory import (
    Contact,
    EncryptionKey,
    MemberDocument,
    NatsKeys,
    Officer,
    OfficerRole,
    OfficersDocument,
    Revocation,
    RevocationReason,
    Revocations,
    VerificationKey,
    WitnessKey,
)

SIGNING_KEY_LASTS: Final = timedelta(days=400)  # a yearly rotation with a month to spare
WITNESS_KEY_LASTS: Final = timedelta(days=3660)  # it never seals, and changes by a ceremony
OFFICER_LASTS: Final = timedelta(days=365)
WITNESS_NOTICE: Final = timedelta(hours=2)  # in which every node takes the directory that says so
OVERLAP: Final = timedelta(days=35)  # a sealed envelope may wait 35 days for its decision


def new_member_document(
    identity: MemberIdentity,
    *,
    names: Mapping[str, str],
    reads: Mapping[str, Sequence[int]],
    now: datetime,
    contacts: Sequence[Contact] = (),
) -> MemberDocument:
    """Return the first `member.json` of a member."""
    return MemberDocument(
        member=identity.member,
        names=dict(names),
        contacts=tuple(contacts),
        verification_keys=(_verification_key(identity.sign_key.public.raw, now),),
        encryption_keys=encryption_keys(identity),
        witness_keys=(_witness_key(identity.witness_seed, now),),
        nats=_nats_keys(identity),
        reads={kind: tuple(versions) for kind, versions in reads.items()},
    )


def with_epochs(
    document: MemberDocument, identity: MemberIdentity, *, now: datetime
) -> MemberDocument:
    """Return the document with the node's new encryption keys, without those long past."""
    kept = [key for key in document.encryption_keys if not past_keeping(key.epoch, now=now)]
    known = {key.key for key in kept}
    fresh = [key for key in encryption_keys(identity) if key.key not in known]
    return document.model_copy(update={"encryption_keys": _by_epoch([*kept, *fresh])})


def with_replaced_encryption_key(
    document: MemberDocument,
    identity: MemberIdentity,
    kid: bytes,
    *,
    now: datetime,
) -> MemberDocument:
    """Return the document in which `kid` is revoked as compromised and a new key takes over now.

    Raises:
        DirectoryError: `unknown-key`.
    """
    if kid not in {kid_of(key.key) for key in document.encryption_keys}:
        raise DirectoryError("unknown-key", "the document lists no such encryption key")
    ended = {"revoked_at": now, "reason": RevocationReason.COMPROMISED}
    listed = [
        key.model_copy(update=ended) if kid_of(key.key) == kid and not key.revoked_at else key
        for key in document.encryption_keys
    ]
    known = {key.key for key in listed}
    fresh = [key for key in encryption_keys(identity) if key.key not in known]
    started = [_from(key, now) for key in fresh]
    return document.model_copy(update={"encryption_keys": _by_epoch([*listed, *started])})


def kids_of_epoch(document: MemberDocument, epoch: str) -> tuple[bytes, ...]:
    """Return the encryption keys listed for an epoch that are not revoked."""
    return tuple(
        kid_of(key.key)
        for key in document.encryption_keys
        if key.epoch == epoch and key.revoked_at is None
    )


def with_signing_key(
    document: MemberDocument, public: bytes, *, not_before: datetime
) -> MemberDocument:
    """Return the document with a further node key; older ones end `OVERLAP` after its start."""
    end = not_before + OVERLAP
    older = [
        key.model_copy(update={"not_after": end})
        if key.not_before < end < key.not_after and key.revoked_at is None
        else key
        for key in document.verification_keys
    ]
    keys = (*older, _verification_key(public, not_before))
    return document.model_copy(update={"verification_keys": keys})


def with_witness_key(
    document: MemberDocument, identity: MemberIdentity, *, now: datetime, stolen: bool
) -> MemberDocument:
    """Return the document with the node's new witness key; the older ones end.

    Args:
        document: The member's.
        identity: With the new key.
        now: The current time. As planned, the older ones end and the new one begins
            `WITNESS_NOTICE` later: until then the quorum that must prove this very directory is
            the old keys'.
        stolen: Whether the older ones are revoked as compromised, now.
    """
    older, start = [], now if stolen else now + WITNESS_NOTICE
    for key in document.witness_keys:
        if key.revoked_at is not None or key.not_after <= now:
            older.append(key)
        elif stolen:
            ended: dict[str, object] = {"revoked_at": now, "reason": RevocationReason.COMPROMISED}
            older.append(key.model_copy(update=ended))
        elif key.not_before < start:
            older.append(key.model_copy(update={"not_after": min(start, key.not_after)}))
        else:  # it never came to hold
            ended = {"revoked_at": now, "reason": RevocationReason.SUPERSEDED}
            older.append(key.model_copy(update=ended))
    keys = (*older, _witness_key(identity.next_witness_seed or identity.witness_seed, start))
    return document.model_copy(update={"witness_keys": keys})


def with_connection_keys(document: MemberDocument, identity: MemberIdentity) -> MemberDocument:
    """Return the document with the node's new broker account and user; the hub forgets the old."""
    return document.model_copy(update={"nats": _nats_keys(identity)})


def with_revoked_key(
    document: MemberDocument, kid: bytes, *, at: datetime, reason: RevocationReason
) -> MemberDocument:
    """Return the document in which a key, for signing or encryption, stands revoked from `at`.

    Raises:
        DirectoryError: `unknown-key`, or `key-revoked` if it stands revoked from an earlier time.
    """
    signing = _revoked(document.verification_keys, kid, at, reason)
    encryption = _revoked(document.encryption_keys, kid, at, reason)
    if (signing, encryption) == (document.verification_keys, document.encryption_keys):
        raise DirectoryError("unknown-key", "the document lists no such key")
    return document.model_copy(update={"verification_keys": signing, "encryption_keys": encryption})


KeyT = TypeVar("KeyT", VerificationKey, EncryptionKey)


def _revoked(
    keys: Sequence[KeyT], kid: bytes, at: datetime, reason: RevocationReason
) -> tuple[KeyT, ...]:
    changed = []
    for key in keys:
        if kid_of(key.key) != kid:
            changed.append(key)
            continue
        if key.revoked_at is not None and key.revoked_at <= at:
            raise DirectoryError("key-revoked", "the key stands revoked already")
        changed.append(key.model_copy(update={"revoked_at": at, "reason": reason}))
    return tuple(changed)


def with_officer(
    document: OfficersDocument,
    *,
    officer_id: str,
    public: bytes,
    roles: Sequence[OfficerRole],
    now: datetime,
    lasts: timedelta = OFFICER_LASTS,
) -> OfficersDocument:
    """Return the document with one more certificate.

    Raises:
        DirectoryError: `officer-exists`: the key is certified already, or the pseudonym is in use.
    """
    for officer in document.officers:
        in_use = officer.id == officer_id and officer.revoked_at is None
        if officer.key == public or (in_use and now < officer.not_after):
            raise DirectoryError("officer-exists", f"{officer_id} or its key stands there already")
    added = Officer(
        id=officer_id,
        key=public,
        roles=tuple(roles),
        not_before=now,
        not_after=now + lasts,
    )
    return document.model_copy(update={"officers": (*document.officers, added)})


def with_revoked_officer(
    document: OfficersDocument, officer_id: str, *, at: datetime, reason: RevocationReason
) -> OfficersDocument:
    """Return the document in which all certificates of a pseudonym stand revoked from `at`.

    Raises:
        DirectoryError: `unknown-officer`: none stands that is not revoked yet.
    """
    standing = [o for o in document.officers if o.id == officer_id and o.revoked_at is None]
    if not standing:
        raise DirectoryError("unknown-officer", f"no certificate of {officer_id} stands")
    ended = {"revoked_at": at, "reason": reason}
    officers = tuple(
        officer.model_copy(update=ended) if officer in standing else officer
        for officer in document.officers
    )
    return document.model_copy(update={"officers": officers})


def with_suspension(
    document: Revocations,
    member: str,
    *,
    kid: bytes | None,
    at: datetime,
    reason: RevocationReason,
) -> Revocations:
    """Return the region's revocations with one more: of a key, or of a whole member."""
    entry = Revocation(member=member, kid=kid, at=at, reason=reason)
    return document.model_copy(update={"entries": (*document.entries, entry)})


def _nats_keys(identity: MemberIdentity) -> NatsKeys:
    return NatsKeys(
        account=SignKey(identity.nats_account_seed).public.raw,
        users=(SignKey(identity.nats_user_seed).public.raw,),
    )


def _witness_key(seed: bytes, not_before: datetime) -> WitnessKey:
    public = MLDSASignKey(seed).public.raw
    return WitnessKey(key=public, not_before=not_before, not_after=not_before + WITNESS_KEY_LASTS)


def _verification_key(public: bytes, not_before: datetime) -> VerificationKey:
    end = not_before + SIGNING_KEY_LASTS
    return VerificationKey(key=public, not_before=not_before, not_after=end)


def _from(key: EncryptionKey, now: datetime) -> EncryptionKey:
    return key if now <= key.not_before else key.model_copy(update={"not_before": now})


def _by_epoch(keys: Sequence[EncryptionKey]) -> tuple[EncryptionKey, ...]:
    return tuple(sorted(keys, key=lambda key: (key.epoch, key.not_before, key.key)))

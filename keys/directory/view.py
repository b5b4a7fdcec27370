"""The directory as everything else sees it: trusted, immutable, in memory, with no I/O.

A view is made from verified target bytes alone (`keys.directory.trust`), or by tests. Every
question about validity names the time it is asked for: an envelope is judged as of its decision.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from keys.directory.entries import (
    KeyEntry,
    OfficerEntry,
    SealEntry,
    auditors_key,
    by_kid,
    key_entry,
    known,
    officer_entry,
    seal_entry,
    suspensions,
)
from keys.directory.expiry import Expiring, expiring
from keys.directory.validity import Standing
from keys.errors import DirectoryError
from keys.primitives.sealing import SealKey
from keys.primitives.signing import VerifyKey
from schemas.directory import (
    HubDocument,
    MemberDocument,
    MemberKind,
    OfficersDocument,
    RegionMember,
    Revocation,
    WitnessSet,
)
from schemas.label import DirectoryVersion
from schemas.policy import PolicyDocument
from schemas.policynames import Names


@dataclass(frozen=True)
class MemberView:
    """One member: what the region says of it, what it says of itself, and its policy.

    Attributes:
        policy_hash: SHA-256 of the policy's bytes, which decisions name.
        suspended_at: From when two other members suspended it as a whole.
        lapses_at: From when it has not signed its documents again in time; None for never.
    """

    code: str
    kind: MemberKind
    groups: frozenset[str]
    flags: frozenset[str]
    document: MemberDocument
    officers: OfficersDocument
    policy: PolicyDocument
    policy_hash: bytes
    suspended_at: datetime | None
    lapses_at: datetime | None
    verification: Mapping[bytes, KeyEntry]
    encryption: Mapping[bytes, SealEntry]
    certified: Mapping[bytes, OfficerEntry]

    @classmethod
    def build(
        cls,
        code: str,
        *,
        region: RegionMember,
        document: MemberDocument,
        officers: OfficersDocument,
        policy: PolicyDocument,
        policy_hash: bytes,
        revocations: Iterable[Revocation] = (),
        lapses_at: datetime | None = None,
    ) -> "MemberView":
        """Return the view of member `code` from documents already verified.

        Raises:
            DirectoryError: A document speaks of another member, or holds a key that is none.
        """
        if {document.member, officers.member} != {code}:
            raise DirectoryError("wrong-member", f"a document of {code} names another member")
        cut = suspensions(code, revocations)
        return cls(
            code=code,
            kind=region.kind,
            groups=frozenset(region.groups),
            flags=frozenset(region.flags),
            document=document,
            officers=officers,
            policy=policy,
            policy_hash=policy_hash,
            suspended_at=cut[None][0] if None in cut else None,
            lapses_at=lapses_at,
            verification=by_kid(key_entry(entry, cut) for entry in document.verification_keys),
            encryption=by_kid(seal_entry(entry, cut) for entry in document.encryption_keys),
            certified=by_kid(officer_entry(entry, cut) for entry in officers.officers),
        )

    def check_in_force(self, *, at: datetime) -> None:
        """Return if the member as a whole is neither suspended nor lapsed at `at`.

        Raises:
            DirectoryError: `member-suspended` or `member-lapsed`.
        """
        if self.suspended_at is not None and at >= self.suspended_at:
            raise DirectoryError("member-suspended", f"{self.code} is suspended")
        if self.lapses_at is not None and at >= self.lapses_at:
            raise DirectoryError(
                "member-lapsed", f"{self.code} has not signed its part of the directory in time"
            )


@dataclass(frozen=True)
class DirectoryView:
    """One version of the directory, verified.

    Attributes:
        version: What a label names, so that a hub that shows two directories is found out.
        fresh_until: Expiry of the timestamp; from then on the view is stale.
        agreement_hash: SHA-256 of the regional agreement's bytes.
        expiries: Until when each role holds that people sign.
        witness_sets: Who witnessed the log when, oldest first.
        further_groups: Groups that policies may name, though nobody belongs to them now.
        auditors: Identifier and key to which openings of decisions are sealed, if there is one.
    """

    version: DirectoryVersion
    fresh_until: datetime
    member_views: Mapping[str, MemberView]
    hub: HubDocument
    agreement: PolicyDocument
    agreement_hash: bytes
    expiries: Mapping[str, datetime] = field(default_factory=dict)
    witness_sets: tuple[WitnessSet, ...] = ()
    further_groups: frozenset[str] = frozenset()
    auditors: tuple[bytes, SealKey] | None = field(init=False, repr=False)
    _gateway_keys: Mapping[bytes, KeyEntry] = field(init=False, repr=False)
    _groups: Mapping[str, frozenset[str]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        gateway_keys = by_kid(key_entry(entry, {}) for entry in self.hub.gateway_keys)
        names = {name for view in self.member_views.values() for name in view.groups}
        groups = {
            name: frozenset(c for c, view in self.member_views.items() if name in view.groups)
            for name in names
        }
        object.__setattr__(self, "member_views", MappingProxyType(dict(self.member_views)))
        object.__setattr__(self, "expiries", MappingProxyType(dict(self.expiries)))
        object.__setattr__(self, "auditors", auditors_key(self.hub.auditors_key))
        object.__setattr__(self, "_gateway_keys", gateway_keys)
        object.__setattr__(self, "_groups", MappingProxyType(groups))

    @property
    def suite(self) -> int:
        """The region's one encryption suite."""
        return self.hub.suite

    def check_fresh(self, now: datetime) -> None:
        """Return if the directory is not stale at `now`.

        Raises:
            DirectoryError: `directory-expired`.
        """
        if now >= self.fresh_until:
            raise DirectoryError("directory-expired", "the directory is out of date")

    def expiring(self, now: datetime) -> tuple[Expiring, ...]:
        """Return the roles that people must sign again soon, the most urgent first."""
        return expiring(self.expiries, now)

    def witnesses_at(self, at: datetime) -> tuple[str, ...]:
        """Return who witnesses the log at `at`, sorted; nobody before the first set begins."""
        sets = [each for each in self.witness_sets if each.since <= at]
        return tuple(sorted(sets[-1].members)) if sets else ()

    def witness_keys(self, *, at: datetime) -> Mapping[str, bytes]:
        """Return the newest ML-DSA-44 key that holds at `at`, of each witness that has one."""
        found: dict[str, bytes] = {}
        for code in self.witnesses_at(at):
            listed = self.member(code).document.witness_keys
            holding = [key for key in listed if Standing.of(key).holds(at=at)]
            if holding:
                found[code] = max(holding, key=lambda key: (key.not_before, key.key)).key
        return found

    def members(self) -> tuple[str, ...]:
        """Return the codes of all members, sorted."""
        return tuple(sorted(self.member_views))

    def member(self, code: str) -> MemberView:
        """Return one member.

        Raises:
            DirectoryError: `unknown-member`.
        """
        try:
            return self.member_views[code]
        except KeyError:
            raise DirectoryError("unknown-member", "no such member in the directory") from None

    def groups(self) -> Mapping[str, frozenset[str]]:
        """Return the members of each group, as the threshold signed them."""
        return self._groups

    def names(self) -> Names:
        """Return the members and groups that policies may name."""
        return Names.of(self.member_views, self._groups.keys() | self.further_groups)

    def verification_key(self, member: str, kid: bytes, *, at: datetime) -> VerifyKey:
        """Return the node key `kid` of `member` if it holds at `at`.

        Raises:
            DirectoryError: `unknown-member`, `member-suspended`, `member-lapsed`, `unknown-key`,
                `key-not-yet-valid`, `key-expired` or `key-revoked`.
        """
        view = self.member(member)
        view.check_in_force(at=at)
        entry = known(view.verification, kid)
        entry.standing.check(at=at)
        return entry.key

    def signed_key(self, member: str, kid: bytes, *, decided_at: datetime) -> VerifyKey:
        """Return the node key `kid` of `member` for what the gateway decided at `decided_at`.

        Raises:
            DirectoryError: As `verification_key`, or `key-revoked-since`.
        """
        key = self.verification_key(member, kid, at=decided_at)
        self.verification_standing(member, kid).check_decided(at=decided_at)
        return key

    def verification_standing(self, member: str, kid: bytes) -> Standing:
        """Return when a node key holds, to show that it was revoked since a decision.

        Raises:
            DirectoryError: `unknown-member` or `unknown-key`.
        """
        return known(self.member(member).verification, kid).standing

    def encryption_key(self, member: str, *, at: datetime) -> tuple[bytes, SealKey]:
        """Return key identifier and key to seal to `member` at `at`: the newest that holds.

        Raises:
            DirectoryError: `unknown-member`, `member-suspended`, `member-lapsed` or
                `no-encryption-key`.
        """
        view = self.member(member)
        view.check_in_force(at=at)
        current = [entry for entry in view.encryption.values() if entry.standing.holds(at=at)]
        if not current:
            raise DirectoryError("no-encryption-key", f"{member} has no encryption key now")
        newest = max(current, key=lambda entry: (entry.standing.not_before, entry.kid))
        return newest.kid, newest.key

    def check_sealed_to(
        self, member: str, kid: bytes, *, sealed_at: datetime, at: datetime
    ) -> None:
        """Return if `kid` was a key to seal to at `sealed_at` and is not revoked at `at`.

        An envelope sealed in the last minute of an epoch is decided in the next one, so the two
        times are asked separately.

        Raises:
            DirectoryError: As `verification_key`.
        """
        view = self.member(member)
        view.check_in_force(at=at)
        standing = known(view.encryption, kid).standing
        standing.check(at=sealed_at)
        if standing.revoked_at is not None and at >= standing.revoked_at:
            raise DirectoryError("key-revoked", "the key was revoked")

    def officer(self, member: str, kid: bytes, *, at: datetime) -> OfficerEntry:
        """Return the officer whom `member` certified under `kid`, if that holds at `at`.

        Raises:
            DirectoryError: `unknown-member`, `member-suspended`, `member-lapsed`,
                `unknown-officer`, `officer-not-yet-valid`, `officer-expired` or
                `officer-revoked`.
        """
        view = self.member(member)
        view.check_in_force(at=at)
        entry = view.certified.get(kid)
        if entry is None:
            raise DirectoryError("unknown-officer", f"{member} certified no such officer")
        entry.standing.check(at=at, subject="officer")
        return entry

    def signed_officer(self, member: str, kid: bytes, *, decided_at: datetime) -> OfficerEntry:
        """Return the officer of `member` under `kid` for what was decided at `decided_at`.

        Raises:
            DirectoryError: As `officer`, or `officer-revoked-since`.
        """
        entry = self.officer(member, kid, at=decided_at)
        entry.standing.check_decided(at=decided_at, subject="officer")
        return entry

    def gateway_key(self, kid: bytes, *, at: datetime) -> VerifyKey:
        """Return the gateway key `kid` if it holds at `at`, which it says itself.

        Raises:
            DirectoryError: `unknown-key`, `key-not-yet-valid`, `key-expired`, `key-revoked` or
                `key-revoked-since`: it was lost or compromised, and can name any time.
        """
        entry = known(self._gateway_keys, kid)
        entry.standing.check_decided(at=at)
        return entry.key

    def gateway_standing(self, kid: bytes) -> Standing:
        """Return when a gateway key holds.

        Raises:
            DirectoryError: `unknown-key`.
        """
        return known(self._gateway_keys, kid).standing

    def reads(self, member: str, type: str, version: int) -> bool:  # noqa: A002 - the label's word
        """Return whether the node of `member` says that it reads this alert type and version."""
        return version in self.member(member).document.reads.get(type, ())

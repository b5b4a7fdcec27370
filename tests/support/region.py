"""A region of members with real keys and a directory view, built in memory in milliseconds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from broker.log.recordkeys import RecordKeys
from keys.directory.view import DirectoryView, MemberView
from keys.epochs import bounds, wanted
from keys.kid import kid_of
from keys.primitives.certificates import make_ca
from keys.primitives.hashing import random_bytes, sha256
from keys.primitives.mldsa import MLDSASignKey
from keys.primitives.sealing import OpenKey
from keys.primitives.signing import SignKey
from schemas.directory import (
    EncryptionKey,
    HubDocument,
    MemberDocument,
    MemberKind,
    NatsKeys,
    Officer,
    OfficerRole,
    OfficersDocument,
    RegionMember,
    Revocation,
    VerificationKey,
    WitnessKey,
)
from schemas.label import DirectoryVersion
from schemas.policy import Direction, Effect, PolicyDocument, Rule
from schemas.vocabulary import ASEAN, AlertType

NOW = datetime(2026, 11, 15, 8, 0, tzinfo=UTC)
YEAR = timedelta(days=365)


@dataclass(frozen=True)
class TestMember:
    """A member's private keys, which its node and desk would hold."""

    __test__ = False

    code: str
    sign_key: SignKey
    open_keys: Mapping[bytes, OpenKey]
    storage_key: bytes
    officer_key: SignKey
    system_key: SignKey
    nats_account: SignKey
    nats_user: SignKey
    witness_seed: bytes

    @property
    def kid(self) -> bytes:
        return kid_of(self.sign_key.public.raw)

    @property
    def officer_kid(self) -> bytes:
        return kid_of(self.officer_key.public.raw)

    @property
    def system_kid(self) -> bytes:
        return kid_of(self.system_key.public.raw)


@dataclass(frozen=True)
class TestRegion:
    """The view everybody holds, and the private keys nobody else does."""

    __test__ = False

    now: datetime
    view: DirectoryView
    members: Mapping[str, TestMember]
    gateway_sign_key: SignKey
    regional: Mapping[str, RegionMember]
    record_keys: RecordKeys = field(default_factory=lambda: RecordKeys.of(random_bytes(32)))

    @property
    def gateway_kid(self) -> bytes:
        return kid_of(self.gateway_sign_key.public.raw)

    def changed(
        self,
        code: str,
        *,
        document: Callable[[MemberDocument], MemberDocument] = lambda same: same,
        officers: Callable[[OfficersDocument], OfficersDocument] = lambda same: same,
        policy: PolicyDocument | None = None,
        revocations: Sequence[Revocation] = (),
    ) -> DirectoryView:
        """Return the next version of the directory, in which one member's documents differ."""
        old = self.view.member(code)
        new = MemberView.build(
            code,
            region=self.regional[code],
            document=document(old.document),
            officers=officers(old.officers),
            policy=old.policy if policy is None else policy,
            policy_hash=old.policy_hash if policy is None else policy_hash(policy),
            revocations=revocations,
        )
        version = DirectoryVersion(
            root=self.view.version.root,
            snapshot=self.view.version.snapshot + 1,
            hash=sha256(self.view.version.hash, code.encode()),
        )
        return replace(
            self.view, version=version, member_views={**self.view.member_views, code: new}
        )


LONG = timedelta(hours=12)


def make_region(
    codes: Sequence[str] = ("SG", "MY", "VN", "TH"),
    *,
    now: datetime = NOW,
    policies: Mapping[str, PolicyDocument] | None = None,
    agreement: PolicyDocument | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    server_url: str = "tls://localhost:4222",
    fresh: timedelta = timedelta(hours=1),
) -> TestRegion:
    """Return a region of `codes` at `now`; a member without a policy permits everything.

    Use `fresh=LONG` where it is made on import: a suite may come to those tests an hour later.
    """
    members = {code: _member(code, now) for code in codes}
    gateway = SignKey.generate()
    regional = {code: _regional(code, groups or {}) for code in codes}
    given = policies or {}
    views = {
        code: _view(member, regional[code], given.get(code) or permissive(code), now)
        for code, member in members.items()
    }
    chosen = agreement or permissive_agreement()
    view = DirectoryView(
        version=DirectoryVersion(root=1, snapshot=1, hash=sha256(b"the first snapshot")),
        fresh_until=now + fresh,
        member_views=views,
        hub=_hub(gateway, server_url, now),
        agreement=chosen,
        agreement_hash=policy_hash(chosen),
    )
    return TestRegion(now, view, members, gateway, regional)


def permissive(code: str) -> PolicyDocument:
    """Return a policy under which `code` sends and takes everything."""
    rules = tuple(
        Rule(name=f"{direction}-all", effect=Effect.PERMIT, direction=direction)
        for direction in Direction
    )
    return PolicyDocument(format=1, member=code, title=f"{code} permits everything", rule=rules)


def permissive_agreement() -> PolicyDocument:
    """Return a regional agreement that permits everything."""
    rule = Rule(name="all", effect=Effect.PERMIT)
    return PolicyDocument(format=1, title="An agreement that permits everything", rule=(rule,))


def policy_hash(policy: PolicyDocument) -> bytes:
    """Return a hash that stands for the policy's bytes."""
    return sha256(repr(policy).encode())


def _member(code: str, now: datetime) -> TestMember:
    opening = [OpenKey.generate() for _ in wanted(now)]
    return TestMember(
        code=code,
        sign_key=SignKey.generate(),
        open_keys={kid_of(key.public.raw): key for key in opening},
        storage_key=random_bytes(32),
        officer_key=SignKey.generate(),
        system_key=SignKey.generate(),
        nats_account=SignKey.generate(),
        nats_user=SignKey.generate(),
        witness_seed=random_bytes(32),
    )


def _regional(code: str, groups: Mapping[str, Sequence[str]]) -> RegionMember:
    state = code in ASEAN
    own = [name for name, codes in groups.items() if code in codes]
    return RegionMember(
        kind=MemberKind.STATE if state else MemberKind.PARTNER,
        groups=tuple(sorted({"asean" if state else "partners", *own})),
    )


def _view(
    member: TestMember, region: RegionMember, policy: PolicyDocument, now: datetime
) -> MemberView:
    return MemberView.build(
        member.code,
        region=region,
        document=_document(member, now),
        officers=_officers(member, now),
        policy=policy,
        policy_hash=policy_hash(policy),
    )


def _document(member: TestMember, now: datetime) -> MemberDocument:
    epochs = zip(wanted(now), member.open_keys.values(), strict=True)
    return MemberDocument(
        member=member.code,
        names={"en": member.code},
        verification_keys=(
            VerificationKey(
                key=member.sign_key.public.raw, not_before=now - YEAR, not_after=now + YEAR
            ),
        ),
        encryption_keys=tuple(
            EncryptionKey(
                key=key.public.raw,
                epoch=epoch,
                not_before=bounds(epoch)[0],
                not_after=bounds(epoch)[1],
            )
            for epoch, key in epochs
        ),
        nats=NatsKeys(account=member.nats_account.public.raw, users=(member.nats_user.public.raw,)),
        witness_keys=(
            WitnessKey(
                key=MLDSASignKey(member.witness_seed).public.raw,
                not_before=now - YEAR,
                not_after=now + YEAR,
            ),
        ),
        reads={kind.value: (1,) for kind in AlertType},
    )


def _officers(member: TestMember, now: datetime) -> OfficersDocument:
    return OfficersDocument(
        member=member.code,
        officers=tuple(
            Officer(
                id=f"{member.code}-{name}",
                key=key.public.raw,
                roles=(role,),
                not_before=now - YEAR,
                not_after=now + YEAR,
            )
            for name, key, role in (
                ("7Q4", member.officer_key, OfficerRole.OFFICER),
                ("SYS", member.system_key, OfficerRole.SYSTEM),
            )
        ),
    )


def _hub(gateway: SignKey, server_url: str, now: datetime) -> HubDocument:
    ca_pem, _ = make_ca("Kentong test hub", now, 365)
    return HubDocument(
        suite=1,
        server_url=server_url,
        tls_ca_pem=ca_pem.decode(),
        operator_key=SignKey.generate().public.raw,
        account_key=SignKey.generate().public.raw,
        gateway_keys=(
            VerificationKey(key=gateway.public.raw, not_before=now - YEAR, not_after=now + YEAR),
        ),
    )

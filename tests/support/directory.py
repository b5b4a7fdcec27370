"""A region founded by the real ceremonies, with real keys and files, and readers of it."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from keys.directory import layout
from keys.directory.client import DirectoryClient
from keys.directory.drafting import Draft
from keys.directory.edits import with_suspension
from keys.directory.founding import FoundedRegion, Founder, found_region
from keys.directory.proposal import Proposal
from keys.directory.repository import DirectoryRepository
from keys.directory.trust import TrustedDirectory
from keys.directory.view import DirectoryView
from keys.home import Home
from keys.identity import STORE_NAME, MemberIdentity
from keys.keystore import FLOOR_LOG2N, KeyStore
from keys.officers import load_officer_key
from keys.primitives.certificates import make_ca
from keys.primitives.signing import SignKey
from schemas.directory import (
    HubDocument,
    MemberDocument,
    MemberKind,
    OfficerRole,
    OfficersDocument,
    RegionMember,
    RevocationReason,
    VerificationKey,
    json_document,
)
from tests.support.region import NOW, YEAR, TestMember, TestRegion

PASSPHRASE = b"correct horse battery staple"
FOUNDERS = ("SG", "MY", "VN", "TH")
_POLICY = """format = 1
member = "{code}"
title = "{code} permits everything"
[[rule]]
name = "in"
effect = "permit"
direction = "import"
[[rule]]
name = "out"
effect = "permit"
direction = "export"
"""
_AGREEMENT = """format = 1
title = "An agreement that permits everything"
[[rule]]
name = "all"
effect = "permit"
"""


@dataclass(frozen=True)
class RealRegion:
    """Four members, any three of whom are the threshold; everything lies in `folder`."""

    folder: Path
    founded: FoundedRegion
    gateway: SignKey
    members: Mapping[str, TestMember]

    @property
    def repository(self) -> DirectoryRepository:
        return self.founded.repository

    def home(self, code: str) -> Path:
        return self.folder / code

    def copied(self, folder: Path) -> "RealRegion":
        """The same region in a folder of its own, so that a test may change it."""
        shutil.copytree(self.folder, folder)
        repository = DirectoryRepository(
            Home(folder / "hub").directory, pinned_root=self.founded.root
        )
        return replace(self, folder=folder, founded=replace(self.founded, repository=repository))

    # --- ceremonies ---

    def draft(self, now: datetime) -> Draft:
        return self.founded.draft(now=now)

    def enact(self, change: Draft | Proposal, by: Sequence[str], now: datetime) -> TrustedDirectory:
        proposal = change.proposal() if isinstance(change, Draft) else change
        return self.founded.enact(proposal, by=by, now=now)

    def document(self, code: str = "SG") -> MemberDocument:
        return self.founded.trusted().content.documents[code].document

    def officers(self, code: str = "SG") -> OfficersDocument:
        return self.founded.trusted().content.documents[code].officers

    def put_own(
        self, document: MemberDocument | OfficersDocument, now: datetime
    ) -> TrustedDirectory:
        """Publish a member's own document under its own signature."""
        code, draft = document.member, self.draft(now)
        path = layout.member_files(code)[2 if isinstance(document, OfficersDocument) else 0]
        draft.put_member_files(code, {path: json_document(document)})
        return self.enact(draft, (code,), now)

    def suspend(
        self,
        code: str,
        *,
        kid: bytes | None,
        now: datetime,
        reason: RevocationReason = RevocationReason.SUSPENDED,
    ) -> TrustedDirectory:
        """Let two members suspend a member or one of its keys."""
        draft = self.draft(now)
        known = self.founded.trusted().content.revocations
        draft.put_revocations(with_suspension(known, code, kid=kid, at=now, reason=reason))
        return self.enact(draft, ("VN", "TH"), now)

    def renew(self, now: datetime) -> None:
        """Sign the timestamp again, as the hub does every minute."""
        self.repository.renew_timestamp(online=self.founded.online, now=now)

    # --- readers ---

    async def fetch(self, path: str, *, max_bytes: int) -> bytes | None:  # noqa: ARG002 - Fetch
        """What an honest hub gives."""
        return self.repository.read(path)

    def published(self) -> dict[str, bytes]:
        """Every file that the hub shows, by its path there."""
        folder = self.repository.folder
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for name in ("metadata", "targets")
            for path in sorted((folder / name).rglob("*"))
            if path.is_file()
        }

    def client(self, name: str = "reader") -> DirectoryClient:
        return DirectoryClient(self.folder / name, pinned_root=self.founded.root)

    def view(self) -> DirectoryView:
        return self.founded.trusted().view()

    def store(self, code: str = "SG") -> KeyStore:
        return KeyStore.open(Home(self.home(code)).node_keys / STORE_NAME, PASSPHRASE)

    def identity(self, code: str = "SG") -> MemberIdentity:
        return MemberIdentity.load(Home(self.home(code)).node_keys, PASSPHRASE)

    def as_test_region(self, view: DirectoryView, now: datetime) -> TestRegion:
        """The keys of the founding as those who seal, decide and open in other tests hold them."""
        regional = dict(self.founded.trusted().content.region.members)
        return TestRegion(now, view, self.members, self.gateway, regional)


def found(folder: Path, *, now: datetime = NOW) -> RealRegion:
    """Found a region of four; three of them are the threshold."""
    gateway = SignKey.generate()
    ca_pem, _ = make_ca("Kentong test hub", now, 365)
    hub = HubDocument(
        suite=1,
        server_url="tls://localhost:4222",
        tls_ca_pem=ca_pem.decode(),
        operator_key=SignKey.generate().public.raw,
        account_key=SignKey.generate().public.raw,
        gateway_keys=(
            VerificationKey(key=gateway.public.raw, not_before=now, not_after=now + YEAR),
        ),
    )
    founders = []
    for code in FOUNDERS:
        (folder / code).mkdir(mode=0o700, parents=True)
        founders.append(
            Founder(
                code,
                folder / code,
                _POLICY.format(code=code).encode(),
                officers={f"{code}-7Q4": (OfficerRole.OFFICER,)},
                region=RegionMember(kind=MemberKind.STATE, groups=("asean",)),
            )
        )
    (folder / "hub").mkdir(mode=0o700)
    founded = found_region(
        founders,
        hub_home=folder / "hub",
        hub=hub,
        agreement=_AGREEMENT.encode(),
        passphrase=PASSPHRASE,
        now=now,
        log2n=FLOOR_LOG2N,
    )
    return RealRegion(folder, founded, gateway, {c: _member(folder / c, c) for c in FOUNDERS})


def _member(home: Path, code: str) -> TestMember:
    identity = MemberIdentity.load(Home(home).node_keys, PASSPHRASE)
    officer = load_officer_key(Home(home).officer(f"{code}-7Q4"), PASSPHRASE)
    return TestMember(
        code=code,
        sign_key=identity.sign_key,
        open_keys=identity.open_keys,
        storage_key=identity.storage_key,
        officer_key=officer.sign_key,
        system_key=officer.sign_key,
        nats_account=SignKey(identity.nats_account_seed),
        nats_user=SignKey(identity.nats_user_seed),
        witness_seed=identity.witness_seed,
    )

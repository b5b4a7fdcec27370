"""Founding a whole region on one machine by the real ceremonies: for demonstrations and tests.

Ministries do the same by files, each on its own machine (docs/directory.md). Nothing is left
out here: every key is real, every threshold is met, the first root is pinned in each home.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from keys.directory import layout
from keys.directory.ceremony import sign_proposal
from keys.directory.drafting import Draft
from keys.directory.edits import new_member_document, with_officer
from keys.directory.holders import Ministry, create_ministry, create_online_keys
from keys.directory.metadata import Signer
from keys.directory.proposal import Application, DirectoryKey, Proposal
from keys.directory.repository import DirectoryRepository, OnlineSigners, founding_root
from keys.directory.toml_text import hub_toml
from keys.directory.trust import TrustedDirectory
from keys.home import Home
from keys.identity import create_identity, identity_in
from keys.keystore import DEFAULT_LOG2N
from keys.officers import create_officer_key
from schemas.directory import (
    HubDocument,
    MemberDocument,
    MemberKind,
    OfficerRole,
    OfficersDocument,
    RegionMember,
    Revocations,
    json_document,
)
from schemas.vocabulary import AlertType

_READS: Final = {kind.value: (1,) for kind in AlertType}


@dataclass(frozen=True)
class Founder:
    """A member that takes part in founding a region.

    Attributes:
        code: The member's code.
        home: Its home folder; ministry, node and desk share it here.
        policy: The bytes of its policy.
        officers: Pseudonyms and roles of those it certifies; each gets a key store in `home`.
        names: The member's names by language.
        region: What the region says of it.
        reads: The alert types and versions its node reads.
        holds_root: Whether its signature counts for the region itself.
    """

    code: str
    home: Path
    policy: bytes
    officers: Mapping[str, Sequence[OfficerRole]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    region: RegionMember = field(default_factory=lambda: RegionMember(kind=MemberKind.STATE))
    reads: Mapping[str, Sequence[int]] = field(default_factory=lambda: _READS)
    holds_root: bool = True


@dataclass(frozen=True)
class FoundedRegion:
    """A region in force.

    Attributes:
        root: The first root, pinned in every home.
        repository: The directory at the hub.
        online: The hub's online signers.
        signers: Each member's directory key.
    """

    root: bytes
    repository: DirectoryRepository
    online: OnlineSigners
    signers: Mapping[str, Signer]

    def trusted(self) -> TrustedDirectory:
        """Return the directory in force."""
        return self.repository.trusted()

    def draft(self, *, now: datetime) -> Draft:
        """Return a draft on the directory in force."""
        return Draft(self.trusted().content, now=now, bundle=self.repository.bundle())

    def enact(self, proposal: Proposal, *, by: Sequence[str], now: datetime) -> TrustedDirectory:
        """Sign a proposal with these members' keys and publish it.

        Raises:
            DirectoryError: As `DirectoryRepository.publish`.
        """
        base = self.trusted().content
        for code in by:
            proposal, _ = sign_proposal(proposal, base, self.signers[code])
        return self.repository.publish(proposal, online=self.online, now=now)


def found_region(
    founders: Sequence[Founder],
    *,
    hub_home: Path,
    hub: HubDocument,
    agreement: bytes,
    passphrase: bytes,
    now: datetime,
    threshold: int | None = None,
    witnesses: Sequence[str] | None = None,
    log2n: int = DEFAULT_LOG2N,
) -> FoundedRegion:
    """Found a region: keys for every founder, one proposal, all signatures, published.

    Args:
        founders: The members; each one's keys are made in its home.
        hub_home: The hub's home folder, where the directory and its online keys go.
        hub: How the hub is reached and recognised.
        agreement: The bytes of the regional agreement.
        passphrase: Opens every key store made here.
        now: From when everything holds.
        threshold: How many signatures the region's own roles need; by default a majority.
        witnesses: As `complete_founding`.
        log2n: Cost of the key stores.

    Raises:
        KeysError: A home holds keys already, or a document breaks a rule.
    """
    online = create_online_keys(Home(hub_home).hub_keys, passphrase, log2n=log2n)
    ministries = {
        f.code: create_ministry(Home(f.home).ministry(f.code), passphrase, f.code, log2n=log2n)
        for f in founders
    }
    draft = Draft(None, now=now)
    for founder in founders:
        application = application_of(
            ministries[founder.code].key,
            document=_new_node(founder, passphrase, now, log2n),
            officers=_new_officers(founder, passphrase, now, log2n),
            policy=founder.policy,
        )
        draft.admit(application, founder.region, holds_root=founder.holds_root)
    proposal = complete_founding(
        draft,
        hub=hub_toml(hub),
        agreement=agreement,
        online=online,
        threshold=threshold,
        witnesses=witnesses,
    )
    signers = {code: _opened(ministry, passphrase) for code, ministry in ministries.items()}
    for signer in signers.values():
        proposal, _ = sign_proposal(proposal, None, signer)
    root = founding_root(proposal)
    for place in {hub_home, *(founder.home for founder in founders)}:
        Home(place).pin_root(root)
    repository = DirectoryRepository(Home(hub_home).directory, pinned_root=root)
    repository.publish(proposal, online=online, now=now)
    return FoundedRegion(root, repository, online, signers)


def application_of(
    key: DirectoryKey, *, document: MemberDocument, officers: OfficersDocument, policy: bytes
) -> Application:
    """Return what a member hands in to be admitted."""
    document_path, policy_path, officers_path = layout.member_files(document.member)
    return Application(
        member=document.member,
        key=key,
        files={
            document_path: json_document(document).decode(),
            policy_path: policy.decode(),
            officers_path: json_document(officers).decode(),
        },
    )


def complete_founding(
    draft: Draft,
    *,
    hub: bytes,
    agreement: bytes,
    online: OnlineSigners,
    threshold: int | None = None,
    witnesses: Sequence[str] | None = None,
) -> Proposal:
    """Return the founding proposal of a draft to which all founders were admitted.

    Args:
        draft: On no directory.
        hub: The bytes of `hub.toml`.
        agreement: The bytes of `agreement.toml`.
        online: The hub's online keys; only their public halves go in.
        threshold: By default a majority of those who hold the root.
        witnesses: Who witnesses the log; by default all members.

    Raises:
        DirectoryError: A rule is broken.
    """
    draft.put_files(layout.TARGETS, {layout.HUB_FILE: hub, layout.AGREEMENT_FILE: agreement})
    draft.put_revocations(Revocations(entries=()))
    draft.set_witnesses(tuple(draft.region.members) if witnesses is None else witnesses)
    draft.set_online_keys(
        snapshot=online.snapshot.public_key, timestamp=online.timestamp.public_key
    )
    draft.set_threshold(threshold or draft.root_holders // 2 + 1)
    return draft.proposal()


def _new_node(founder: Founder, passphrase: bytes, now: datetime, log2n: int) -> MemberDocument:
    folder = Home(founder.home).node_keys
    store = create_identity(folder, passphrase, founder.code, now=now, log2n=log2n)
    names = founder.names or {"en": founder.code}
    return new_member_document(identity_in(store), names=names, reads=founder.reads, now=now)


def _new_officers(
    founder: Founder, passphrase: bytes, now: datetime, log2n: int
) -> OfficersDocument:
    document = OfficersDocument(member=founder.code, officers=())
    for officer_id, roles in founder.officers.items():
        key = create_officer_key(
            Home(founder.home).officer(officer_id),
            passphrase,
            member=founder.code,
            officer_id=officer_id,
            log2n=log2n,
        )
        document = with_officer(
            document, officer_id=officer_id, public=key.public, roles=roles, now=now
        )
    return document


def _opened(ministry: Ministry, passphrase: bytes) -> Signer:
    return ministry.signer(lambda _name: passphrase)

"""What a directory says, signatures aside: rules 3 to 9 of `keys.directory.trust`.

The same rules hold for a directory that was published and for one that is only proposed, so that
nobody signs what nobody would accept.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from keys.directory import layout, shape
from keys.directory.documents import (
    MemberFiles,
    check_broker_keys,
    read_document,
    read_member_files,
    read_policy,
)
from keys.directory.metadata import MetaFile, Root, TargetFile, Targets, checked
from keys.errors import DirectoryError
from keys.primitives.hashing import sha256
from schemas.directory import HubDocument, RegionMembers, Revocation, Revocations
from schemas.errors import SchemaError
from schemas.policy import PolicyDocument
from schemas.policynames import Names

_SHA256: Final = "sha256"


@dataclass(frozen=True)
class DirectoryContent:
    """The region's and the members' documents, and who may sign them.

    Attributes:
        root: Who signs for the region.
        targets: Which files are the region's, and to whom the others are delegated.
        roles: The delegated roles, by name.
        files: All files, by path.
        owners: Key identifier of each member's directory key.
    """

    root: Root
    targets: Targets
    roles: Mapping[str, Targets]
    files: Mapping[str, bytes]
    owners: Mapping[str, str] = field(init=False)
    region: RegionMembers = field(init=False)
    hub: HubDocument = field(init=False)
    agreement: PolicyDocument = field(init=False)
    revocations: Revocations = field(init=False)
    documents: Mapping[str, MemberFiles] = field(init=False)

    def __post_init__(self) -> None:
        """Check every rule that no signature is needed for.

        Raises:
            DirectoryError: A rule is broken; its code says which.
        """
        shape.check_key_names(self.root.keys)
        owners = shape.member_keys(self.targets.delegations)
        shape.check_top_level(self.root, members=set(owners.values()))
        self._check_roles(owners)
        self._check_files(owners)
        put = object.__setattr__
        put(self, "owners", owners)
        put(self, "region", read_document(RegionMembers, self.files, layout.MEMBERS_FILE))
        if set(self.region.members) != set(owners):
            raise DirectoryError("wrong-members", "members.toml and the delegations disagree")
        put(self, "hub", read_document(HubDocument, self.files, layout.HUB_FILE))
        put(self, "agreement", read_policy(self.files, layout.AGREEMENT_FILE, member=None))
        put(self, "revocations", read_document(Revocations, self.files, layout.REVOCATIONS_FILE))
        put(self, "documents", {code: read_member_files(self.files, code) for code in owners})
        check_broker_keys(files.document for files in self.documents.values())

    @property
    def agreement_hash(self) -> bytes:
        """SHA-256 of the agreement's bytes."""
        return sha256(self.files[layout.AGREEMENT_FILE])

    def check_names(self, paths: Iterable[str]) -> None:
        """Return if the policies among these files name only members and groups that there are.

        A directory already in force is not refused for it, or one member's policy would stop the
        region: `broker.policy` lets such a policy permit nothing.

        Raises:
            DirectoryError: `unknown-name`, with the line.
        """
        names = Names.of_region(self.region)
        policies = {layout.member_files(code)[1]: f.policy for code, f in self.documents.items()}
        policies[layout.AGREEMENT_FILE] = self.agreement
        for path in sorted(policies.keys() & set(paths)):
            try:
                names.check(policies[path], self.files[path])
            except SchemaError as error:
                raise DirectoryError(error.code, f"{path}: {error}") from None

    def suspensions(self) -> tuple[Revocation, ...]:
        """Return the suspensions in force: those of two members, less those that were lifted."""
        lifted = {(entry.member, entry.kid, entry.at) for entry in self.region.lifted}
        return tuple(
            entry
            for entry in self.revocations.entries
            if (entry.member, entry.kid, entry.at) not in lifted
        )

    def _check_roles(self, owners: Mapping[str, str]) -> None:
        if set(self.roles) != {layout.REVOCATIONS, *map(layout.member_role, owners)}:
            raise DirectoryError("wrong-roles", "the roles present are not those delegated to")
        for name, role in self.roles.items():
            if role.delegations is not None:
                raise DirectoryError("wrong-delegation", f"{name} may not delegate further")

    def _check_files(self, owners: Mapping[str, str]) -> None:
        allowed = {layout.TARGETS: set(layout.REGION_FILES)}
        allowed[layout.REVOCATIONS] = {layout.REVOCATIONS_FILE}
        for code in owners:
            allowed[layout.member_role(code)] = set(layout.member_files(code))
        listed: dict[str, TargetFile] = {}
        for name, role in {layout.TARGETS: self.targets, **self.roles}.items():
            if set(role.targets) != allowed[name]:
                raise DirectoryError("wrong-files", f"{name} lists other files than it must")
            listed |= role.targets
        if set(self.files) != set(listed):
            raise DirectoryError("wrong-files", "the files present are not those listed")
        for path, raw in self.files.items():
            check_file(listed[path], raw, path)


def check_file(named: MetaFile | TargetFile, raw: bytes, name: str) -> None:
    """Return if `raw` has the length and the SHA-256 under which it is named.

    Raises:
        DirectoryError: `no-hash` or `mixed-versions`.
    """
    if named.length is None or _SHA256 not in (named.hashes or {}):
        raise DirectoryError("no-hash", f"{name} is named without its length and hash")
    checked(
        lambda: named.verify_length_and_hashes(raw),
        code="mixed-versions",
        message=f"{name} is not the file that was signed",
    )

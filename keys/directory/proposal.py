"""The file of a ceremony: what is to change, on which directory, and the signatures so far.

It travels between ministries by whatever means they trust; nothing in it is trusted.
"""

from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError

from keys.directory import layout
from keys.directory.bundle import MAX_BUNDLE_BYTES, Bundle
from keys.directory.content import DirectoryContent
from keys.directory.metadata import Key, Metadata, Root, SSlibKey, Targets, read_metadata
from keys.directory.signers import key_id
from keys.errors import DirectoryError
from schemas.label import MAX_MEMBERS, MemberCode, Strict

MAX_PROPOSAL_BYTES: Final = 2 * MAX_BUNDLE_BYTES
RoleMetadata = Metadata[Root] | Metadata[Targets]


class DirectoryKey(Strict):
    """A member's public directory key, as TUF metadata has it."""

    keytype: Annotated[str, Field(max_length=32)]
    scheme: Annotated[str, Field(max_length=64)]
    public: Annotated[str, Field(max_length=4096)]

    @classmethod
    def of(cls, key: Key) -> "DirectoryKey":
        """Return the key of a signer."""
        return cls(keytype=key.keytype, scheme=key.scheme, public=key.keyval["public"])

    def key(self) -> Key:
        """Return the key for metadata, called by its kid.

        Raises:
            DirectoryError: `wrong-key`.
        """
        try:
            named = SSlibKey("", self.keytype, self.scheme, {"public": self.public})
            return SSlibKey(key_id(named), self.keytype, self.scheme, {"public": self.public})
        except ValueError as error:
            raise DirectoryError("wrong-key", "a directory key is unreadable") from error


class Application(Strict):
    """What a state or partner hands in to become a member: its key and its three files."""

    format: Literal[1] = 1
    kind: Literal["kentong-member-application"] = "kentong-member-application"
    member: MemberCode
    key: DirectoryKey
    files: Annotated[
        dict[str, Annotated[str, Field(max_length=layout.MAX_FILE_BYTES)]],
        Field(min_length=3, max_length=3),
    ]


class Part(Strict):
    """One role's new metadata, as JSON text, with the signatures so far."""

    role: Annotated[str, Field(max_length=32)]
    metadata: Annotated[str, Field(max_length=layout.MAX_TARGETS_BYTES)]

    def read(self) -> RoleMetadata:
        """Return the metadata, whose signatures are not verified.

        Raises:
            DirectoryError: `bad-metadata`.
        """
        raw = self.metadata.encode()
        if self.role == layout.ROOT:
            return read_metadata(Root, raw, max_bytes=layout.MAX_ROOT_BYTES)
        return read_metadata(Targets, raw, max_bytes=layout.MAX_TARGETS_BYTES)


class Proposal(Strict):
    """A change to the directory, on its way from one ministry to the next.

    Attributes:
        base: The directory it changes; absent when a region is founded.
        parts: The roles it changes, each in its next version.
        files: The files it changes or adds, by path.
    """

    format: Literal[1] = 1
    kind: Literal["kentong-directory-proposal"] = "kentong-directory-proposal"
    base: Bundle | None = None
    parts: Annotated[tuple[Part, ...], Field(min_length=1, max_length=MAX_MEMBERS + 3)]
    files: Annotated[
        dict[str, Annotated[str, Field(max_length=layout.MAX_FILE_BYTES)]],
        Field(max_length=3 * MAX_MEMBERS + 4),
    ]

    def to_bytes(self) -> bytes:
        """Return the proposal as a file."""
        return self.model_dump_json(indent=1, exclude_none=True).encode() + b"\n"

    def part(self, role: str) -> Part | None:
        """Return the part that changes `role`, or None."""
        return next((part for part in self.parts if part.role == role), None)

    def root(self) -> Root | None:
        """Return the root that it proposes, if it does; not verified.

        Raises:
            DirectoryError: `bad-metadata`.
        """
        part = self.part(layout.ROOT)
        signed = part.read().signed if part else None
        return signed if isinstance(signed, Root) else None


def parse_proposal(raw: bytes) -> Proposal:
    """Return the proposal in `raw`, which is not trusted.

    Raises:
        DirectoryError: `bad-proposal`.
    """
    if len(raw) > MAX_PROPOSAL_BYTES:
        raise DirectoryError("bad-proposal", f"a proposal has at most {MAX_PROPOSAL_BYTES} bytes")
    try:
        proposal = Proposal.model_validate_json(raw)
    except ValidationError:
        raise DirectoryError("bad-proposal", "the file is no proposal for a directory") from None
    if len({part.role for part in proposal.parts}) != len(proposal.parts):
        raise DirectoryError("bad-proposal", "the proposal changes a role twice")
    return proposal


def parse_application(raw: bytes) -> Application:
    """Return the application in `raw`, which is not trusted.

    Raises:
        DirectoryError: `bad-application`.
    """
    if len(raw) > MAX_PROPOSAL_BYTES:
        raise DirectoryError("bad-application", "the application is too long")
    try:
        application = Application.model_validate_json(raw)
    except ValidationError:
        raise DirectoryError("bad-application", "the file is no member's application") from None
    if set(application.files) != set(layout.member_files(application.member)):
        raise DirectoryError("bad-application", "an application holds the member's three files")
    return application


def proposed_content(proposal: Proposal, base: DirectoryContent | None) -> DirectoryContent:
    """Return what the directory would say, checked by every rule that needs no signature.

    Args:
        proposal: Not trusted.
        base: The directory in force, verified; None when a region is founded.

    Raises:
        DirectoryError: `stale-proposal`, `bad-proposal`, or a rule is broken.
    """
    root = base.root if base else None
    targets = base.targets if base else None
    roles = dict(base.roles) if base else {}
    for part in proposal.parts:
        signed = part.read().signed
        if signed.version != _version(base, part.role) + 1:
            raise DirectoryError("stale-proposal", f"{part.role} is not the next version")
        if isinstance(signed, Root):
            root = signed
        elif part.role == layout.TARGETS:
            targets = signed
        else:
            roles[part.role] = signed
    if root is None or targets is None:
        raise DirectoryError("bad-proposal", "a region is founded by its root and its targets")
    files = dict(base.files) if base else {}
    files |= {path: text.encode() for path, text in proposal.files.items()}
    touched = [part.read().signed for part in proposal.parts]
    own = {path for signed in touched if isinstance(signed, Targets) for path in signed.targets}
    if not set(proposal.files) <= own:
        raise DirectoryError("bad-proposal", "the proposal brings a file that no part of it signs")
    content = DirectoryContent(root, targets, roles, files)
    content.check_names(proposal.files)
    return content


def _version(base: DirectoryContent | None, role: str) -> int:
    if base is None:
        return 0
    if role == layout.ROOT:
        return base.root.version
    if role == layout.TARGETS:
        return base.targets.version
    return base.roles[role].version if role in base.roles else 0

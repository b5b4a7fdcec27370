"""The directory's documents read from verified bytes, each as its path says."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from keys.directory import layout
from keys.errors import DirectoryError
from keys.primitives.hashing import sha256
from schemas.directory import (
    MemberDocument,
    OfficersDocument,
    parse_json_document,
    parse_toml_document,
)
from schemas.errors import SchemaError
from schemas.label import Strict
from schemas.policy import PolicyDocument, parse_policy

DocumentT = TypeVar("DocumentT", bound=Strict)


@dataclass(frozen=True)
class MemberFiles:
    """A member's three documents."""

    document: MemberDocument
    officers: OfficersDocument
    policy: PolicyDocument
    policy_hash: bytes


def read_document(kind: type[DocumentT], files: Mapping[str, bytes], path: str) -> DocumentT:
    """Return the document at `path`, whose bytes are verified.

    Raises:
        DirectoryError: `bad-document`: it is not of the form that it must have.
    """
    parse = parse_toml_document if path.endswith(".toml") else parse_json_document
    try:
        return parse(kind, files[path])
    except SchemaError as error:
        raise DirectoryError("bad-document", f"{path}: {error}") from error


def read_policy(files: Mapping[str, bytes], path: str, *, member: str | None) -> PolicyDocument:
    """Return the policy at `path`: a member's own, or the agreement, which is nobody's.

    Raises:
        DirectoryError: `bad-document` or `wrong-member`.
    """
    try:
        policy = parse_policy(files[path])
    except SchemaError as error:
        raise DirectoryError("bad-document", f"{path}: {error}") from error
    if policy.member != member:
        raise DirectoryError("wrong-member", f"{path} is the policy of another")
    return policy


def read_member_files(files: Mapping[str, bytes], code: str) -> MemberFiles:
    """Return the three documents of member `code`.

    Raises:
        DirectoryError: `bad-document`, or `wrong-member` if one names another.
    """
    document_path, policy_path, officers_path = layout.member_files(code)
    document = read_document(MemberDocument, files, document_path)
    officers = read_document(OfficersDocument, files, officers_path)
    if {document.member, officers.member} != {code}:
        raise DirectoryError("wrong-member", f"a document of {code} names another member")
    policy = read_policy(files, policy_path, member=code)
    return MemberFiles(document, officers, policy, sha256(files[policy_path]))


def check_broker_keys(documents: Iterable[MemberDocument]) -> None:
    """Return if no broker key stands in the documents of two members.

    Raises:
        DirectoryError: `shared-broker-key`.
    """
    seen: set[bytes] = set()
    for document in documents:
        keys = {document.nats.account, *document.nats.users}
        if keys & seen:
            raise DirectoryError("shared-broker-key", f"{document.member} lists another's key")
        seen |= keys

"""Signing what is proposed: whose signature counts, who is still missing, copies joined again.

Pure: the files are read and written by the commands, the directory in force is given.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from keys.directory import layout
from keys.directory.content import DirectoryContent
from keys.directory.metadata import Root, Signer, Targets
from keys.directory.proposal import Part, Proposal, proposed_content
from keys.errors import DirectoryError


@dataclass(frozen=True)
class Progress:
    """How far the signatures under one part of a proposal are.

    Attributes:
        role: The part.
        signed: Key identifiers whose signature verifies.
        missing: Key identifiers whose signature would count and is not there.
        needed: How many signatures are still needed.
    """

    role: str
    signed: frozenset[str]
    missing: frozenset[str]
    needed: int


def sign_proposal(
    proposal: Proposal, base: DirectoryContent | None, signer: Signer
) -> tuple[Proposal, tuple[str, ...]]:
    """Return the proposal with the signer's signature wherever it counts, and those roles' names.

    Raises:
        DirectoryError: `nothing-to-sign`, or as `proposed_content`.
    """
    content = proposed_content(proposal, base)
    signed = []
    parts = []
    for part in proposal.parts:
        if signer.public_key.keyid in eligible(part.role, content, base):
            metadata = part.read()
            metadata.sign(signer, append=True)
            parts.append(Part(role=part.role, metadata=metadata.to_bytes().decode()))
            signed.append(part.role)
        else:
            parts.append(part)
    if not signed:
        raise DirectoryError("nothing-to-sign", "this key's signature counts for no part of it")
    return proposal.model_copy(update={"parts": tuple(parts)}), tuple(signed)


def eligible(role: str, content: DirectoryContent, base: DirectoryContent | None) -> set[str]:
    """Return the identifiers of the keys whose signature counts for a role's new metadata."""
    if role == layout.ROOT:
        roots = [content.root] if base is None else [content.root, base.root]
        return {keyid for root in roots for keyid in root.roles[layout.ROOT].keyids}
    if role == layout.TARGETS:
        return set(content.root.roles[layout.TARGETS].keyids)
    delegations = content.targets.delegations
    roles = delegations.roles if delegations else None
    return set(roles[role].keyids) if roles and role in roles else set()


def merge_proposals(proposals: Iterable[Proposal]) -> Proposal:
    """Return one proposal with the signatures of all copies that were signed side by side.

    Raises:
        DirectoryError: `different-proposals`: they are not copies of one.
    """
    first, *others = proposals
    merged = [part.read() for part in first.parts]
    for other in others:
        same = [part.role for part in other.parts] == [part.role for part in first.parts]
        if not same or other.files != first.files:
            raise DirectoryError("different-proposals", "the files are not copies of one proposal")
        for mine, part in zip(merged, other.parts, strict=True):
            theirs = part.read()
            if theirs.signed_bytes != mine.signed_bytes:
                raise DirectoryError(
                    "different-proposals", "the files are not copies of one proposal"
                )
            for keyid, signature in theirs.signatures.items():
                mine.signatures.setdefault(keyid, signature)
    parts = tuple(
        Part(role=part.role, metadata=metadata.to_bytes().decode())
        for part, metadata in zip(first.parts, merged, strict=True)
    )
    return first.model_copy(update={"parts": parts})


def progress(proposal: Proposal, base: DirectoryContent | None) -> tuple[Progress, ...]:
    """Return how far each part is, judged by signatures that verify.

    Raises:
        DirectoryError: As `proposed_content`.
    """
    content = proposed_content(proposal, base)
    return tuple(_progress(part, content, base) for part in proposal.parts)


def check_complete(proposal: Proposal, base: DirectoryContent | None) -> None:
    """Return if every part is signed by the threshold it needs.

    Raises:
        DirectoryError: `below-threshold`, or as `proposed_content`.
    """
    for part in progress(proposal, base):
        if part.needed:
            raise DirectoryError(
                "below-threshold", f"{part.role} needs {part.needed} more signature(s)"
            )


def _progress(part: Part, content: DirectoryContent, base: DirectoryContent | None) -> Progress:
    metadata = part.read()
    delegators: list[Root | Targets] = [content.targets]
    if part.role == layout.TARGETS:
        delegators = [content.root]
    elif part.role == layout.ROOT:
        delegators = [content.root, *([base.root] if base else [])]
    results = [
        delegator.get_verification_result(part.role, metadata.signed_bytes, metadata.signatures)
        for delegator in delegators
    ]
    signed = {keyid for result in results for keyid in result.signed}
    return Progress(
        role=part.role,
        signed=frozenset(signed),
        missing=frozenset(eligible(part.role, content, base) - signed),
        needed=max(max(0, result.missing) for result in results),
    )

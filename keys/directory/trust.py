"""What may be believed of a directory: every trust rule, with no I/O and no clock.

`TrustedDirectory` takes bytes that anybody may have written, and the root that the reader holds.
It holds that:

1.  Each root after the pinned one is the next version, signed by the threshold of the root before
    and by its own.
2.  Timestamp, snapshot and targets are signed as the newest root says; each is exactly the file,
    by length and SHA-256, that the one before names. So the snapshot's hash commits to all.
3.  Keys are called by their own kid, so that no key counts twice towards a threshold.
4.  Root and targets stand under the same keys, one for each of several members, and need at least
    two of them where there are two. The online keys (snapshot, timestamp) are no member's.
5.  Targets lists the region's three files and no other, and delegates to one role for each member
    of `region/members.toml` and to `revocations`, and to no other.
6.  A member's role has one key, and may sign `members/<CC>/*` and nothing else. `revocations`
    takes two of the members' keys, and may sign `region/revocations.json` and nothing else.
7.  A role lists exactly its files and delegates no further. There is no file that none lists.
8.  Every file has the length and SHA-256 that its role signed, and is the document its name says.
    A member's documents name that member and no other.
9.  A broker key belongs to one member. Otherwise one could have another's connection replaced.

When things hold is not judged here: the view that results knows until when it is fresh, and until
when each member's part is. Not going back in time is the client's part, since it needs a memory.
"""

from collections.abc import Iterable
from typing import TypeAlias, TypeVar

from keys.directory import layout
from keys.directory.bundle import Bundle
from keys.directory.content import DirectoryContent, check_file
from keys.directory.metadata import (
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    Targets,
    Timestamp,
    checked,
    read_metadata,
)
from keys.directory.shape import check_key_names
from keys.directory.view import DirectoryView, MemberView
from keys.errors import DirectoryError
from keys.primitives.hashing import sha256
from schemas.label import DirectoryVersion

OnlineT = TypeVar("OnlineT", Timestamp, Snapshot)
AnyMetadata: TypeAlias = (
    "Metadata[Root] | Metadata[Timestamp] | Metadata[Snapshot] | Metadata[Targets]"
)


class TrustedDirectory:
    """A directory version of which every signature and every rule has been checked."""

    def __init__(self, bundle: Bundle, *, pinned_root: bytes) -> None:
        """Check `bundle` from `pinned_root` down.

        Args:
            bundle: Not trusted.
            pinned_root: Root metadata that the reader got out of band; trusted.

        Raises:
            DirectoryError: A rule is broken; its code says which.
        """
        self.root = _newest_root(pinned_root, bundle.roots)
        self.timestamp = _online(Timestamp, self.root, bundle.timestamp.encode())
        self.snapshot_bytes = bundle.snapshot.encode()
        check_file(self.timestamp.snapshot_meta, self.snapshot_bytes, layout.SNAPSHOT)
        self.snapshot = _online(Snapshot, self.root, self.snapshot_bytes)
        _check_version(self.snapshot, self.timestamp.snapshot_meta, layout.SNAPSHOT)
        targets = self._role(layout.TARGETS, bundle.targets.encode(), self.root)
        roles = {n: self._role(n, raw.encode(), targets) for n, raw in bundle.roles.items()}
        files = {path: text.encode() for path, text in bundle.files.items()}
        self.content = DirectoryContent(self.root, targets, roles, files)

    @property
    def version(self) -> DirectoryVersion:
        """What labels name."""
        return DirectoryVersion(
            root=self.root.version,
            snapshot=self.snapshot.version,
            hash=sha256(self.snapshot_bytes),
        )

    def view(self) -> DirectoryView:
        """Return the directory as everything else sees it."""
        content = self.content
        suspensions = content.suspensions()
        fresh_until = min(
            self.timestamp.expires,
            self.snapshot.expires,
            self.root.expires,
            content.targets.expires,
            content.roles[layout.REVOCATIONS].expires,
        )
        return DirectoryView(
            version=self.version,
            fresh_until=fresh_until,
            member_views={
                code: MemberView.build(
                    code,
                    region=content.region.members[code],
                    document=files.document,
                    officers=files.officers,
                    policy=files.policy,
                    policy_hash=files.policy_hash,
                    revocations=suspensions,
                    lapses_at=content.roles[layout.member_role(code)].expires,
                )
                for code, files in content.documents.items()
            },
            hub=content.hub,
            agreement=content.agreement,
            agreement_hash=content.agreement_hash,
            expiries={
                layout.ROOT: self.root.expires,
                layout.TARGETS: content.targets.expires,
                **{name: role.expires for name, role in content.roles.items()},
            },
            witness_sets=content.region.witness_sets,
            further_groups=content.region.group_names(),
        )

    def _role(self, name: str, raw: bytes, delegator: Root | Targets) -> Targets:
        meta = self.snapshot.meta.get(f"{name}.json")
        if meta is None:
            raise DirectoryError("mixed-versions", f"the snapshot does not name {name}")
        check_file(meta, raw, name)
        limit = layout.MAX_TARGETS_BYTES if name == layout.TARGETS else layout.MAX_ROLE_BYTES
        metadata = read_metadata(Targets, raw, max_bytes=limit)
        _check_signed(delegator, name, metadata)
        _check_version(metadata.signed, meta, name)
        return metadata.signed


def read_root(raw: bytes) -> Root:
    """Return root metadata that is signed by its own threshold, to be pinned out of band.

    Raises:
        DirectoryError: It is not, or its keys break the rules.
    """
    metadata = read_metadata(Root, raw, max_bytes=layout.MAX_ROOT_BYTES)
    _check_signed(metadata.signed, layout.ROOT, metadata)
    check_key_names(metadata.signed.keys)
    return metadata.signed


def _newest_root(pinned: bytes, chain: Iterable[str]) -> Root:
    root = read_root(pinned)
    for text in chain:
        metadata = read_metadata(Root, text.encode(), max_bytes=layout.MAX_ROOT_BYTES)
        if metadata.signed.version <= root.version:
            continue  # older than what is pinned: it proves nothing and is not used
        if metadata.signed.version != root.version + 1:
            raise DirectoryError("broken-root-chain", "a root version is missing")
        _check_signed(root, layout.ROOT, metadata)
        root = read_root(text.encode())
    return root


def _online(kind: type[OnlineT], root: Root, raw: bytes) -> OnlineT:
    limits = {Timestamp: layout.MAX_TIMESTAMP_BYTES, Snapshot: layout.MAX_SNAPSHOT_BYTES}
    metadata = read_metadata(kind, raw, max_bytes=limits[kind])
    _check_signed(root, kind.type, metadata)
    return metadata.signed


def _check_signed(
    delegator: Root | Targets,
    name: str,
    metadata: AnyMetadata,
) -> None:
    checked(
        lambda: delegator.verify_delegate(name, metadata.signed_bytes, metadata.signatures),
        code="below-threshold",
        message=f"{name} is not signed by enough of those who may",
    )


def _check_version(signed: Snapshot | Targets, meta: MetaFile, name: str) -> None:
    if signed.version != meta.version:
        raise DirectoryError("mixed-versions", f"{name} has another version than is named")

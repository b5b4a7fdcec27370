"""The directory's folder at the hub: what is published, and the two keys that are online.

Layout, as TUF has it with consistent snapshots:

    metadata/timestamp.json, metadata/N.ROLE.json    targets/PATH/SHA256.NAME

Files are added, never changed, but for the timestamp, which is replaced last: a reader sees the
old version or the new one. One process writes at a time, under a lock.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from keys.directory import layout
from keys.directory.bundle import Bundle
from keys.directory.ceremony import check_complete
from keys.directory.content import DirectoryContent
from keys.directory.metadata import (
    Metadata,
    MetaFile,
    Root,
    SignedT,
    Signer,
    Snapshot,
    Targets,
    Timestamp,
    read_metadata,
)
from keys.directory.proposal import Proposal, proposed_content
from keys.directory.succession import check_succession
from keys.directory.trust import TrustedDirectory, read_root
from keys.errors import DirectoryError
from keys.files import replace_file, sync_folder
from keys.primitives.hashing import sha256


@dataclass(frozen=True)
class OnlineSigners:
    """The hub's two online keys. They can freeze the directory, or show a part of it; no more."""

    snapshot: Signer
    timestamp: Signer


class DirectoryRepository:
    """The published directory in `folder`."""

    def __init__(self, folder: Path, *, pinned_root: bytes) -> None:
        """Take the folder, which need not exist yet, and the region's root."""
        self.folder = folder
        self._pinned_root = pinned_root

    def exists(self) -> bool:
        """Return whether a directory was published here."""
        return (self.folder / layout.metadata_path(layout.TIMESTAMP, 0)).exists()

    def read(self, path: str) -> bytes | None:
        """Return a file for a reader who asks for `path`, which is not trusted; None if missing.

        Raises:
            DirectoryError: `bad-path`.
        """
        layout.check_fetchable(path)
        return _read(self.folder / path)

    def bundle(self) -> Bundle:
        """Return all bytes of the newest version.

        Raises:
            DirectoryError: `no-directory`, or a file is missing or unreadable.
        """
        timestamp_raw = self._file(layout.TIMESTAMP, 0)
        timestamp = _signed(Timestamp, timestamp_raw)
        snapshot_raw = self._file(layout.SNAPSHOT, timestamp.snapshot_meta.version)
        metas = _signed(Snapshot, snapshot_raw).meta
        targets_raw = self._file(layout.TARGETS, _meta(metas, layout.TARGETS).version)
        targets = _signed(Targets, targets_raw)
        delegated = (targets.delegations.roles if targets.delegations else None) or {}
        roles = {name: self._file(name, _meta(metas, name).version) for name in delegated}
        return Bundle.of(
            roots=self._roots(),
            timestamp=timestamp_raw,
            snapshot=snapshot_raw,
            targets=targets_raw,
            roles=roles,
            files=self._target_files([targets, *(_signed(Targets, r) for r in roles.values())]),
        )

    def trusted(self) -> TrustedDirectory:
        """Return the newest version, verified from the region's root down.

        Raises:
            DirectoryError: It is missing or breaks a rule.
        """
        return TrustedDirectory(self.bundle(), pinned_root=self._pinned_root)

    def publish(
        self, proposal: Proposal, *, online: OnlineSigners, now: datetime
    ) -> TrustedDirectory:
        """Put a signed proposal into force and return the directory that results.

        Raises:
            DirectoryError: `below-threshold`, `stale-proposal`, `rollback`, `expired`, or another
                rule is broken; nothing was changed then.
        """
        with self._locked():
            old = self.trusted() if self.exists() else None
            base = old.content if old else None
            content = proposed_content(proposal, base)
            check_complete(proposal, base)
            _check_not_expired(proposal, now)
            bundle = self._next(proposal, content, old, online, now)
            new = TrustedDirectory(bundle, pinned_root=self._pinned_root)
            if old:
                check_succession(old, new)
            self._write(bundle, new)
        return new

    def take(self, bundle: Bundle) -> bool:
        """Put a member's copy in force if it is newer, as in a hub that was put back from a backup.

        Args:
            bundle: Not trusted: it is verified from the region's root down.

        Returns:
            Whether it is newer.

        Raises:
            DirectoryError: It breaks a rule, or is no successor of what is published here;
                `directory-split`: another directory under the same version.
        """
        with self._locked():
            new = TrustedDirectory(bundle, pinned_root=self._pinned_root)
            if self.exists():
                old = self.trusted()
                if new.snapshot.version == old.snapshot.version and new.version != old.version:
                    raise DirectoryError("directory-split", "two directories under one version")
                if new.snapshot.version <= old.snapshot.version:
                    return False
                check_succession(old, new)
            self._write(bundle, new)
        return True

    def renew_timestamp(self, *, online: OnlineSigners, now: datetime) -> None:
        """Sign the timestamp again, and the snapshot once half of its time is over.

        Raises:
            DirectoryError: The directory is missing or damaged, or `below-threshold`: the root
                names other keys than these. Nothing was changed then.
        """
        with self._locked():
            bundle = self.bundle()
            snapshot = _signed(Snapshot, bundle.snapshot.encode())
            if snapshot.expires - now < layout.SNAPSHOT_LASTS / 2:
                snapshot.version += 1
                bundle = _signed_online(bundle, snapshot, online, now)
            else:
                raw = _next_timestamp(bundle, bundle.snapshot.encode(), online, now)
                bundle = bundle.model_copy(update={"timestamp": raw.decode()})
            self._write(bundle, TrustedDirectory(bundle, pinned_root=self._pinned_root))

    def _next(
        self,
        proposal: Proposal,
        content: DirectoryContent,
        old: TrustedDirectory | None,
        online: OnlineSigners,
        now: datetime,
    ) -> Bundle:
        before = self.bundle() if old else None
        parts = {part.role: part.metadata for part in proposal.parts}
        root = parts.pop(layout.ROOT, None)
        roots = [*(before.roots if before else ()), *([root] if root else ())]
        targets = parts.pop(layout.TARGETS, None) or (before.targets if before else "")
        roles = {**(before.roles if before else {}), **parts}
        metas = dict(old.snapshot.meta) if old else {}
        metas[f"{layout.TARGETS}.json"] = _metafile(content.targets.version, targets.encode())
        for name, raw in roles.items():
            metas[f"{name}.json"] = _metafile(content.roles[name].version, raw.encode())
        bundle = Bundle.of(
            roots=[raw.encode() for raw in roots],
            timestamp=before.timestamp.encode() if before else b"",
            snapshot=b"",
            targets=targets.encode(),
            roles={name: raw.encode() for name, raw in roles.items()},
            files=content.files,
        )
        snapshot = Snapshot(version=(old.snapshot.version if old else 0) + 1, meta=metas)
        return _signed_online(bundle, snapshot, online, now)

    def _write(self, bundle: Bundle, trusted: TrustedDirectory) -> None:
        """Write a verified bundle; the timestamp comes last and puts it into force."""
        content = trusted.content
        for number, root in enumerate(bundle.roots, start=1):
            self._put_new(layout.metadata_path(layout.ROOT, number), root)
        for path, raw in bundle.files.items():
            self._put_new(layout.target_path(path, sha256(raw.encode()).hex()), raw)
        for name, raw in bundle.roles.items():
            self._put_new(layout.metadata_path(name, content.roles[name].version), raw)
        version = content.targets.version
        self._put_new(layout.metadata_path(layout.TARGETS, version), bundle.targets)
        version = trusted.snapshot.version
        self._put_new(layout.metadata_path(layout.SNAPSHOT, version), bundle.snapshot)
        self._put(layout.metadata_path(layout.TIMESTAMP, 0), bundle.timestamp.encode())

    def _put_new(self, path: str, text: str) -> None:
        raw = text.encode()
        if _read(self.folder / path) != raw:  # a crash may have left it behind, unpublished
            self._put(path, raw)

    def _put(self, path: str, raw: bytes) -> None:
        layout.check_fetchable(path)
        target = self.folder / path
        if not target.parent.exists():
            target.parent.mkdir(parents=True)
            sync_folder(target.parent.parent)
        try:
            replace_file(target, raw)
        except OSError as error:
            raise DirectoryError("cannot-write", f"{target} cannot be written") from error

    def _file(self, role: str, version: int) -> bytes:
        raw = _read(self.folder / layout.metadata_path(role, version))
        if raw is None:
            raise DirectoryError("no-directory", f"{self.folder} lacks the file of {role}")
        return raw

    def _roots(self) -> list[bytes]:
        roots: list[bytes] = []
        while raw := _read(self.folder / layout.metadata_path(layout.ROOT, len(roots) + 1)):
            roots.append(raw)
        return roots

    def _target_files(self, roles: list[Targets]) -> dict[str, bytes]:
        files = {}
        for role in roles:
            for path, target in role.targets.items():
                kept = layout.target_path(path, target.hashes["sha256"])
                layout.check_fetchable(kept)
                raw = _read(self.folder / kept)
                if raw is None:
                    raise DirectoryError("no-directory", f"{self.folder} lacks {path}")
                files[path] = raw
        return files

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def founding_root(proposal: Proposal) -> bytes:
    """Return the first root in a complete founding proposal, to be pinned by every member.

    Raises:
        DirectoryError: It founds no region, or the root is not signed by its threshold.
    """
    part = proposal.part(layout.ROOT)
    if part is None or proposal.base is not None:
        raise DirectoryError("bad-proposal", "the proposal founds no region")
    root = read_root(part.metadata.encode())
    if root.version != 1:
        raise DirectoryError("bad-proposal", "a region's first root has version 1")
    return part.metadata.encode()


def _signed_online(
    bundle: Bundle, snapshot: Snapshot, online: OnlineSigners, now: datetime
) -> Bundle:
    snapshot.expires = now.replace(microsecond=0) + layout.SNAPSHOT_LASTS
    metadata = Metadata(snapshot)
    metadata.sign(online.snapshot)
    raw = metadata.to_bytes()
    timestamp = _next_timestamp(bundle, raw, online, now)
    return bundle.model_copy(update={"snapshot": raw.decode(), "timestamp": timestamp.decode()})


def _next_timestamp(
    bundle: Bundle, snapshot_raw: bytes, online: OnlineSigners, now: datetime
) -> bytes:
    before = _signed(Timestamp, bundle.timestamp.encode()).version if bundle.timestamp else 0
    version = _signed(Snapshot, snapshot_raw).version
    timestamp = Timestamp(
        # Counted in seconds of the clock, so that a hub put back from a backup is not behind what
        # readers saw of it: they would refuse it for as long as the backup is old.
        version=max(before + 1, int(now.timestamp())),
        expires=now.replace(microsecond=0) + layout.TIMESTAMP_LASTS,
        snapshot_meta=_metafile(version, snapshot_raw),
    )
    metadata = Metadata(timestamp)
    metadata.sign(online.timestamp)
    return metadata.to_bytes()


def _metafile(version: int, raw: bytes) -> MetaFile:
    return MetaFile(version=version, length=len(raw), hashes={"sha256": sha256(raw).hex()})


def _meta(metas: Mapping[str, MetaFile], role: str) -> MetaFile:
    try:
        return metas[f"{role}.json"]
    except KeyError:
        raise DirectoryError("mixed-versions", f"the snapshot does not name {role}") from None


def _signed(kind: type[SignedT], raw: bytes) -> SignedT:
    return read_metadata(kind, raw, max_bytes=layout.MAX_TARGETS_BYTES).signed


def _check_not_expired(proposal: Proposal, now: datetime) -> None:
    for part in proposal.parts:
        signed: Root | Targets = part.read().signed
        if signed.expires <= now:
            raise DirectoryError("expired", f"the proposal for {part.role} has expired")


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DirectoryError("no-directory", f"{path} cannot be read") from error

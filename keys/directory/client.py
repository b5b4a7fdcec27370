"""A member's copy of the directory: refreshed from a source nobody trusts, kept, read offline.

TUF's own updater does what needs a memory: newest root first, no version that goes back, nothing
expired. `TrustedDirectory` then checks every rule again over the exact bytes, together with what
the updater does not know, and only then is the copy replaced. A copy that is kept is checked
again whenever it is read.

In the folder: `updater/` is the updater's memory; `directory.json` the last verified bundle;
`proven.json` the last one that a log proved, for readers who ask for that. The
updater works on a copy of its memory, `staged/`, which takes its place once every rule was checked:
a hub cannot make a reader remember what it refused. Roots alone are remembered at once, as TUF
wants it: the hub cannot sign one.
"""

import asyncio
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    ExpiredMetadataError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.ngclient.config import UpdaterConfig
from tuf.ngclient.updater import Updater

from keys.directory import layout
from keys.directory.bundle import MAX_BUNDLE_BYTES, Bundle, parse_bundle
from keys.directory.fetcher import Fetch, LoopFetcher
from keys.directory.metadata import (
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
    read_metadata,
)
from keys.directory.succession import check_history_stands
from keys.directory.trust import TrustedDirectory
from keys.directory.view import DirectoryView
from keys.errors import DirectoryError, KeyFileError
from keys.files import make_private_folder, read_private, write_private
from keys.primitives.hashing import sha256

DEFAULT_TIMEOUT_S: Final = 60.0  # for one file over a bad line
_BUNDLE: Final = "directory.json"
_PROVEN: Final = "proven.json"
_UPDATER: Final = "updater"
_STAGED: Final = "staged"
_ROOTS: Final = "root_history"  # as the updater calls it
_REMEMBERED: Final = tuple(f"{n}.json" for n in (layout.TARGETS, layout.SNAPSHOT, layout.TIMESTAMP))
_CONFIG: Final = UpdaterConfig(
    max_root_rotations=layout.MAX_ROOT_ROTATIONS,
    root_max_length=layout.MAX_ROOT_BYTES,
    timestamp_max_length=layout.MAX_TIMESTAMP_BYTES,
    snapshot_max_length=layout.MAX_SNAPSHOT_BYTES,
    targets_max_length=layout.MAX_TARGETS_BYTES,
)


class _Updater(Updater):
    """The updater, judging expiry at the caller's time instead of the machine's."""

    def judge_at(self, now: datetime) -> None:
        # Not public in tuf 7.0; a test fails if expiry stops being judged at this time.
        self._trusted_set.reference_time = now

    def newest(self, role: str) -> bytes:
        """Return the metadata that the last refresh verified and kept."""
        return self._load_local_metadata(role)


@dataclass(frozen=True)
class DirectoryCopy:
    """A verified copy of the directory.

    Attributes:
        view: What everything else reads.
        bundle: The bytes it was made from, as evidence and to carry to a ministry.
    """

    view: DirectoryView
    bundle: Bundle


class SplitDirectoryError(DirectoryError):
    """`directory-split`: the source shows the version kept here with other contents.

    Attributes:
        ours: The copy kept, which stays.
        theirs: The other one, verified as well.
    """

    def __init__(self, ours: Bundle, theirs: Bundle) -> None:
        super().__init__("directory-split", "two directories under one version")
        self.ours = ours
        self.theirs = theirs


class DirectoryClient:
    """Keeps one copy of the directory in `folder`. One refresh at a time, by one process."""

    def __init__(
        self, folder: Path, *, pinned_root: bytes, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> None:
        """Take the folder, which need not exist yet, and the root got out of band."""
        self.folder = folder
        self._pinned_root = pinned_root
        self._timeout_s = timeout_s

    def load(self) -> DirectoryCopy | None:
        """Return the copy kept here, verified again, or None; `view.check_fresh` tells its age.

        Raises:
            DirectoryError: It breaks a rule.
            KeyFileError: It is open to others.
        """
        return self._load(_BUNDLE)

    def load_proven(self) -> DirectoryCopy | None:
        """Return the copy that a log last proved, verified again; None if none was.

        Raises:
            DirectoryError: It breaks a rule.
            KeyFileError: It is open to others.
        """
        return self._load(_PROVEN)

    def keep_proven(self, bundle: Bundle) -> None:
        """Keep the copy that a log proved: a reader that starts again begins with this one.

        Raises:
            KeyFileError: It cannot be written.
        """
        write_private(self.folder / _PROVEN, bundle.to_bytes())

    async def refresh(self, fetch: Fetch, *, now: datetime) -> DirectoryCopy:
        """Fetch, verify, keep and return the newest version.

        Args:
            fetch: The source, which may say anything.
            now: At which expiry is judged.

        Raises:
            SplitDirectoryError: It has the version of the copy kept and other contents.
            DirectoryError: `directory-unreachable`, `directory-expired`, `rollback`,
                `below-threshold`, or another rule is broken. The copy kept stays as it was.
            KeyFileError: The folder is open to others or cannot be written.
        """
        fetcher = LoopFetcher(fetch, asyncio.get_running_loop(), timeout_s=self._timeout_s)
        try:
            return await asyncio.to_thread(self._refresh, fetcher, now)
        finally:
            fetcher.stopped = True

    def _load(self, name: str) -> DirectoryCopy | None:
        path = self.folder / name
        if not path.exists():
            return None
        bundle = parse_bundle(read_private(path, max_bytes=MAX_BUNDLE_BYTES))
        return DirectoryCopy(self._trusted(bundle).view(), bundle)

    def _refresh(self, fetcher: LoopFetcher, now: datetime) -> DirectoryCopy:
        make_private_folder(self.folder)
        known = self._kept()
        refresh = _Refresh(self.folder, self._pinned_root, fetcher, known)
        bundle = refresh.run(now)
        trusted = self._trusted(bundle)
        if known is not None:
            _check_follows(known, self._trusted(known), bundle, trusted)
        view = trusted.view()
        view.check_fresh(now)
        refresh.remember()
        if bundle != known:
            write_private(self.folder / _BUNDLE, bundle.to_bytes())
        return DirectoryCopy(view, bundle)

    def _kept(self) -> Bundle | None:
        try:
            copy = self.load()
        except DirectoryError:  # a damaged copy is replaced; the updater's memory stands
            return None
        return copy.bundle if copy else None

    def _trusted(self, bundle: Bundle) -> TrustedDirectory:
        return TrustedDirectory(bundle, pinned_root=self._pinned_root)


def _check_follows(
    known: Bundle, old: TrustedDirectory, bundle: Bundle, new: TrustedDirectory
) -> None:
    ours, theirs = old.version, new.version
    if (ours.root, ours.snapshot) == (theirs.root, theirs.snapshot) and ours != theirs:
        raise SplitDirectoryError(known, bundle)
    check_history_stands(old, new)


class _Refresh:
    """One refresh, in its thread."""

    def __init__(
        self, folder: Path, pinned_root: bytes, fetcher: LoopFetcher, known: Bundle | None
    ) -> None:
        self._memory = folder / _UPDATER
        self._staged = folder / _STAGED
        self._pinned_root = pinned_root
        self._fetcher = fetcher
        self._known = known
        self._fetched: dict[str, bytes] = {}  # Ahead of need, not verified.

    def run(self, now: datetime) -> Bundle:
        try:
            self._stage()
            updater = _Updater(
                str(self._staged),
                "metadata",
                fetcher=self._fetcher,
                config=_CONFIG,
                bootstrap=self._pinned_root,
            )
            updater.judge_at(now)
            updater.refresh()
            return self._bundle(updater)
        except ExpiredMetadataError as error:
            raise DirectoryError("directory-expired", "the directory has expired") from error
        except BadVersionNumberError as error:
            raise DirectoryError("rollback", "an older directory was offered") from error
        except UnsignedMetadataError as error:
            raise DirectoryError("below-threshold", "too few signatures") from error
        except RepositoryError as error:
            raise DirectoryError("bad-metadata", "the directory breaks TUF's rules") from error
        except DownloadError as error:
            cause = self._fetcher.cause or error
            raise DirectoryError("directory-unreachable", "a file cannot be fetched") from cause
        except OSError as error:
            raise KeyFileError("cannot-write", f"{self._staged} cannot be written") from error

    def remember(self) -> None:
        """Keep what the updater saw, after every rule was checked.

        Raises:
            KeyFileError: It cannot be written. What is then kept of it does no harm: the updater
                passes over what does not fit together.
        """
        try:
            for name in _REMEMBERED:
                (self._staged / name).replace(self._memory / name)
            shutil.rmtree(self._staged)
        except OSError as error:
            raise KeyFileError("cannot-write", f"{self._memory} cannot be written") from error

    def _stage(self) -> None:
        make_private_folder(self._memory)
        make_private_folder(self._memory / _ROOTS)
        if self._staged.exists():
            shutil.rmtree(self._staged)
        make_private_folder(self._staged)
        (self._staged / _ROOTS).symlink_to(Path("..", _UPDATER, _ROOTS))
        for name in _REMEMBERED:
            if (self._memory / name).exists():
                shutil.copyfile(self._memory / name, self._staged / name)

    def _bundle(self, updater: _Updater) -> Bundle:
        timestamp_raw = updater.newest(layout.TIMESTAMP)
        timestamp = read_metadata(
            Timestamp, timestamp_raw, max_bytes=layout.MAX_TIMESTAMP_BYTES
        ).signed
        snapshot_raw = self._named(
            layout.SNAPSHOT,
            timestamp.snapshot_meta,
            updater.newest(layout.SNAPSHOT),
            max_bytes=layout.MAX_SNAPSHOT_BYTES,
        )
        snapshot = read_metadata(Snapshot, snapshot_raw, max_bytes=layout.MAX_SNAPSHOT_BYTES)
        targets_raw = self._named(
            layout.TARGETS,
            snapshot.signed.meta.get(f"{layout.TARGETS}.json"),
            updater.newest(layout.TARGETS),
            max_bytes=layout.MAX_TARGETS_BYTES,
        )
        targets = read_metadata(Targets, targets_raw, max_bytes=layout.MAX_TARGETS_BYTES).signed
        delegated = (targets.delegations.roles if targets.delegations else None) or {}
        metas = snapshot.signed.meta
        self._ahead(
            {
                layout.metadata_path(name, metas[f"{name}.json"].version): layout.MAX_ROLE_BYTES
                for name in delegated
                if f"{name}.json" in metas and not self._has_role(name, metas[f"{name}.json"])
            }
        )
        roles = {name: self._role(name, metas) for name in delegated}
        signed = [
            targets,
            *(
                read_metadata(Targets, raw, max_bytes=layout.MAX_ROLE_BYTES).signed
                for raw in roles.values()
            ),
        ]
        self._ahead(
            {
                layout.target_path(path, target.hashes.get("sha256", "")): layout.MAX_FILE_BYTES
                for role in signed
                for path, target in role.targets.items()
                if self._kept_file(path, target) is None
            }
        )
        files = {path: raw for role in signed for path, raw in self._files(role).items()}
        return Bundle.of(
            roots=self._roots(updater),
            timestamp=timestamp_raw,
            snapshot=snapshot_raw,
            targets=targets_raw,
            roles=roles,
            files=files,
        )

    # What follows is fetched, not verified: TrustedDirectory checks every byte of the bundle.

    def _ahead(self, wanted: Mapping[str, int]) -> None:
        self._fetched |= self._fetcher.get_ahead(wanted) if wanted else {}

    def _get(self, path: str, max_bytes: int) -> bytes:
        found = self._fetched.pop(path, None)
        return self._fetcher.get(path, max_bytes=max_bytes) if found is None else found

    def _has_role(self, name: str, meta: MetaFile) -> bool:
        kept = self._known.roles.get(name, "") if self._known else ""
        return (meta.hashes or {}).get("sha256") == sha256(kept.encode()).hex()

    def _role(self, name: str, metas: Mapping[str, MetaFile]) -> bytes:
        kept = self._known.roles.get(name, "") if self._known else ""
        meta = metas.get(f"{name}.json")
        return self._named(name, meta, kept.encode(), max_bytes=layout.MAX_ROLE_BYTES)

    def _named(self, name: str, meta: MetaFile | None, kept: bytes, *, max_bytes: int) -> bytes:
        """Return a role's metadata as named: what is kept, or what is fetched.

        The updater is content with a version it has. Another content under that version is
        fetched here, so that a split is seen, and can be shown.
        """
        if meta is None:
            raise DirectoryError("missing-role", "the snapshot lacks a role")
        if (meta.hashes or {}).get("sha256") == sha256(kept).hex():
            return kept
        return self._get(layout.metadata_path(name, meta.version), max_bytes)

    def _files(self, role: Targets) -> dict[str, bytes]:
        return {path: self._file(path, target) for path, target in role.targets.items()}

    def _file(self, path: str, target: TargetFile) -> bytes:
        kept = self._kept_file(path, target)
        if kept is not None:
            return kept
        named = layout.target_path(path, target.hashes.get("sha256", ""))
        return self._get(named, layout.MAX_FILE_BYTES)

    def _kept_file(self, path: str, target: TargetFile) -> bytes | None:
        kept = self._known.files.get(path) if self._known else None
        same = kept is not None and sha256(kept.encode()).hex() == target.hashes.get("sha256", "")
        return kept.encode() if kept is not None and same else None

    def _roots(self, updater: _Updater) -> list[bytes]:
        newest_raw = updater.newest(layout.ROOT)
        newest = read_metadata(Root, newest_raw, max_bytes=layout.MAX_ROOT_BYTES).signed.version
        roots = [root.encode() for root in self._known.roots] if self._known else []
        roots = roots or [self._pinned_root]
        last = read_metadata(Root, roots[-1], max_bytes=layout.MAX_ROOT_BYTES).signed.version
        for version in range(last + 1, newest + 1):
            path = layout.metadata_path(layout.ROOT, version)
            roots.append(self._fetcher.get(path, max_bytes=layout.MAX_ROOT_BYTES))
        return roots

"""A bundle: a log as files, in a folder or a tar, from whoever it came. Nothing in it is trusted.

checkpoint             the newest
checkpoints/<size>     older ones
tile/...               as C2SP tlog-tiles has them
openings/<index>       what the leaf at that index speaks of, as far as the exporter may show it
proofs/*.tlog-proof    proofs of single leaves; proofs/<name>.leaf is the leaf, if it is there
"""

import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG
from typing import Final, Protocol

from broker.errors import BrokerError
from broker.log.tiles import MAX_BUNDLE_BYTES

CHECKPOINT: Final = "checkpoint"
OLDER: Final = "checkpoints"
OPENINGS: Final = "openings"
PROOFS: Final = "proofs"
TILES: Final = "tile/"
_SUMDB_CHECKPOINT: Final = "latest"
_SUMDB_TILES: Final = "tile/8/"
# What the library raises over numbers in a tar's heads that nobody would write there.
_NO_TAR: Final = (OSError, tarfile.TarError, ValueError, OverflowError, MemoryError, RecursionError)


class Bundle(Protocol):
    """Files by their path inside the bundle."""

    def read(self, path: str) -> bytes | None:
        """Return the file's bytes, cut off beyond what any of ours can have; None if not there."""
        ...

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder of the bundle, sorted."""
        ...


@dataclass(frozen=True)
class _Folder:
    folder: Path

    def read(self, path: str) -> bytes | None:
        place = self.folder / path
        try:
            found = place.stat()
            if not S_ISREG(found.st_mode):  # a pipe would never end
                return None
            with place.open("rb") as file:  # asked for more, Python takes the room for more
                return file.read(min(found.st_size, MAX_BUNDLE_BYTES + 1))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise BrokerError("bad-bundle", f"{path} cannot be read") from error

    def names(self, folder: str) -> list[str]:
        place = self.folder / folder
        try:
            return sorted(each.name for each in place.iterdir()) if place.is_dir() else []
        except OSError as error:
            raise BrokerError("bad-bundle", f"{folder} cannot be read") from error


@dataclass(frozen=True)
class _Tar:
    archive: tarfile.TarFile
    members: dict[str, tarfile.TarInfo] = field(repr=False)

    def read(self, path: str) -> bytes | None:
        member = self.members.get(path)
        if member is None:
            return None
        try:
            file = self.archive.extractfile(member)
            if file is None:
                return None
            with file:
                return file.read(min(member.size, MAX_BUNDLE_BYTES + 1))
        except _NO_TAR as error:
            raise BrokerError("bad-bundle", f"{path} cannot be read") from error

    def names(self, folder: str) -> list[str]:
        parts = (name.rpartition("/") for name in self.members)
        return sorted(name for within, _, name in parts if within == folder)


@dataclass(frozen=True)
class Layered:
    """A bundle that an earlier one completes: its tiles are taken where the newer has none."""

    newer: Bundle
    earlier: Bundle

    def read(self, path: str) -> bytes | None:
        """Return the file's bytes from the one or the other."""
        found = self.newer.read(path)
        return self.earlier.read(path) if found is None and path.startswith(TILES) else found

    def names(self, folder: str) -> list[str]:
        """Return the names in the folder of the newer."""
        return self.newer.names(folder)


@dataclass(frozen=True)
class SumDB:
    """A bundle in the layout of the Go checksum database, older than tlog-tiles and else alike."""

    bundle: Bundle

    def read(self, path: str) -> bytes | None:
        """Return the file's bytes."""
        return self.bundle.read(_in_sumdb(path))

    def names(self, folder: str) -> list[str]:
        """Return the names in the folder."""
        return self.bundle.names(_in_sumdb(folder))


@dataclass
class Noting:
    """A bundle in which what cannot be read is noted, and taken as not there: no check ends early.

    One file that the system does not give must not hide what the others show.
    """

    bundle: Bundle
    unread: dict[str, None] = field(default_factory=dict)

    def read(self, path: str) -> bytes | None:
        """Return the file's bytes; None if it is not there or cannot be read."""
        try:
            return self.bundle.read(path)
        except BrokerError:
            self.unread[path] = None
            return None

    def names(self, folder: str) -> list[str]:
        """Return the names in the folder; none if it cannot be read."""
        try:
            return self.bundle.names(folder)
        except BrokerError:
            self.unread[folder] = None
            return []


def is_number(name: str) -> bool:
    """Whether a file in `checkpoints` or `openings` is named as these are: by a number.

    Other files come from the systems that a bundle passed through, and say nothing of the log.
    """
    return name.isascii() and name.isdecimal()


def anybodys(bundle: Bundle) -> Bundle:
    """Return the bundle of another's log, in the layout of tlog-tiles."""
    other = bundle.read(CHECKPOINT) is None and bundle.read(_SUMDB_CHECKPOINT) is not None
    return SumDB(bundle) if other else bundle


@contextmanager
def opened(path: Path) -> Iterator[Bundle]:
    """Give the bundle at `path`, wherever it lies. Of a tar, the list of its members is held.

    Raises:
        BrokerError: `bad-bundle`: neither a folder nor a plain tar; a compressed one cannot be
            read in any other order than its own.
    """
    if path.is_dir():
        yield _Folder(path)
        return
    with ExitStack() as stack:
        try:
            archive = stack.enter_context(tarfile.open(path, "r:"))
            members = {each.name.removeprefix("./"): each for each in _files(archive)}
        except _NO_TAR as error:
            said = f"{path} is neither a folder nor a tar; unpack it if it is compressed"
            raise BrokerError("bad-bundle", said) from error
        yield _Tar(archive, members)


def _files(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the files of an archive that goes forwards only; a size below zero would lead back.

    Raises:
        BrokerError: `bad-bundle`.
    """
    before = -1
    while (member := archive.next()) is not None:
        if member.size < 0 or member.offset <= before:
            raise BrokerError("bad-bundle", "the tar leads back to what was read")
        before = member.offset
        if member.isreg():
            yield member


def is_bundle(path: Path) -> bool:
    """Whether `path` is a folder or a tar."""
    try:
        return path.is_dir() or tarfile.is_tarfile(path)
    except _NO_TAR:
        return False


def _in_sumdb(path: str) -> str:
    if path == CHECKPOINT:
        return _SUMDB_CHECKPOINT
    return _SUMDB_TILES + path.removeprefix(TILES) if path.startswith(TILES) else path

"""A bundle: a log as files, in a folder or a tar, from whoever it came. Nothing in it is trusted.

checkpoint            the newest
checkpoints/<size>    older ones
tile/...              as C2SP tlog-tiles has them
"""

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from broker.errors import BrokerError
from broker.log.note import MAX_NOTE_BYTES
from broker.log.tiles import MAX_BUNDLE_BYTES

CHECKPOINT: Final = "checkpoint"
OLDER: Final = "checkpoints/"
MAX_OLDER: Final = 10_000


class Bundle(Protocol):
    """Files by their path inside the bundle."""

    def read(self, path: str) -> bytes | None:
        """Return the file's bytes; None if it is not there."""
        ...

    def older(self) -> list[str]:
        """Return the paths of older checkpoints, in order."""
        ...


@dataclass(frozen=True)
class _Folder:
    folder: Path

    def read(self, path: str) -> bytes | None:
        try:
            with (self.folder / path).open("rb") as file:
                return file.read(MAX_BUNDLE_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise BrokerError("bad-bundle", f"{path} cannot be read") from error

    def older(self) -> list[str]:
        folder = self.folder / OLDER
        names = (entry.name for entry in folder.iterdir()) if folder.is_dir() else ()
        return sorted(f"{OLDER}{name}" for name in names)[:MAX_OLDER]


@dataclass(frozen=True)
class _Tar:
    archive: tarfile.TarFile
    members: dict[str, tarfile.TarInfo] = field(default_factory=dict)

    def read(self, path: str) -> bytes | None:
        member = self.members.get(path)
        file = None if member is None else self.archive.extractfile(member)
        if file is None:
            return None
        try:
            with file:
                return file.read(max(MAX_BUNDLE_BYTES, MAX_NOTE_BYTES) + 1)
        except (OSError, tarfile.TarError) as error:
            raise BrokerError("bad-bundle", f"{path} cannot be read") from error

    def older(self) -> list[str]:
        return sorted(name for name in self.members if name.startswith(OLDER))[:MAX_OLDER]


@contextmanager
def opened(path: Path) -> Iterator[Bundle]:
    """Give the bundle at `path`, wherever it lies.

    Raises:
        BrokerError: `bad-bundle`: neither a folder nor a tar.
    """
    if path.is_dir():
        yield _Folder(path)
        return
    try:
        with tarfile.open(path) as archive:
            files = [member for member in archive.getmembers() if member.isreg()]
            yield _Tar(archive, {member.name.removeprefix("./"): member for member in files})
    except (OSError, tarfile.TarError) as error:
        raise BrokerError("bad-bundle", f"{path} is neither a folder nor a tar") from error

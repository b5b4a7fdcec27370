"""A folder of private files in one file, to be kept elsewhere and put back: a plain tar.

It opens with `tar` where this program is not at hand. Its last file counts the others, since a tar
that ends early looks whole to its readers. Read, it is not trusted: names stay below the folder,
links and devices are refused, and nothing is written over.
"""

import io
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import IO, Final

from broker.errors import BrokerError
from keys.files import make_private_folder, new_private_file, sync_folder

ABOUT: Final = "kentong-backup.json"
END: Final = "kentong-backup.end"
MAX_ABOUT_BYTES: Final = 64 * 1024
MAX_FILES: Final = 4_000_000  # a chunk of an attached file each, and 256 leaves of the log
MAX_DEPTH: Final = 12
_PIECE: Final = 1024 * 1024
_PRIVATE: Final = 0o600


class ArchiveError(BrokerError):
    """`backup-damaged`, `exists`, `cannot-write` or `bad-file`; nothing was put in place."""


def write_archive(path: Path, about: bytes, files: Iterable[tuple[str, Path]]) -> int:
    """Write a new archive for this user alone; return how many files are in it.

    Args:
        path: Where; it stands there once all of it is on the disk, else not at all.
        about: What it is, the first file in it.
        files: Name in the archive, and where it lies. One that is gone meanwhile is left out.

    Raises:
        ArchiveError: `exists` or `cannot-write`.
    """
    if path.exists():
        raise ArchiveError("exists", f"{path} is there already; choose another name")
    count = 0
    try:
        with (
            new_private_file(path) as file,
            tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            archive.addfile(_entry(ABOUT, len(about)), io.BytesIO(about))
            for name, where in files:
                count += _add(archive, name, where)
            end = str(count).encode()
            archive.addfile(_entry(END, len(end)), io.BytesIO(end))
    except OSError as error:
        raise ArchiveError("cannot-write", f"{path} cannot be written") from error
    return count


def read_archive(path: Path, folder: Path, *, below: str = "") -> bytes:
    """Put the files of an archive below `folder`; return what the archive says of itself.

    Args:
        path: Not trusted.
        folder: New; the caller throws it away if this raises.
        below: Top folder in the archive, to put what is in it alone; empty for all files.

    Raises:
        ArchiveError: `bad-file`: it cannot be read; `backup-damaged`: it is no whole archive of
            this form; `exists`; `cannot-write`.
    """
    if folder.exists():
        raise ArchiveError("exists", f"{folder} is there already")
    make_private_folder(folder)
    about, count, whole = b"", 0, False
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for number, entry in enumerate(archive):
                if number > MAX_FILES or whole or not entry.isreg():
                    raise _damaged(path)
                given = archive.extractfile(entry)
                if given is None:
                    raise _damaged(path)
                if number == 0:
                    about = _about(path, entry, given)
                elif entry.name == END:
                    whole = given.read(MAX_ABOUT_BYTES) == str(count).encode()
                else:
                    target = _below(path, folder, entry.name)
                    _put_if_below(folder / below, folder, target, given, entry.size)
                    count += 1
    except (tarfile.TarError, EOFError, UnicodeError, ValueError) as error:
        raise _damaged(path) from error
    except OSError as error:
        raise ArchiveError("bad-file", f"{path} cannot be read, or not put back") from error
    if not whole:
        raise _damaged(path)
    return about


def _add(archive: tarfile.TarFile, name: str, where: Path) -> int:
    try:
        with where.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            archive.addfile(_entry(name, size), file)
    except FileNotFoundError:
        return 0
    return 1


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, _PRIVATE
    return entry


def _about(path: Path, entry: tarfile.TarInfo, given: IO[bytes]) -> bytes:
    if entry.name != ABOUT or entry.size > MAX_ABOUT_BYTES:
        raise ArchiveError("backup-damaged", f"{path} is no backup made by this command")
    return given.read(MAX_ABOUT_BYTES)


def _below(path: Path, folder: Path, name: str) -> Path:
    parts = PurePosixPath(name).parts
    if not parts or len(parts) > MAX_DEPTH or {"..", "/", "."} & set(parts) or "\0" in name:
        raise _damaged(path)
    return folder.joinpath(*parts)


def _make_folders(folder: Path, inner: Path) -> None:
    """Make each folder on the way for this user alone, not only the last."""
    if inner != folder and not inner.is_dir():
        _make_folders(folder, inner.parent)
        make_private_folder(inner)


def _put_if_below(wanted: Path, folder: Path, target: Path, given: IO[bytes], size: int) -> None:
    if target.is_relative_to(wanted):
        _make_folders(folder, target.parent)
        _put(target, given, size)


def _put(target: Path, given: IO[bytes], size: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(target, flags, _PRIVATE), "wb") as file:
        written = 0
        while piece := given.read(_PIECE):
            file.write(piece)
            written += len(piece)
        if written != size:
            raise EOFError
        file.flush()
        os.fsync(file.fileno())
    sync_folder(target.parent)


def _damaged(path: Path) -> ArchiveError:
    return ArchiveError("backup-damaged", f"{path} is not whole, or no backup made by this command")

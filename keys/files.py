"""Files that nobody else on the machine may read, and that are never half written."""

import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from keys.errors import KeyFileError

_PRIVATE_FILE: Final = 0o600
_PRIVATE_FOLDER: Final = 0o700
_OTHERS: Final = 0o077
_RANDOM_BYTES: Final = 6
_NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS})
_HALF: Final = re.compile(rf"\.(.+)\.[0-9a-f]{{{2 * _RANDOM_BYTES}}}")


def make_private_folder(folder: Path) -> None:
    """Create `folder` for this user alone, or refuse one that is too open.

    Raises:
        KeyFileError: It cannot be made, is not ours, or others may enter it.
    """
    try:
        folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
    except OSError as error:
        raise KeyFileError("no-folder", f"{folder} cannot be made") from error
    check_private_folder(folder)


def check_private_folder(folder: Path) -> None:
    """Return if `folder` is a folder that only this user may enter.

    Raises:
        KeyFileError: It is not there, not ours, or open to others.
    """
    try:
        status = folder.stat()
    except OSError as error:
        raise KeyFileError("no-folder", f"{folder} cannot be read") from error
    if not stat.S_ISDIR(status.st_mode):
        raise KeyFileError("no-folder", f"{folder} is not a folder")
    _check_owner_and_mode(folder, status, wanted=_PRIVATE_FOLDER)


def read_private(path: Path, *, max_bytes: int) -> bytes:
    """Return the bytes of a file that only this user may read, in such a folder.

    Raises:
        KeyFileError: Missing, a link, not ours, open to others, or too long.
    """
    check_private_folder(path.parent)
    return _read(path, _check_owner_and_mode_of_file, max_bytes)


def read_given(path: Path, *, max_bytes: int) -> bytes:
    """Return the bytes of a file that the superuser made for this process.

    Its group's bits may be the mask of an access list that names this user: so systemd hands
    credentials over, in a folder that nobody else may enter.

    Raises:
        KeyFileError: Missing, a link, another user's, open to all, or too long.
    """
    return _read(path, _check_given, max_bytes)


def _read(path: Path, check: Callable[[Path, os.stat_result], None], max_bytes: int) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise KeyFileError("no-such-file", f"{path} is missing") from error
    except OSError as error:
        raise KeyFileError("unreadable", f"{path} cannot be opened, or is a link") from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError("unreadable", f"{path} is not a file")
        check(path, status)
        with os.fdopen(handle, "rb", closefd=False) as file:
            raw = file.read(max_bytes + 1)
    except OSError as error:
        raise KeyFileError("unreadable", f"{path} cannot be read") from error
    finally:
        os.close(handle)
    if len(raw) > max_bytes:
        raise KeyFileError("too-large", f"{path} has more than {max_bytes} bytes")
    return raw


def write_private(path: Path, raw: bytes, *, erase_old: bool = False) -> None:
    """Write `raw` to `path` so that after a crash it holds either the old bytes or the new.

    Args:
        path: In a private folder.
        raw: The new content.
        erase_old: Overwrite the replaced bytes too. This reaches the disk's old blocks only where
            the filesystem writes in place; docs/key-store.md says what that means.

    Raises:
        KeyFileError: It cannot be written; the old content then stands.
    """
    check_private_folder(path.parent)
    old = _open_to_erase(path) if erase_old else None
    try:
        replace_file(path, raw, mode=_PRIVATE_FILE)
        if old is not None:
            _erase(old)
    except OSError as error:
        raise KeyFileError("cannot-write", f"{path} cannot be written") from error
    finally:
        if old is not None:
            os.close(old)


def replace_file(path: Path, raw: bytes, *, mode: int = 0o644) -> None:
    """Replace `path` by `raw` at once: new file, fsync, rename, fsync of the folder.

    What a killed process left half written of it goes first: see `erase_halves`.

    Raises:
        OSError: Nothing was replaced.
    """
    erase_halves(path)
    with _written_beside(path, raw, mode) as whole:
        whole.rename(path)
    sync_folder(path.parent)


def add_file(path: Path, raw: bytes, *, mode: int = 0o644) -> None:
    """Put `raw` at `path`, where nothing may stand: new file, fsync, link, fsync of the folder.

    Of two who do it at the same time one succeeds; what stands once is never replaced.

    Raises:
        FileExistsError: Something stands at `path`.
        OSError: Nothing was put there.
    """
    with _written_beside(path, raw, mode) as whole:
        os.link(whole, path)
        whole.unlink()
    sync_folder(path.parent)


def give_name(whole: Path, path: Path) -> None:
    """Let the finished file `whole` stand at `path`, where nothing may stand.

    A link takes nobody's place. Where a filesystem has none, as on a stick with FAT, an empty file
    takes the place first: after a kill just then it stands there, and `whole` is still whole.

    Raises:
        FileExistsError: Something stands at `path`.
        OSError: It did not get its name.
    """
    try:
        os.link(whole, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _PRIVATE_FILE))
        try:
            whole.rename(path)
        except OSError:
            path.unlink()
            raise
    else:
        whole.unlink()
    with suppress(PermissionError):  # of a folder that may be written and not read
        sync_folder(path.absolute().parent)


def is_half(name: str) -> bool:
    """Return whether a file of this name is one that was not yet put in its place."""
    return _HALF.fullmatch(name) is not None


def erase_halves(path: Path) -> None:
    """Overwrite and remove what processes that were killed left half written of `path`.

    A whole key store may be in one, with keys that are destroyed by now. What another process
    writes at this moment stays.

    Raises:
        OSError: Some may be left.
    """
    with os.scandir(path.parent) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        half = _HALF.fullmatch(name)
        if half is not None and half[1] == path.name:
            erase_half(path.with_name(name))


@contextmanager
def _written_beside(path: Path, raw: bytes, mode: int) -> Iterator[Path]:
    """Give a file of another name that holds `raw`, on the disk; if the block fails it goes."""
    temporary, handle = _new_half(path, mode)
    try:
        with os.fdopen(handle, "wb") as file:  # locked until it has its name
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
            yield temporary
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _new_half(path: Path, mode: int) -> tuple[Path, int]:
    """Return a new file's name and handle, locked: so others see that it is being written."""
    while True:
        half = path.with_name(f".{path.name}.{secrets.token_hex(_RANDOM_BYTES)}")
        handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if os.fstat(handle).st_nlink:
                return half, handle
        except OSError:
            os.close(handle)
            half.unlink(missing_ok=True)
            raise
        os.close(handle)  # another took it for one that a crash left, just before it was locked


def erase_half(half: Path) -> None:
    """Overwrite and remove one file that was left half written, unless it is being written.

    Raises:
        OSError: It may be left.
    """
    flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        handle = os.open(half, flags)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        half.unlink()
        if not os.fstat(handle).st_nlink:  # first without a name: no file in its place is erased
            _erase(handle)
    except (BlockingIOError, FileNotFoundError):
        return  # it is being written, or got its name meanwhile
    finally:
        os.close(handle)


@contextmanager
def new_private_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file to be written; it stands at `path` once the block ended well, else not at all.

    Raises:
        OSError: It cannot be written; nothing stands at `path` that did not before.
    """
    half = path.with_name(f".{path.name}.part")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(half, flags, _PRIVATE_FILE), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        half.rename(path)
        sync_folder(path.absolute().parent)
    finally:
        half.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make names created, renamed or removed in `folder` survive a power failure."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _check_owner_and_mode(path: Path, status: os.stat_result, *, wanted: int) -> None:
    if status.st_uid != os.geteuid():
        raise KeyFileError("wrong-owner", f"{path} belongs to another user")
    if status.st_mode & _OTHERS:
        raise KeyFileError("too-open", f"others may read {path}: run chmod {wanted:o} on it")


def _check_owner_and_mode_of_file(path: Path, status: os.stat_result) -> None:
    _check_owner_and_mode(path, status, wanted=_PRIVATE_FILE)


def _check_given(path: Path, status: os.stat_result) -> None:
    if status.st_uid not in {0, os.geteuid()}:
        raise KeyFileError("wrong-owner", f"{path} belongs to another user")
    if status.st_mode & stat.S_IRWXO:
        raise KeyFileError("too-open", f"all users may read {path}")


def _open_to_erase(path: Path) -> int | None:
    try:
        return os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeyFileError("cannot-write", f"{path} cannot be erased") from error


def _erase(handle: int) -> None:
    size = os.fstat(handle).st_size
    os.pwrite(handle, bytes(size), 0)
    os.fsync(handle)

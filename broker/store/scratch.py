"""Folders in which a backup is made or put back, for as long as that takes.

Keys and alerts lie in one as they were then. What a killed process left of it would give back what
is destroyed or erased since, so it goes: before the next backup, and when node or hub starts.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from broker.logs import get_logger
from broker.store.errors import StoreError

BACKUP: Final = ".backup-"
RESTORE: Final = ".restore-"
_log = get_logger()


@contextmanager
def scratch_folder(within: Path, prefix: Literal[".backup-", ".restore-"]) -> Iterator[Path]:
    """Give a new folder for this user alone, until the block ends; others go that nobody uses.

    Raises:
        StoreError: `disk-failed`: what was left there cannot be removed.
    """
    with _opened(within) as handle:
        _remove_unused(within, handle)
        fcntl.flock(handle, fcntl.LOCK_SH)  # given back by the kernel, however this process ends
        with tempfile.TemporaryDirectory(
            dir=within, prefix=prefix, ignore_cleanup_errors=True
        ) as scratch:
            yield Path(scratch)


def remove_unused(*folders: Path) -> None:
    """Remove, at a start, what killed backups left in these folders; a fault is logged alone.

    While a backup is made or put back there nothing is removed: it does so itself.
    """
    for within in folders:
        try:
            with _opened(within) as handle:
                _remove_unused(within, handle)
        except StoreError as error:  # a desk may always queue; the next start tries again
            _log.error("leftover-not-removed", error_code=error.code)


@contextmanager
def _opened(within: Path) -> Iterator[int]:
    try:
        handle = os.open(within, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _failed(within) from error
    try:
        yield handle
    finally:
        os.close(handle)


def _remove_unused(within: Path, handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with os.scandir(within) as entries:
            left = [
                Path(entry.path)
                for entry in entries
                if entry.name.startswith((BACKUP, RESTORE)) and entry.is_dir(follow_symlinks=False)
            ]
        for folder in left:
            shutil.rmtree(folder)
            _log.warning("leftover-removed")
    except BlockingIOError:
        return
    except OSError as error:
        raise _failed(within) from error


def _failed(within: Path) -> StoreError:
    text = f"what an interrupted backup left in {within} cannot be removed"
    return StoreError("disk-failed", text, retry="later")

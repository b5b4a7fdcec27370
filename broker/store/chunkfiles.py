"""Sealed chunks of files in a folder: each written once, whole and synced, and never changed.

    <folder>/<shelf>/<file number>-<chunk number>

A shelf is one envelope's, or one file that a desk is handing over. What a process that was killed
left half written begins with a dot, and is removed when the folder is next tidied.
"""

import errno
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from broker.store.database import StoreError
from keys.files import add_file, erase_half, replace_file, sync_folder

_FOLDER_MODE: Final = 0o700
_FILE_MODE: Final = 0o600
_CHUNK: Final = re.compile(r"[0-9]+-[0-9]+")
_MEANWHILE: Final = frozenset({errno.ENOENT, errno.ENOTEMPTY})
_AT_MOST_BUSY: Final = 100  # looks at a shelf on which somebody writes all the time
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True)
class ChunkFiles:
    """A folder of shelves. Every method works on the disk: call it beside the event loop."""

    folder: Path

    def keep(self, shelf: str, number: int, index: int, raw: bytes) -> bool:
        """Keep a chunk, durably; return False if another one stands at its place.

        Of two that come for one place at the same time one is kept, for good.

        Raises:
            StoreError: `disk-full` or `disk-failed`; nothing was kept.
        """
        path = self._path(shelf, number, index)
        try:
            if path.exists():
                return path.read_bytes() == raw
            self._shelf(shelf)
            try:
                add_file(path, raw, mode=_FILE_MODE)
            except FileNotFoundError:  # `tidy` took our half for one that a crash left: once
                self._shelf(shelf)
                add_file(path, raw, mode=_FILE_MODE)
            except FileExistsError:  # it came meanwhile
                return path.read_bytes() == raw
        except OSError as error:
            raise _failed(error) from error
        return True

    def read(self, shelf: str, number: int, index: int) -> bytes | None:
        """Return a chunk, or None if it is not here.

        Raises:
            StoreError: `disk-failed`.
        """
        try:
            return self._path(shelf, number, index).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _failed(error) from error

    def drop(self, shelf: str, number: int, index: int) -> None:
        """Remove one chunk, which turned out to be damaged.

        Raises:
            StoreError: `disk-failed`.
        """
        try:
            self._path(shelf, number, index).unlink(missing_ok=True)
        except OSError as error:
            raise _failed(error) from error

    def first_missing(self, shelf: str, number: int, count: int) -> int:
        """Return the first of `count` chunks that is not here, or `count`."""
        return _first_missing(self._names(shelf), number, count)

    def first_missing_of_each(
        self, shelf: str, counts: Sequence[int], seen: Sequence[int] = ()
    ) -> tuple[int, ...]:
        """Return of each file its first chunk that is not here, or its count.

        Args:
            shelf: Whose chunks nobody removes one by one.
            counts: Of each file.
            seen: What this returned before: it goes on from there. Without it the shelf is listed.

        Raises:
            StoreError: `disk-failed`.
        """
        if not seen:
            here = self._names(shelf)
            return tuple(_first_missing(here, n, count) for n, count in enumerate(counts))
        try:
            return tuple(
                next((i for i in range(at, count) if not self._path(shelf, n, i).exists()), count)
                for n, (at, count) in enumerate(zip(seen, counts, strict=True))
            )
        except OSError as error:
            raise _failed(error) from error

    def counts(self, shelf: str) -> tuple[int, ...]:
        """Return of each file one more than the last chunk that is here; nothing beyond the last.

        Raises:
            StoreError: `disk-failed`.
        """
        places = [name.split("-") for name in self._names(shelf) if _CHUNK.fullmatch(name)]
        found: dict[int, int] = {}
        for number, index in places:
            found[int(number)] = max(found.get(int(number), 0), int(index) + 1)
        return tuple(found.get(number, 0) for number in range(max(found, default=-1) + 1))

    def write_head(self, shelf: str, raw: bytes) -> None:
        """Put down, or replace, what is to be known of a shelf.

        Raises:
            StoreError: `disk-full` or `disk-failed`; what was there stands.
        """
        try:
            self._shelf(shelf)
            replace_file(self.folder / shelf / "head", raw, mode=_FILE_MODE)
        except OSError as error:
            raise _failed(error) from error

    def head(self, shelf: str) -> bytes | None:
        """Return what was put down of a shelf, or None.

        Raises:
            StoreError: `disk-failed`.
        """
        try:
            return (self.folder / shelf / "head").read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _failed(error) from error

    def empty(self, shelf: str, number: int | None = None) -> None:
        """Remove the chunks of one file of a shelf, or of all; its head stays. Safe to repeat.

        Raises:
            StoreError: `disk-failed`: some may be left.
        """
        try:
            for name in self._names(shelf) - {"head"}:
                if number is None or name.startswith(f"{number}-"):
                    (self.folder / shelf / name).unlink(missing_ok=True)
        except OSError as error:
            raise _failed(error) from error

    def remove(self, shelf: str) -> None:
        """Remove a shelf and all on it. Safe to repeat.

        Raises:
            StoreError: `disk-failed`: some of it may be left.
        """
        path, busy = self.folder / shelf, 0
        while path.exists():
            try:
                shutil.rmtree(path)
            except OSError as error:
                # A chunk that is being written comes or goes between a look and the end.
                busy += 1
                if error.errno not in _MEANWHILE or busy == _AT_MOST_BUSY:
                    raise _failed(error) from error

    def shelves(
        self, under: str = "", *, untouched_since: datetime | None = None
    ) -> tuple[str, ...]:
        """Return the names of all shelves, or of those under a name, in order.

        Args:
            under: A name.
            untouched_since: Leave out those on which something was put or removed later.

        Raises:
            StoreError: `disk-failed`.
        """
        until = float("inf") if untouched_since is None else untouched_since.timestamp()
        try:
            with os.scandir(self.folder / under) as entries:
                found = (e for e in entries if e.is_dir() and e.stat().st_mtime < until)
                names = sorted(entry.name for entry in found)
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise _failed(error) from error
        return tuple(f"{under}/{name}" if under else name for name in names)

    def tidy(self, under: str = "") -> None:
        """Remove what was left half written; what is being written stays.

        Raises:
            StoreError: `disk-failed`: some of it may be left.
        """
        for shelf in self.shelves(under):
            halves = [name for name in self._names(shelf) if name.startswith(".")]
            for name in halves:
                try:
                    erase_half(self.folder / shelf / name)
                except OSError as error:
                    raise _failed(error) from error

    def _shelf(self, shelf: str) -> None:
        folder = self.folder / shelf
        if not folder.is_dir():
            folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            sync_folder(folder.parent)

    def _path(self, shelf: str, number: int, index: int) -> Path:
        return self.folder / shelf / _name(number, index)

    def _names(self, shelf: str) -> set[str]:
        try:
            return {entry.name for entry in os.scandir(self.folder / shelf)}
        except (FileNotFoundError, NotADirectoryError):
            return set()
        except OSError as error:
            raise _failed(error) from error


def _name(number: int, index: int) -> str:
    return f"{number}-{index:05d}"


def _first_missing(here: set[str], number: int, count: int) -> int:
    return next((i for i in range(count) if _name(number, i) not in here), count)


def _failed(error: OSError) -> StoreError:
    if error.errno in _FULL:
        return StoreError(
            "disk-full",
            "the disk is full: nothing was kept; make room and try again",
            retry="later",
        )
    return StoreError("disk-failed", "the disk does not take or give it", retry="later")

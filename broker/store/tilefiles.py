"""The log's tiles on the disk: written aside and synced, shown only once they are signed.

    staging/<size>/   what a growth to that size adds, whole and synced, or not there
    tile/...          what is published; no file ever changes
    checkpoint        the note published last
    cosigned          the newest note that a quorum of witnesses cosigned
    checkpoints/N     some older ones, of N leaves, kept for auditors

Source: C2SP tlog-tiles.
"""

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from broker.log.errors import LogError
from broker.log.merkle import leaf_hash, tree_root
from broker.log.tiles import (
    TILE_WIDTH,
    Tile,
    encode_bundle,
    lookup_in,
    parse_bundle,
    parse_hashes,
    tile_root,
)
from broker.store.database import StoreError

CHECKPOINT: Final = "checkpoint"
SEEN: Final = "seen"  # in a member's copy: the note that this member itself cosigned last
COSIGNED: Final = "cosigned"  # the newest note that a quorum of witnesses cosigned
_OLDER: Final = "checkpoints"
_OVER: Final = "checkpoints/over"
NOTES: Final = "notes.json"  # what the sequencer keeps beside a staged growth
_STAGING: Final = "staging"
_UNFINISHED: Final = "unfinished"
_LOCK: Final = ".lock"
_FOLDER_MODE: Final = 0o700
_SYNC_TOGETHER: Final = 16
_MAX_DIGITS: Final = 19  # of a size
_MAX_BYTES: Final = TILE_WIDTH * 65_537


@dataclass(frozen=True)
class TileFiles:
    """A folder of tiles. One sequencer writes it; anybody may read what is published."""

    folder: Path

    def read(self, tile: Tile) -> tuple[bytes, ...]:
        """Return the hashes or the entries of a published tile.

        Raises:
            StoreError: `tile-missing` or `tile-damaged`.
        """
        try:
            with (self.folder / tile.path).open("rb") as file:
                raw = file.read(_MAX_BYTES)
        except OSError as error:
            raise StoreError("tile-missing", f"{tile.path} is not there") from error
        try:
            if tile.level is None:
                return parse_bundle(raw, tile.width)
            return parse_hashes(raw, tile.width)
        except LogError as error:
            raise StoreError("tile-damaged", f"{tile.path}: {error}") from error

    def checkpoint(self) -> bytes | None:
        """Return the note published last, if there is one."""
        try:
            return (self.folder / CHECKPOINT).read_bytes()
        except FileNotFoundError:
            return None

    def raw(self, path: str) -> bytes | None:
        """Return a published file as it is, or None if there is none.

        Args:
            path: Of a tile or of a note; the caller has checked that it is one.
        """
        try:
            with (self.folder / path).open("rb") as file:
                return file.read(_MAX_BYTES)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None

    def oldest_over(self, number: int) -> bytes | None:
        """Return the oldest kept note that a quorum cosigned over leaf `number`, if there is one.

        Args:
            number: Of a leaf, from 0.

        Raises:
            OSError: The folder cannot be read.
        """
        folder = self.folder / _OLDER
        names = (f"{_OLDER}/{each.name}" for each in folder.iterdir()) if folder.is_dir() else ()
        sizes = [size for size in map(older_size, names) if size is not None and size > number]
        return self.raw(older_name(min(sizes)) if sizes else COSIGNED)

    def publish_note(self, name: str, note: bytes) -> None:
        """Show a note under `name`, in place of the one that is there.

        Raises:
            StoreError: `log-disk`.
        """
        target = self.folder / name
        aside = target.with_name(f".{target.name}")
        try:
            _write(aside, note)
            _sync((aside,))
            aside.rename(target)
            _sync((target.parent,))
        except OSError as error:
            raise StoreError("log-disk", f"{self.folder} does not take it: {error}") from error

    def add(self, old_size: int, entries: Sequence[bytes]) -> None:
        """Write what `entries` add to a tree of `old_size` leaves, and sync it.

        For a copy of a log, whose entries were proved before: doing it again changes nothing.

        Raises:
            StoreError: As `stage`.
        """
        files = self._grown(old_size, entries)
        try:
            for path, raw in files.items():
                _write(self.folder / path, raw)
            written = [self.folder / path for path in files]
            folders = {parent for path in written for parent in path.parents}
            _sync((*written, *(f for f in folders if f.is_relative_to(self.folder))))
        except OSError as error:
            raise StoreError("log-disk", f"{self.folder} does not take it: {error}") from error

    def check_edge(self, size: int, root: bytes) -> None:
        """Return if what the next growth is built on is the right edge of the tree under `root`.

        Args:
            size: All of it is published.
            root: Of a checkpoint that was verified.

        Raises:
            StoreError: `tile-missing`, or `tile-damaged`: it is not what was signed.
        """
        if not size:
            return
        try:
            found = tree_root(size, lookup_in(self.read, size))
        except LogError as error:
            raise StoreError("tile-damaged", f"{self.folder}: {error}") from error
        index, width = divmod(size, TILE_WIDTH)
        if found != root or (
            width
            and tuple(map(leaf_hash, self.read(Tile(None, index, width))))
            != self.read(Tile(0, index, width))
        ):
            raise StoreError("tile-damaged", f"{self.folder} does not hold what was signed")

    @contextmanager
    def written(self) -> Iterator[None]:
        """Be the only process that writes here while the block runs.

        Raises:
            StoreError: `fenced`: another one does; `log-disk`.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=_FOLDER_MODE)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            handle = os.open(self.folder / _LOCK, flags, 0o600)
        except OSError as error:
            raise StoreError("log-disk", f"{self.folder} does not take it: {error}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise StoreError("fenced", f"another process writes {self.folder}") from None
        finally:
            os.close(handle)

    def stage(self, old_size: int, entries: Sequence[bytes], notes: bytes) -> None:
        """Write aside what `entries` add to a tree of `old_size` leaves, and sync it.

        Args:
            old_size: All of it is published.
            entries: At most 65,535 bytes each, and one at least.
            notes: Kept beside them, for whoever recovers.

        Raises:
            StoreError: `tile-missing` or `tile-damaged`: what stands there cannot be grown;
                `log-disk`: the disk does not take it, and nothing is staged.
        """
        files = self._grown(old_size, entries)
        unfinished = self.folder / _STAGING / _UNFINISHED
        target = self.staged(old_size + len(entries))
        try:
            shutil.rmtree(unfinished, ignore_errors=True)
            for path, raw in {**files, NOTES: notes}.items():
                _write(unfinished / path, raw)
            _sync((unfinished, *unfinished.rglob("*")))
            shutil.rmtree(target, ignore_errors=True)
            unfinished.rename(target)
            _sync((target.parent,))
        except OSError as error:
            raise StoreError("log-disk", f"{self.folder} does not take it: {error}") from error

    def staged(self, size: int) -> Path:
        """Return the folder in which a growth to `size` lies aside, if one does."""
        return self.folder / _STAGING / str(size)

    def staged_notes(self, size: int) -> bytes | None:
        """Return the notes of a growth to `size`; None if none is staged whole."""
        try:
            return (self.staged(size) / NOTES).read_bytes()
        except FileNotFoundError:
            return None

    def publish(self, size: int, note: bytes) -> None:
        """Show the growth to `size`, then its checkpoint. Doing it again changes nothing.

        Raises:
            StoreError: `log-disk`.
        """
        self.show(size)
        self.publish_note(CHECKPOINT, note)

    def show(self, size: int) -> None:
        """Show the tiles of the growth to `size`, which is signed; its checkpoint may follow later.

        Doing it again changes nothing.

        Raises:
            StoreError: `log-disk`.
        """
        staged = self.staged(size)
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=_FOLDER_MODE)
            touched = {self.folder}
            for source in sorted(staged.rglob("*")) if staged.is_dir() else ():
                if source.is_file() and source.name != NOTES:
                    target = self.folder / source.relative_to(staged)
                    target.parent.mkdir(parents=True, exist_ok=True, mode=_FOLDER_MODE)
                    source.rename(target)
                    touched.update(
                        parent for parent in target.parents if self.folder in parent.parents
                    )
            _sync(touched)
            self.discard_staged()
        except OSError as error:
            raise StoreError("log-disk", f"{self.folder} does not take it: {error}") from error

    def discard_staged(self) -> None:
        """Forget growths that nobody signed."""
        shutil.rmtree(self.folder / _STAGING, ignore_errors=True)

    def _grown(self, old_size: int, entries: Sequence[bytes]) -> Mapping[str, bytes]:
        try:
            files = dict(self._bundles(old_size, entries))
        except LogError as error:
            raise StoreError(error.code, str(error)) from error
        added: list[bytes] = [leaf_hash(entry) for entry in entries]
        level, start = 0, old_size
        while added:
            index, offset = divmod(start, TILE_WIDTH)
            row = [*(self.read(Tile(level, index, offset)) if offset else ()), *added]
            added = []
            for place in range(0, len(row), TILE_WIDTH):
                hashes = row[place : place + TILE_WIDTH]
                tile = Tile(level, index + place // TILE_WIDTH, len(hashes))
                files[tile.path] = b"".join(hashes)
                if len(hashes) == TILE_WIDTH:
                    added.append(tile_root(hashes))
            level, start = level + 1, start // TILE_WIDTH
        return files

    def _bundles(self, old_size: int, entries: Sequence[bytes]) -> Mapping[str, bytes]:
        index, offset = divmod(old_size, TILE_WIDTH)
        row = [*(self.read(Tile(None, index, offset)) if offset else ()), *entries]
        made: dict[str, bytes] = {}
        for place in range(0, len(row), TILE_WIDTH):
            part = row[place : place + TILE_WIDTH]
            made[Tile(None, index + place // TILE_WIDTH, len(part)).path] = encode_bundle(part)
        return made


def older_name(size: int) -> str:
    """Return the name under which the checkpoint of `size` leaves is kept."""
    return f"{_OLDER}/{size}"


def older_size(name: str) -> int | None:
    """Return the size that a name of `older_name` says, or None for any other name."""
    return _number_under(_OLDER, name)


def over_name(number: int) -> str:
    """Return the path by which a member asks for the oldest kept note over leaf `number`."""
    return f"{_OVER}/{number}"


def over_number(path: str) -> int | None:
    """Return the number that a path of `over_name` says, or None for any other path."""
    return _number_under(_OVER, path)


def leaf_hashes(entries: Sequence[bytes]) -> list[bytes]:
    """Return the hashes that the signer is told."""
    return [leaf_hash(entry) for entry in entries]


def _number_under(folder: str, path: str) -> int | None:
    """Return the number that `path` names in `folder`, if that is all of it and its one form."""
    found, _, digits = path.rpartition("/")
    if found != folder or not digits.isascii() or not digits.isdecimal():
        return None
    number = int(digits[:_MAX_DIGITS])
    return number if path == f"{folder}/{number}" else None


def _write(path: Path, raw: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=_FOLDER_MODE)
    path.write_bytes(raw)


def _sync(paths: Iterable[Path]) -> None:
    """Return once files and folders are on the disk; together they cost it one commit, not many.

    Raises:
        OSError: One of them is not.
    """
    with ThreadPoolExecutor(_SYNC_TOGETHER) as pool:
        for _ in pool.map(_sync_one, paths):
            pass


def _sync_one(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

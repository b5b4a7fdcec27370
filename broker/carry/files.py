"""Carried files on the disk: made at once or not at all, and read from a copy that stays the same.

A stick may be pulled out, and whoever holds it may change it while it is read. So a file is copied
into the home folder first, checked there, and used there.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from broker.carry.form import MAX_FILE_BYTES, CarryError, Header, To, Whole, Writer, check_whole
from keys.files import make_private_folder, new_private_file

_PIECE: Final = 1024 * 1024
_PRIVATE: Final = 0o600


@contextmanager
def new_file(path: Path, header: Header) -> Iterator[Writer]:
    """Give what writes the file; it stands at `path` once the block ended well, else not at all.

    Raises:
        CarryError: `exists`, or `cannot-write`.
    """
    if path.exists():
        raise CarryError("exists", f"{path} is there already; choose another name")
    try:
        with new_private_file(path) as file:
            yield Writer(file, header)
    except OSError as error:
        raise CarryError("cannot-write", f"{path} cannot be written") from error


@contextmanager
def opened_copy(
    path: Path, folder: Path, *, member: str, to: To
) -> Iterator[tuple[BinaryIO, Whole]]:
    """Give an open copy of a carried file, whole and for this place; it is gone at the end.

    Args:
        path: Not trusted.
        folder: Where the copy lies meanwhile; made if it is missing.
        member: Whose mail is taken here.
        to: Which way files go that are taken here.

    Raises:
        CarryError: `bad-file`, `too-large`, `carry-no-file`, `carry-damaged`, `carry-wrong-way` or
            `carry-other-member`.
        KeyFileError: The folder is open to others or cannot be made.
    """
    make_private_folder(folder)
    copy = folder / "taking"
    try:
        _copied(path, copy)
        with copy.open("rb") as file:
            whole = check_whole(file)
            _check_for(whole.header, member, to)
            yield file, whole
    finally:
        copy.unlink(missing_ok=True)


def _copied(path: Path, copy: Path) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise CarryError("too-large", f"{path} has more than {MAX_FILE_BYTES} bytes")
        with path.open("rb") as given, os.fdopen(os.open(copy, flags, _PRIVATE), "wb") as file:
            shutil.copyfileobj(given, file, _PIECE)
    except OSError as error:
        raise CarryError("bad-file", f"{path} cannot be read, or not copied") from error


def _check_for(header: Header, member: str, to: To) -> None:
    if header.to is not to:
        raise CarryError(
            "carry-wrong-way",
            "this file goes to the node: take it there"
            if header.to is To.NODE
            else "this file goes to the hub: the ferry takes it",
        )
    if header.member != member:
        raise CarryError("carry-other-member", f"this file is for {header.member}, not {member}")

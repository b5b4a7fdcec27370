"""Where a passphrase comes from: the first line of a private file, or of one that systemd made."""

from pathlib import Path
from typing import Final

from keys.errors import KeyFileError
from keys.files import read_given, read_private

MAX_PASSPHRASE_BYTES: Final = 1024
_MAX_FILE_BYTES: Final = 4 * MAX_PASSPHRASE_BYTES


def read_passphrase(path: Path) -> bytes:
    """Return the first line of the file, without its line end.

    Raises:
        KeyFileError: The file is missing, open to others, or its first line is empty or too long.
    """
    return _first_line(read_private(path, max_bytes=_MAX_FILE_BYTES))


def read_given_passphrase(path: Path) -> bytes:
    """Return the first line of a credential that the service manager made for this process alone.

    Raises:
        KeyFileError: As `read_passphrase`; the file may also be the superuser's.
    """
    return _first_line(read_given(path, max_bytes=_MAX_FILE_BYTES))


def check_passphrase(passphrase: bytes) -> None:
    """Return if a passphrase has between 1 and `MAX_PASSPHRASE_BYTES` bytes.

    Raises:
        KeyFileError: It has not.
    """
    if not 1 <= len(passphrase) <= MAX_PASSPHRASE_BYTES:
        raise KeyFileError("bad-passphrase", "the passphrase is empty or too long")


def _first_line(raw: bytes) -> bytes:
    line = raw.split(b"\n", 1)[0].rstrip(b"\r")
    check_passphrase(line)
    return line

"""Where a passphrase comes from: the first line of a private file."""

from pathlib import Path
from typing import Final

from keys.errors import KeyFileError
from keys.files import read_private

MAX_PASSPHRASE_BYTES: Final = 1024


def read_passphrase(path: Path) -> bytes:
    """Return the first line of the file, without its line end.

    Raises:
        KeyFileError: The file is missing, open to others, or its first line is empty or too long.
    """
    line = read_private(path, max_bytes=4 * MAX_PASSPHRASE_BYTES).split(b"\n", 1)[0].rstrip(b"\r")
    check_passphrase(line)
    return line


def check_passphrase(passphrase: bytes) -> None:
    """Return if a passphrase has between 1 and `MAX_PASSPHRASE_BYTES` bytes.

    Raises:
        KeyFileError: It has not.
    """
    if not 1 <= len(passphrase) <= MAX_PASSPHRASE_BYTES:
        raise KeyFileError("bad-passphrase", "the passphrase is empty or too long")

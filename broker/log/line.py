"""How bytes and numbers stand in a line of the log's text formats. Source: RFC 4648 section 4."""

import re
from base64 import b64decode, b64encode
from typing import Final

from broker.log.errors import LogError

MAX_NUMBER: Final = 2**63 - 1  # what a signed 64-bit counter holds, as in Go's implementations
_BASE64: Final = re.compile(
    r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", re.ASCII
)
_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


def write_base64(raw: bytes) -> str:
    """Return `raw` in Base64 with padding."""
    return b64encode(raw).decode()


def read_base64(text: str, *, code: str) -> bytes:
    """Return what `text` encodes; it must be exactly what `write_base64` would write.

    Raises:
        LogError: `code`: it is not.
    """
    raw = read_loose_base64(text, code=code)
    if write_base64(raw) != text:
        raise LogError(code, "the unused bits of a Base64 text are not zero")
    return raw


def read_loose_base64(text: str, *, code: str) -> bytes:
    """Return what `text` encodes, whatever stands in the bits that padding leaves unused.

    Only for signature lines: Go reads those so, and whether a note is well formed must not depend
    on who reads it. Two texts may thus stand for the same bytes.

    Raises:
        LogError: `code`: not Base64 with padding.
    """
    if not _BASE64.fullmatch(text):
        raise LogError(code, "not Base64 with padding")
    return b64decode(text)


def read_number(text: str, *, code: str) -> int:
    """Return the number that `text` says: ASCII digits, no leading zero, at most 2^63 - 1.

    Raises:
        LogError: `code`: it says none.
    """
    number = int(text) if _DECIMAL.fullmatch(text) else -1
    if not 0 <= number <= MAX_NUMBER:
        raise LogError(code, "not a decimal number up to 2^63 - 1")
    return number

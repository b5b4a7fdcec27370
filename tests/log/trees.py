"""Trees for the log's tests, hashed by the recursive definition alone, so not by what is tested."""

from functools import cache
from hashlib import sha256


def entry(index: int) -> bytes:
    return b"entry %d" % index


@cache
def definition(start: int, end: int) -> bytes:
    """MTH(D[start:end]) as RFC 6962 section 2.1 words it."""
    count = end - start
    if count == 0:
        return sha256(b"").digest()
    if count == 1:
        return sha256(b"\x00" + entry(start)).digest()
    split = 1
    while split * 2 < count:
        split *= 2
    left, right = definition(start, start + split), definition(start + split, end)
    return sha256(b"\x01" + left + right).digest()


def lookup(level: int, index: int) -> bytes:
    return definition(index << level, (index + 1) << level)


def leaves(count: int) -> list[bytes]:
    return [definition(index, index + 1) for index in range(count)]


def flipped(value: bytes, bit: int = 0) -> bytes:
    changed = bytearray(value)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)

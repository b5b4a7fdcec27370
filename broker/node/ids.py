"""New identifiers. Source: RFC 9562 section 5.7 (UUIDv7)."""

from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from keys.primitives.hashing import random_bytes

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def new_id(now: datetime) -> UUID:
    """Return a UUIDv7 whose time is `now` to the millisecond, and else random."""
    milliseconds = round((now - _EPOCH).total_seconds() * 1000)
    random = int.from_bytes(random_bytes(10), "big")
    above, below = random >> 64 & 0xFFF, random & (1 << 62) - 1
    return UUID(int=milliseconds << 80 | 7 << 76 | above << 64 | 2 << 62 | below)


def to_ms(moment: datetime) -> int:
    """Return milliseconds since 1970."""
    return round((moment - _EPOCH).total_seconds() * 1000)


def from_ms(milliseconds: int) -> datetime:
    """Return the time so many milliseconds after 1970."""
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)

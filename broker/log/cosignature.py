r"""What a cosigner signs and how it stands in a note. Source: C2SP tlog-cosignature.

Signature of a note line: u64 time in seconds || Ed25519 (type 0x04) or ML-DSA-44 (0x06) over

    0x04: "cosignature/v1\n" "time <decimal>\n" <the whole text of the checkpoint>
    0x06: "subtree/v1\n\0" || u8 len || cosigner || u64 time || u8 len || origin
          || u64 start || u64 end || root[32]

0x04 does not name the cosigner, so a key has one name. 0x06 does not cover extension lines: we make
none where there are any (`broker.log.notesigner`), and take none of our own log; where others made
one it verifies, and says nothing of those lines, which nobody here reads.
"""

import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from broker.log.checkpoint import Checkpoint
from broker.log.errors import LogError
from broker.log.line import MAX_NUMBER
from broker.log.merkle import EMPTY_ROOT, check_hashes, check_size
from broker.log.note import check_unicode

MAX_NAME_BYTES: Final = 255  # one byte tells the length
_CODE: Final = "bad-cosignature"
_TIME: Final = struct.Struct(">Q")
_LABEL: Final = b"subtree/v1\n\0"


@dataclass(frozen=True)
class Cosignature:
    """A time and a signature that covers it; not verified.

    Attributes:
        time_s: Seconds since 1970. Zero says nothing of when, nor that no larger tree was seen.
        signature: Raw bytes of the algorithm.
    """

    time_s: int
    signature: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse a time that the format cannot carry."""
        check_time(self.time_s)

    def to_body(self) -> bytes:
        """Return what follows the key id in a signature line."""
        return _TIME.pack(self.time_s) + self.signature


def parse_cosignature(body: bytes, *, signature_bytes: int) -> Cosignature:
    """Return the time and the signature in the body of a signature line.

    Raises:
        LogError: `bad-cosignature`: another length, or a time beyond 2^63 - 1.
    """
    if len(body) != _TIME.size + signature_bytes:
        raise LogError(_CODE, "a cosignature of another length")
    (time_s,) = _TIME.unpack_from(body)
    return Cosignature(time_s, body[_TIME.size :])


def ed25519_message(checkpoint: Checkpoint, time_s: int) -> bytes:
    """Return what type 0x04 signs, extension lines included.

    Raises:
        LogError: `bad-cosignature`: a time that the format cannot carry.
    """
    check_time(time_s)
    return f"cosignature/v1\ntime {time_s}\n{checkpoint.to_text()}".encode()


def mldsa_message(cosigner: str, checkpoint: Checkpoint, time_s: int) -> bytes:
    """Return what type 0x06 signs of a checkpoint, which is a subtree that starts at 0.

    Extension lines are no part of it.

    Raises:
        LogError: As `subtree_message`.
    """
    return subtree_message(
        cosigner,
        origin=checkpoint.origin,
        start=0,
        end=checkpoint.size,
        root=checkpoint.root,
        time_s=time_s,
    )


def subtree_message(
    cosigner: str, *, origin: str, start: int, end: int, root: bytes, time_s: int
) -> bytes:
    """Return what type 0x06 signs of the leaves from `start` up to, not including, `end`.

    Raises:
        LogError: `bad-cosignature`, `bad-tree-size` or `bad-hash`: a field is out of its bounds,
            or a time is given for a subtree that is no whole tree.
    """
    check_time(time_s)
    check_size(end)
    check_hashes((root,))
    if not 0 <= start <= end or (start and time_s):
        raise LogError(_CODE, "a subtree that ends before it starts, or one with a time")
    if start == end and root != EMPTY_ROOT:
        raise LogError(_CODE, "no leaves, and another root than that of none")
    return b"".join(
        (_LABEL, _name(cosigner), _TIME.pack(time_s), _name(origin), struct.pack(">QQ", start, end),
         root)
    )  # fmt: skip


def instant_after(time_s: int) -> datetime:
    """Return the first instant that certainly is not before a stated time: it was rounded down.

    A time that no calendar has is the end of all.
    """
    return instant(time_s + 1)


def instant(time_s: int) -> datetime:
    """Return a stated time; one that no calendar has is the end of all.

    A witness states what it likes, up to 2^63 - 1, and whoever only shows it must not fail.
    """
    try:
        return datetime.fromtimestamp(time_s, tz=UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.max.replace(tzinfo=UTC)


def check_time(time_s: int) -> None:
    """Return if a cosignature can carry `time_s`."""
    if not 0 <= time_s <= MAX_NUMBER:
        raise LogError(_CODE, "the time of a cosignature lies between 0 and 2^63 - 1")


def _name(name: str) -> bytes:
    check_unicode(name, code=_CODE)
    raw = name.encode()
    if not 0 < len(raw) <= MAX_NAME_BYTES:
        raise LogError(_CODE, f"a name has from 1 to {MAX_NAME_BYTES} bytes here")
    return bytes((len(raw),)) + raw

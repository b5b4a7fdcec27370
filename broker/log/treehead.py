"""The signature type of Certificate Transparency logs, to read theirs. Source: C2SP static-ct-api.

Signature of a note line, type 0x05: u64 time in milliseconds || 04 03 || u16 len || ECDSA (DER)
over 00 01 || u64 time || u64 size || root (RFC 6962 section 3.5). It names no log.
"""

import struct
from dataclasses import dataclass, field
from typing import Final

from broker.log.checkpoint import Checkpoint
from broker.log.errors import LogError
from broker.log.line import MAX_NUMBER

_HEAD: Final = struct.Struct(">Q2sH")
_SHA256_ECDSA: Final = b"\x04\x03"
_V1_TREE_HEAD: Final = b"\x00\x01"


@dataclass(frozen=True)
class TreeHeadSignature:
    """A time and a signature that covers it; not verified."""

    time_ms: int
    signature: bytes = field(repr=False)


def parse_tree_head_signature(body: bytes) -> TreeHeadSignature:
    """Return the time and the signature in the body of a signature line.

    Raises:
        LogError: `bad-cosignature`: another algorithm, or not such a structure.
    """
    if len(body) < _HEAD.size:
        raise LogError("bad-cosignature", "no tree head signature")
    time_ms, algorithm, length = _HEAD.unpack_from(body)
    signature = body[_HEAD.size :]
    if algorithm != _SHA256_ECDSA or length != len(signature) or time_ms > MAX_NUMBER:
        raise LogError("bad-cosignature", "no tree head signature with ECDSA and SHA-256")
    return TreeHeadSignature(time_ms, signature)


def tree_head_message(name: str, checkpoint: Checkpoint, time_ms: int) -> bytes:
    """Return what type 0x05 signs.

    Raises:
        LogError: `bad-cosignature`: another log's name, or extension lines; it would cover neither.
    """
    if name != checkpoint.origin or checkpoint.extensions:
        raise LogError("bad-cosignature", "another log, or extension lines, which are not covered")
    return _V1_TREE_HEAD + struct.pack(">QQ", time_ms, checkpoint.size) + checkpoint.root

r"""What gateways and the log say of themselves, in leaves of kind GATEWAY and STREAM.

The `c_body` of such a leaf is SHA-256 of one of a few known texts, so that everybody who reads the
log can tell them apart; none of them names a member.

    "kentong/gateway/1\0started"            a run of a worker began; its number is 0
    "kentong/gateway/1\0stopped"            it ended by itself; its number is the last
    "kentong/gateway/1\0opened\0" || stream  this stream of decisions is in use from now on
    "kentong/resume/1\0" || what            an operator let the log go on: `kentong log resume`
"""

from typing import Final

from broker.log.leaf import STREAM_BYTES
from keys.primitives.hashing import sha256

_GATEWAY: Final = b"kentong/gateway/1\0"
_RESUME: Final = b"kentong/resume/1\0"
STARTED: Final = sha256(_GATEWAY, b"started")
STOPPED: Final = sha256(_GATEWAY, b"stopped")
RESUMED_WITHOUT_WITNESSES: Final = sha256(_RESUME, b"without-witnesses")


def opened(stream: bytes) -> bytes:
    """Return what the announcement of a stream says.

    Args:
        stream: As `stream_id`.
    """
    return sha256(_GATEWAY, b"opened\0", stream)


def resumed_after_reset(stream: bytes, next_seq: int) -> bytes:
    """Return what the log says when an operator let it read a stream anew.

    Args:
        stream: As `stream_id`: the one that was read until then.
        next_seq: How far.
    """
    return sha256(_RESUME, b"stream-reset\0", stream, next_seq.to_bytes(8))


def stream_id(name: str, created: str) -> bytes:
    """Return the 16 bytes by which leaves name a stream: its name and when it was made."""
    return sha256(name.encode(), b"\0", created.encode())[:STREAM_BYTES]

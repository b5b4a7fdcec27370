r"""What the log puts back into a stream of decisions that was lost: which ids are decided.

    [1, "decided", signature]           over "kentong/rebuilt/1\0" || "decided\0" || subject
    [1, "ready", stream id, signature]  over "kentong/rebuilt/1\0" || "ready\0" || stream id

The first stands on the subject of a decision that was read before the loss and whose record is
gone. The second says that every such subject is taken again; until then no gateway judges. Both are
signed by the sequencer's key, and neither becomes a leaf: the reset itself is one.
"""

from typing import Final

from broker.log.errors import LogError
from keys.errors import SignatureError
from keys.primitives.signing import SignKey, VerifyKey
from schemas import canonical
from schemas.errors import SchemaError

MAX_BYTES: Final = 256
_VERSION: Final = 1
_CONTEXT: Final = b"kentong/rebuilt/1\0"
_DECIDED: Final = "decided"
_READY: Final = "ready"


def decided_before(subject: str, key: SignKey) -> bytes:
    """Return what stands on `subject` in place of the record that was lost."""
    return canonical.encode([_VERSION, _DECIDED, key.sign(_decided(subject))])


def ready(stream: bytes, key: SignKey) -> bytes:
    """Return the mark that everything which was lost out of `stream` is taken again."""
    return canonical.encode([_VERSION, _READY, stream, key.sign(_ready(stream))])


def is_rebuilt(raw: bytes) -> bool:
    """Return whether a message of AUDIT is of these forms; not verified."""
    match _decoded(raw):
        case [_, str(what), *_]:
            return what in {_DECIDED, _READY}
        case _:
            return False


def check_rebuilt(raw: bytes, subject: str, key: VerifyKey) -> None:
    """Return if the log put `raw` on `subject`.

    Raises:
        LogError: `bad-rebuilt`.
    """
    match _decoded(raw):
        case [int(version), str(what), bytes(signature)] if (version, what) == (_VERSION, _DECIDED):
            _verify(key, signature, _decided(subject))
        case [int(version), str(what), bytes(stream), bytes(signature)] if (version, what) == (
            _VERSION,
            _READY,
        ):
            _verify(key, signature, _ready(stream))
        case _:
            raise LogError("bad-rebuilt", "not what the log puts back")


def check_ready(raw: bytes, stream: bytes, key: VerifyKey) -> None:
    """Return if `raw` says that `stream`, and no other, is ready.

    Raises:
        LogError: `bad-rebuilt`.
    """
    match _decoded(raw):
        case [int(version), str(what), bytes(named), bytes(signature)] if (version, what) == (
            _VERSION,
            _READY,
        ) and named == stream:
            _verify(key, signature, _ready(stream))
        case _:
            raise LogError("bad-rebuilt", "not the mark of this stream")


def _decided(subject: str) -> bytes:
    return _CONTEXT + _DECIDED.encode() + b"\0" + subject.encode()


def _ready(stream: bytes) -> bytes:
    return _CONTEXT + _READY.encode() + b"\0" + stream


def _verify(key: VerifyKey, signature: bytes, message: bytes) -> None:
    try:
        key.verify(signature, message)
    except SignatureError:
        raise LogError("bad-rebuilt", "the log did not sign it") from None


def _decoded(raw: bytes) -> object:
    if len(raw) > MAX_BYTES:
        return None
    try:
        found = canonical.decode(raw, max_bytes=MAX_BYTES)
    except SchemaError:
        return None
    match found:
        case [bool(), *_]:  # True is 1, but it is not how 1 is written
            return None
        case _:
            return found

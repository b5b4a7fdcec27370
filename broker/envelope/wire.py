"""The outer frame of both forms, read and written without copying the ciphertext twice.

Re-encoding half a megabyte to see that it was canonical costs three times the hash of it. A list
encodes as its header and then its items, so it is enough to re-encode what stands before and
after the ciphertext: if the bytes begin with the first, end with the second and have the right
length, what lies between is the ciphertext and nothing else.
"""

from typing import Final

from broker.envelope.errors import EnvelopeError
from schemas import canonical
from schemas.errors import CanonicalError

WIRE_VERSION: Final = 1
MAX_ENVELOPE_BYTES: Final = 512 * 1024  # half of the hub's max_payload, so that headers fit
_MAX_FIELDS: Final = 15  # of a list with a one-byte header


def join(head: list[canonical.Value], ciphertext: bytes, signed: list[canonical.Value]) -> bytes:
    """Return the canonical encoding of `[*head, ciphertext, signed]`."""
    before, after = _around(head, len(ciphertext), signed)
    return b"".join((before, ciphertext, after))


def split(raw: bytes) -> tuple[list[canonical.Value], bytes, list[canonical.Value]]:
    """Return head, ciphertext and signature field of an envelope of either form.

    Args:
        raw: Not yet trusted; nothing in the result is authenticated.

    Raises:
        EnvelopeError: too-large, not-canonical, unknown-wire-version or bad-envelope.
    """
    if len(raw) > MAX_ENVELOPE_BYTES:
        raise EnvelopeError(
            "too-large", f"{len(raw)} bytes; an envelope has at most {MAX_ENVELOPE_BYTES}"
        )
    try:
        value = canonical.unpack(raw)
    except CanonicalError as error:
        raise EnvelopeError("not-canonical", str(error)) from error
    match value:
        case [version, *_] if type(version) is not int or version != WIRE_VERSION:
            raise EnvelopeError("unknown-wire-version", "the wire version is not known")
        case [*head, bytes(ciphertext), list(signed)] if 0 < len(head) <= _MAX_FIELDS - 2:
            _check_canonical(raw, head, ciphertext, signed)
            return head, ciphertext, signed
        case _:
            raise EnvelopeError("bad-envelope", "not an envelope of a form this software reads")


def _check_canonical(
    raw: bytes,
    head: list[canonical.Value],
    ciphertext: bytes,
    signed: list[canonical.Value],
) -> None:
    before, after = _around(head, len(ciphertext), signed)
    whole = len(before) + len(ciphertext) + len(after) == len(raw)
    if not (whole and raw.startswith(before) and raw.endswith(after)):
        raise EnvelopeError("not-canonical", "the bytes are not the canonical encoding")


def _around(
    head: list[canonical.Value], size: int, signed: list[canonical.Value]
) -> tuple[bytes, bytes]:
    """Return the encoding before and after a ciphertext of `size` bytes."""
    items = canonical.pack(head)[1:]  # without its own one-byte list header
    before = bytes([0x90 | len(head) + 2]) + items + _bin_header(size)
    return before, canonical.pack(signed)


def _bin_header(size: int) -> bytes:
    """Return the shortest MessagePack header of `size` raw bytes."""
    if size < 1 << 8:
        return b"\xc4" + size.to_bytes(1, "big")
    if size < 1 << 16:
        return b"\xc5" + size.to_bytes(2, "big")
    return b"\xc6" + size.to_bytes(4, "big")

"""Compression and Padmé padding of the content. Sources: RFC 1950; Padmé (PURBs, PETS 2019).

    padded = u32 length of the zlib stream || zlib stream || zeros, up to the Padmé length

The length of a ciphertext then tells about log log of the true length, at a cost of 12 % at most.
"""

import zlib
from typing import Final

from broker.envelope.errors import EnvelopeError

MAX_CONTENT_BYTES: Final = 4 * 1024 * 1024  # before compression
MAX_RATIO: Final = 100  # content bytes for each compressed byte
MAX_PADDED_BYTES: Final = 480 * 1024  # leaves 32 KiB for label, slots and stanzas
MIN_PADDED_BYTES: Final = 512  # short messages, controls above all, look alike
_LENGTH_BYTES: Final = 4
_LEVEL: Final = 6


def padme(length: int) -> int:
    """Return the Padmé length for `length` bytes, never below `MIN_PADDED_BYTES`."""
    length = max(length, MIN_PADDED_BYTES)
    exponent = length.bit_length() - 1
    mask = (1 << exponent - exponent.bit_length()) - 1
    return length + mask & ~mask


def pack(content: bytes) -> bytes:
    """Return `content`, compressed and padded.

    Raises:
        EnvelopeError: content-too-large, naming the sizes.
    """
    if len(content) > MAX_CONTENT_BYTES:
        raise EnvelopeError(
            "content-too-large",
            f"the content has {len(content)} bytes, at most {MAX_CONTENT_BYTES} can be carried",
        )
    stream = _compress(content)
    padded_bytes = padme(_LENGTH_BYTES + len(stream))
    if padded_bytes > MAX_PADDED_BYTES:
        raise EnvelopeError(
            "content-too-large",
            f"the content takes {padded_bytes} bytes compressed and padded,"
            f" at most {MAX_PADDED_BYTES} can be sealed",
        )
    return b"".join((len(stream).to_bytes(_LENGTH_BYTES, "big"), stream)).ljust(padded_bytes, b"\0")


def unpack(padded: bytes) -> bytes:
    """Return the content inside `padded`, which is authentic but may be hostile.

    Raises:
        EnvelopeError: bad-padding, bad-compression, too-compressed or content-too-large.
    """
    size = int.from_bytes(padded[:_LENGTH_BYTES], "big")
    end = _LENGTH_BYTES + size
    if len(padded) < end or len(padded) != padme(end) or padded.count(0, end) != len(padded) - end:
        raise EnvelopeError("bad-padding", "the content is not padded as it must be")
    limit = min(MAX_CONTENT_BYTES, MAX_RATIO * size)
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(padded[_LENGTH_BYTES:end], limit + 1)
    except zlib.error as error:
        raise EnvelopeError("bad-compression", "the content does not decompress") from error
    if len(content) > limit:
        if limit == MAX_CONTENT_BYTES:
            raise EnvelopeError("content-too-large", f"the content has more than {limit} bytes")
        raise EnvelopeError("too-compressed", f"the content is compressed beyond {MAX_RATIO}:1")
    if not stream.eof or stream.unused_data:
        raise EnvelopeError("bad-compression", "the content is not one whole zlib stream")
    return content


def _compress(content: bytes) -> bytes:
    stream = zlib.compress(content, _LEVEL)
    if len(content) <= MAX_RATIO * len(stream):
        return stream
    dense = zlib.compressobj(_LEVEL, strategy=zlib.Z_HUFFMAN_ONLY)  # at most 8:1, so never refused
    return dense.compress(content) + dense.flush()

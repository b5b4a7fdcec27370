"""Chunks of an attached file: sealed one by one, in an order and number that cannot be changed.

Source: schemas/SPEC.md, section on attachments; the STREAM construction of Hoang, Reyhanitabar,
Rogaway and Vizar (CRYPTO 2015). Each file has its own key, derived from the envelope's content key,
so a chunk opens in its envelope, in its file and at its place, or not at all; the last one is
sealed as the last, so an end that was cut off is seen.
"""

from typing import Final

from broker.envelope.errors import EnvelopeError
from keys.errors import DecryptionError
from keys.primitives.hashing import hmac_sha256
from keys.primitives.symmetric import TAG_BYTES, gcm_open, gcm_seal
from schemas.attachment import CHUNK_BYTES, Manifest

ATTACHMENTS_CONTEXT: Final = b"kentong/attachments/1"
FILE_CONTEXT: Final = b"kentong/attachment/1\0"
CHUNK_CONTEXT: Final = b"kentong/chunk/1\0"
SEALED_CHUNK_BYTES: Final = CHUNK_BYTES + TAG_BYTES
_ZEROS: Final = bytes(7)


def attachments_key(content_key: bytes) -> bytes:
    """Return what the keys of an envelope's files are derived from, and the content key cannot be.

    A node keeps this one as long as it sends or fetches; the content key is gone by then.
    """
    return hmac_sha256(content_key, ATTACHMENTS_CONTEXT)


def file_key(attachments: bytes, number: int) -> bytes:
    """Return the key of file `number`, counted from 0 in the order of the manifests."""
    return hmac_sha256(attachments, FILE_CONTEXT + number.to_bytes(1))


def seal_chunk(key: bytes, manifest: Manifest, number: int, index: int, plaintext: bytes) -> bytes:
    """Return chunk `index` of file `number` sealed, always of one length.

    The nonce follows from the place. So under one key a place must never be sealed with other
    bytes: the caller takes them from a file whose SHA-256 it has compared with the manifest.

    Raises:
        ValueError: There is no such chunk, or it has another length.
    """
    if not 0 <= index < manifest.chunks or len(plaintext) != chunk_length(manifest, index):
        raise ValueError("not a chunk of this file")
    filled = plaintext.ljust(CHUNK_BYTES, b"\0")
    return gcm_seal(key, filled, aad=_aad(manifest, number, index), nonce=_nonce(manifest, index))


def open_chunk(key: bytes, manifest: Manifest, number: int, index: int, sealed: bytes) -> bytes:
    """Return what chunk `index` of file `number` holds.

    Args:
        key: Of this file.
        manifest: Under the officer's signature.
        number: Of the file.
        index: Of the chunk, counted from 0.
        sealed: Not trusted.

    Raises:
        EnvelopeError: `bad-chunk`: damaged, cut, of another place, another file or envelope.
    """
    if len(sealed) != SEALED_CHUNK_BYTES or not 0 <= index < manifest.chunks:
        raise EnvelopeError("bad-chunk", "a chunk has another length, or no place in its file")
    try:
        filled = gcm_open(
            key, sealed, aad=_aad(manifest, number, index), nonce=_nonce(manifest, index)
        )
    except DecryptionError as error:
        raise EnvelopeError("bad-chunk", "a chunk does not open at its place") from error
    length = chunk_length(manifest, index)
    if filled.count(0, length) != CHUNK_BYTES - length:
        raise EnvelopeError("bad-chunk", "the last chunk is not filled up with zeros")
    return filled[:length]


def chunk_length(manifest: Manifest, index: int) -> int:
    """Return how many bytes of the file chunk `index` holds."""
    return min(CHUNK_BYTES, manifest.size - index * CHUNK_BYTES)


def _nonce(manifest: Manifest, index: int) -> bytes:
    last = index == manifest.chunks - 1
    return _ZEROS + index.to_bytes(4) + bytes([last])


def _aad(manifest: Manifest, number: int, index: int) -> bytes:
    return b"".join(
        (
            CHUNK_CONTEXT,
            number.to_bytes(1),
            index.to_bytes(4),
            manifest.chunks.to_bytes(4),
            manifest.size.to_bytes(8),
            manifest.sha256,
        )
    )

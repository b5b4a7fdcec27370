"""What an alert says of each file attached to it. Source: schemas/SPEC.md, section on attachments.

The file itself travels beside the envelope, in sealed chunks of one size; its manifest stands in
the sealed content, where the officer's signature covers it. Nothing here is authenticated by being
parsed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from schemas import canonical
from schemas.errors import SchemaError

CHUNK_BYTES: Final = 256 * 1024  # with its tag and frame, half of what an answer of the hub holds
MAX_ATTACHMENT_BYTES: Final = 1024 * 1024 * 1024
MAX_ATTACHMENTS: Final = 8  # of one alert
MAX_MANIFESTS_BYTES: Final = 8 * 1024
MAX_NAME_BYTES: Final = 255  # what file systems take
MEDIA_TYPE: Final = r"^[a-z0-9.+-]{1,64}/[a-zA-Z0-9.+-]{1,64}$"
_NAME: Final = re.compile(  # no path, no control character, nothing that turns the direction
    r"[^/\\\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]{1,255}"
)
_HASH_BYTES: Final = 32


@dataclass(frozen=True)
class Manifest:
    """One attached file.

    Attributes:
        name: A file's name, never a path.
        media_type: As the sender states it; nobody has looked.
        size: Bytes of the file.
        sha256: Of the whole file.
    """

    name: str
    media_type: str
    size: int
    sha256: bytes

    @property
    def chunks(self) -> int:
        """How many chunks carry it; the last is filled up with zeros."""
        return chunks_of(self.size)


def chunks_of(size: int) -> int:
    """Return how many chunks carry `size` bytes."""
    return -(-size // CHUNK_BYTES)


def check_name(name: str) -> str:
    """Return `name` if it can be a file's name on any machine.

    Raises:
        ValueError: It is a path, too long, or holds what a screen would not show.
    """
    fits = _NAME.fullmatch(name) and len(name.encode("utf-8", "replace")) <= MAX_NAME_BYTES
    if not fits or name in {".", ".."} or name.strip() != name:
        raise ValueError("a file's name is at most 255 bytes, no path and no control characters")
    return name


def encode_manifests(manifests: Sequence[Manifest]) -> bytes:
    """Return the canonical encoding of the list, which the officer signs."""
    return canonical.encode(to_wire(manifests))


def decode_manifests(raw: bytes) -> tuple[Manifest, ...]:
    """Return the manifests that `raw` encodes.

    Raises:
        SchemaError: Not a list of manifests of this version.
    """
    value = canonical.decode(raw, max_bytes=MAX_MANIFESTS_BYTES)
    if not isinstance(value, list):
        raise _bad("a list of manifests is expected")
    return from_wire(value)


def to_wire(manifests: Sequence[Manifest]) -> list[canonical.Value]:
    """Return the manifests as they stand in the content."""
    return [
        {
            "name": each.name,
            "media_type": each.media_type,
            "bytes": each.size,
            "chunk_bytes": CHUNK_BYTES,
            "chunks": each.chunks,
            "sha256": each.sha256,
        }
        for each in manifests
    ]


def from_wire(items: Sequence[canonical.Value]) -> tuple[Manifest, ...]:
    """Return what stands in the content as manifests.

    Raises:
        SchemaError: Too many, or one that is not of this version.
    """
    if len(items) > MAX_ATTACHMENTS:
        raise _bad(f"at most {MAX_ATTACHMENTS} files are attached")
    return tuple(_manifest(item) for item in items)


def _manifest(item: canonical.Value) -> Manifest:
    match item:
        case {
            "name": str(name),
            "media_type": str(media_type),
            "bytes": int(size),
            "chunk_bytes": int(chunk_bytes),
            "chunks": int(chunks),
            "sha256": bytes(digest),
            **rest,
        } if (
            not rest
            and not any(isinstance(value, bool) for value in (size, chunk_bytes, chunks))
            and 1 <= size <= MAX_ATTACHMENT_BYTES
            and chunk_bytes == CHUNK_BYTES
            and chunks == chunks_of(size)
            and len(digest) == _HASH_BYTES
            and re.fullmatch(MEDIA_TYPE, media_type)
        ):
            try:
                return Manifest(check_name(name), media_type, size, digest)
            except ValueError as error:
                raise _bad(str(error)) from None
        case _:
            raise _bad("not a manifest of a known form")


def _bad(text: str) -> SchemaError:
    return SchemaError("bad-manifest", text, field="attachments")

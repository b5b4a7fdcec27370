"""Chunks of a file: each opens at its own place and nowhere else."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.envelope.chunks import (
    SEALED_CHUNK_BYTES,
    attachments_key,
    chunk_length,
    file_key,
    open_chunk,
    seal_chunk,
)
from broker.envelope.errors import EnvelopeError
from keys.primitives.hashing import hmac_sha256, random_bytes, sha256
from keys.primitives.symmetric import gcm_seal
from schemas.attachment import CHUNK_BYTES, Manifest, decode_manifests
from tests.envelope import make_vectors

CONTENT = random_bytes(3 * CHUNK_BYTES - 1000)
MANIFEST = Manifest("film.bin", "video/mp4", len(CONTENT), sha256(CONTENT))
KEY = file_key(attachments_key(bytes(32)), 0)


def part(index: int) -> bytes:
    return CONTENT[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES]


SEALED = [seal_chunk(KEY, MANIFEST, 0, index, part(index)) for index in range(3)]


def test_a_file_comes_back_chunk_by_chunk() -> None:
    assert {len(each) for each in SEALED} == {SEALED_CHUNK_BYTES}  # its length shows nowhere
    opened = [open_chunk(KEY, MANIFEST, 0, index, raw) for index, raw in enumerate(SEALED)]
    assert b"".join(opened) == CONTENT


def _with(size: int | None = None, sha: bytes | None = None) -> Manifest:
    size = MANIFEST.size if size is None else size
    return Manifest(MANIFEST.name, MANIFEST.media_type, size, sha or MANIFEST.sha256)


OTHER_ENVELOPE = file_key(attachments_key(bytes([1]) * 32), 0)
WRONG: dict[str, Callable[[], bytes]] = {
    "swapped": lambda: open_chunk(KEY, MANIFEST, 0, 0, SEALED[1]),
    "repeated": lambda: open_chunk(KEY, MANIFEST, 0, 1, SEALED[0]),
    "the last one earlier": lambda: open_chunk(KEY, MANIFEST, 0, 1, SEALED[2]),
    "cut by a byte": lambda: open_chunk(KEY, MANIFEST, 0, 0, SEALED[0][:-1]),
    "empty": lambda: open_chunk(KEY, MANIFEST, 0, 0, b""),
    "longer": lambda: open_chunk(KEY, MANIFEST, 0, 0, SEALED[0] + b"\0"),
    "beyond the end": lambda: open_chunk(KEY, MANIFEST, 0, 3, SEALED[2]),
    "before the start": lambda: open_chunk(KEY, MANIFEST, 0, -1, SEALED[0]),
    "the end dropped": lambda: open_chunk(KEY, _with(2 * CHUNK_BYTES), 0, 1, SEALED[1]),
    "another length": lambda: open_chunk(KEY, _with(MANIFEST.size - 1), 0, 2, SEALED[2]),
    "another whole": lambda: open_chunk(KEY, _with(sha=bytes(32)), 0, 0, SEALED[0]),
    "another file": lambda: open_chunk(KEY, MANIFEST, 1, 0, SEALED[0]),
    "another file's key": lambda: open_chunk(
        file_key(attachments_key(bytes(32)), 1), MANIFEST, 0, 0, SEALED[0]
    ),
    "another envelope": lambda: open_chunk(OTHER_ENVELOPE, MANIFEST, 0, 0, SEALED[0]),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_chunk_out_of_its_place_is_refused(name: str) -> None:
    with pytest.raises(EnvelopeError) as caught:
        WRONG[name]()
    assert caught.value.code == "bad-chunk"


@settings(max_examples=60, deadline=None)
@given(bit=st.integers(0, SEALED_CHUNK_BYTES * 8 - 1))
def test_no_flipped_bit_survives(bit: int) -> None:
    flipped = bytearray(SEALED[0])
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(EnvelopeError):
        open_chunk(KEY, MANIFEST, 0, 0, bytes(flipped))


def test_what_fills_the_last_chunk_is_zeros_alone() -> None:
    """A sender cannot hide bytes behind the end that the officer signed."""
    longer = _with(3 * CHUNK_BYTES)
    hidden = part(2).ljust(CHUNK_BYTES, b"x")
    forged = seal_chunk(KEY, longer, 0, 2, hidden)
    with pytest.raises(EnvelopeError):
        open_chunk(KEY, MANIFEST, 0, 2, forged)


@given(size=st.integers(1, 5 * CHUNK_BYTES))
def test_the_chunks_make_up_the_whole(size: int) -> None:
    manifest = _with(size)
    lengths = [chunk_length(manifest, index) for index in range(manifest.chunks)]
    assert sum(lengths) == size
    assert all(length == CHUNK_BYTES for length in lengths[:-1])


def test_only_chunks_of_the_file_are_sealed() -> None:
    for index, raw in ((3, b""), (0, b"short"), (-1, part(0))):
        with pytest.raises(ValueError, match="not a chunk"):
            seal_chunk(KEY, MANIFEST, 0, index, raw)


KEPT = json.loads(make_vectors.CHUNKS.read_text())


def test_the_kept_vectors_are_what_is_sealed() -> None:
    assert make_vectors.chunk_vectors() == KEPT


def test_a_kept_file_opens_from_the_vectors_alone() -> None:
    """As another implementation reads them: AES-256-GCM under what stands in the file."""
    for number, file in enumerate(KEPT["files"]):
        plain = make_vectors.plaintext(file["bytes"])
        assert sha256(plain).hex() == file["sha256"]
        for index, chunk in enumerate(file["chunks"]):
            filled = plain[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES].ljust(
                CHUNK_BYTES, b"\0"
            )
            raw = gcm_seal(
                bytes.fromhex(file["key"]),
                filled,
                aad=bytes.fromhex(chunk["aad"]),
                nonce=bytes.fromhex(chunk["nonce"]),
            )
            assert raw == make_vectors.sealed(number, index)
            assert (raw[-16:].hex(), sha256(raw).hex()) == (chunk["tag"], chunk["sha256"])


@pytest.mark.parametrize("vector", KEPT["wrong"], ids=lambda vector: vector["name"])
def test_each_kept_way_of_being_wrong_is_refused(vector: dict[str, Any]) -> None:
    number, index = vector["asked"]
    raw = make_vectors.sealed(*vector["given"])
    manifest = decode_manifests(bytes.fromhex(KEPT["manifests"]))[number]
    key = bytes.fromhex(KEPT["files"][number]["key"])
    match vector["change"]:
        case "cut":
            raw = raw[:-1]
        case "longer":
            raw += b"\0"
        case "flip":
            raw = bytes([raw[0] ^ 1]) + raw[1:]
        case "key":
            key = file_key(attachments_key(bytes(32)), number)
        case "size":
            manifest = replace(manifest, size=manifest.size + 1)
        case "hash":
            manifest = replace(manifest, sha256=bytes(32))
        case _:
            assert vector["asked"] != vector["given"]
    with pytest.raises(EnvelopeError) as caught:
        open_chunk(key, manifest, number, index, raw)
    assert caught.value.code == vector["code"]


def test_the_content_key_does_not_follow_from_what_is_kept() -> None:
    """The three names under which the content key is used give unrelated keys."""
    key = bytes(32)
    derived = {
        attachments_key(key),
        file_key(attachments_key(key), 0),
        file_key(attachments_key(key), 1),
        hmac_sha256(key, b"kentong/commit/1"),
        key,
    }
    assert len(derived) == 5

"""Manifests: one form, bounded, and names that no screen or disk is fooled by."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas import canonical
from schemas.attachment import (
    CHUNK_BYTES,
    MAX_ATTACHMENT_BYTES,
    MAX_ATTACHMENTS,
    Manifest,
    decode_manifests,
    encode_manifests,
)
from schemas.content import Content, parse_content
from schemas.desk import AttachmentRequest
from schemas.errors import SchemaError

ONE = Manifest("film.mp4", "video/mp4", CHUNK_BYTES + 1, bytes(32))
WIRE: dict[str, Any] = {
    "name": "film.mp4",
    "media_type": "video/mp4",
    "bytes": CHUNK_BYTES + 1,
    "chunk_bytes": CHUNK_BYTES,
    "chunks": 2,
    "sha256": bytes(32),
}


def test_manifests_come_back_from_their_bytes_and_from_content() -> None:
    two = (ONE, Manifest("báo cáo.pdf", "application/pdf", MAX_ATTACHMENT_BYTES, bytes(32)))
    raw = encode_manifests(two)
    assert decode_manifests(raw) == two
    assert encode_manifests(decode_manifests(raw)) == raw
    content = Content(b"", manifests=two)
    assert parse_content(content.to_bytes()) == content
    assert content.manifests_bytes == raw


def test_no_attachment_is_the_empty_list_of_before() -> None:
    assert encode_manifests([]) == canonical.encode([])


WRONG: dict[str, Any] = {
    "no map": 1,
    "a field too many": {**WIRE, "more": 1},
    "a field too few": {key: WIRE[key] for key in WIRE if key != "sha256"},
    "nothing in it": {**WIRE, "bytes": 0, "chunks": 0},
    "too large": {**WIRE, "bytes": MAX_ATTACHMENT_BYTES + 1, "chunks": 4097},
    "a chunk fewer": {**WIRE, "chunks": 1},
    "a chunk more": {**WIRE, "chunks": 3},
    "another chunk size": {**WIRE, "chunk_bytes": 1024, "chunks": 257},
    "a length that is no number": {**WIRE, "bytes": True},
    "a short hash": {**WIRE, "sha256": bytes(31)},
    "a strange media type": {**WIRE, "media_type": "video/mp4\r\nx: y"},
    "a path": {**WIRE, "name": "../../etc/passwd"},
}


@pytest.mark.parametrize("name", WRONG)
def test_another_form_is_refused(name: str) -> None:
    with pytest.raises(SchemaError) as caught:
        decode_manifests(canonical.encode([WRONG[name]]))
    assert caught.value.code == "bad-manifest"


def test_too_many_are_refused() -> None:
    assert len(decode_manifests(encode_manifests([ONE] * MAX_ATTACHMENTS))) == MAX_ATTACHMENTS
    with pytest.raises(SchemaError):
        decode_manifests(encode_manifests([ONE] * (MAX_ATTACHMENTS + 1)))


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/b",
        "a\\b",
        "a\0b",
        "a\nb",
        " a",
        "a ",
        "\u202egpj.exe",
        "a\u200bb",
        "ภ" * 86,  # 258 bytes
    ],
)
def test_a_name_that_fools_a_disk_or_a_screen_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        AttachmentRequest(name=name, media_type="text/plain", bytes=1, sha256=bytes(32))
    with pytest.raises(SchemaError):
        decode_manifests(canonical.encode([{**WIRE, "name": name}]))


@given(st.binary(max_size=80))
def test_any_bytes_are_manifests_or_a_schema_error(raw: bytes) -> None:
    try:
        assert encode_manifests(decode_manifests(raw)) == raw
    except SchemaError:
        return

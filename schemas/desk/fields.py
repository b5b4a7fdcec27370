"""Field types of what a desk and its node say to each other.

Key ids and digests are hex text in JSON; signatures, bytes to sign and original documents are
base64 (RFC 4648 section 4).
"""

import base64
import binascii
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from schemas.label import MAX_MEMBERS, MemberCode, Moment, Strict

MAX_PAGE: Final = 500  # items of one answer


def _from_base64(value: object) -> object:
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except binascii.Error:
            raise ValueError("not base64") from None
    return value


def _from_hex(value: object) -> object:
    if isinstance(value, str):
        try:
            return bytes.fromhex(value)
        except ValueError:
            raise ValueError("not hexadecimal") from None
    return value


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) != len(values):
        raise ValueError("a code stands twice")
    return values


def _to_base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _in_base64(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "contentEncoding": "base64", "pattern": pattern})


Base64 = Annotated[
    bytes,
    BeforeValidator(_from_base64),
    PlainSerializer(_to_base64, return_type=str, when_used="json"),
    _in_base64("^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"),
]
"""Bytes, written as base64 in JSON."""

Signature = Annotated[
    Base64,
    Field(min_length=64, max_length=64),
    _in_base64("^[A-Za-z0-9+/]{85}[AQgw]==$"),
]
"""An Ed25519 signature of 64 bytes, written as base64 in JSON."""

Kid = Annotated[
    bytes,
    Field(min_length=16, max_length=16),
    BeforeValidator(_from_hex),
    PlainSerializer(bytes.hex, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": "^[0-9a-f]{32}$"}),
]
"""A key id of 16 bytes, written as hex in JSON."""

Hash = Annotated[
    bytes,
    Field(min_length=32, max_length=32),
    BeforeValidator(_from_hex),
    PlainSerializer(bytes.hex, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": "^[0-9a-f]{64}$"}),
]
"""A SHA-256 of 32 bytes, written as hex in JSON."""

CursorName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
IdempotencyKey = Annotated[str, Field(pattern=r"^[\x21-\x7e]{8,128}$")]
Recipients = Annotated[
    tuple[MemberCode, ...],
    Field(min_length=1, max_length=MAX_MEMBERS),
    AfterValidator(_distinct),
]


class DirectoryNamed(Strict):
    """Which directory was used."""

    root: int
    snapshot: int
    hash: Hash


class DirectoryShown(DirectoryNamed):
    """Which directory is used, and until when it counts as fresh."""

    fresh_until: Moment
    fresh: bool

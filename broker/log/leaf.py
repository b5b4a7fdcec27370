r"""One leaf of the log: a fixed binary layout, big-endian, without a country, a case or a type.

u8 version = 1, u8 kind, u64 time rounded down to 10 s
u8 len || gateway name, u64 boot, u64 sequence within the boot
32 bytes c_route, 32 bytes c_body, 32 bytes ref, 32 bytes snapshot hash
u8 signature type = 1, 64 bytes Ed25519 over "kentong/leaf/1\0" || everything above
16 bytes stream, u64 sequence in it: where the sequencer found it, not signed by the gateway
"""

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import Final, TypeAlias

from broker.log.errors import LogError
from keys.errors import SignatureError
from keys.primitives.signing import Signing, VerifyKey

LEAF_CONTEXT: Final = b"kentong/leaf/1\0"
LEAF_VERSION: Final = 1
MAX_LEAF_BYTES: Final = 400
MAX_NAME_BYTES: Final = 64
TIME_STEP_S: Final = 10
SEQUENCER: Final = "sequencer"  # the name under which the log itself speaks, and no gateway may
HASH_BYTES: Final = 32
STREAM_BYTES: Final = 16
ZERO: Final = bytes(HASH_BYTES)
KIND_AT: Final = 1  # the place of the kind
_ED25519: Final = 1
_U64: Final = 2**64
_FOUR_HASHES: Final = [HASH_BYTES] * 4
_HEAD: Final = struct.Struct(">BBQB")
_COUNTERS: Final = struct.Struct(">QQ")
_HASHES: Final = struct.Struct(">32s32s32s32s")
_TAIL: Final = struct.Struct(">B64s")
_BEHIND_NAME: Final = struct.Struct(">QQ32s32s32s32sB64s")  # the last three in one
_FOUND: Final = struct.Struct(">16sQ")
_UNSIGNED: Final = _TAIL.size + _FOUND.size


class LeafKind(IntEnum):
    """What happened. Exercise decisions have a kind of their own, so that nobody counts them."""

    DECISION = 1
    DIRECTORY = 2
    ERASURE = 3
    GATEWAY = 4  # start or stop, or the opening of a stream
    STREAM = 5  # a gap or a reset
    FAULT = 6  # evidence of one
    VOID = 7
    EXERCISE = 8


Fields: TypeAlias = tuple[LeafKind, int, str, int, int, bytes, bytes, bytes, bytes, bytes]
"""The fields of a `Statement` in their order, and the signature."""

DECIDED: Final = frozenset({LeafKind.DECISION, LeafKind.EXERCISE})
"""Stand beside a decision, and nothing else does."""
BY_GATEWAYS: Final = DECIDED | {LeafKind.GATEWAY, LeafKind.VOID}
"""What a gateway may state, and under its own name alone."""
BY_THE_LOG: Final = frozenset(LeafKind) - DECIDED - {LeafKind.GATEWAY}
"""What the log's own key may state: else whoever held either key could speak as the other."""
_KINDS: Final = {int(kind): kind for kind in LeafKind}  # quicker than asking the enumeration


@dataclass(frozen=True)
class Statement:
    """What a gateway signs.

    Attributes:
        kind: What happened.
        time_s: Seconds since 1970, a multiple of ten.
        gateway: Name of the worker, at most 64 bytes of UTF-8.
        boot: Random number of this run of the worker.
        seq: Counts from 0 within a boot; a hole is a missing leaf.
        c_route: Commitment to who spoke to whom; 32 zero bytes where nobody did.
        c_body: Commitment to the envelope.
        ref: Commitment to the leaf an erasure speaks of, else 32 zero bytes.
        snapshot: Hash of the directory snapshot in force.
    """

    kind: LeafKind
    time_s: int
    gateway: str
    boot: int
    seq: int
    c_route: bytes = ZERO
    c_body: bytes = ZERO
    ref: bytes = ZERO
    snapshot: bytes = ZERO

    def to_bytes(self) -> bytes:
        """Return the layout up to the signature.

        Raises:
            LogError: `bad-leaf`: a field is out of its bounds.
        """
        return self._encoded

    @cached_property
    def _encoded(self) -> bytes:  # Signed or checked, hashed and appended: wanted three times.
        name = self.gateway.encode()
        hashes = (self.c_route, self.c_body, self.ref, self.snapshot)
        sound = (
            0 < len(name) <= MAX_NAME_BYTES
            and [len(item) for item in hashes] == _FOUR_HASHES
            and min(self.time_s, self.boot, self.seq) >= 0
            and max(self.time_s, self.boot, self.seq) < _U64
            and self.time_s % TIME_STEP_S == 0
        )
        if not sound:
            raise LogError("bad-leaf", "a field of the leaf is out of its bounds")
        head = _HEAD.pack(LEAF_VERSION, self.kind, self.time_s, len(name))
        return head + name + _COUNTERS.pack(self.boot, self.seq) + _HASHES.pack(*hashes)

    def sign(self, key: Signing) -> "SignedStatement":
        """Return it signed by a gateway's decision key."""
        raw = self.to_bytes()
        return SignedStatement(self, key.sign(LEAF_CONTEXT + raw))


@dataclass(frozen=True)
class SignedStatement:
    """What a worker publishes; the sequencer makes a leaf of it."""

    statement: Statement
    signature: bytes = field(repr=False)

    def verify(self, key: VerifyKey) -> None:
        """Return if the gateway with `key` signed it.

        Raises:
            LogError: `bad-signature`.
        """
        try:
            key.verify(self.signature, LEAF_CONTEXT + self.statement.to_bytes())
        except SignatureError:
            raise LogError("bad-signature", "the gateway's signature does not verify") from None

    def to_bytes(self) -> bytes:
        """Return the layout up to the stream."""
        return self.statement.to_bytes() + _TAIL.pack(_ED25519, self.signature)

    def found_at(self, stream: bytes, stream_seq: int) -> "Leaf":
        """Return the leaf that the sequencer appends."""
        return Leaf(self, stream, stream_seq)


@dataclass(frozen=True)
class Leaf:
    """An entry of the log. Its gateway's signature is not verified yet."""

    signed: SignedStatement
    stream: bytes
    stream_seq: int

    def to_bytes(self) -> bytes:
        """Return the entry, at most 400 bytes.

        Raises:
            LogError: `bad-leaf`: a field is out of its bounds.
        """
        if len(self.stream) != STREAM_BYTES or not 0 <= self.stream_seq < _U64:
            raise LogError("bad-leaf", "the place in the stream is out of its bounds")
        return self.signed.to_bytes() + _FOUND.pack(self.stream, self.stream_seq)


def parse_leaf(raw: bytes) -> Leaf:
    """Return the leaf that `raw` encodes; nothing in it is authenticated yet.

    Raises:
        LogError: `bad-leaf`, or `unknown-leaf` for a version or kind this software does not read.
    """
    if len(raw) < _FOUND.size:
        raise LogError("bad-leaf", "a leaf of another size")
    stream, stream_seq = _FOUND.unpack(raw[-_FOUND.size :])
    return Leaf(parse_signed(raw[: -_FOUND.size]), stream, stream_seq)


def parse_signed(raw: bytes) -> SignedStatement:
    """Return the statement and signature that `raw` encodes, not authenticated.

    Raises:
        LogError: As `parse_leaf`.
    """
    fields = _fields(raw)
    return SignedStatement(Statement(*fields[:-1]), fields[-1])


def leaf_fields(raw: bytes) -> Fields:
    """Return what the leaf `raw` says, as `parse_leaf` reads it, for whoever reads millions.

    Raises:
        LogError: As `parse_leaf`.
    """
    if len(raw) < _FOUND.size:
        raise LogError("bad-leaf", "a leaf of another size")
    return _fields(raw[: -_FOUND.size])


def _fields(raw: bytes) -> Fields:
    if not _HEAD.size < len(raw) <= MAX_LEAF_BYTES:
        raise LogError("bad-leaf", "a leaf of another size")
    version, kind, time_s, length = _HEAD.unpack_from(raw)
    known = _KINDS.get(kind)
    if version != LEAF_VERSION or known is None:
        raise LogError("unknown-leaf", f"a leaf of version {version} and kind {kind}")
    end = _HEAD.size + length
    if not 0 < length <= MAX_NAME_BYTES or len(raw) != end + _BEHIND_NAME.size:
        raise LogError("bad-leaf", "a leaf of another size")
    try:
        gateway = raw[_HEAD.size : end].decode()
    except UnicodeDecodeError:
        raise LogError("bad-leaf", "the gateway's name is not UTF-8") from None
    boot, seq, route, body, ref, snapshot, sigtype, signature = _BEHIND_NAME.unpack_from(raw, end)
    if sigtype != _ED25519 or time_s % TIME_STEP_S:
        raise LogError("bad-leaf", "a field of the leaf is out of its bounds")
    return known, time_s, gateway, boot, seq, route, body, ref, snapshot, signature


def signed_part(raw: bytes) -> bytes:
    """Return what is signed of a leaf that `leaf_fields` reads."""
    return LEAF_CONTEXT + raw[:-_UNSIGNED]

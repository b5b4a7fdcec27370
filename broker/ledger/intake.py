"""What becomes a leaf: a message of the AUDIT stream, read and checked, or the fault that it is."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from broker.ledger.commit import Entry
from broker.ledger.state import Number
from broker.log.audited import statement_in
from broker.log.errors import LogError
from broker.log.leaf import (
    STREAM_BYTES,
    TIME_STEP_S,
    ZERO,
    LeafKind,
    SignedStatement,
    Statement,
    parse_signed,
)
from broker.logs import get_logger
from broker.transport.message import Stored
from keys.primitives.hashing import random_bytes, sha256
from keys.primitives.signing import SignKey, VerifyKey

SEQUENCER: Final = "sequencer"
_BESIDE: Final = frozenset({"once", "left"})  # records of the gateways that decide nothing
_ALONE: Final = frozenset({LeafKind.VOID, LeafKind.ERASURE})  # statements without a decision
_log = get_logger()


@dataclass(frozen=True)
class Witnessed:
    """The log's own pen, for what no gateway says: gaps, resets, faults and erasures."""

    key: SignKey
    boot: int = field(default_factory=lambda: int.from_bytes(random_bytes(8)))
    _numbers: Iterator[int] = field(default_factory=itertools.count, repr=False)

    def leaf(
        self, kind: LeafKind, about: bytes, *, stream: bytes, seq: int, now: datetime
    ) -> Entry:
        """Return the leaf that says that `kind` happened at this place of a stream.

        Args:
            kind: STREAM or FAULT.
            about: SHA-256 of what was found there; zero if nothing was.
            stream: As `stream_id`.
            seq: Number of the message in it.
            now: The sequencer's clock.
        """
        return _entry(self.state(kind, now=now, about=about), stream, seq)

    def state(
        self, kind: LeafKind, *, now: datetime, about: bytes = ZERO, ref: bytes = ZERO
    ) -> SignedStatement:
        """Return what the log itself states, under the next number of this boot.

        Args:
            kind: What happened.
            now: The clock of whoever states it.
            about: SHA-256 of what was found; zero if nothing was.
            ref: Commitment to the leaf that an erasure speaks of.
        """
        time_s = int(now.timestamp())
        statement = Statement(
            kind,
            time_s - time_s % TIME_STEP_S,
            SEQUENCER,
            self.boot,
            next(self._numbers),
            c_body=about,
            ref=ref,
        )
        return statement.sign(self.key)


def stream_id(name: str, created: str) -> bytes:
    """Return the 16 bytes by which leaves name a stream: its name and when it was made."""
    return sha256(name.encode(), b"\0", created.encode())[:STREAM_BYTES]


def entry_of(
    found: Stored, keys: Sequence[VerifyKey], *, stream: bytes, pen: Witnessed, now: datetime
) -> Entry | None:
    """Return what a message becomes; None if it decides nothing.

    What cannot be read, or was signed by no gateway, is a leaf of kind FAULT and not dropped.

    Args:
        found: As it stands in the stream, not trusted.
        keys: Of the gateways, ended ones too.
        stream: As `stream_id`.
        pen: For a fault.
        now: The sequencer's clock.
    """
    if _BESIDE.intersection(found.subject.split(".")[3:]):
        return None
    try:
        signed = _statement(found.payload)
        erasure = signed.statement.kind is LeafKind.ERASURE
        _verify(signed, (pen.key.public,) if erasure else keys)
    except LogError as error:
        _log.error("leaf-fault", error_code=error.code, seq=found.seq, alarm="leaf-fault")
        about = sha256(found.payload)
        return pen.leaf(LeafKind.FAULT, about, stream=stream, seq=found.seq, now=now)
    return _entry(signed, stream, found.seq)


def _statement(raw: bytes) -> SignedStatement:
    try:
        return statement_in(raw)
    except LogError:
        signed = parse_signed(raw)
        if signed.statement.kind not in _ALONE:
            raise LogError("bad-audited", "a decision without its decision") from None
        return signed


def _verify(signed: SignedStatement, keys: Sequence[VerifyKey]) -> None:
    for key in keys:
        try:
            signed.verify(key)
        except LogError:
            continue
        return
    raise LogError("bad-signature", "no gateway of this hub signed it")


def _entry(signed: SignedStatement, stream: bytes, seq: int) -> Entry:
    said = signed.statement
    number = Number(said.gateway, said.boot, said.seq)
    return Entry(signed.found_at(stream, seq).to_bytes(), number)

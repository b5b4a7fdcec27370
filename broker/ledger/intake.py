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
    DECIDED,
    STREAM_BYTES,
    TIME_STEP_S,
    ZERO,
    LeafKind,
    SignedStatement,
    Statement,
    parse_signed,
)
from broker.log.rebuilt import check_rebuilt, is_rebuilt
from broker.logs import get_logger
from broker.transport.message import Stored
from keys.primitives.hashing import random_bytes, sha256
from keys.primitives.signing import SignKey, VerifyKey
from schemas.directory import VerificationKey

SEQUENCER: Final = "sequencer"
TAKEN_WITHIN_S: Final = 300  # by the stream, after a gateway decided: as skewed as clocks may be
NOWHERE: Final = bytes(STREAM_BYTES)  # the stream of what happened in none
_BESIDE: Final = frozenset({"once", "left"})  # records of the gateways that decide nothing
_ALONE: Final = frozenset({LeafKind.VOID, LeafKind.ERASURE, LeafKind.GATEWAY})  # no decision beside
_log = get_logger()


@dataclass(frozen=True)
class GatewayKey:
    """A key of the hub's gateways, and when what it signs counts.

    Attributes:
        not_before: None: always.
        not_after: Likewise.
        revoked_at: From then on it may be in foreign hands.
    """

    key: VerifyKey
    not_before: datetime | None = None
    not_after: datetime | None = None
    revoked_at: datetime | None = None

    @classmethod
    def of(cls, entry: VerificationKey) -> "GatewayKey":
        """Return the key as the directory has it."""
        return cls(VerifyKey(entry.key), entry.not_before, entry.not_after, entry.revoked_at)

    def counts(self, time_s: int, taken_at: datetime | None) -> bool:
        """Return whether a statement under it counts.

        Args:
            time_s: When it says that it was made; rounded down to ten seconds.
            taken_at: When the stream took it: a thief dates back what he signs.
        """
        ends = [end for end in (self.not_after, self.revoked_at) if end is not None]
        latest = time_s if taken_at is None else max(time_s, int(taken_at.timestamp()))
        begun = self.not_before is None or time_s + TIME_STEP_S > self.not_before.timestamp()
        # What was decided just before the end may be taken just after it.
        return begun and all(
            time_s < end.timestamp() and latest < end.timestamp() + TAKEN_WITHIN_S for end in ends
        )


@dataclass(frozen=True)
class Noticed:
    """What the sequencer found and no gateway says; its leaf takes a number once it is appended.

    Attributes:
        kind: STREAM, FAULT or DIRECTORY.
        about: SHA-256 of what was found there, or what `announcement` has; zero if nothing was.
        stream: As `stream_id`.
        seq: Number of the message in it.
        snapshot: Hash of the directory snapshot that it speaks of.
    """

    kind: LeafKind
    about: bytes = ZERO
    stream: bytes = NOWHERE
    seq: int = 0
    snapshot: bytes = ZERO


@dataclass(frozen=True)
class Witnessed:
    """The log's own pen, for what no gateway says: gaps, resets, faults and erasures."""

    key: SignKey
    boot: int = field(default_factory=lambda: int.from_bytes(random_bytes(8)))
    _numbers: Iterator[int] = field(default_factory=itertools.count, repr=False)

    def leaf(self, noticed: Noticed, *, now: datetime) -> Entry:
        """Return the leaf that says it, by the sequencer's clock."""
        signed = self.state(noticed.kind, now=now, about=noticed.about, snapshot=noticed.snapshot)
        return _entry(signed, noticed.stream, noticed.seq)

    def state(
        self,
        kind: LeafKind,
        *,
        now: datetime,
        about: bytes = ZERO,
        ref: bytes = ZERO,
        snapshot: bytes = ZERO,
    ) -> SignedStatement:
        """Return what the log itself states, under the next number of this boot.

        Args:
            kind: What happened.
            now: The clock of whoever states it.
            about: SHA-256 of what was found; zero if nothing was.
            ref: Commitment to the leaf that an erasure speaks of.
            snapshot: Hash of the directory snapshot that it speaks of.
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
            snapshot=snapshot,
        )
        return statement.sign(self.key)


def entry_of(
    found: Stored, keys: Sequence[GatewayKey], *, stream: bytes, pen: Witnessed
) -> Entry | Noticed | None:
    """Return what a message becomes; None if it decides nothing.

    What cannot be read, or was signed by no gateway, is a leaf of kind FAULT and not dropped.

    Args:
        found: As it stands in the stream, not trusted.
        keys: Of the gateways, ended ones too.
        stream: As `stream_id`.
        pen: Whose erasures count.
    """
    if _BESIDE.intersection(found.subject.split(".")[3:]):
        return None
    try:
        if is_rebuilt(found.payload):
            check_rebuilt(found.payload, found.subject, pen.key.public)
            return None
        signed = statement_of(found.payload)
        if signed.statement.kind is LeafKind.ERASURE:
            _verify_own(signed, pen)
        else:
            verify(signed, keys, taken_at=found.at)
    except LogError as error:
        _log.error("leaf-fault", error_code=error.code, seq=found.seq, alarm="leaf-fault")
        return Noticed(LeafKind.FAULT, sha256(found.payload), stream, found.seq)
    return _entry(signed, stream, found.seq)


def statement_of(raw: bytes) -> SignedStatement:
    """Return the statement in a message of AUDIT, not verified yet.

    Raises:
        LogError: It has none.
    """
    try:
        signed = statement_in(raw)
    except LogError:
        signed = parse_signed(raw)
        if signed.statement.kind not in _ALONE:
            raise LogError("bad-audited", "a decision without its decision") from None
        return signed
    if signed.statement.kind not in DECIDED:
        raise LogError("bad-audited", "beside a decision, what decides nothing")
    return signed


def verify(
    signed: SignedStatement, keys: Sequence[GatewayKey], *, taken_at: datetime | None
) -> None:
    """Return if a gateway signed it while its key counted.

    Raises:
        LogError: `bad-signature`, or `key-not-valid`; `not-a-gateway`: it took the log's own name.
    """
    if signed.statement.gateway == SEQUENCER:
        raise LogError("not-a-gateway", "only the log speaks under its own name")
    for known in keys:
        try:
            signed.verify(known.key)
        except LogError:
            continue
        if not known.counts(signed.statement.time_s, taken_at):
            raise LogError("key-not-valid", "signed under a key that had ended")
        return
    raise LogError("bad-signature", "no gateway of this hub signed it")


def _verify_own(signed: SignedStatement, pen: Witnessed) -> None:
    if signed.statement.gateway != SEQUENCER:
        raise LogError("not-the-log", "only the log itself says what is erased")
    signed.verify(pen.key.public)


def _entry(signed: SignedStatement, stream: bytes, seq: int) -> Entry:
    said = signed.statement
    digest = sha256(signed.to_bytes()).hex()
    number = Number(said.gateway, said.boot, said.seq, digest)
    return Entry(signed.found_at(stream, seq).to_bytes(), number)

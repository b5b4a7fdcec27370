"""Turns a judgement into a signed decision, and a decision into what stands in the AUDIT stream."""

from dataclasses import dataclass, field
from datetime import datetime

from broker.admission.judgement import Judged, RefusedWhole
from broker.envelope.decision import commitments, sign_decision
from broker.log.audited import Audited, seal_audited
from broker.log.commitments import statement_of
from broker.log.leaf import TIME_STEP_S, LeafKind, SignedStatement, Statement
from broker.log.opening import OpeningSealer
from broker.log.recordkeys import RecordKeys
from keys.primitives.hashing import random_bytes
from keys.primitives.sealing import SealKey
from keys.primitives.signing import Signing
from schemas.decision import Decision, DecisionHeader
from schemas.label import DirectoryVersion


@dataclass(frozen=True)
class Decider:
    """One gateway instance's name and key, in one run of it.

    Attributes:
        records: Under which its decisions lie on the AUDIT stream; the same for every worker.
        boot: Random, so that the numbers of two runs are never taken for each other's.
    """

    gateway: str
    kid: bytes
    key: Signing
    records: RecordKeys = field(repr=False)
    boot: int = field(default_factory=lambda: int.from_bytes(random_bytes(8)))
    _openings: OpeningSealer = field(default_factory=OpeningSealer, repr=False)
    _open: dict[int, None] = field(default_factory=dict, repr=False)
    _taken: list[int] = field(default_factory=lambda: [0], repr=False)  # How many: one element.

    @property
    def next_number(self) -> int:
        """The number that the next record takes."""
        return self._taken[0]

    @property
    def settled_below(self) -> int:
        """Every number below it stands or is void."""
        return min(self._open, default=self.next_number)

    def settled(self, statement: Statement) -> None:
        """Note that the number of `statement` stands, or is void."""
        self._open.pop(statement.seq, None)

    def sign(
        self,
        judgement: Judged | RefusedWhole,
        *,
        sender: str,
        directory: DirectoryVersion,
        now: datetime,
    ) -> Decision:
        """Return the decision with every opening.

        Args:
            judgement: What was judged.
            sender: The member on whose connection the bytes came.
            directory: In force at the gateway.
            now: The gateway's clock.
        """
        return decision_on(
            judgement,
            sender=sender,
            directory=directory,
            now=now,
            gateway=self.gateway,
            kid=self.kid,
            key=self.key,
        )

    def audited(
        self, decision: Decision, *, auditors: tuple[bytes, SealKey] | None = None
    ) -> Audited:
        """Return the decision with its record, which takes the next number of this boot.

        A number taken is a leaf promised: if the record does not stand, the number must be voided.

        Args:
            decision: Made by this gateway.
            auditors: Identifier and key of those who shall open it, too.
        """
        statement = statement_of(decision, boot=self.boot, seq=self._take())
        signed = statement.sign(self.key)
        return seal_audited(signed, decision, self.records.current, self._openings, auditors)

    def stated(self, about: bytes, *, now: datetime) -> SignedStatement:
        """Return what this worker says of itself, under the next number of this boot.

        Args:
            about: As `broker.log.announcement` has it.
            now: The gateway's clock.
        """
        number, time_s = self._take(), int(now.timestamp())
        time_s -= time_s % TIME_STEP_S
        kind = LeafKind.GATEWAY
        said = Statement(kind, time_s, self.gateway, self.boot, number, c_body=about)
        return said.sign(self.key)

    def void(self, statement: Statement) -> SignedStatement:
        """Return the statement that the number of `statement` stands for nothing."""
        return Statement(
            LeafKind.VOID,
            statement.time_s,
            statement.gateway,
            statement.boot,
            statement.seq,
            snapshot=statement.snapshot,
        ).sign(self.key)

    def void_of(self, boot: int, seq: int, *, now: datetime, gateway: str = "") -> SignedStatement:
        """Return the statement that a number of a run that ended stands for nothing.

        Args:
            boot: The run.
            seq: The number.
            now: The gateway's clock.
            gateway: Whose run; by default an earlier one of this worker.
        """
        time_s = int(now.timestamp())
        time_s -= time_s % TIME_STEP_S
        return Statement(LeafKind.VOID, time_s, gateway or self.gateway, boot, seq).sign(self.key)

    def _take(self) -> int:
        number = self._taken[0]
        self._taken[0] += 1
        self._open[number] = None
        return number


def decision_on(
    judgement: Judged | RefusedWhole,
    *,
    sender: str,
    directory: DirectoryVersion,
    now: datetime,
    gateway: str,
    kid: bytes,
    key: Signing,
) -> Decision:
    """Return the decision with every opening, as `Decider.sign`, by any name and key."""
    submitted = judgement.submitted
    label = None if submitted is None else submitted.frame.label
    if isinstance(judgement, Judged):
        digest, code = judgement.submitted.frame.digest, ""
        slots, openings = commitments(judgement.submitted.frame.entries, judgement.records)
    else:
        digest, code, slots, openings = judgement.digest, judgement.code, (), ()
    header = DecisionHeader(
        digest=digest,
        sender=sender,
        decided_at=now,
        gateway=gateway,
        dir=directory,
        code=code,
        slots=slots,
        id=None if label is None else label.id,
        status=None if label is None else label.status,
        kind=None if label is None else label.kind,
    )
    return sign_decision(header, openings, kid=kid, key=key)

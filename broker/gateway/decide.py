"""Turns a judgement into a signed decision, and a decision into what stands in the AUDIT stream."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from broker.admission.judgement import Judged, RefusedWhole
from broker.envelope.decision import commitments, sign_decision
from broker.log.audited import Audited
from broker.log.commitments import statement_of
from broker.log.leaf import LeafKind, SignedStatement, Statement
from keys.primitives.hashing import random_bytes
from keys.primitives.signing import SignKey
from schemas.decision import Decision, DecisionHeader
from schemas.label import DirectoryVersion


@dataclass(frozen=True)
class Decider:
    """One gateway instance's name and key, in one run of it.

    Attributes:
        boot: Random, so that the numbers of two runs are never taken for each other's.
    """

    gateway: str
    kid: bytes
    key: SignKey
    boot: int = field(default_factory=lambda: int.from_bytes(random_bytes(8)))
    _numbers: Iterator[int] = field(default_factory=itertools.count, repr=False)

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
            gateway=self.gateway,
            dir=directory,
            code=code,
            slots=slots,
            id=None if label is None else label.id,
            status=None if label is None else label.status,
            kind=None if label is None else label.kind,
        )
        return sign_decision(header, openings, kid=self.kid, key=self.key)

    def audited(self, decision: Decision) -> Audited:
        """Return the decision with its statement, which takes the next number of this boot.

        A number taken is a leaf promised: if the record does not stand, the number must be voided.
        """
        statement = statement_of(decision, boot=self.boot, seq=next(self._numbers))
        return Audited(statement.sign(self.key), decision.to_bytes(), decision)

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

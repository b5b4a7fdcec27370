"""Turns a judgement into a signed decision."""

from dataclasses import dataclass
from datetime import datetime

from broker.admission.judgement import Judged, RefusedWhole
from broker.envelope.decision import commitments, sign_decision
from keys.primitives.signing import SignKey
from schemas.decision import Decision, DecisionHeader
from schemas.label import DirectoryVersion


@dataclass(frozen=True)
class Decider:
    """One gateway instance's name and key."""

    gateway: str
    kid: bytes
    key: SignKey

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

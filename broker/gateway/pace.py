"""How much of what members submit one worker takes at one time; beyond it they are told to wait."""

from collections.abc import Container
from dataclasses import dataclass, field

from broker.admission.judgement import NotNow
from broker.admission.quota import Buckets, Quotas
from broker.envelope.submitted import Submitted
from schemas.vocabulary import Kind


@dataclass
class Pace:
    """This worker's part of what each member may submit, and what is left of it.

    A bucket is kept for each member, and for each two of them. Nothing that a member writes makes
    another one.
    """

    quotas: Quotas = field(default_factory=Quotas)
    _buckets: Buckets = field(default_factory=Buckets)  # Of this worker alone.

    def over(self, submitted: Submitted, members: Container[str]) -> NotNow | None:
        """Return that its sender must wait, or None once it was counted.

        Args:
            submitted: Authentic.
            members: Whose numbers a pair-state may speak of; any other is refused afterwards.
        """
        label, digest = submitted.frame.label, submitted.frame.digest
        sender, quotas, to = label.sender.member, self.quotas, submitted.recipients()
        asked: list[tuple[tuple[str, ...], float, float, str]] = [
            ((sender,), quotas.rate_per_s, quotas.burst, "quota")
        ]
        if label.kind is Kind.PAIR_STATE and len(to) == 1 and to[0] in members:
            rate, burst = quotas.pair_state_rate_per_s, quotas.pair_state_burst
            asked.append(((sender, *to), rate, burst, "control-rate"))
        for key, rate, burst, code in asked:
            if wait_s := self._buckets.take(key, rate, burst):
                return NotNow(code, max(1, round(wait_s)), label.id, digest)
        return None

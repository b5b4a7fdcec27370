"""How much one member may submit: a token bucket, as pure arithmetic."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

RATE_PER_S: Final = 200.0  # of one member, so that a flood leaves room for others
BURST: Final = 10_000.0  # the backlog of a node that was cut off for a day, at once
PAIR_STATE_RATE_PER_S: Final = 1 / 60  # to one recipient
PAIR_STATE_BURST: Final = 30.0  # restarts of a node in a bad hour


@dataclass(frozen=True)
class Quotas:
    """What a worker lets one member submit, and tell one peer of its numbers."""

    rate_per_s: float = RATE_PER_S
    burst: float = BURST
    pair_state_rate_per_s: float = PAIR_STATE_RATE_PER_S
    pair_state_burst: float = PAIR_STATE_BURST

    def shared_by(self, workers: int) -> "Quotas":
        """Return each worker's part, so that `workers` together let no more through than one.

        A bucket holds one token at least, or nothing would ever pass.
        """
        return Quotas(
            self.rate_per_s / workers,
            max(1.0, self.burst / workers),
            self.pair_state_rate_per_s / workers,
            max(1.0, self.pair_state_burst / workers),
        )


@dataclass(frozen=True)
class Bucket:
    """What is left of a quota.

    Attributes:
        rate_per_s: How fast it fills.
        burst: How much it holds.
        tokens: What it held at `at`.
        at: When it was last looked at.
    """

    rate_per_s: float
    burst: float
    tokens: float
    at: datetime

    @classmethod
    def full(cls, *, rate_per_s: float, burst: float, now: datetime) -> "Bucket":
        """Return a full bucket."""
        return cls(rate_per_s, burst, burst, now)

    def take(self, now: datetime) -> tuple["Bucket", int]:
        """Return the bucket afterwards, and 0; or unchanged, and the seconds to wait.

        A clock that goes back fills nothing.
        """
        elapsed_s = max(0.0, (now - self.at).total_seconds())
        tokens = min(self.burst, self.tokens + elapsed_s * self.rate_per_s)
        if tokens >= 1:
            return Bucket(self.rate_per_s, self.burst, tokens - 1, max(now, self.at)), 0
        return self, max(1, round((1 - tokens) / self.rate_per_s))

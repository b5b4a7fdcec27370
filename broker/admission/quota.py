"""How much one member, or one desk, may ask for: a token bucket, as pure arithmetic."""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
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


@dataclass
class Bucket:
    """A token bucket, full at first. Time is seconds of a clock that nobody sets.

    By one that was a day ahead for a moment nobody would be let in for a day.

    Attributes:
        rate_per_s: How fast it fills.
        burst: How much it holds.
    """

    rate_per_s: float
    burst: float
    _level: float = field(init=False)
    _at_s: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._level = self.burst

    def take(self, now_s: float) -> float:
        """Take one and return 0, or return the seconds until there is one."""
        passed = max(0.0, now_s - self._at_s)
        self._at_s = now_s
        self._level = min(self.burst, self._level + passed * self.rate_per_s)
        if self._level >= 1.0:
            self._level -= 1.0
            return 0.0
        return (1.0 - self._level) / self.rate_per_s


@dataclass
class Buckets:
    """A bucket for each who asks, made when it first does. Of one event loop.

    Attributes:
        steady: Seconds of a clock that nobody sets.
    """

    steady: Callable[[], float] = time.monotonic
    _of: dict[Hashable, Bucket] = field(default_factory=dict)

    def take(self, who: Hashable, rate_per_s: float, burst: float) -> float:
        """Take one of `who`, and return 0, or return the seconds until there is one.

        Args:
            who: The caller lets nobody make up more of them than there are.
            rate_per_s: How fast its bucket fills.
            burst: How much that holds.
        """
        bucket = self._of.get(who)
        if bucket is None:
            bucket = self._of[who] = Bucket(rate_per_s, burst)
        return bucket.take(self.steady())

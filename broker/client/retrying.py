"""When to try again: exponential backoff with full jitter, within the caller's patience."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_dice: Final = secrets.SystemRandom()


@dataclass(frozen=True)
class Backoff:
    """Waits between attempts. Jitter spreads desks that all lost the same node.

    Attributes:
        first_s: Upper bound of the first wait.
        most_s: Upper bound of any wait.
    """

    first_s: float = 0.2
    most_s: float = 15.0

    def waits(self) -> Iterator[float]:
        """Yield waits in seconds, for ever."""
        bound = self.first_s
        while True:
            yield _dice.uniform(bound / 4, bound)
            bound = min(self.most_s, bound * 2)

"""How memory grows with what goes through: a line laid through what was looked at, and its doubt.

Source: ordinary least squares, and the standard error of its slope.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

SURE = 2.0  # standard errors to either side: about nineteen times of twenty
MILLION = 1_000_000
GROWTH = 0.1  # of what is held, over a million: more than that is not flat
LEAST = 20_000  # alerts; with fewer, a process still fills its caches in the second half


@dataclass(frozen=True)
class Slope:
    """Growth of memory.

    Attributes:
        count: Alerts that went through.
        each: Bytes for each alert.
        error: Standard error of `each`. Looks follow one another and are not independent, so the
            true doubt is larger.
        held: Bytes, on average of the looks.
    """

    count: int
    each: float
    error: float
    held: float

    @property
    def grown(self) -> tuple[float, float]:
        """What a million alerts add, as a share of what is held: at least and at most."""
        doubt = SURE * self.error
        low, high = (
            (each * MILLION / self.held) for each in (self.each - doubt, self.each + doubt)
        )
        return low, high

    @property
    def is_flat(self) -> bool | None:
        """Whether a million add no more than `GROWTH`; None if that cannot be told from this."""
        low, high = self.grown
        if self.count < LEAST:
            return None
        if high <= GROWTH:
            return True
        return False if low > GROWTH else None


def slope(looks: Sequence[tuple[int, float]]) -> Slope:
    """Lay a line through the second half of `looks`: by then, caches that have a bound are full.

    Args:
        looks: Alerts that went through, and bytes that were held then, in order.

    Raises:
        ValueError: The second half has fewer than three looks.
    """
    half = looks[len(looks) // 2 :]
    if len(half) < 3:
        raise ValueError("a line and its doubt need three looks in the second half")
    mid, held = fmean(count for count, _ in half), fmean(size for _, size in half)
    spread = sum((count - mid) ** 2 for count, _ in half)
    each = sum((count - mid) * (size - held) for count, size in half) / spread
    left = sum((size - held - each * (count - mid)) ** 2 for count, size in half)
    return Slope(half[-1][0], each, math.sqrt(left / (len(half) - 2) / spread), held)

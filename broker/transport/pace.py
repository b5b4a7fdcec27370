"""How long to wait for answers on this line, learnt from how long they took.

A line over a satellite with losses answers after seconds, and not late: a limit that suits a wire
would give up each request, and send it again upon those that are still on their way. So a limit
grows with what was seen, as TCP's own does. Source: RFC 6298, its smoothing and its doubling.
"""

from dataclasses import dataclass
from typing import Final

FAR_S: Final = 0.3  # a greeting that takes longer crossed a satellite, or a crowded line
SLOW_S: Final = 2.0  # an answer that takes longer did so wherever the hub is; its disk is quicker
MAX_LIMIT_S: Final = 60.0
_LIMIT_ANSWERS: Final = 8  # a limit leaves time for so many answers: TCP repeats a lost segment
_IDLE_ANSWERS: Final = 12  # an empty lane is asked so rarely that asking takes little of the line
_GAIN: Final = 8  # an eighth of what is new, as in RFC 6298
_DOUBLINGS: Final = 4


@dataclass
class Pace:
    """What is known of one connection. Owned by its loop."""

    _smoothed_s: float = 0.0
    _greeting_s: float = 0.0
    _missed: int = 0

    @property
    def is_slow(self) -> bool:
        """Whether the line is far or thin, so that little should be on its way at one time."""
        return self._greeting_s > FAR_S or self._smoothed_s > SLOW_S

    def limit_s(self, least_s: float) -> float:
        """Return how long to wait for an answer, at least `least_s`."""
        learnt = least_s + _LIMIT_ANSWERS * self._smoothed_s
        return max(least_s, min(MAX_LIMIT_S, learnt * (1 << self._missed)))

    def idle_s(self, least_s: float) -> float:
        """Return for how long to let the hub keep a question open before it is asked again."""
        if not self.is_slow:
            return least_s
        return max(least_s, min(MAX_LIMIT_S / 2, _IDLE_ANSWERS * self._smoothed_s))

    def greeted(self, took_s: float) -> None:
        """Note how long the first answer of a new connection took, before anything waits on it."""
        self._smoothed_s = self._greeting_s = took_s
        self._missed = 0

    def answered(self, took_s: float) -> None:
        """Note an answer."""
        self._missed = 0
        self._smoothed_s += (took_s - self._smoothed_s) / _GAIN

    def missed(self) -> None:
        """Note that none came in time: the next is waited for longer."""
        if self.is_slow:
            self._missed = min(_DOUBLINGS, self._missed + 1)

"""Whether the STIX patterns of an alert can be read: a warning at the border, never a refusal.

A pattern is untrusted input to a parser of somebody else's, which takes about a tenth of a
millisecond a character: what is too long, or beyond the budget of one import, stays unchecked and
is counted. The pattern travels as it came in either case. Source: OASIS STIX 2.1, section 9.
"""

from dataclasses import dataclass
from typing import Final

from stix2patterns.validator import run_validator

from schemas.common import Alert
from schemas.cyber import CyberAlert
from schemas.cybercodes import PatternType

MAX_CHARS: Final = 4096  # of one pattern; those of the published bundles stay below 500
BUDGET_CHARS: Final = 50_000  # of all patterns of one alert: about five seconds


@dataclass(frozen=True)
class Patterns:
    """What was found.

    Attributes:
        unreadable: Positions in `indicators` whose pattern is not of the language it names.
        unchecked: How many were too long, or too many.
    """

    unreadable: tuple[int, ...]
    unchecked: int


def check_patterns(alert: Alert) -> Patterns:
    """Return which STIX patterns of `alert` no reader of STIX will understand."""
    if not isinstance(alert, CyberAlert):
        return Patterns((), 0)
    source = alert.source
    version = "2.0" if source is not None and source.format == "stix-2.0" else "2.1"
    unreadable: list[int] = []
    unchecked, left = 0, BUDGET_CHARS
    for number, indicator in enumerate(alert.indicators):
        if indicator.pattern_type != PatternType.STIX:
            continue
        chars = len(indicator.pattern)
        if chars > min(MAX_CHARS, left):
            unchecked += 1
            continue
        left -= chars
        if not _readable(indicator.pattern, version):
            unreadable.append(number)
    return Patterns(tuple(unreadable), unchecked)


def _readable(pattern: str, version: str) -> bool:
    try:
        return not run_validator(pattern, stix_version=version)
    except RecursionError:  # nobody else's reader goes that deep either
        return False

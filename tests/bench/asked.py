"""What a run of the bench is asked for: by letters, and by settings of the environment."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.bench.counts import FULL, REDUCED, Counts
from tests.bench.stage import ALWAYS_SYNC, DEFAULT_SYNC

PARTS: Final = "abcdefgh"
SYNCS: Final = (ALWAYS_SYNC, DEFAULT_SYNC)
_COUNTS: Final = {"": REDUCED, "0": REDUCED, "1": FULL}


class AskedError(ValueError):
    """Nothing that can be measured was asked for; the text says what can."""


@dataclass(frozen=True)
class Asked:
    """What to measure.

    Attributes:
        parts: Letters.
        syncs: Settings of the server's store.
        memory_limit_s: For each measurement of memory, or none.
    """

    counts: Counts
    parts: str
    syncs: tuple[str, ...]
    memory_limit_s: float | None


def asked(words: Sequence[str], settings: Mapping[str, str]) -> Asked:
    """Return what was asked for, everything if no part was named.

    Args:
        words: Letters of parts.
        settings: FULL, SYNC and MINUTES, each of which may be missing or empty.

    Raises:
        AskedError: A letter that is no part, or a setting that says nothing.
    """
    parts = "".join(words)
    if unknown := sorted(set(parts) - set(PARTS)):
        raise AskedError(f"no such part: {', '.join(unknown)}; parts are {', '.join(PARTS)}")
    if (full := settings.get("FULL", "")) not in _COUNTS:
        raise AskedError(f"FULL is 1 or 0, not {full!r}")
    if (sync := settings.get("SYNC", "")) not in ("", *SYNCS):
        raise AskedError(f"SYNC is {' or '.join(SYNCS)}, not {sync!r}")
    syncs = (sync,) if sync else SYNCS
    return Asked(_COUNTS[full], parts or PARTS, syncs, _seconds(settings.get("MINUTES", "")))


def _seconds(minutes: str) -> float | None:
    if not minutes:
        return None
    try:
        seconds = float(minutes) * 60
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise AskedError(f"MINUTES is a number above 0, not {minutes!r}")
    return seconds

"""The clock at the edge. Rules take `now` as an argument; only processes ask here."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_COUNTS_SLEEP: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@dataclass(frozen=True)
class Reading:
    """Two clocks read together: the one that may be set, and the one that nobody can set.

    Attributes:
        now: The machine's time, in UTC.
        boot: Since which start of the machine `elapsed_s` counts; empty if that is not known.
        elapsed_s: Seconds since then, those asleep included where the system counts them.
    """

    now: datetime
    boot: str
    elapsed_s: float


def now() -> datetime:
    """Return the machine's time, in UTC."""
    return datetime.now(UTC)  # noqa: TID251 - this is the edge


def reading() -> Reading:
    """Return what both clocks show."""
    try:
        boot = _BOOT.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        boot = ""
    return Reading(now(), boot, time.clock_gettime(_COUNTS_SLEEP))

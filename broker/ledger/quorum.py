"""Since when no quorum of witnesses stands behind the log, and when to say so.

A round is due whether or not a witness asks for it: when all nodes are gone, nobody asks, and that
must be said too.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from broker import clock
from broker.logs import get_logger
from broker.store.witnessed import WitnessedAt

WARN_AFTER: Final = timedelta(minutes=1)  # without a quorum
ALARM_AFTER: Final = timedelta(minutes=15)
SAY_EVERY: Final = timedelta(minutes=1)
UNMET: Final = "quorum-unmet"
_log = get_logger()


@dataclass
class Quorum:
    """Owned by the task that collects cosignatures; nobody else writes it.

    Attributes:
        noted: Where gateway workers read when a quorum was last there.
        idle: How old the last round may be while nothing grows.
    """

    noted: WitnessedAt
    idle: timedelta
    now: Callable[[], datetime] = clock.now
    unmet_since: datetime | None = None
    _said_at: datetime | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Go on with what was noted before a restart."""
        last = self.noted.read()
        if last is not None and self.now() - last > self.idle + WARN_AFTER:
            self.unmet_since = last

    async def due(self, at: datetime) -> None:
        """Note that a round began which no quorum has met yet."""
        if self.unmet_since is None:
            self.unmet_since = at
        if self.noted.read() is None:
            await asyncio.to_thread(self.noted.write, at)

    async def met(self) -> None:
        """Note that a quorum is there."""
        self.unmet_since = self._said_at = None
        await asyncio.to_thread(self.noted.write, self.now())

    def say(self) -> None:
        """Warn after a minute without a quorum, and raise an alarm after fifteen; once a minute."""
        if self.unmet_since is None:
            return
        now = self.now()
        waited = now - self.unmet_since
        if waited < WARN_AFTER or (self._said_at is not None and now - self._said_at < SAY_EVERY):
            return
        self._said_at, delay_s = now, int(waited.total_seconds())
        if waited >= ALARM_AFTER:
            _log.error(UNMET, delay_s=delay_s, alarm=UNMET)
        else:
            _log.warning(UNMET, delay_s=delay_s)

"""Since when no quorum of witnesses stands behind the log, and when to say so.

A round is due whether or not a witness asks for it: when all nodes are gone, nobody asks, and that
must be said too. So it is while the signer is down: what waits to be signed has no quorum either.
The time is kept on the disk, for a process that is started again and again.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from broker import clock
from broker.ledger.errors import LedgerError
from broker.ledger.signer_socket import SignerClient
from broker.logs import get_logger
from broker.store.errors import StoreError
from broker.store.witnessed import UNMET_SINCE, WitnessedAt

WARN_AFTER: Final = timedelta(minutes=1)  # without a quorum
ALARM_AFTER: Final = timedelta(minutes=15)
SAY_EVERY: Final = timedelta(minutes=1)
UNMET: Final = "quorum-unmet"
SIGNER_POLL_S: Final = 0.1
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
        self._kept = WitnessedAt(self.noted.folder, UNMET_SINCE)
        last, since = self.noted.read(), self._kept.read()
        if since is not None and (last is None or since >= last):
            self.unmet_since = since
        elif last is not None and self.now() - last > self.idle + WARN_AFTER:
            self.unmet_since = last

    async def due(self, at: datetime) -> None:
        """Note that a round began which no quorum has met yet."""
        await self.missing(at)
        if self.noted.read() is None:
            await asyncio.to_thread(self.noted.write, at)

    async def missing(self, at: datetime) -> None:
        """Note that from `at` on nobody stands behind what there is, or waits to be signed.

        A disk that does not take it delays no alarm of this process.
        """
        if self.unmet_since is not None:
            return
        self.unmet_since = at
        try:
            await asyncio.to_thread(self._kept.write, at)
        except StoreError as error:
            _log.warning("unmet-since-not-kept", error_code=error.code)

    async def met(self) -> None:
        """Note that a quorum is there."""
        await asyncio.to_thread(self.noted.write, self.now())
        await self.needless()

    async def needless(self) -> None:
        """Note that none is missing: nobody need stand behind the log as it is."""
        if self.unmet_since is not None:
            self.unmet_since = self._said_at = None
            await asyncio.to_thread(self._kept.forget)

    def say(self, why: str = UNMET) -> None:
        """Warn after a minute without a quorum, and raise an alarm after fifteen; once a minute.

        Args:
            why: A code, if anything else than the witnesses is the reason.
        """
        if self.unmet_since is None:
            return
        now = self.now()
        waited = now - self.unmet_since
        said = self._said_at is not None and timedelta(0) <= now - self._said_at < SAY_EVERY
        if waited < WARN_AFTER or said:  # a clock set back silences nothing
            return
        self._said_at, delay_s = now, int(waited.total_seconds())
        if waited >= ALARM_AFTER:
            _log.error(UNMET, delay_s=delay_s, error_code=why, alarm=UNMET)
        else:
            _log.warning(UNMET, delay_s=delay_s, error_code=why)


async def signer_there(
    signer: SignerClient, quorum: Quorum, *, poll_s: float = SIGNER_POLL_S
) -> None:
    """Return once the signer answers; until then say ever louder that nothing is witnessed."""
    while True:
        at = quorum.now()
        try:
            await signer.state()
        except LedgerError as error:
            await quorum.missing(at)
            quorum.say(error.code)
            await asyncio.sleep(poll_s)
        else:
            return

"""Gives back numbers of this run whose records came to nothing, while the run goes on.

A number taken is a leaf promised. A server may refuse the record under it for good, as one of a
cluster does that has no leader for a moment: the submission comes again and takes another number.
Nobody else gives back what a run that lives has left open (`boots`).
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from broker.errors import BrokerError
from broker.gateway import record
from broker.gateway.decide import Decider
from broker.log.erasure import is_erasure
from broker.log.leaf import Statement
from broker.log.rebuilt import is_rebuilt
from broker.logs import get_logger
from keys.errors import TokenError

LOOK_S: Final = 5.0
MOST: Final = 4096  # numbers left at one time; what is submitted then waits
GONE: Final = "record-gone"
SETTLED_AFTER_S: Final = 20.0  # servers that change their leader have kept or dropped it by then
_log = get_logger()


@dataclass(frozen=True)
class _Left:
    subject: str
    statement: Statement
    since_s: float


@dataclass
class Leftovers:
    """Numbers of one run, taken by what failed.

    Attributes:
        check_heard: As `Boots.check_heard`; asked before a number is given back.
        steady: Seconds, never put right.
        most: Numbers left at one time.
    """

    decider: Decider
    trail: record.AuditTrail
    check_heard: Callable[[], None] = lambda: None
    steady: Callable[[], float] = time.monotonic
    most: int = MOST
    _left: dict[int, _Left] = field(default_factory=dict)
    _kept: Counter[str] = field(default_factory=Counter)  # As it was said last.

    def check_room(self) -> None:
        """Return unless too many numbers are left.

        Raises:
            BrokerError: `audit-unready`: the record takes nothing; ask again later.
        """
        if len(self._left) >= self.most:
            raise BrokerError("audit-unready", "the record takes nothing", retry="later")

    @contextmanager
    def minding(self, subject: str, statement: Statement) -> Iterator[None]:
        """Take the number of `statement` for settled after the block; if that fails, give it back.

        Args:
            subject: On which the record shall stand.
            statement: In the record.
        """
        try:
            yield
        except Exception:
            self._left[statement.seq] = _Left(subject, statement, self.steady())
            raise
        self.decider.settled(statement)

    async def give_back(self, statement: Statement) -> None:
        """Let the number of `statement` stand for nothing.

        Raises:
            BrokerError: It may, or may not; the same once more is how to know.
        """
        void = self.decider.void(statement)
        await self.trail.stand(record.void(statement), void.to_bytes())

    async def run(self) -> None:
        """Give back what is left, for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.settle()

    async def settle(self) -> None:
        """Give back once what was left long enough ago."""
        due = [e for e in self._left.values() if self.steady() - e.since_s >= SETTLED_AFTER_S]
        kept: Counter[str] = Counter()  # numbers, by why they cannot be given back
        for left in due:
            try:
                self.check_heard()
                what = await self._settle(left)
            except (BrokerError, TokenError) as error:  # the others do not wait for it
                kept[error.code] += 1
                continue
            self.decider.settled(left.statement)
            del self._left[left.statement.seq]
            _log.info("number-settled", seq=left.statement.seq, verdict=what)
        for code, count in kept.items() if kept != self._kept else ():
            _log.warning("numbers-not-given-back", count=count, error_code=code)
        self._kept = kept

    async def _settle(self, left: _Left) -> str:
        """Give the number back unless its leaf is there, or may be; return what became of it.

        Where the record was erased or lost meanwhile it may have been this one, and two leaves
        under a number would be a fraud. The log knows; it gives the number back once this worker
        was started again (`broker.ledger.holes`).
        """
        found = await self.trail.standing(left.subject)
        if found is not None and record.said_in(found) == left.statement:
            return "stands"
        if found is not None and (is_erasure(found) or is_rebuilt(found)):
            _log.error(GONE, seq=left.statement.seq, alarm=GONE)
            return "gone"
        await self.give_back(left.statement)
        return "void"

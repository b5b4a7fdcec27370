"""Gives back numbers of this run whose records came to nothing, while the run goes on.

A number taken is a leaf promised. A server may refuse the record under it for good, as one of a
cluster does that has no leader for a moment: the submission comes again and takes another number.
Nobody else gives back what a run that lives has left open (`boots`).
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from broker.errors import BrokerError
from broker.gateway import record
from broker.gateway.decide import Decider
from broker.log.leaf import SignedStatement, Statement
from broker.logs import get_logger
from keys.errors import TokenError

LOOK_S: Final = 5.0
SETTLED_AFTER_S: Final = 20.0  # servers that change their leader have kept or dropped it by then
_log = get_logger()


@dataclass(frozen=True)
class _Left:
    subject: str
    raw: bytes
    signed: SignedStatement
    since_s: float


@dataclass
class Leftovers:
    """Numbers of one run, taken by what failed.

    Attributes:
        check_heard: As `Boots.check_heard`; asked before a number is given back.
        steady: Seconds, never put right.
    """

    decider: Decider
    trail: record.AuditTrail
    check_heard: Callable[[], None] = lambda: None
    steady: Callable[[], float] = time.monotonic
    _left: dict[int, _Left] = field(default_factory=dict)

    @contextmanager
    def minding(self, subject: str, raw: bytes, signed: SignedStatement) -> Iterator[None]:
        """Take the number of `signed` for settled after the block, and give it back if that fails.

        Args:
            subject: On which the record shall stand.
            raw: The record.
            signed: The statement in it.
        """
        try:
            yield
        except Exception:
            self._left[signed.statement.seq] = _Left(subject, raw, signed, self.steady())
            raise
        self.decider.settled(signed.statement)

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
        for left in due:
            statement = left.signed.statement
            try:
                self.check_heard()
                stands = await self.trail.standing(left.subject) == left.raw
                if not stands:
                    await self.give_back(statement)
            except (BrokerError, TokenError) as error:  # the others do not wait for it
                _log.warning("number-not-given-back", seq=statement.seq, error_code=error.code)
                continue
            self.decider.settled(statement)
            del self._left[statement.seq]
            _log.info("number-given-back", seq=statement.seq, void=not stands)

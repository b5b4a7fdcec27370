"""Whether the clock of a process at the hub agrees with its server's: by a wrong one it must end.

What it decides is judged for ever by the time that it wrote. Ten minutes ahead, it refuses for good
what expires within them; ten behind, it puts off everything; and put right, it goes back in the
log, which auditors report, or may not grow until the time has passed. Between two questions to the
server, the clock that nobody can set shows a jump at once.

On one machine the server's clock is the same one: if that is wrong, the members' nodes notice.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from broker import clock
from broker.errors import BrokerError
from broker.logs import get_logger
from broker.transport.errors import Unreachable
from broker.transport.link import Link
from broker.transport.streams import EXPIRED_STREAM

MOST: Final = timedelta(minutes=5)  # as between nodes and hub
LOOK_S: Final = 1.0
ASK_S: Final = 10.0
PROMPT_S: Final = 30.0  # an answer that took longer says too little
CLOCK_WRONG: Final = "clock-wrong"
_log = get_logger()


async def server_time(link: Link) -> datetime:
    """Return what the server's clock shows.

    Args:
        link: On the hub's own account.

    Raises:
        TransportError: It did not answer.
    """
    page = await link.api("STREAM.LIST", {"subject": "expired.>"})
    for stream in page.get("streams") or ():
        if stream["config"]["name"] == EXPIRED_STREAM and "ts" in stream:
            return datetime.fromisoformat(stream["ts"])
    raise Unreachable("the server does not say its time")


@dataclass
class Timepiece:
    """This process's clock, held against its server's.

    Attributes:
        link: On the hub's own account.
        now: The clock that may be wrong.
        steady: Seconds of the one that nobody sets.
    """

    link: Link
    now: Callable[[], datetime] = clock.now
    steady: Callable[[], float] = time.monotonic
    _asked: tuple[datetime, float] | None = field(default=None, repr=False)  # The server's, then.
    _said: bool = field(default=False, repr=False)

    def ahead(self) -> timedelta:
        """Return how far this clock is ahead of the server's; zero before it was asked."""
        if self._asked is None:
            return timedelta(0)
        at, steady = self._asked
        return self.now() - at - timedelta(seconds=self.steady() - steady)

    def check(self) -> None:
        """Return if what is decided at this moment may carry this clock's time.

        Raises:
            BrokerError: `clock-wrong`: end the process; nothing is lost by that.
        """
        ahead = self.ahead()
        if abs(ahead) <= MOST:
            self._said = False
            return
        if not self._said:
            self._said = True
            _log.error(CLOCK_WRONG, alarm=CLOCK_WRONG, skew_s=int(ahead.total_seconds()))
        raise BrokerError(CLOCK_WRONG, "this clock is not the server's: set it", retry="later")

    def time(self) -> datetime:
        """Return what this clock shows, to be written down.

        Raises:
            BrokerError: As `check`.
        """
        self.check()
        return self.now()

    def is_right(self) -> bool:
        """Return whether `check` would return."""
        return abs(self.ahead()) <= MOST

    async def ask(self) -> None:
        """Ask the server for its time.

        Raises:
            TransportError: It did not answer.
        """
        before = self.steady()
        found = await server_time(self.link)
        after = self.steady()
        if after - before < PROMPT_S:
            self._asked = found, (before + after) / 2

    async def run(self) -> None:
        """Ask for ever; a server that does not answer leaves what was known.

        Raises:
            BrokerError: `clock-wrong`.
        """
        due = self.steady()
        while True:
            await asyncio.sleep(LOOK_S)
            self.check()
            if self.steady() < due:
                continue
            try:
                await self.ask()
            except BrokerError as error:
                _log.info("time-not-told", error_code=error.code)
            due = self.steady() + ASK_S

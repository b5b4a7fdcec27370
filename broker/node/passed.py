"""How late it is at the least, where no hub confirms this node's clock. Why so: docs/carry.md.

What the hub told or signed was said before now; and what a steady clock has counted since is over
too. So this only ever lags: by what a file was on its way, and by what this machine slept or was
off. Nobody moves it on by setting a clock.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.node.ids import from_ms, to_ms
from broker.store.database import Database
from broker.store.tables import meta

AT_LEAST: Final = "time-at-least"  # the name of its row
KEPT_EVERY: Final = timedelta(minutes=1)  # what a restart may lose of it


@dataclass
class Passed:
    """The lower bound of one node. Written by the tasks that hear of the hub's time.

    Attributes:
        steady: Seconds of a clock that nobody sets, and that stands still while a machine sleeps.
    """

    steady: Callable[[], float] = time.monotonic
    _known: datetime | None = field(default=None, repr=False)
    _since_s: float = field(default=0.0, repr=False)

    def learn(self, moment: datetime) -> None:
        """Note a moment that is over: somebody whom the region trusts to tell the time said so."""
        so_far = self.at_least()
        if so_far is None or moment > so_far:
            self._known, self._since_s = moment, self.steady()

    def at_least(self) -> datetime | None:
        """Return how late it is at the least; None if nobody ever said."""
        if self._known is None:
            return None
        return self._known + timedelta(seconds=self.steady() - self._since_s)

    def over(self, now: datetime, *, trusted: timedelta) -> datetime | None:
        """Return before which moment all is over for sure; None if that cannot be said.

        Args:
            now: This node's own clock.
            trusted: How far behind the bound it may be; one that is further behind is wrong, or
                the hub's is.
        """
        least = self.at_least()
        if least is None or least - now > trusted:
            return None
        return min(least, now)

    async def keep(self, database: Database) -> None:
        """Take in what another process or an earlier one knew, and keep what is known.

        Raises:
            StoreError: It was not kept.
        """
        await database.change(self._keep)

    async def _keep(self, connection: AsyncConnection) -> None:
        mine = meta.c.name == AT_LEAST
        found = (await connection.execute(select(meta.c.value).where(mine))).scalar_one_or_none()
        if found is not None:
            self.learn(from_ms(int(found)))
        if (least := self.at_least()) is None:
            return
        value = str(to_ms(least))
        if found is not None and least - from_ms(int(found)) < KEPT_EVERY:
            return
        if found is None:
            await connection.execute(insert(meta).values(name=AT_LEAST, value=value))
        else:
            await connection.execute(update(meta).where(mine).values(value=value))

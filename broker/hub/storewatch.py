"""Watches whether the servers still store, and has the hub's own started anew once there is room.

A stream that met a full disk takes nothing more, and does not even say so to who publishes: members
and gateways would try for ever, long after somebody made room. What was accepted before is kept,
and what was not is tried again by whoever has it. A server that others start is theirs to start
anew: that is said, and stays said until they did.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from broker.errors import BrokerError
from broker.hub.pulse import Pulse
from broker.logs import get_logger
from broker.transport.link import Link
from broker.transport.storing import ask_stores

LOOK_S: Final = 5.0
RENEW_S: Final = 20.0  # between two starts: it needs some of that, and the disk may be full again
ROOM_BYTES: Final = 8 * 1024 * 1024  # as much as the server's largest block of a stream
NOT_STORING: Final = "server-not-storing"
_log = get_logger()

Renew = Callable[[], Awaitable[None]]
"""Ends the hub's own server, which is started again by whoever watches over it."""


@dataclass
class StoreWatch:
    """Looks at each server of one hub.

    Attributes:
        system: On the system account.
        servers: Their names; one empty name for a server that others run alone.
        pulse: Takes what was seen.
        renew: None where others start the servers.
        has_room: Whether the hub's own server could write again.
        steady: Seconds of a clock that nobody sets.
    """

    system: Link
    servers: Sequence[str]
    pulse: Pulse
    renew: Renew | None = None
    has_room: Callable[[], bool] = lambda: False
    steady: Callable[[], float] = time.monotonic
    _renewed: float = field(default=float("-inf"))

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Ask each server once, and do what must be done; who does not answer stays as it was."""
        before = self.pulse.not_storing
        found = set(before)
        for server in self.servers:
            try:
                if await ask_stores(self.system, server):
                    found.discard(server)
                else:
                    found.add(server)
            except BrokerError as error:
                _log.debug("server-not-asked", server=server, error_code=error.code)
        self.pulse.not_storing = frozenset(found)
        for server in sorted(found - before):
            _log.error(NOT_STORING, server=server, alarm=NOT_STORING)
        for server in sorted(before - found):
            _log.warning("server-stores-again", server=server)
        if found and self.renew is not None:
            await self._renew(self.renew)

    async def _renew(self, renew: Renew) -> None:
        if self.steady() - self._renewed < RENEW_S or not await asyncio.to_thread(self.has_room):
            return
        _log.warning("server-renewed")
        await renew()
        self._renewed = self.steady()


def has_room(folder: Path) -> bool:
    """Return whether a file of `ROOM_BYTES` can be written into `folder`, down to its disk."""
    path = folder / ".room"
    try:
        with path.open("wb") as file:
            file.write(bytes(ROOM_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return False
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
    return True

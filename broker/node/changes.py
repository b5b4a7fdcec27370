"""Waking those who wait for something new, without a queue that could grow."""

import asyncio


class Changes:
    """A signal that something changed; what changed is read from the database."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def happened(self) -> None:
        """Wake everybody who waits."""
        self._next.set()
        self._next = asyncio.Event()

    def ticket(self) -> asyncio.Event:
        """Return what the next change sets. Take it before looking, so that none is missed."""
        return self._next


async def wait_for_change(ticket: asyncio.Event, limit_s: float) -> None:
    """Return once `ticket` was set, or after `limit_s` seconds."""
    try:
        async with asyncio.timeout(limit_s):
            await ticket.wait()
    except TimeoutError:
        return

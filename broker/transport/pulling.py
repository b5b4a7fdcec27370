"""The pulls of one consumer on one connection, one after the other, through one inbox.

A message that arrives after its pull gave up is in nobody's way: the next pull returns it.
"""

import asyncio
import json
from collections import deque
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg

from broker.transport.pace import Pace

MARGIN_S: Final = 2.0  # beyond the server's own time limit, so that no message is left behind
NO_WAIT_S: Final = 2.0  # for what is there at once


class Puller:
    """Asks for messages of one consumer. Owned by one event loop."""

    def __init__(self, client: Client, stream: str, durable: str, pace: Pace) -> None:
        """Take a client that is connected; nothing is subscribed yet."""
        self._client = client
        self._pace = pace
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
        self._inbox = client.new_inbox()
        self._begun = False
        self._pulls = 0
        self._batch = 0  # For how many the pull that runs waits.
        self._came: deque[Msg] = deque()
        self._said: Msg | None = None  # What the server said of the pull that runs: no more.
        self._news = asyncio.Event()
        self._one = asyncio.Lock()

    async def at_once(self, batch: int) -> tuple[list[Msg], Msg | None]:
        """Return up to `batch` messages that are there, and what the server said of the rest."""
        return await self._pull({"batch": batch, "no_wait": True}, batch, NO_WAIT_S)

    async def next(self, timeout_s: float) -> tuple[list[Msg], Msg | None]:
        """Return the first message to come within `timeout_s`, or what the server said if none."""
        return await self._pull({"batch": 1, "expires": int(timeout_s * 1e9)}, 1, timeout_s)

    def lost(self) -> None:
        """Let go who waits: the connection is gone."""
        self._news.set()

    async def _pull(
        self, body: dict[str, object], batch: int, limit_s: float
    ) -> tuple[list[Msg], Msg | None]:
        async with self._one:
            self._said = None
            if not self._begun:
                await self._client.subscribe(f"{self._inbox}.*", cb=self._arrived)
                self._begun = True
            if not self._came:
                await self._asked(body, batch, limit_s)
            found = [self._came.popleft() for _ in range(min(batch, len(self._came)))]
            return found, self._said

    async def _asked(self, body: dict[str, object], batch: int, limit_s: float) -> None:
        self._pulls += 1
        self._batch = batch
        self._news.clear()
        timer = asyncio.get_running_loop().call_later(
            limit_s + self._pace.limit_s(MARGIN_S), self._news.set
        )
        try:
            await self._client.publish(
                self._subject, json.dumps(body).encode(), reply=f"{self._inbox}.{self._pulls}"
            )
            await self._news.wait()
        finally:
            timer.cancel()

    async def _arrived(self, message: Msg) -> None:
        """Take a message of the stream, whose subject is its own, or word of the server's."""
        if message.reply.startswith("$JS.ACK"):
            self._came.append(message)
            if len(self._came) >= self._batch:
                self._news.set()
        elif message.subject == f"{self._inbox}.{self._pulls}":
            self._said = message
            self._news.set()

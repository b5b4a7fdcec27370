"""Queues that are filled before the clock runs, and how long it takes until they are empty."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from broker.transport.link import Link
from tests.bench.stage import Stage, cpu_s

TOGETHER: Final = 200  # messages published at one time while a queue is filled
LIMIT_S: Final = 600.0
Message = tuple[str, bytes, str]
"""Subject, payload, and the id by which the server knows it again."""


@dataclass(frozen=True)
class Backlog:
    """Messages that wait in one queue; its consumer hands out nothing until `let_go`.

    The last message is kept back: a pull that waits at a paused consumer is not told that the
    pause is over, and would wait until it ends by itself, which is up to three seconds that say
    nothing of whoever pulls (tried with nats-server 2.12). A message that arrives wakes it.

    Attributes:
        messages: Two at least.
    """

    link: Link
    stream: str
    consumer: str
    messages: Sequence[Message]

    async def fill(self) -> None:
        """Pause the consumer and publish all but the last."""
        until = datetime.now(UTC) + timedelta(hours=1)  # noqa: TID251 - the edge
        await self._pause({"pause_until": until.strftime("%Y-%m-%dT%H:%M:%SZ")})
        await fill(self.link, self.messages[:-1])

    async def let_go(self) -> None:
        """Let the consumer hand out everything from now on."""
        await self._pause({})
        await fill(self.link, self.messages[-1:])

    async def _pause(self, body: dict[str, str]) -> None:
        await self.link.api(f"CONSUMER.PAUSE.{self.stream}.{self.consumer}", body)


@dataclass(frozen=True)
class Took:
    """What it took until queues were empty, in seconds: by the clock, and of the server's time."""

    seconds: float
    server_s: float


async def drain_all(stage: Stage, queues: Sequence[Backlog]) -> Took:
    """Fill, let go, and return once nothing is left; whoever pulls runs already."""
    for queue in queues:
        await queue.fill()
    server, start = cpu_s(stage.server_pid), time.perf_counter()
    for queue in queues:
        await queue.let_go()
    await drained(stage, *(queue.stream for queue in queues))
    return Took(time.perf_counter() - start, cpu_s(stage.server_pid) - server)


async def drained(stage: Stage, *streams: str) -> None:
    """Return once nothing in these queues is unacknowledged; asks for one of them at a time."""
    for stream in streams:

        async def none_left(stream: str = stream) -> bool:
            return not await stage.messages(stream)

        await stage.until(none_left, limit_s=LIMIT_S)


async def fill(link: Link, waiting: Sequence[Message]) -> None:
    """Publish each, many at a time."""
    for start in range(0, len(waiting), TOGETHER):
        async with asyncio.TaskGroup() as group:
            for subject, payload, msg_id in waiting[start : start + TOGETHER]:
                group.create_task(
                    link.publish_acked(subject, payload, msg_id=msg_id, timeout_s=LIMIT_S)
                )

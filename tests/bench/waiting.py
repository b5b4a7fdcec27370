"""Queues that are filled before the clock runs, and how long it takes until they are empty."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from broker.transport.link import Link
from tests.bench.stage import Stage, cpu_s

TOGETHER: Final = 200  # messages published at one time while a queue is filled
LIMIT_S: Final = 600.0
Message = tuple[str, bytes, str]
"""Subject, payload, and the id by which the server knows it again."""


@asynccontextmanager
async def held(link: Link, stream: str, consumer: str) -> AsyncIterator[None]:
    """Let a consumer hand out nothing while the block runs, however that ends."""
    until = datetime.now(UTC) + timedelta(hours=6)  # noqa: TID251 - the edge
    subject = f"CONSUMER.PAUSE.{stream}.{consumer}"
    await link.api(subject, {"pause_until": until.strftime("%Y-%m-%dT%H:%M:%SZ")})
    try:
        yield
    finally:
        await link.api(subject, {})


@dataclass(frozen=True)
class Backlog:
    """Messages that wait in one queue until all of them are there.

    The last message is kept back: a pull that waits at a paused consumer is not told that the
    pause is over, and would wait until it ends by itself, which is up to three seconds that say
    nothing of whoever pulls (nats-server 2.15.1). A message that arrives wakes it.

    Attributes:
        messages: Two at least.
    """

    stream: str
    consumer: str
    messages: Sequence[Message]


@dataclass(frozen=True)
class Took:
    """What it took until queues were empty.

    Attributes:
        seconds: By the clock.
        spent_s: Of processor, by each process that was asked about.
    """

    seconds: float
    spent_s: Mapping[int, float]


async def drain_all(stage: Stage, queues: Sequence[Backlog], *pids: int) -> Took:
    """Fill, let go, and return once nothing is left; whoever pulls runs already."""
    async with AsyncExitStack() as stack:
        for queue in queues:
            await stack.enter_async_context(held(stage.hub, queue.stream, queue.consumer))
            await fill(stage.hub, queue.messages[:-1])
        before, start = {pid: cpu_s(pid) for pid in pids}, time.perf_counter()
    for queue in queues:
        await fill(stage.hub, queue.messages[-1:])
    await drained(stage, *(queue.stream for queue in queues))
    seconds = time.perf_counter() - start
    return Took(seconds, {pid: cpu_s(pid) - before[pid] for pid in pids})


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

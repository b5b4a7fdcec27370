"""(e) A node drains what waited for it, and (f) a desk reads what it missed."""

import asyncio
import time

from broker.transport.streams import inbox_of
from schemas.vocabulary import Lane
from tests.bench.cores import READER, SENDER, primitives
from tests.bench.making import deliveries
from tests.bench.results import Goal, Part, Row
from tests.bench.stage import Stage, cpu_s, rss_mib
from tests.bench.waiting import Backlog, drained

LIMIT_S = 900.0
TRIES = 200  # of each primitive


async def measure(stage: Stage, *, count: int, first: int) -> tuple[Part, Part]:
    """Drain, then read.

    Args:
        stage: Where.
        count: Alerts that wait.
        first: The sender's number of the first; the node's database may be an older one.
    """
    stream = inbox_of(READER, Lane.NORMAL)
    crypto = primitives(TRIES)
    both = crypto.receiving + crypto.answering
    made = deliveries(stage.region, SENDER, READER, count, first=first)
    waiting = [(one.subject, one.raw, one.digest.hex()) for one in made]
    mail = Backlog(stage.hub, stream, str(Lane.NORMAL), waiting)
    await mail.fill()
    async with stage.gateway(), stage.node(READER) as pid, stage.desk(READER) as desk:
        before = (await desk.node_status()).last_position
        spent, start = cpu_s(pid), time.perf_counter()
        await mail.let_go()
        await drained(stage, stream)
        seconds, spent = time.perf_counter() - start, cpu_s(pid) - spent
        peak = rss_mib(pid, "VmHWM")
        start = time.perf_counter()
        async with asyncio.timeout(LIMIT_S), desk.subscribe(since=before) as subscription:
            for _ in range(count):
                await anext(subscription)
        reading = time.perf_counter() - start
    await stage.empty()
    drain = Part(
        "e",
        f"A node drains {count:,} alerts that waited",
        rows=[
            Row("receiver's primitives on one core", round(1 / crypto.receiving, 1), "alerts/s"),
            Row("the same and those of its answer: both", round(1 / both, 1), "alerts/s"),
            Row(
                "drained: opened, stored, answered",
                round(count / seconds, 1),
                "alerts/s",
                Goal(crypto.receiving * count / seconds, 0.7, "of the primitives"),
            ),
            Row(
                "per second of the node's processor",
                round(count / spent, 1),
                "alerts/s",
                Goal(both * count / spent, 0.7, "of both"),
            ),
            Row("node's memory at most", peak, "MiB"),
        ],
    )
    read = Part(
        "f",
        f"A subscriber {count:,} alerts behind",
        rows=[
            Row("read by the SDK's subscription", round(count / reading, 1), "alerts/s"),
            Row("until it has caught up", round(reading, 1), "s"),
        ],
    )
    return drain, read

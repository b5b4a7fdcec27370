"""(e) A node drains what waited for it, and (f) a desk reads what it missed."""

import asyncio
import time

from broker.client import Client
from broker.transport.streams import inbox_of
from schemas.vocabulary import Lane
from tests.bench.cores import READER, SENDER, primitives
from tests.bench.making import sealed
from tests.bench.results import Goal, Part, Row
from tests.bench.stage import Stage, cpu_s, rss_mib
from tests.bench.waiting import TOGETHER, drained, fill

LIMIT_S = 900.0
TRIES = 200  # of each primitive


async def measure(stage: Stage, *, count: int, first: int) -> tuple[Part, Part]:
    """Let a node be away while alerts are decided; then let it drain, and a desk read.

    Args:
        stage: Where.
        count: Alerts that wait.
        first: The sender's number of the first; the node's database may be an older one.
    """
    inbox = inbox_of(READER, Lane.NORMAL)
    crypto = primitives(TRIES)
    both = crypto.receiving + crypto.answering
    async with stage.gateway():
        async with stage.node(READER), stage.desk(READER) as desk:
            before = (await desk.node_status()).last_position
        await _decided(stage, count, first)
        waited = await stage.messages(inbox)
        if waited != count:
            raise RuntimeError(f"{waited} of {count} alerts wait for the node")
        away = time.perf_counter()
        async with stage.node(READER) as pid:
            left, start, spent = await stage.messages(inbox), time.perf_counter(), cpu_s(pid)
            await drained(stage, inbox)
            seconds, spent = time.perf_counter() - start, cpu_s(pid) - spent
            peak = rss_mib(pid, "VmHWM")
            async with stage.desk(READER) as desk:
                await drained(stage, f"SUBMIT_{READER}")  # of its answers
                begun = time.perf_counter()
                await _read(desk, before, count)
                reading = time.perf_counter() - begun
    await stage.empty()
    drain = Part(
        "e",
        f"A node drains {count:,} alerts that were decided while it was away",
        rows=[
            Row("receiver's primitives on one core", round(1 / crypto.receiving, 1), "alerts/s"),
            Row("the same and those of its answer: both", round(1 / both, 1), "alerts/s"),
            Row(
                "drained: opened, stored, answered",
                round(left / seconds, 1),
                "alerts/s",
                Goal(crypto.receiving * left / seconds, 0.7, "of the primitives"),
            ),
            Row(
                "per second of the node's processor",
                round(left / spent, 1),
                "alerts/s",
                Goal(both * left / spent, 0.7, "of both"),
            ),
            Row("from its start until desks could ask", round(start - away, 1), "s"),
            Row("node's memory at most", peak, "MiB"),
        ],
        notes=[
            f"{left:,} of them were left when desks could ask; those are counted",
            "the gateway carries the answers meanwhile, on the same cores",
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


async def _decided(stage: Stage, count: int, first: int) -> None:
    """Have alerts sealed by their sender decided by the gateway."""
    for start in range(first, first + count, TOGETHER):
        numbers = range(start, min(start + TOGETHER, first + count))
        made = [sealed(stage.region, SENDER, (READER,), counter=at) for at in numbers]
        await fill(stage.hub, [(one.subject, one.raw, one.digest.hex()) for one in made])
    await drained(stage, f"SUBMIT_{SENDER}")


async def _read(desk: Client, since: int, count: int) -> None:
    async with asyncio.timeout(LIMIT_S), desk.subscribe(since=since) as subscription:
        for _ in range(count):
            await anext(subscription)

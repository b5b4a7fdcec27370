"""(d) Eleven members, each sending to all others: nodes, gateway and server on one machine."""

import asyncio
import time
from contextlib import AsyncExitStack

from broker.client import Client
from tests.bench.cores import request
from tests.bench.results import Part, Row
from tests.bench.stage import Stage

LIMIT_S = 900.0
LOOK_S = 0.1  # ten questions a second, to one node: who looks takes of what is measured


async def measure(stage: Stage, *, each: int) -> Part:
    """Everybody sends at once; done when every inbox has everything.

    Args:
        stage: Where.
        each: Alerts that each member sends.
    """
    codes = stage.region.codes
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(stage.gateway())
        async with asyncio.TaskGroup() as group:
            starting = [
                group.create_task(stack.enter_async_context(stage.node(code))) for code in codes
            ]
        del starting
        desks = {code: await stack.enter_async_context(stage.desk(code)) for code in codes}
        before = {code: await _last(desk) for code, desk in desks.items()}
        start = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for code, desk in desks.items():
                others = tuple(other for other in codes if other != code)
                group.create_task(_send(desk, others, each))
        wanted = each * (len(codes) - 1)
        for code, desk in desks.items():  # one after the other: the last is there when all are

            async def has_all(desk: Client = desk, last: int = before[code] + wanted) -> bool:
                return await _last(desk) >= last

            await stage.until(has_all, limit_s=LIMIT_S, look_s=LOOK_S)
        seconds = time.perf_counter() - start
    await stage.empty()
    alerts, copies = each * len(codes), wanted * len(codes)
    return Part(
        "d",
        f"{len(codes)} members, each sending to all others, one gateway worker",
        rows=[
            Row("alerts, sent to stored everywhere", round(alerts / seconds, 1), "alerts/s"),
            Row("copies opened, judged, stored", round(copies / seconds, 1), "copies/s"),
            Row("from the first send until all are there", round(seconds, 1), "s"),
        ],
        notes=[f"{alerts} alerts, {copies} copies; all processes share this machine's cores"],
    )


async def _send(desk: Client, to: tuple[str, ...], count: int) -> None:
    for _ in range(count):
        await desk.send(request(to))


async def _last(desk: Client) -> int:
    return (await desk.node_status()).last_position

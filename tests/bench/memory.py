"""(g) What a gateway worker and the server hold in memory while labels go through by thousands."""

from tests.bench.gateways import carry, makers_of
from tests.bench.results import Goal, Part, Row
from tests.bench.stage import Stage, rss_mib

AT_ONCE = 2000
FLAT = 1.1  # times what the worker held after the first tenth


async def measure(stage: Stage, *, labels: int) -> Part:
    """Let `labels` envelopes through, and look at memory after each part."""
    makers = makers_of(stage.region)
    some = min(AT_ONCE, labels // 10)
    worker, server = [], []
    async with stage.gateway() as pid:
        for _ in range(10 * max(1, labels // (10 * some))):
            await carry(stage, makers, some)
            worker.append(rss_mib(pid))
            server.append(rss_mib(stage.server_pid))
    tenth = worker[max(0, len(worker) // 10 - 1)]
    return Part(
        "g",
        f"Memory, {len(worker) * some:,} labels through one worker",
        rows=[
            Row("gateway worker after a tenth of them", tenth, "MiB"),
            Row(
                "gateway worker at the end",
                worker[-1],
                "MiB",
                Goal(worker[-1] / tenth, FLAT, "of that", at_most=True),
            ),
            Row("nats-server at the end", server[-1], "MiB"),
        ],
        points=[(str((at + 1) * some), value) for at, value in enumerate(worker)],
    )

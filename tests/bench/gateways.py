"""(a) What a gateway carries in a second, against the bare loop on the same server."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import islice

from tests.bench import bare
from tests.bench.making import Envelope, relabelled
from tests.bench.region import BenchRegion
from tests.bench.results import Goal, Part, Row, rate
from tests.bench.stage import Stage
from tests.bench.waiting import Backlog, Took, drain_all

SENDERS = ("SG", "MY", "PH", "KH")  # one lane of each is full
LANE = "normal"
Makers = Mapping[str, Iterator[Envelope]]


async def measure(stage: Stage, *, count: int, rounds: int) -> Part:
    """Bare loop, one worker and two, in turn.

    Args:
        stage: Where.
        count: Alerts in each round.
        rounds: How often.
    """
    makers = makers_of(stage.region)
    took: dict[str, list[float]] = {"bare": [], "one": [], "two": []}
    spent: dict[str, list[float]] = {"bare": [], "one": [], "server": []}
    for _ in range(rounds):
        async with _bare_loop(stage) as pid:
            done = await _bare_round(stage, makers, count, pid)
            took["bare"].append(done.seconds)
            spent["bare"].append(done.spent_s[pid])
        async with stage.gateway(1) as pid:
            done = await carry(stage, makers, count, pid, stage.server_pid)
            took["one"].append(done.seconds)
            spent["one"].append(done.spent_s[pid])
            spent["server"].append(done.spent_s[stage.server_pid])
            async with stage.gateway(2):
                took["two"].append((await carry(stage, makers, count)).seconds)
    loop, one, two = (rate(count, took[name]) for name in took)
    loop_cpu, one_cpu, server_cpu = (rate(count, spent[name]) for name in spent)
    return Part(
        "a",
        "Gateway, 1 KiB alerts to 3 recipients",
        rows=[
            Row("bare loop: verify, sign, publish 3 + audit, ack", loop, "alerts/s"),
            Row("our gateway, one worker", one, "alerts/s", Goal(one / loop, 0.8, "of bare")),
            Row("our gateway, two workers", two, "alerts/s", Goal(two / one, 1.6, "of one")),
            Row("bare loop, per second of processor", loop_cpu, "alerts/s"),
            Row(
                "our worker, per second of processor",
                one_cpu,
                "alerts/s",
                Goal(one_cpu / loop_cpu, 0.8, "of bare"),
            ),
            Row("nats-server with one worker, likewise", server_cpu, "alerts/s"),
        ],
        notes=[
            "per second of processor: of that process alone, which other load disturbs less",
            "server, workers and who fills the queues share this machine's cores",
        ],
    )


def makers_of(region: BenchRegion) -> Makers:
    """Envelopes of every sender to the three members that follow it."""
    return {code: relabelled(region, code, after(region.codes, code)) for code in SENDERS}


def after(codes: Sequence[str], sender: str, count: int = 3) -> tuple[str, ...]:
    """The members that follow `sender` in a ring."""
    at = codes.index(sender)
    return tuple(codes[(at + step) % len(codes)] for step in range(1, count + 1))


async def carry(stage: Stage, makers: Makers, count: int, *pids: int) -> Took:
    """What it took the workers that run to carry `count` alerts that wait."""
    share = count // len(SENDERS)
    queues = [
        Backlog(
            f"SUBMIT_{code}",
            f"GATEWAY-{LANE}",
            [(one.subject, one.raw, one.digest.hex()) for one in islice(makers[code], share)],
        )
        for code in SENDERS
    ]
    took = await drain_all(stage, queues, *pids)
    await stage.empty()
    return took


@asynccontextmanager
async def _bare_loop(stage: Stage) -> AsyncIterator[int]:
    path = stage.region.folder / "bare.json"
    bare.write_credentials(stage.credentials, path)
    async with stage.python("tests.bench.bare", str(path)) as pid:
        await stage.until(lambda: _served(stage))
        yield pid


async def _served(stage: Stage) -> bool:
    found = await stage.hub.api(f"CONSUMER.INFO.{bare.SUBMIT}.{bare.QUEUE}", {})
    return int(found["num_waiting"]) >= bare.LOOPS


async def _bare_round(stage: Stage, makers: Makers, count: int, pid: int) -> Took:
    made = [one for code in SENDERS for one in islice(makers[code], count // len(SENDERS))]
    await stage.purge(bare.AUDIT, *bare.INBOXES)
    waiting = [
        (f"bare.submit.{ident}", bare.signed(one.raw), ident)
        for ident, one in zip((one.digest.hex() for one in made), made, strict=True)
    ]
    return await drain_all(stage, [Backlog(bare.SUBMIT, bare.QUEUE, waiting)], pid)

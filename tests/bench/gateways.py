"""(a) What a gateway carries in a second, against the bare loop on the same server."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import islice

from broker.transport.link import Link
from tests.bench import bare
from tests.bench.making import Envelope, relabelled
from tests.bench.region import BenchRegion
from tests.bench.results import Goal, Part, Row, rate
from tests.bench.stage import Stage, cpu_s

SENDERS = ("SG", "MY", "PH", "KH")  # one lane of each is full
LANE = "normal"
TOGETHER = 200  # submissions published at one time while a queue is filled
LIMIT_S = 600.0
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
    spent: dict[str, list[float]] = {"bare": [], "one": []}
    for _ in range(rounds):
        async with _bare_loop(stage) as pid:
            before = cpu_s(pid)
            took["bare"].append(await _bare_round(stage, makers, count))
            spent["bare"].append(cpu_s(pid) - before)
        async with stage.gateway(1) as pid:
            before = cpu_s(pid)
            took["one"].append(await carry(stage, makers, count))
            spent["one"].append(cpu_s(pid) - before)
            async with stage.gateway(2):
                took["two"].append(await carry(stage, makers, count))
    loop, one, two = (rate(count, took[name]) for name in took)
    loop_cpu, one_cpu = (rate(count, spent[name]) for name in spent)
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
        ],
        notes=["per second of processor: of that process alone, which other load disturbs less"],
    )


def makers_of(region: BenchRegion) -> Makers:
    """Envelopes of every sender to the three members that follow it."""
    return {code: relabelled(region, code, after(region.codes, code)) for code in SENDERS}


def after(codes: Sequence[str], sender: str, count: int = 3) -> tuple[str, ...]:
    """The members that follow `sender` in a ring."""
    at = codes.index(sender)
    return tuple(codes[(at + step) % len(codes)] for step in range(1, count + 1))


async def carry(stage: Stage, makers: Makers, count: int) -> float:
    """Seconds in which the workers that run carry `count` alerts that wait."""
    made = [one for code in SENDERS for one in islice(makers[code], count // len(SENDERS))]
    for code in SENDERS:
        await stage.hold(f"SUBMIT_{code}", f"GATEWAY-{LANE}")
    await fill(stage.hub, [(one.subject, one.raw, one.digest.hex()) for one in made])
    start = time.perf_counter()
    for code in SENDERS:
        await stage.let_go(f"SUBMIT_{code}", f"GATEWAY-{LANE}")
    await drained(stage, *(f"SUBMIT_{code}" for code in SENDERS))
    seconds = time.perf_counter() - start
    await stage.empty()
    return seconds


async def fill(link: Link, waiting: Sequence[tuple[str, bytes, str]]) -> None:
    """Publish subject, payload and message id of each, many at a time."""
    for start in range(0, len(waiting), TOGETHER):
        async with asyncio.TaskGroup() as group:
            for subject, payload, msg_id in waiting[start : start + TOGETHER]:
                group.create_task(
                    link.publish_acked(subject, payload, msg_id=msg_id, timeout_s=LIMIT_S)
                )


async def drained(stage: Stage, *streams: str) -> None:
    """Return once nothing in these queues is unacknowledged."""

    async def none_left() -> bool:
        return not any([await stage.messages(stream) for stream in streams])

    await stage.until(none_left, limit_s=LIMIT_S)


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


async def _bare_round(stage: Stage, makers: Makers, count: int) -> float:
    made = [one for code in SENDERS for one in islice(makers[code], count // len(SENDERS))]
    await stage.hold(bare.SUBMIT, bare.QUEUE)
    await stage.purge(bare.AUDIT, *bare.INBOXES)
    ids = [one.digest.hex() for one in made]
    await fill(
        stage.hub,
        [
            (f"bare.submit.{ident}", bare.signed(one.raw), ident)
            for ident, one in zip(ids, made, strict=True)
        ],
    )
    start = time.perf_counter()
    await stage.let_go(bare.SUBMIT, bare.QUEUE)
    await drained(stage, bare.SUBMIT)
    return time.perf_counter() - start

"""(b) From `send` at one desk to verified plaintext at another, against a bare publish and pull.

Bare: the same sealed bytes, published to a stream and pulled from it by nats-py itself, over the
same server and TLS. Ours: draft, officer's signature, outbox, seal, gateway, inbox, open, policy,
stored, and the subscription of the recipient's desk. Unloaded, the next alert is sent when nothing
is under way any more. Half load is half of what goes through when as many alerts as fit are under
way; the bare pair is then given the same rate, which is little for it. The first message of each
desk and of the bare pair is not counted: processes import and compile what they need for it.

A node bounds how often one desk may ask, which is less than it can answer: so desks send in turn,
and the part is not measured if the node puts off one of them all the same.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle

from nats.errors import TimeoutError as NATSTimeoutError
from nats.js import JetStreamContext

from broker.cli.admin.processes import spare_what_stays
from broker.client import OutcomeUnknown, Unavailable
from broker.client.subscription import Subscription
from broker.transport.streams import inbox_of
from schemas.vocabulary import Lane
from tests.bench import bare
from tests.bench.cores import request
from tests.bench.making import sealed
from tests.bench.region import DESKS
from tests.bench.results import Goal, Part, Row, quantile
from tests.bench.stage import Desks, Stage
from tests.bench.waiting import drained

SENDER, READER = "SG", "MY"
SUBJECT = "bare.deliver.0"
UNDER_WAY = 16  # when the line is full
LIMIT_S = 300.0
ENOUGH = 200  # values, for a p99: one lies beyond it
PAUSE_S = 0.02  # between two alerts, when nothing is under way
Send = Callable[[], Awaitable[None]]


class PutOffError(Exception):
    """A desk was to ask again later: what is measured would be that wait."""

    def __init__(self, code: str) -> None:
        super().__init__(f"the node put a desk off ({code}), so that is what would be measured")


@dataclass
class Arrivals:
    """When each message was sent, and how long it took."""

    sent: dict[str, float] = field(default_factory=dict)
    took_s: list[float] = field(default_factory=list)
    _early: dict[str, float] = field(default_factory=dict)  # Arrived before its id was known here.
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def began(self, ident: str, at: float) -> None:
        self.sent[ident] = at
        if ident in self._early:
            self.arrived(ident, self._early.pop(ident))

    def arrived(self, ident: str, at: float) -> None:
        if ident not in self.sent:
            self._early[ident] = at
            return
        self.took_s.append(at - self.sent.pop(ident))
        self._news.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(LIMIT_S):
            while len(self.took_s) < count:
                self._news.clear()
                await self._news.wait()


async def measure(stage: Stage, *, count: int) -> Part:
    """Unloaded, then full, then at half of that.

    Args:
        stage: With the bare streams.
        count: Alerts of each.
    """
    async with (
        stage.gateway(),
        stage.node(SENDER),
        stage.node(READER),
        stage.desks(SENDER, patience_s=0) as desks,
        stage.desk(READER) as reader,
    ):
        spare_what_stays()  # else looking for cycles takes this process 0.1 s at a time
        ours = Arrivals()
        async with _reading(reader.subscribe(since=0), ours):
            send = sender(desks, ours)
            await _one_by_one(ours, send, len(desks), lambda: _over(stage))
            alone = await _one_by_one(ours, send, count, lambda: _over(stage))
            rate = await _full(ours, send, count)
            half = await _paced(ours, send, count, rate / 2)
        async with _bare_pair(stage) as (plain, publish):
            await _one_by_one(plain, publish, 1, _pause)
            bare_alone = await _one_by_one(plain, publish, count, _pause)
            bare_half = await _paced(plain, publish, count, rate / 2)
    await stage.empty()
    return Part(
        "b",
        "Latency, one recipient",
        rows=[
            *_rows("unloaded", bare_alone, alone),
            *_rows("half load", bare_half, half),
            Row("ours, full: desk to desk", round(rate, 1), "alerts/s"),
        ],
        notes=[
            f"half load is {rate / 2:.0f} alerts/s, of the bare pair too",
            f"{DESKS} desks send in turn",
        ],
        points=[
            (f"{name} {quantile_name}", round(quantile(values, share) * 1000, 2))
            for name, values in (
                ("bare, unloaded,", bare_alone),
                ("ours, unloaded,", alone),
                ("bare, half load,", bare_half),
                ("ours, half load,", half),
            )
            for quantile_name, share, _ in quantiles(count)
        ],
    )


def quantiles(count: int) -> tuple[tuple[str, float, float], ...]:
    """What is told of `count` values: a name, the share below it, and the goal.

    Of fewer than two hundred, what would be called p99 is the largest of all.
    """
    return (("p50", 0.5, 3.0), ("p99" if count >= ENOUGH else "max", 0.99, 5.0))


def _rows(when: str, plain: Sequence[float], ours: Sequence[float]) -> list[Row]:
    rows = []
    for name, share, wanted in quantiles(len(ours)):
        bare_ms, ours_ms = (quantile(each, share) * 1000 for each in (plain, ours))
        goal = Goal(ours_ms / bare_ms, wanted, "of bare", at_most=True)
        rows.append(Row(f"bare publish -> pull, {when}, {name}", round(bare_ms, 2), "ms"))
        rows.append(Row(f"send -> plaintext, {when}, {name}", round(ours_ms, 2), "ms", goal))
    return rows


def sender(desks: Desks, arrivals: Arrivals) -> Send:
    """What sends from one desk after the other.

    It raises:
        PutOffError: The node did not answer a desk at once.
    """
    turns = cycle(desks)

    async def send() -> None:
        desk, asked = next(turns), request((READER,))
        start = time.perf_counter()
        try:
            submission = await desk.send(asked)
        except Unavailable as error:
            raise PutOffError(error.code) from error
        except OutcomeUnknown as error:
            raise PutOffError(error.told) from error
        arrivals.began(str(submission.alert_id), start)

    return send


async def _one_by_one(arrivals: Arrivals, send: Send, count: int, rest: Send) -> list[float]:
    arrivals.took_s.clear()
    for done in range(count):
        await rest()
        await send()
        await arrivals.until(done + 1)
    return list(arrivals.took_s)


async def _over(stage: Stage) -> None:
    """Return when nothing is under way any more: receipts, answers and their receipts too."""
    for code in (SENDER, READER):
        inboxes = (inbox_of(code, lane) for lane in Lane)
        await drained(stage, f"SUBMIT_{code}", f"RECEIPT_{code}", *inboxes)
    await _pause()


async def _pause() -> None:
    await asyncio.sleep(PAUSE_S)


async def _full(arrivals: Arrivals, send: Send, count: int) -> float:
    """How many go through in a second when the line is full."""
    arrivals.took_s.clear()
    start = time.perf_counter()

    async def some(share: int) -> None:
        for _ in range(share):
            await send()

    async with asyncio.TaskGroup() as group:
        for _ in range(UNDER_WAY):
            group.create_task(some(max(1, count // UNDER_WAY)))
    sent = UNDER_WAY * max(1, count // UNDER_WAY)
    await arrivals.until(sent)
    return sent / (time.perf_counter() - start)


async def _paced(arrivals: Arrivals, send: Send, count: int, per_s: float) -> list[float]:
    """Sent by the clock, whether or not the one before has arrived."""
    arrivals.took_s.clear()
    loop = asyncio.get_running_loop()
    start = loop.time()
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            await asyncio.sleep(max(0.0, start + number / per_s - loop.time()))
            group.create_task(send())
    await arrivals.until(count)
    return list(arrivals.took_s)


@asynccontextmanager
async def _reading(subscription: Subscription, arrivals: Arrivals) -> AsyncIterator[None]:
    async def read() -> None:
        async with subscription:
            async for item in subscription:
                if item.alert is not None:
                    arrivals.arrived(str(item.shown.alert_id), time.perf_counter())

    async with _beside(read()):
        yield


@asynccontextmanager
async def _bare_pair(stage: Stage) -> AsyncIterator[tuple[Arrivals, Send]]:
    arrivals = Arrivals()
    raw = sealed(stage.region, SENDER, (READER,)).raw
    publisher, puller = [await bare.connected(stage.credentials) for _ in range(2)]
    await stage.purge(bare.INBOXES[0])
    stream, numbers = publisher.jetstream(), iter(range(10**9))
    pulling = await puller.jetstream().pull_subscribe(
        f"{SUBJECT}.>", durable="latency", stream=bare.INBOXES[0]
    )

    async def publish() -> None:
        ident = str(next(numbers))
        arrivals.began(ident, time.perf_counter())
        await stream.publish(f"{SUBJECT}.{ident}", raw, headers={"Nats-Msg-Id": ident})

    try:
        async with _beside(_pulling(pulling, arrivals)):
            yield arrivals, publish
    finally:
        for client in (publisher, puller):
            await client.close()


async def _pulling(pulling: JetStreamContext.PullSubscription, arrivals: Arrivals) -> None:
    while True:
        with suppress(NATSTimeoutError):
            for message in await pulling.fetch(1, timeout=5):
                arrivals.arrived(message.subject.rpartition(".")[2], time.perf_counter())
                await message.ack()


@asynccontextmanager
async def _beside(work: Awaitable[None]) -> AsyncIterator[None]:
    """Do `work` as long as the block runs; what it raises ends the block."""
    async with asyncio.TaskGroup() as group:

        async def until_cancelled() -> None:
            await work

        task = group.create_task(until_cancelled())
        yield
        task.cancel()

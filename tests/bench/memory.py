"""(g) What a gateway worker, a node that receives and one that sends hold while mail goes through.

Round after round; memory is looked at when a round is done and nothing waits. What counts is the
slope of the second half, in bytes for each alert: first and last say little, since a process
fills its caches, and the allocator keeps what it once had.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from broker.client import Client
from broker.transport.streams import inbox_of
from schemas.vocabulary import Lane
from tests.bench.cores import request
from tests.bench.gateways import SENDERS, makers_of
from tests.bench.making import Envelope, sealed
from tests.bench.results import Goal, Part, Row
from tests.bench.slope import GROWTH, LEAST, Slope, slope
from tests.bench.stage import Stage, rss_mib
from tests.bench.waiting import TOGETHER, drained, fill

LABELS_AT_ONCE, MAIL_AT_ONCE = 2000, 200
ROUNDS = 10  # at least
SENDER, READER = "KH", "PH"  # not the pair that other parts count numbers of
TOLD_S = 30.0
MIB = 1024**2
Look = Callable[[], float]


@dataclass
class Rounds:
    """Rounds of one thing, until there were enough or time is up.

    Attributes:
        what: Of what, for who waits.
        count: How many to let through.
        at_once: In a round, at most.
        limit_s: Seconds, or none.
        looks: Alerts so far, and MiB of each process by name.
    """

    what: str
    count: int
    at_once: int
    limit_s: float | None
    looks: list[tuple[int, dict[str, float]]] = field(default_factory=list)

    @property
    def done(self) -> int:
        return self.looks[-1][0] if self.looks else 0

    async def run(self, one: Callable[[int], Awaitable[None]], **held: Look) -> None:
        """Do `one` with a number of alerts again and again, and look at what is held."""
        some = min(self.at_once, max(1, self.count // ROUNDS))
        start = told = time.monotonic()
        for number in range(1, max(ROUNDS, self.count // some) + 1):
            await one(some)
            self.looks.append((number * some, {name: look() for name, look in held.items()}))
            spent = time.monotonic() - start
            if self.limit_s is not None and spent >= self.limit_s and number >= ROUNDS:
                break
            if time.monotonic() - told >= TOLD_S:
                told = time.monotonic()
                self._tell(spent)

    def slope(self, name: str) -> Slope:
        return slope([(count, held[name] * MIB) for count, held in self.looks])

    def _tell(self, spent: float) -> None:
        left = spent / self.done * (self.count - self.done)
        if self.limit_s is not None:
            left = min(left, self.limit_s - spent)
        held = ", ".join(f"{name} {mib:.1f} MiB" for name, mib in self.looks[-1][1].items())
        print(  # noqa: T201 - it takes hours
            f"  (g) {self.what}: {self.done:,} of {self.count:,}, {held};"
            f" about {left / 60:.0f} minutes remain",
            file=sys.stderr,
            flush=True,
        )


async def measure_gateway(stage: Stage, *, labels: int, limit_s: float | None = None) -> Part:
    """Let `labels` envelopes through one worker, or as many as `limit_s` seconds allow."""
    made = _in_turn(stage)
    submitted = [f"SUBMIT_{code}" for code in SENDERS]
    rounds = Rounds("labels through a worker", labels, LABELS_AT_ONCE, limit_s)

    async def one(some: int) -> None:
        for start in range(0, some, TOGETHER):  # the worker is at work while more is made
            await _hand_in(stage, islice(made, min(TOGETHER, some - start)))
        await drained(stage, *submitted)
        await stage.empty()

    async with stage.gateway() as pid:
        await rounds.run(one, worker=lambda: rss_mib(pid), server=lambda: rss_mib(stage.server_pid))
    return _part(rounds, "labels through one worker", "gateway worker", "worker")


async def measure_node(
    stage: Stage, *, received: int, sent: int, first: int, limit_s: float | None = None
) -> tuple[Part, Part]:
    """Let a node receive `received` alerts, and then another send `sent`.

    Args:
        stage: Where.
        received: By one node, from one sender.
        sent: By one node, to one recipient, from several desks at one time.
        first: The sender's number of the first; the node's database may be an older one.
        limit_s: Seconds for each of the two, or none.
    """
    made = (sealed(stage.region, SENDER, (READER,), counter=first + at) for at in range(received))
    stream = inbox_of(READER, Lane.NORMAL)
    receiving = Rounds("received by a node", received, MAIL_AT_ONCE, limit_s)

    async def receive(some: int) -> None:
        await _hand_in(stage, islice(made, some))
        await drained(stage, f"SUBMIT_{SENDER}", stream, f"SUBMIT_{READER}", f"RECEIPT_{READER}")
        await stage.purge(*(inbox_of(SENDER, lane) for lane in Lane))  # of its answers

    async with stage.gateway(), stage.node(READER) as pid, stage.desk(READER):
        await receiving.run(receive, node=lambda: rss_mib(pid))
    sending = Rounds("sent by a node", sent, MAIL_AT_ONCE, limit_s)
    async with stage.gateway(), stage.node(SENDER) as pid, stage.desks(SENDER) as desks:

        async def share(desk: Client, some: int) -> None:
            for _ in range(some):
                await desk.send(request((READER,)))

        async def send(some: int) -> None:
            before = await stage.messages(stream)
            async with asyncio.TaskGroup() as group:
                for at, desk in enumerate(desks):
                    group.create_task(share(desk, len(range(at, some, len(desks)))))

            async def all_there() -> bool:
                return await stage.messages(stream) - before >= some

            await stage.until(all_there)
            await drained(stage, f"SUBMIT_{SENDER}", f"RECEIPT_{SENDER}")
            await stage.purge(stream)

        await sending.run(send, node=lambda: rss_mib(pid))
    return (
        _part(receiving, "alerts received by a node", "receiving node", "node"),
        _part(sending, "alerts sent by a node", "sending node", "node"),
    )


def _part(rounds: Rounds, title: str, who: str, name: str) -> Part:
    found = rounds.slope(name)
    rows = [
        Row(f"{who} after the first round", rounds.looks[0][1][name], "MiB"),
        Row(f"{who} at the end", rounds.looks[-1][1][name], "MiB"),
        Row(
            f"{who}, second half, for each alert",
            round(found.each, 2),
            "bytes",
            Goal(found.grown[1], GROWTH, "of it in a million", at_most=True)
            if found.is_flat is not None
            else None,
            error=round(found.error, 2),
        ),
    ]
    notes = [f"looked at {len(rounds.looks)} times, when nothing waited; +- one standard error"]
    if found.count < LEAST:
        notes.append(f"fewer than {LEAST:,}, with which caches still fill: no word on a million")
    elif found.is_flat is None:
        low, high = found.grown
        notes.append(f"too few to tell: a million would add {low:.2f} to {high:.2f} of it")
    if "server" in rounds.looks[0][1]:
        server = rounds.slope("server")
        rows += [
            Row("nats-server at the end", rounds.looks[-1][1]["server"], "MiB"),
            Row(
                "nats-server, second half, for each alert",
                round(server.each, 2),
                "bytes",
                error=round(server.error, 2),
            ),
        ]
        notes.append("nats-server keeps the subject of every record in memory")
    return Part(
        "g",
        f"Memory, {rounds.done:,} {title}",
        rows=rows,
        notes=notes,
        points=[(str(count), held[name]) for count, held in rounds.looks],
    )


def _in_turn(stage: Stage) -> Iterator[Envelope]:
    """Envelopes of one sender after the other."""
    makers = makers_of(stage.region)
    while True:
        for code in SENDERS:
            yield next(makers[code])


async def _hand_in(stage: Stage, some: Iterator[Envelope]) -> None:
    await fill(stage.hub, [(one.subject, one.raw, one.digest.hex()) for one in some])

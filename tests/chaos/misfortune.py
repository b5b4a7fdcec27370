"""Carries out what a plan says: processes killed, lines cut, disks full, clocks wrong."""

import asyncio
import json
import os
import resource
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from broker.cli.demo.processes import Processes
from broker.cli.demo.region import DemoRegion
from broker.client import Client
from broker.errors import BrokerError
from schemas.desk import DraftRequest
from tests.chaos.plan import WRITERS, Fault, Mishap, kind_of
from tests.chaos.servers import NAMES, TendedServers
from tests.faults.test_kills import again_later
from tests.support.line import Line
from tests.support.preload import WrongClock
from tests.support.processes import child_of_hub, kill_child
from tests.support.waiting import must_come

SOUND_S = 60.0  # an alarm that should sound does so within this
ROOM_BYTES = 4096  # no file of the process grows beyond it
LATE_S = 0.2
STIR_S = 1.0  # between two alerts more, while a process is to write something down
LOST_SHARE = 0.3
NO_ROOM = frozenset({"disk-full", "disk-failed"})
ENDS_BY = ("[disk-full]", "[log-disk]", "[signer-disk]")
"""How a command says why it ended, if what it had to write could not be."""


@dataclass
class Misfortune:
    """The region's processes, and what can be done to them.

    Attributes:
        impatient: Desks that show each refusal.
        draft: Makes what a desk of a member might send, and never does.
        stir: Hands in one alert more, so that the log grows though all desks wait.
        servers: Of a cluster; None: the hub starts its own.
        done: What happened, by fault and victim.
        sounded: The alarms that sounded as they should.
        unneeded: Those that would have, but all was well before anybody looked.
        ahead: The nodes whose clock was once ahead.
        behind: The nodes whose clock was once behind, and all if the hub's was ahead.
        damaged: The nodes whose database was damaged.
        met: Whom anything happened to.
        killed: How many of each of `KINDS`.
        calm: Held while a loss is made good, or while hub, server or worker lacks room or time.
        hours: Held while a clock is wrong: by two that are wrong alike nobody notices either.
    """

    processes: Processes
    clients: dict[str, Client]
    lines: dict[str, Line]
    clocks: dict[str, WrongClock]
    impatient: Mapping[str, Client]
    draft: Callable[[str], DraftRequest]
    stir: Callable[[], Awaitable[None]]
    servers: TendedServers | None = None
    done: Counter[str] = field(default_factory=Counter)
    sounded: Counter[str] = field(default_factory=Counter)
    unneeded: Counter[str] = field(default_factory=Counter)
    ahead: set[str] = field(default_factory=set)
    behind: set[str] = field(default_factory=set)
    damaged: set[str] = field(default_factory=set)
    met: set[str] = field(default_factory=set)
    killed: Counter[str] = field(default_factory=Counter)
    calm: asyncio.Lock = field(default_factory=asyncio.Lock)
    hours: asyncio.Lock = field(default_factory=asyncio.Lock)
    _busy: dict[str, asyncio.Lock] = field(default_factory=dict)

    async def happen(self, mishap: Mishap) -> None:
        """Carry out one; two never meet the same victim at once."""
        self.met.add(mishap.victim)
        async with self.alone(mishap.victim):
            match mishap.fault:
                case Fault.KILL:
                    await self._kill(mishap.victim)
                case Fault.CUT:
                    async with self.lines[mishap.victim].cut():
                        await self._until(mishap.victim, "unconnected")
                        await asyncio.sleep(mishap.seconds)
                case Fault.STALL | Fault.SLOW | Fault.LOSS | Fault.PARTITION:
                    line = self.lines[mishap.victim]
                    async with _made_bad(line, mishap.fault):
                        await _felt(line, mishap.seconds)
                case Fault.FULL:
                    await self._full_disk(mishap)
                case Fault.CLOCK:
                    async with self.hours:
                        await self._wrong_clock(mishap)
                case Fault.JUMP:
                    async with self.hours:
                        await self._jumping_clock(mishap)
                case Fault.ROUTE:
                    await self._servers.cut_off(mishap.victim, mishap.seconds)
                case Fault.DISK:
                    await self._servers.lose_disk(mishap.victim)
                case _:
                    raise ValueError(mishap.fault)
        self.done[f"{mishap.fault}"] += 1

    def alone(self, victim: str) -> asyncio.Lock:
        """What whoever does something to this one holds meanwhile."""
        return self._busy.setdefault(victim, asyncio.Lock())

    async def _kill(self, victim: str) -> None:
        if victim in self.lines:
            await self.processes.kill(victim)
            await self.processes.start_node(victim)
        elif victim in NAMES:
            await self._servers.kill(victim)
        elif victim == "hub":
            await self.processes.kill("hub")
            await self.start_hub()
        else:
            async with self.alone("hub"), must_come(SOUND_S, lambda: f"{victim} never came back"):
                while not kill_child(self.processes, victim):  # noqa: ASYNC110 - not back yet
                    await asyncio.sleep(0.1)
        self.killed[kind_of(victim, nodes=self.lines, servers=NAMES)] += 1

    async def start_hub(self) -> None:
        """Start the hub; again if it ends because too few servers agree, as its unit does."""
        while True:
            try:
                return await self.processes.start_hub()
            except BrokerError:
                if self.servers is None or not self.processes.ended("hub"):
                    raise

    @property
    def _servers(self) -> TendedServers:
        assert self.servers is not None
        return self.servers

    async def _full_disk(self, mishap: Mishap) -> None:
        """No room for one process; of the hub's, each ends by it and is started again."""
        if mishap.victim not in WRITERS:
            with _no_room(self.processes.pids()[mishap.victim]):
                await self._told_full(mishap.victim)
                await asyncio.sleep(mishap.seconds)
            return
        never = f"{mishap.victim} did not end by its full disk, or did not say so"
        async with self.alone("hub"), must_come(2 * SOUND_S, lambda: never):
            while not await self._ended_by_it(mishap.victim):
                pass

    async def _ended_by_it(self, victim: str) -> bool:
        """Whether it said that it ends by its full disk; one that was ending anyhow did not."""
        while not (pid := child_of_hub(self.processes, victim)):  # noqa: ASYNC110 - not back
            await asyncio.sleep(0.1)
        since = len(hub_said(self.processes.region))
        with _no_room(pid), ended(pid) as over:
            while not over.is_set():
                await self.stir()  # desks may wait for a loss, which waits for this
                with suppress(TimeoutError):
                    async with asyncio.timeout(STIR_S):
                        await over.wait()
        while not child_of_hub(self.processes, victim):  # noqa: ASYNC110 - started again
            await asyncio.sleep(0.1)
        return any(
            word in line for word in ENDS_BY for line in hub_said(self.processes.region)[since:]
        )

    async def _told_full(self, victim: str) -> None:
        """Return once the node told its desk that it cannot keep what is written."""
        async with must_come(SOUND_S, lambda: f"{victim} never said that its disk is full"):
            while True:
                try:
                    await self.impatient[victim].prepare(self.draft(victim))
                except BrokerError as error:
                    if error.code in NO_ROOM:
                        break
                    await again_later(error)

    async def _wrong_clock(self, mishap: Mishap) -> None:
        await self.processes.kill(mishap.victim)
        with self._set_wrong(mishap):
            await self.processes.start_node(mishap.victim)
            await self._until(mishap.victim, "clock-skew")

    async def _jumping_clock(self, mishap: Mishap) -> None:
        with self._set_wrong(mishap):
            await self._until(mishap.victim, "clock-skew")

    @contextmanager
    def _set_wrong(self, mishap: Mishap) -> Iterator[None]:
        (self.ahead if mishap.ahead_s > 0 else self.behind).add(mishap.victim)
        self.clocks[mishap.victim].put(mishap.ahead_s)
        try:
            yield
        finally:
            self.clocks[mishap.victim].put(0)

    async def _until(self, victim: str, alarm: str) -> None:
        """Return once the node says so."""
        async with must_come(SOUND_S, lambda: f"{alarm} never sounded at {victim}"):
            while True:
                try:
                    status = await self.clients[victim].node_status()
                except BrokerError:  # it starts
                    await asyncio.sleep(0.1)
                    continue
                if status.sealing == alarm or (alarm == "unconnected" and not status.connected):
                    break
                await asyncio.sleep(0.1)
        self.sounded[alarm] += 1


def hub_said(region: DemoRegion) -> list[str]:
    """Every line of the hub and its children."""
    return said(region, "hub")


def said(region: DemoRegion, name: str) -> list[str]:
    """Every line of the hub and its children, or of a node."""
    return (region.folder / f"{name}.log").read_text("utf-8", "replace").splitlines()


def events(lines: Iterable[str]) -> Iterable[dict[str, Any]]:
    """What lines of a log say, but for those that whoever was killed did not finish."""
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


async def until_said(region: DemoRegion, since: int, *words: str) -> None:
    """Return once a line of the hub's log, behind so many others, has one of the words."""
    while not any(word in line for word in words for line in hub_said(region)[since:]):  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.1)


def _made_bad(line: Line, fault: Fault) -> AbstractAsyncContextManager[None]:
    match fault:
        case Fault.STALL:
            return line.stalled()
        case Fault.SLOW:
            return line.slow(LATE_S)
        case Fault.LOSS:
            return line.lossy(LOST_SHARE)
        case _:
            return line.parted()


async def _felt(line: Line, seconds: float) -> None:
    """Return after so long, and once something had to wait on the line, or was lost on it."""
    before = line.felt
    await asyncio.sleep(seconds)
    async with must_come(SOUND_S, lambda: "nothing was felt on the line"):
        while line.felt == before:  # noqa: ASYNC110 - a node asks for the time, at least
            await asyncio.sleep(0.1)


@contextmanager
def ended(pid: int) -> Iterator[asyncio.Event]:
    """Give what is set once this process has ended, which another one watches over."""
    over, loop = asyncio.Event(), asyncio.get_running_loop()
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        over.set()
        yield over
        return
    loop.add_reader(handle, over.set)
    try:
        yield over
    finally:
        loop.remove_reader(handle)
        os.close(handle)


@contextmanager
def _no_room(pid: int) -> Iterator[None]:
    """No file of a process may grow while the block runs; it may end meanwhile."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (ROOM_BYTES, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)

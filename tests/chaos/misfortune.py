"""Carries out what a plan says: processes killed, lines cut, disks full, clocks wrong."""

import asyncio
import resource
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from broker.cli.demo.processes import Processes
from broker.client import Client
from broker.errors import BrokerError
from tests.chaos.plan import Fault, Mishap
from tests.support.line import Line
from tests.support.preload import WrongClock
from tests.support.processes import kill_child

SOUND_S = 60.0  # an alarm that should sound does so within this
WRONG_S = 600
ROOM_BYTES = 4096  # no file of the process grows beyond it
LATE_S = 0.2


@dataclass
class Misfortune:
    """The region's processes, and what can be done to them.

    Attributes:
        done: What happened, by fault and victim.
        sounded: The alarms that sounded as they should.
        misled: The nodes whose clock was wrong.
    """

    processes: Processes
    clients: dict[str, Client]
    lines: dict[str, Line]
    clocks: dict[str, WrongClock]
    done: Counter[str] = field(default_factory=Counter)
    sounded: Counter[str] = field(default_factory=Counter)
    misled: set[str] = field(default_factory=set)
    _busy: dict[str, asyncio.Lock] = field(default_factory=dict)

    async def happen(self, mishap: Mishap) -> None:
        """Carry out one; two never meet the same victim at once."""
        async with self._busy.setdefault(mishap.victim, asyncio.Lock()):
            match mishap.fault:
                case Fault.KILL:
                    await self._kill(mishap.victim)
                case Fault.CUT:
                    async with self.lines[mishap.victim].cut():
                        await self._until(mishap.victim, "unconnected")
                        await asyncio.sleep(mishap.seconds)
                case Fault.STALL:
                    async with self.lines[mishap.victim].stalled():
                        await asyncio.sleep(mishap.seconds)
                case Fault.SLOW:
                    async with self.lines[mishap.victim].slow(LATE_S):
                        await asyncio.sleep(mishap.seconds)
                case Fault.FULL:
                    with _full_disk(self.processes.pids()[mishap.victim]):
                        await asyncio.sleep(mishap.seconds)
                case Fault.CLOCK:
                    await self._wrong_clock(mishap.victim)
        self.done[f"{mishap.fault}"] += 1

    async def _kill(self, victim: str) -> None:
        if victim in self.lines:
            await self.processes.kill(victim)
            await self.processes.start_node(victim)
        elif victim == "hub":
            await self.processes.kill("hub")
            await self.processes.start_hub()
        else:
            async with self._busy.setdefault("hub", asyncio.Lock()), asyncio.timeout(SOUND_S):
                while not kill_child(self.processes, victim):  # noqa: ASYNC110 - not back yet
                    await asyncio.sleep(0.1)

    async def _wrong_clock(self, victim: str) -> None:
        self.misled.add(victim)
        await self.processes.kill(victim)
        self.clocks[victim].put(WRONG_S)
        try:
            await self.processes.start_node(victim)
            await self._until(victim, "clock-skew")
        finally:
            self.clocks[victim].put(0)

    async def _until(self, victim: str, alarm: str) -> None:
        """Return once the node says so."""
        async with asyncio.timeout(SOUND_S):
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


@contextmanager
def _full_disk(pid: int) -> Iterator[None]:
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (ROOM_BYTES, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)

"""The hub's three servers in a run on a cluster: a kill meets them, a route is cut, a disk is lost.

Each is a process of its own, as on three machines, which whoever watches over it starts again. One
fault at a time, since two of three must stand: with less, nothing is accepted, and nothing is lost.
"""

import asyncio
import json
import os
import shutil
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass, field, replace
from itertools import permutations

from broker.cli.demo.region import DemoRegion
from broker.hub.place import HubPlace
from broker.transport.credentials import Credentials
from broker.transport.errors import TransportError
from broker.transport.link import Link
from broker.transport.server import Server
from broker.transport.streams import DEDUPE_WINDOW_S
from broker.transport.streamstates import Seen, streams_seen
from tests.cli.test_ceremonies import run
from tests.faults.test_reused_id import WINDOW_NS
from tests.support.cable import Cable, cable
from tests.support.cluster import Servers, steady
from tests.support.waiting import must_come

RESTART_S = 2.0  # as its unit has it
AGREED_S = 120.0  # so many streams, on a machine that others use as well
LOOK_S = 0.5
NAMES = ("hub-1", "hub-2", "hub-3")  # as `found` calls them
FORGOTTEN_S = 0.3  # three times the window of `WINDOW_NS`
SERVER_CONFIG = ("hub", "server-config")

Cables = Mapping[tuple[str, str], Cable]
"""From the server that calls to the one that is called."""


@dataclass
class TendedServers(Servers):
    """The servers of a region's cluster, tended, and what can be done to one at a time.

    Attributes:
        cables: Between each two of them, for each that calls.
        nowhere: A port where nobody listens.
        turn: Held by whoever needs the servers as they are, or does something to one.
    """

    cables: Cables = field(default_factory=dict)
    nowhere: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _may_start: dict[str, asyncio.Event] = field(default_factory=dict)
    _watching: list[asyncio.Task[None]] = field(default_factory=list)

    async def start(self) -> None:
        """Start all, and watch over each."""
        self._wire()
        for name, server in self.running.items():
            self._may_start[name] = asyncio.Event()
            self._may_start[name].set()
            await server.start()
            # Not in a TaskGroup, which would wrap what a test says that failed.
            watching = asyncio.get_running_loop().create_task(self._watch_over(name))
            self._watching.append(watching)

    async def stop(self) -> None:
        for each in self._watching:
            each.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        for server in self.running.values():
            await server.stop(kill=True)

    async def _watch_over(self, name: str) -> None:
        while True:
            await self.running[name].wait()
            await asyncio.sleep(RESTART_S)
            await self._may_start[name].wait()
            await self.running[name].start()

    # --- what happens to one ---

    async def kill(self, name: str) -> None:
        """Kill -9, and return once it is one of them again, maybe with much to catch up on."""
        async with self.turn:
            await self._kill(name)
            async with _soon(f"{name} is one of them"), Link(self.hub_at(name)) as link:
                await link.wait_connected()
                await steady(lambda: link.api("INFO", {}))  # whoever leads them answers, through it

    async def cut_off(self, name: str, seconds: float) -> None:
        """Let it hear nothing of the others, nor they of it, for so long after they noticed.

        Nodes and gateways that are with it stay so, and what they hand in waits.
        """
        others = self.others(name)
        async with self.turn, Link(self.at(*others)) as link, _soon(f"{name} is one of them", 2):
            await self._until(link, whole)
            with self.apart(name):
                await self._until(link, without_one)
                await asyncio.sleep(seconds)
            await self._until(link, whole)

    @contextmanager
    def apart(self, name: str) -> Iterator[None]:
        """Cut a server off from the others while the block runs."""
        mine = [line for pair, line in self.cables.items() if name in pair]
        for line in mine:
            line.cut()
        try:
            yield
        finally:
            for line in mine:
                line.mend()

    async def lose_disk(self, name: str) -> None:
        """Take a server's disk away, and bring an empty one to its place, as the runbook says."""
        others = self.others(name)
        async with self.turn, Link(self.at(*others)) as link, _soon(f"{name} is one of them", 3):
            await self._until(link, whole)
            self._may_start[name].clear()
            try:
                before = self._unseen(name)
                await self._kill(name)
                while self._unseen(name) == before:  # noqa: ASYNC110 - another process says it
                    await asyncio.sleep(LOOK_S)
                shutil.rmtree(self.running[name].place.folder)
                done = await asyncio.to_thread(run, self.region, self.region.hub, *SERVER_CONFIG)
                assert done.returncode == 0, done.stderr
                self._wire()
                # Else what only the lost one and another had would be outvoted by nothing.
                await self._until(link, without_one)
            finally:
                self._may_start[name].set()
            await self._until(link, whole)

    async def forget(self, code: str) -> None:
        """Let all forget what a member lacks, and who handed it in, as they do after two minutes.

        The restart of one does not: the others know it still, and one of them leads.
        """
        forgetful = ("SUBMIT_", "RECEIPT_", f"INBOX_{code}_")
        async with self.turn, Link(self.at(*NAMES)) as link, _soon("all forget"):
            seen = await self._until(link, whole)
            names = [name for name in seen.states if name.startswith(forgetful)]
            for window in (WINDOW_NS, DEDUPE_WINDOW_S * 10**9):
                for name in names:
                    await steady(lambda name=name, window=window: windowed(link, name, window))
                await asyncio.sleep(FORGOTTEN_S)

    # --- how they are ---

    @asynccontextmanager
    async def unharmed(self) -> AsyncIterator[None]:
        """Nothing happens to any of them while the block runs, and nothing is under way."""
        async with self.turn:
            async with Link(self.at(*NAMES)) as link, _soon("all agree"):
                await self._until(link, whole)
            yield

    @staticmethod
    async def _until(link: Link, agreed: Callable[[Seen], bool]) -> Seen:
        while True:
            try:
                seen = await streams_seen(link)
                if agreed(seen):
                    return seen
            except TransportError:  # they are electing
                pass
            await asyncio.sleep(LOOK_S)

    async def _kill(self, name: str) -> None:
        pid = self.running[name].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await self.running[name].wait()

    def _unseen(self, name: str) -> int:
        """How often the hub said that it does not see a server."""
        return unseen(self.region)[name]

    @staticmethod
    def others(name: str) -> list[str]:
        return [each for each in NAMES if each != name]

    def at(self, *names: str) -> Credentials:
        """The hub's own account, at some servers."""
        return replace(self.hub_at(names[0]), urls=tuple(map(self.url, names)))

    def _wire(self) -> None:
        """Lead every route of every server through its cable, and let no rumour show a way around.

        `hub server-config` writes the files as they are without.
        """
        for server in self.place.config().cluster:
            file = self.place.cluster_server(server).configuration
            settings = json.loads(file.read_bytes())
            routes = [
                line.port for (caller, _), line in self.cables.items() if caller == server.name
            ]
            settings["cluster"]["routes"] = [f"tls://localhost:{port}" for port in routes]
            settings["cluster"]["advertise"] = f"localhost:{self.nowhere}"
            file.write_text(json.dumps(settings))


def unseen(region: DemoRegion) -> Counter[str]:
    """How often the hub said of each server that it does not see it."""
    lines = (region.folder / "hub.log").read_text("utf-8", "replace").splitlines()
    said = [json.loads(line) for line in lines if '"server-not-seen"' in line]
    return Counter(each["server"] for each in said)


async def windowed(link: Link, stream: str, window_ns: int) -> None:
    """Let a stream know its message ids for so long."""
    found = await link.api(f"STREAM.INFO.{stream}", {})
    changed = {**found["config"], "duplicate_window": window_ns}
    await link.api(f"STREAM.UPDATE.{stream}", changed)


def _soon(what: str, times: int = 1) -> AbstractAsyncContextManager[None]:
    """Fail if the servers do not come to it: then nothing more that is handed in is kept."""
    return must_come(AGREED_S * times, lambda: f"it never was so that {what}")


def whole(seen: Seen) -> bool:
    """Whether each server holds all of each stream."""
    return not seen.silent and all(each.behind == 0 for each in seen.states.values())


def without_one(seen: Seen) -> bool:
    """Whether each stream lacks one server, and that one alone."""
    return not seen.silent and all(each.behind == 1 for each in seen.states.values())


@asynccontextmanager
async def tended_servers(region: DemoRegion) -> AsyncIterator[TendedServers]:
    """The servers of a region's cluster, each started again whenever it ends."""
    place = HubPlace(region.hub)
    cluster = place.config().cluster
    async with AsyncExitStack() as stack:
        nowhere = stack.enter_context(socket.socket())
        nowhere.bind(("127.0.0.1", 0))  # and it listens to nobody
        cables = {
            (caller.name, called.name): await stack.enter_async_context(cable(called.cluster_port))
            for caller, called in permutations(cluster, 2)
        }
        running = {each.name: Server(place.cluster_server(each)) for each in cluster}
        servers = TendedServers(region, running, cables, nowhere.getsockname()[1])
        stack.push_async_callback(servers.stop)
        await servers.start()
        yield servers

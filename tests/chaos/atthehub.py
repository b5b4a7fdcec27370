"""What goes wrong with disk and clock of the hub's own processes; not while a loss is made good.

nats-server is a static program that asks the kernel for its time: a clock preloaded here is wrong
for all others at the hub, and not for it.
"""

import asyncio
import math
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any

import httpx

from broker.cli.admin.hub_figures import HubFigures
from broker.cli.demo.region import DemoRegion
from broker.client import BrokerError
from broker.hub.place import HubPlace
from broker.transport.link import Link
from tests.chaos.misfortune import Misfortune, events, hub_said, until_said
from tests.chaos.plan import SERVER, WORKER, Fault, Mishap
from tests.support.fulldisk import may_grow, no_growth
from tests.support.monitoring import of_hub
from tests.support.preload import WrongClock
from tests.support.processes import child_of_hub, descendants
from tests.support.waiting import must_come

FELT_S = 240.0  # a worker without room goes on for 45 s; a node asks for the time each minute
OLD_S = 25.0  # the hub writes down what it saw each ten seconds
PROBE = "CHAOS"  # a stream of the test's own, so that something is written for certain
ASK_S = 1.0
HUB_ALARMS = ("server-not-storing", "clock-wrong", "hub-clock-jumped")
"""What may sound at the hub by these faults alone, and while they last."""


@dataclass
class AtTheHub:
    """Does it, and sees that it is felt, and over once it is made good.

    Attributes:
        clocks: Of `hub`, with all its children, and of one worker alone, by its command.
    """

    misfortune: Misfortune
    region: DemoRegion
    clocks: dict[str, WrongClock]

    async def happen(self, mishap: Mishap) -> None:
        """Carry out one of `AT_THE_HUB`."""
        misfortune = self.misfortune
        what = f"{mishap.fault} of {mishap.victim}"
        async with misfortune.calm, misfortune.alone("hub"), AsyncExitStack() as stack:
            if mishap.fault is not Fault.HUB_FULL:
                await stack.enter_async_context(misfortune.hours)
            since = len(hub_said(self.region))
            async with must_come(FELT_S, lambda: f"{what} was not felt, or is not over"):
                await self._carry_out(mishap, since)
            for told in self._told(since):
                if told.get("alarm") in HUB_ALARMS:
                    misfortune.sounded[told["alarm"]] += 1
        misfortune.done[f"{mishap.fault}"] += 1

    async def _carry_out(self, mishap: Mishap, since: int) -> None:
        match mishap.fault:
            case Fault.HUB_FULL if mishap.victim == SERVER:
                await self._full_server(since)
            case Fault.HUB_FULL if mishap.victim == "hub":
                await self._full_hub(since)
            case Fault.HUB_FULL:
                await self._full_worker(mishap.victim, since)
            case _:
                await self._wrong_clock(mishap, since)

    # --- disks ---

    async def _full_server(self, since: int) -> None:
        """Let the server meet a full disk, and make room at once: it is started anew for that."""
        hub = HubPlace(self.region.hub)
        credentials = hub.open_hub(self.region.passphrase).hub_credentials(hub, hub.config())
        async with Link(credentials) as link:
            await link.wait_connected()
            with suppress(BrokerError):  # there already
                await link.api(f"STREAM.CREATE.{PROBE}", {"name": PROBE, "subjects": ["chaos.>"]})
            pid = await self._child(SERVER)
            no_growth(pid)
            try:
                while await self._stored(link):
                    pass
            finally:
                may_grow(pid)
            await self._says("server-not-storing", since)
            while child_of_hub(self.misfortune.processes, SERVER) in {0, pid}:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
            while not await self._stored(link):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
            await self._until(since, lambda each: each["event"] == "server-stores-again")

    async def _stored(self, link: Link) -> bool:
        try:
            await link.publish_acked("chaos.room", bytes(8192), msg_id="", timeout_s=ASK_S)
        except BrokerError:
            return False
        return True

    async def _full_worker(self, word: str, since: int) -> None:
        """No room for one worker until it ends, since others hear no more of it; then another."""
        pid = await self._child(word)
        no_growth(pid)
        try:
            while pid in descendants(self.misfortune.processes.pids()["hub"]):  # noqa: ASYNC110 - it tries
                await asyncio.sleep(0.1)
        finally:
            may_grow(pid)
        await until_said(self.region, since, "[run-abandoned]")
        await self._until(
            since,
            lambda each: each["event"] == "runs-not-kept" and each["error_code"] == "cannot-write",
        )

    async def _full_hub(self, since: int) -> None:
        """No room for the hub itself until monitoring shows it; it goes on and ends nothing."""
        await self._looks(late=False)  # it may have started this moment
        pid = self.misfortune.processes.pids()["hub"]
        no_growth(pid)
        try:
            await self._looks(late=True)
        finally:
            may_grow(pid, *descendants(pid))  # what it started meanwhile had none either
        await self._looks(late=False)
        await self._until(since, lambda each: each["event"] == "streams-not-seen")
        assert self.misfortune.processes.pids()["hub"] == pid
        assert not self.misfortune.processes.ended("hub")

    async def _looks(self, *, late: bool) -> None:
        """Return once monitoring shows that the hub looked at its queues, lately or long ago."""
        while True:
            with suppress(httpx.TransportError):  # it starts
                text = (await of_hub(self.region, "/metrics")).text
                age_s = HubFigures(text).one("kentong_hub_streams_age_seconds")
                if not math.isnan(age_s) and (age_s > OLD_S) is late:  # not a number: not yet
                    return
            await asyncio.sleep(0.2)

    # --- clocks ---

    async def _wrong_clock(self, mishap: Mishap, since: int) -> None:
        misfortune = self.misfortune
        whole = mishap.victim == "hub"
        if whole:
            misfortune.met.update(misfortune.lines)  # nodes cosign nothing meanwhile
            if mishap.ahead_s > 0:
                misfortune.behind.update(misfortune.lines)
        if mishap.fault is Fault.HUB_CLOCK:
            await misfortune.processes.kill("hub")
        runs = set() if mishap.fault is Fault.HUB_CLOCK else {await self._child(WORKER)}
        self.clocks[mishap.victim].put(mishap.ahead_s)
        try:
            if mishap.fault is Fault.HUB_CLOCK:
                await misfortune.start_hub()
            await self._says("clock-wrong", since)  # a worker's, or the log's
            # Put right within a second, it may go on: what it had in hand was not carried out.
            while runs & {*descendants(misfortune.processes.pids()["hub"])}:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
            if whole:
                await self._says("hub-clock-jumped", since)
                await self._seen_by_a_node()
        finally:
            since = len(hub_said(self.region))
            self.clocks[mishap.victim].put(0)
        if whole:
            await self._says("hub-clock-jumped", since)
        await self._until(  # which nobody does by a wrong clock
            since, lambda each: (each["event"], each["process"]) == ("serving", "gateway-2")
        )

    async def _seen_by_a_node(self) -> None:
        while True:
            for client in self.misfortune.clients.values():
                with suppress(BrokerError):
                    if (await client.node_status()).sealing == "clock-skew":
                        return
            await asyncio.sleep(0.1)

    # --- what is looked at ---

    async def _child(self, word: str) -> int:
        while not (pid := child_of_hub(self.misfortune.processes, word)):  # noqa: ASYNC110 - it starts
            await asyncio.sleep(0.1)
        return pid

    async def _says(self, alarm: str, since: int) -> None:
        await self._until(since, lambda each: each.get("alarm") == alarm)

    async def _until(self, since: int, said: Callable[[dict[str, Any]], bool]) -> None:
        """Return once a line of the hub's log, behind so many others, says so."""
        while not any(map(said, self._told(since))):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)

    def _told(self, since: int) -> Iterable[dict[str, Any]]:
        return events(hub_said(self.region)[since:])

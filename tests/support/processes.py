"""A whole region of real processes for a test, and what may be done to them."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from datetime import timedelta
from pathlib import Path

from broker import clock
from broker.cli.demo import alerts
from broker.cli.demo.processes import Processes, _children, _command
from broker.cli.demo.region import NODES, DemoRegion, found
from broker.cli.demo.story import desks
from broker.client import Client, Submission
from broker.hub.place import HubPlace
from schemas.desk import DraftRequest, RecipientState
from schemas.vocabulary import TLP, Purpose, Status
from tests.support.waiting import must_come, until

LOOKS = 2  # of the hub at its streams: the first may have begun before
LOGGED = ("bash", "-c", 'exec "$@" > >(exec cat) 2>&1', "bash")
"""Puts a pipe between a process and its log: it still says why it ends, if no file may grow."""


@asynccontextmanager
async def running_region(
    folder: Path,
    *,
    prepare: Callable[[DemoRegion], None] = lambda _: None,
    log: bool = False,
    nodes: tuple[str, ...] = NODES,
    gateways: int = 1,
    environment: Mapping[str, Mapping[str, str]] | None = None,
    launchers: Mapping[str, tuple[str, ...]] | None = None,
    silent: tuple[str, ...] = ("TH",),
    age: timedelta = timedelta(),
    servers: int = 0,
    beside: Callable[[DemoRegion], AbstractAsyncContextManager[object]] = lambda _: nullcontext(),
) -> AsyncIterator[tuple[DemoRegion, Processes, dict[str, Client]]]:
    """Hub, gateway, nats-server and three nodes, each a process; stopped at the end.

    Args:
        folder: New; short, since sockets lie in it.
        prepare: May change settings before anything starts.
        log: Whether the hub keeps the log, and the nodes witness it.
        nodes: The members that run one.
        gateways: Workers of the hub.
        environment: What a process has beyond ours, by its name.
        launchers: What is put before a process's command, by its name, and becomes the process.
        silent: Members that run no node.
        age: Of the region: how long ago its keys began to count.
        servers: Of a cluster, which `beside` starts; none for the hub's own.
        beside: Runs what has to be there before the hub and as long as it.
    """
    region = await asyncio.to_thread(
        found,
        folder,
        log=log,
        nodes=nodes,
        gateways=gateways,
        silent=silent,
        servers=servers,
        at=clock.now() - age,
    )
    prepare(region)
    processes = Processes(region, environment or {}, launchers or {})
    async with beside(region):
        try:
            await processes.start_all()
            async with desks(region) as clients:
                yield region, processes, clients
        finally:
            await processes.stop()


def warning(number: int, to: tuple[str, ...], *, status: Status = Status.EXERCISE) -> DraftRequest:
    """What a desk asks: a cyber alert, made different from others by its number."""
    return DraftRequest(
        status=status,
        alert=alerts.cyber(clock.now().date(), number),
        recipients=to,
        agency="POLICE",
        tlp=TLP.AMBER,
        purposes=(Purpose.WARN,),
    )


def kill_child(processes: Processes, word: str) -> bool:
    """Kill -9 the hub's child whose command holds `word`; return whether there was one."""
    child = child_of_hub(processes, word)
    if child:
        os.kill(child, signal.SIGKILL)
    return bool(child)


def child_of_hub(processes: Processes, word: str) -> int:
    """The process id of the hub's child whose command holds `word`; 0 for none."""
    children = descendants(processes.pids()["hub"])
    return next((child for child in children if word in _command(child)), 0)


def descendants(pid: int) -> list[int]:
    """Every process below `pid`."""
    found: list[int] = []
    for child in _children(pid):
        found += [child, *descendants(child)]
    return found


async def until_delivered(client: Client, submission: Submission, bound_s: float) -> None:
    """Return once the first recipient of an alert confirmed it; fail if it never will."""
    async with must_come(bound_s, lambda: f"{submission.id} is not delivered"):
        while True:
            shown = (await client.status(submission.id)).shown
            if shown.recipients[0].state is RecipientState.DELIVERED:
                return
            assert not shown.recipients[0].state.final, shown.recipients[0].code
            await asyncio.sleep(0.1)


async def looked(region: DemoRegion) -> None:
    """Return once the hub looked at its streams again: what it never saw, it does not miss."""
    state, seen = HubPlace(region.hub).state_file, set[str]()

    async def often_enough() -> bool:
        with suppress(OSError, ValueError):  # it is being written
            seen.add(json.loads(state.read_text())["at"])
        return len(seen) > LOOKS

    await until(often_enough, missing=lambda: "the hub looks at nothing")

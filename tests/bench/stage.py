"""The processes of one run: nats-server, gateway workers, nodes, each real and started by itself.

What `kentong hub run` does for members (accounts, streams, services) is done here by the same
code; workers and nodes are started by the commands that an administrator uses.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker import clock
from broker.cli.admin.node_place import NodePlace
from broker.client import Client
from broker.hub.children import kentong_command
from broker.hub.enrolment import Enrolment, wanted
from broker.hub.founding import write_server
from broker.hub.place import HubPlace
from broker.hub.services import MemberServices
from broker.hub.suspensions import Suspensions
from broker.transport.credentials import Credentials
from broker.transport.link import Link
from broker.transport.server import Server, launched
from broker.transport.streams import inbox_of
from keys.directory.source import PublishedDirectory
from schemas.vocabulary import Lane
from tests.bench.region import PASSPHRASE, BenchRegion

READY_S = 240.0  # for eleven nodes to start at once, on a busy machine
LOOK_S = 0.02
PATIENCE_S = 10.0  # of a desk with a node that is busy
DEFAULT_SYNC = "default"
ALWAYS_SYNC = "always"
Desks = Sequence[Client]


@dataclass
class Stage:
    """A running server with accounts and streams of every member of a region."""

    region: BenchRegion
    hub: Link  # On the hub's own account.
    credentials: Credentials
    server_pid: int

    @asynccontextmanager
    async def gateway(self, worker: int = 1) -> AsyncIterator[int]:
        """A gateway worker in a process of its own, waiting for work; gives its process id."""
        before = await self.pullers(self.region.codes[-1])
        home, words = self.region.hub, ("gateway", "run", "--worker", str(worker))
        async with self.process(f"gateway-{worker}", home, *words) as pid:
            last = self.region.codes[-1]  # it serves members in their order
            await self.until(lambda: self._more_pullers(last, before))
            yield pid

    @asynccontextmanager
    async def node(self, code: str) -> AsyncIterator[int]:
        """A member's node in a process of its own, answering its desks; gives its process id."""
        socket = NodePlace(self.region.home(code)).socket
        socket.unlink(missing_ok=True)
        async with self.process(code, self.region.home(code), "node", "run") as pid:
            await self.until(socket.is_socket)
            yield pid

    @asynccontextmanager
    async def desk(self, code: str) -> AsyncIterator[Client]:
        """A desk at a member's node, once that may seal."""
        async with self._client(code, self.region.tokens[code][0]) as client:

            async def may_seal() -> bool:
                shown = await client.node_status()
                return shown.connected and not shown.sealing

            await self.until(may_seal)
            yield client

    @asynccontextmanager
    async def desks(self, code: str, *, patience_s: float = PATIENCE_S) -> AsyncIterator[Desks]:
        """All desks of a member, once its node may seal; together they may ask more than it can do.

        Args:
            code: Whose.
            patience_s: How long what the node puts off is asked again. With 0 it is an error, so
                that no wait of that kind is taken for the time that something takes.
        """
        async with self.desk(code), AsyncExitStack() as stack:
            yield [
                await stack.enter_async_context(self._client(code, token, patience_s))
                for token in self.region.tokens[code]
            ]

    def _client(self, code: str, token: str, patience_s: float = PATIENCE_S) -> Client:
        return Client(
            url=self.region.url(code),
            token=token,
            officer_key=self.region.officers[code],
            patience_s=patience_s,
        )

    @asynccontextmanager
    async def process(self, name: str, home: Path, *words: str) -> AsyncIterator[int]:
        """A command of ours; gives its process id."""
        async with self._child(name, *kentong_command(home, *words)) as pid:
            yield pid

    @asynccontextmanager
    async def python(self, module: str, *words: str) -> AsyncIterator[int]:
        """A module of this benchmark in a process of its own; gives its process id."""
        async with self._child(module, sys.executable, "-m", module, *words) as pid:
            yield pid

    @asynccontextmanager
    async def _child(self, name: str, *command: str) -> AsyncIterator[int]:
        """A process that ends with the block or with us; its log lies in the region's folder."""
        environment = {
            **os.environ,  # noqa: TID251 - handed on to a child, not read
            "KENTONG_PASSPHRASE_FILE": str(self.region.passphrase_file),
        }
        with (self.region.folder / f"{name}.log").open("ab") as log:
            child = await asyncio.create_subprocess_exec(
                *launched(*command), env=environment, stdout=log, stderr=log
            )
        try:
            yield child.pid
        finally:
            if child.returncode is None:
                child.terminate()
            await child.wait()

    async def until(
        self, there: Callable[[], Any], *, limit_s: float = READY_S, look_s: float = LOOK_S
    ) -> None:
        """Return once `there` says so; it may be a coroutine function, asked every `look_s`."""
        async with asyncio.timeout(limit_s):
            while True:
                found = there()
                if await found if asyncio.iscoroutine(found) else found:
                    return
                await asyncio.sleep(look_s)

    # --- what JetStream says and is told, on the hub's account ---

    async def messages(self, stream: str) -> int:
        """How many messages a stream holds; of a work queue, those not acknowledged."""
        answer = await self.hub.api(f"STREAM.INFO.{stream}", {})
        return int(answer["state"]["messages"])

    async def purge(self, *streams: str) -> None:
        for stream in streams:
            await self.hub.api(f"STREAM.PURGE.{stream}", {})

    async def empty(self) -> None:
        """Throw away all mail and receipts."""
        for code in self.region.codes:
            await self.purge(*(inbox_of(code, lane) for lane in Lane), f"RECEIPT_{code}")

    async def pullers(self, code: str) -> int:
        """How many wait at the queue that a gateway serves last of a member's."""
        name = f"SUBMIT_{code}.GATEWAY-{list(Lane)[-1]}"
        return int((await self.hub.api(f"CONSUMER.INFO.{name}", {}))["num_waiting"])

    async def _more_pullers(self, code: str, before: int) -> bool:
        return await self.pullers(code) > before


@asynccontextmanager
async def running(region: BenchRegion, sync: str) -> AsyncIterator[Stage]:
    """A server for `region`, its store synchronised as `sync` says; stopped at the end.

    Args:
        region: Its streams are emptied of what an earlier run left.
        sync: `always`, as the hub writes it, or `default`: the server's own two minutes.
    """
    place = HubPlace(region.hub)
    config, secrets = place.config(), place.open_hub(PASSPHRASE)
    server_place = place.server(config)
    write_server(place, config, secrets, now=clock.now(), members=region.codes)
    if sync == DEFAULT_SYNC:
        settings = json.loads(server_place.configuration.read_bytes())
        del settings["jetstream"]["sync_interval"]
        server_place.configuration.write_text(json.dumps(settings))
    server = Server(server_place)
    await server.start()
    try:
        async with AsyncExitStack() as stack:
            own_account = secrets.hub_credentials(place, config)
            system = await stack.enter_async_context(
                Link(secrets.system_credentials(place, config))
            )
            hub = await stack.enter_async_context(Link(own_account))
            own = await stack.enter_async_context(Link(own_account))
            for link in (system, hub, own):
                await link.wait_connected(READY_S)
            enrolment = Enrolment(secrets.keys, system, hub, config.store.sizes())
            members = wanted(region.view, Suspensions(), now=clock.now())
            await enrolment.apply(members, now=clock.now())
            await MemberServices(PublishedDirectory.at(region.hub).repository, lambda _: ()).serve(
                hub
            )
            yield Stage(region, own, own_account, server.pid or 0)
    finally:
        await server.stop()


def rss_mib(pid: int, field: str = "VmRSS") -> float:
    """What a process holds in memory, or held at most with `VmHWM`."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kib = next(line.split()[1] for line in lines if line.startswith(f"{field}:"))
    return round(int(kib) / 1024, 3)


def cpu_s(pid: int) -> float:
    """Seconds of processor that a process took."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

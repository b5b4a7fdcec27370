"""Three real servers of a hub's cluster on loopback, each a process to stop or change."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from broker import clock
from broker.cli.admin.node_place import NodePlace
from broker.cli.demo.region import DemoRegion, found
from broker.hub.enrolment import Enrolment, wanted
from broker.hub.place import HubPlace, HubSecrets
from broker.hub.settings import HubConfig
from broker.hub.suspensions import Suspensions
from broker.transport.credentials import Credentials
from broker.transport.errors import Unreachable
from broker.transport.link import Link
from broker.transport.server import Server
from keys.directory.source import PublishedDirectory
from keys.home import Home
from keys.identity import STORE_NAME, identity_in
from keys.keystore import KeyStore

SERVERS = 3
FIRST = "hub-1"
NODES = ("SG", "MY")
BOUND_S = 60.0
T = TypeVar("T")


@dataclass
class Servers:
    """A region's folders, and the servers of its hub; no hub, gateway or node runs."""

    region: DemoRegion
    running: dict[str, Server]

    @property
    def place(self) -> HubPlace:
        return HubPlace(self.region.hub)

    @property
    def config(self) -> HubConfig:
        return self.place.config()

    @property
    def secrets(self) -> HubSecrets:
        return self.place.open_hub(self.region.passphrase)

    def folder(self, name: str) -> Path:
        return self.running[name].place.folder

    def url(self, name: str) -> str:
        (server,) = (each for each in self.config.cluster if each.name == name)
        return server.url

    def hub_at(self, name: str) -> Credentials:
        """The hub's own account, at one server alone."""
        given = self.secrets.hub_credentials(self.place, self.config)
        return replace(given, urls=(self.url(name),), name=f"at-{name}")

    def system_at(self, name: str) -> Credentials:
        given = self.secrets.system_credentials(self.place, self.config)
        return replace(given, urls=(self.url(name),), name=f"system-at-{name}")

    def member_at(self, code: str, name: str) -> Credentials:
        """A member's node, at one server alone."""
        home = self.region.home(code)
        place = NodePlace(home)
        store = KeyStore.open(Home(home).node_keys / STORE_NAME, self.region.passphrase)
        given = place.credentials(place.config(), identity_in(store))
        return replace(given, urls=(self.url(name),))

    async def restart(self, name: str) -> None:
        await self.running[name].stop()
        await self.running[name].start()

    async def enrolled(self, system: Link, hub: Link) -> None:
        """Do once what a hub does when it starts: accounts, then streams."""
        secrets, sizes = self.secrets, self.config.sizes()
        enrolment = Enrolment(secrets.keys, system, hub, sizes, secrets.revoked)
        view = PublishedDirectory.at(self.region.hub).view()
        await steady(
            lambda: enrolment.apply(wanted(view, Suspensions(), now=clock.now()), now=clock.now())
        )


@asynccontextmanager
async def running_servers(folder: Path) -> AsyncIterator[Servers]:
    """The servers, started and stopped."""
    region = await asyncio.to_thread(found, folder, nodes=NODES, servers=SERVERS)
    place = HubPlace(region.hub)
    servers = {each.name: Server(place.cluster_server(each)) for each in place.config().cluster}
    async with AsyncExitStack() as stack:
        for server in servers.values():
            await server.start()
            stack.push_async_callback(server.stop, kill=True)
        yield Servers(region, servers)


@asynccontextmanager
async def linked_servers(folder: Path) -> AsyncIterator[tuple[Servers, Link, Link]]:
    """The servers with accounts and streams, and links to the first: the system's and the hub's."""
    async with (
        running_servers(folder) as cluster,
        Link(cluster.system_at(FIRST)) as system,
        Link(cluster.hub_at(FIRST)) as hub,
    ):
        await cluster.enrolled(system, hub)
        yield cluster, system, hub


async def steady(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer, once the servers agree again."""
    while True:
        try:
            return await ask()
        except Unreachable:
            await asyncio.sleep(0.2)


async def whole(link: Link, stream: str, *, servers: int = SERVERS) -> dict[str, Any]:
    """What is said of a stream once so many servers hold all of it."""
    while True:
        info = await steady(lambda: link.api(f"STREAM.INFO.{stream}", {}))
        about = info.get("cluster") or {}
        current = [each for each in about.get("replicas") or () if each.get("current")]
        if about.get("leader") and len(current) == servers - 1:
            return info
        await asyncio.sleep(0.2)

"""A node whose API is offered to desks in this process, with mail from another state."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import httpx

from broker import clock
from broker.api import Limits, Scope, TLSPort, TokenBook, create_app, serving
from broker.client import Client
from broker.node.node import Node
from schemas.common import Alert
from tests.support.alerts import every_alert
from tests.support.gateway import running_gateway
from tests.support.hub import RunningHub, running_hub
from tests.support.nodes import opened_node, request, send, until_over
from tests.support.region import make_region

ALL = tuple(Scope)


@dataclass
class Desks:
    """Where a node's API is offered, and the tokens it knows."""

    node: Node
    tokens: TokenBook
    socket: Path
    port: int = 0

    async def token(
        self, desk: str, scopes: Sequence[Scope] = ALL, types: Sequence[str] = ()
    ) -> str:
        _, token = await self.tokens.add(
            desk, frozenset(scopes), types=frozenset(types), now=clock.now()
        )
        return token

    def http(self, token: str = "") -> httpx.AsyncClient:
        """Bare HTTP, as a program in any language speaks it."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        transport = httpx.AsyncHTTPTransport(uds=str(self.socket))
        return httpx.AsyncClient(transport=transport, base_url="http://node", headers=headers)

    def client(self, token: str, *, patience_s: float = 10.0) -> Client:
        """The SDK."""
        return Client(url=f"unix://{self.socket}", token=token, patience_s=patience_s)


@asynccontextmanager
async def offered(
    node: Node, socket: Path, *, limits: Limits | None = None, tls: TLSPort | None = None
) -> AsyncIterator[Desks]:
    """The API of a node whose tokens are prepared, ended with the block."""
    tokens = TokenBook(node.database)
    app = create_app(node, tokens, limits=limits)
    async with serving(app, unix_path=socket, tls=tls) as served:
        yield Desks(node, tokens, socket, served.port)


def one_of(alert_type: str) -> Alert:
    return next(alert for alert in every_alert() if alert_type == alert.TYPE)


@dataclass
class Stage:
    """SG and MY at work."""

    hub: RunningHub
    folder: Path
    sg: Node
    my: Node

    async def arrive(self, *types: str) -> list[UUID]:
        """Let SG send an alert of each type, one after the other; return their ids at MY."""
        found = []
        for alert_type in types:
            asked = request(self.hub.region, ("MY",), alert=one_of(alert_type))
            last = await until_over(
                self.sg, (await send(self.sg, self.hub.region, asked)).submission_id
            )
            assert last.id is not None
            found.append(last.id)
        return found


@asynccontextmanager
async def running_stage(folder: Path) -> AsyncIterator[Stage]:
    """A hub, a gateway, and two nodes."""
    region = make_region(("SG", "MY"), now=clock.now())
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(region, folder / "hub"))
        await stack.enter_async_context(running_gateway(hub))
        sg, my = [
            await stack.enter_async_context(opened_node(hub, code, folder)) for code in ("SG", "MY")
        ]
        for node in (sg, my):
            await stack.enter_async_context(node.running())
        yield Stage(hub, folder, sg, my)

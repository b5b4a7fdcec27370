"""The ports of a node that are none of its desks' concern: monitoring, and its witness."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI

from broker import clock
from broker.api import TLSPort, serving
from broker.api.monitoring import monitoring_app
from broker.api.routes.probes import node_checks
from broker.api.serving import PlainPort
from broker.api.witnessing import witness_app
from broker.node.node import Node
from broker.node.witnessdoor import WitnessDoor


@asynccontextmanager
async def monitored(port: PlainPort | None, node: Node, app: FastAPI) -> AsyncIterator[None]:
    """Answer monitoring on its port, if there is one, while the block runs."""
    if port is None:
        yield
        return

    async def checks() -> Mapping[str, bool]:
        return await node_checks(node)

    async def exposition() -> bytes:
        metrics, gate = app.state.metrics, app.state.gate
        text: bytes = metrics.exposition(await node.status(), streams=gate.streams, now=clock.now())
        return text

    async with serving(monitoring_app(checks, exposition), plain=port):
        yield


@asynccontextmanager
async def witnessing(port: PlainPort | TLSPort | None, node: Node) -> AsyncIterator[int]:
    """Answer for the node's witness on its port, if there is one, while the block runs.

    Gives the port; 0 for none.
    """
    if port is None or node.log is None:
        yield 0
        return
    app = witness_app(WitnessDoor(node.log.cosigner))
    plain, tls = (port, None) if isinstance(port, PlainPort) else (None, port)
    async with serving(app, plain=plain, tls=tls) as served:
        yield served.port

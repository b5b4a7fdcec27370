"""What monitoring sees of a region's processes."""

from pathlib import Path

import httpx

from broker.cli.demo.region import DemoRegion
from broker.hub.place import HubPlace


async def asked(socket: Path, path: str, token: str = "") -> httpx.Response:
    """One question on a Unix socket."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    transport = httpx.AsyncHTTPTransport(uds=str(socket))
    async with httpx.AsyncClient(transport=transport, headers=headers) as client:
        return await client.get(f"http://kentong{path}")


async def of_hub(region: DemoRegion, path: str) -> httpx.Response:
    return await asked(HubPlace(region.hub).metrics_socket, path)


async def of_node(region: DemoRegion, code: str, path: str) -> httpx.Response:
    socket = region.home(code) / "node" / "api.sock"
    return await asked(socket, path, region.tokens[code])

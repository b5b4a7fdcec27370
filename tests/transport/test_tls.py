"""TLS 1.3 alone, towards the hub and at the node's port; certificates and names are checked."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.applications import Starlette

from broker import clock
from broker.api.serving import TLSPort, serving
from broker.transport.credentials import Credentials
from broker.transport.dialling import tls_context
from broker.transport.errors import Unreachable
from broker.transport.link import Link
from keys.primitives.certificates import issue_server, make_ca
from keys.primitives.signing import SignKey
from tests.support.hub import BOUND_S, running_hub
from tests.support.region import make_region

OLD, NEW = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
NAMES = ["localhost", "127.0.0.1"]


class Authority:
    """An authority, and the files of servers that it vouches for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.pem, self._key = make_ca("test", clock.now(), 30)

    def files(self, names: list[str]) -> tuple[Path, Path]:
        certificate, key = issue_server(self.pem, self._key, names, clock.now(), 30)
        paths = self._folder / f"{names[0]}.pem", self._folder / f"{names[0]}.key"
        for path, raw in zip(paths, (certificate, key), strict=True):
            path.write_bytes(raw)
        return paths


async def version_agreed(port: int, authority_pem: bytes, most: ssl.TLSVersion) -> str:
    """What a client that speaks at most `most` agrees on, or why nothing."""
    context = ssl.create_default_context(cadata=authority_pem.decode())
    context.maximum_version = most
    try:
        async with asyncio.timeout(BOUND_S):
            _, writer = await asyncio.open_connection(
                "localhost", port, ssl=context, family=socket.AF_INET
            )
    except (ssl.SSLError, ConnectionResetError) as error:
        return type(error).__name__
    agreed = str(writer.get_extra_info("ssl_object").version())
    writer.close()
    return agreed


async def test_the_nodes_port_speaks_no_older_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    port = TLSPort("127.0.0.1", 0, *authority.files(NAMES))
    async with serving(Starlette(), tls=port) as served:
        assert await version_agreed(served.port, authority.pem, NEW) == "TLSv1.3"
        assert await version_agreed(served.port, authority.pem, OLD) != "TLSv1.2"


@pytest.mark.hub
async def test_the_hubs_server_speaks_no_older_tls(tmp_path: Path) -> None:
    async with running_hub(make_region(("SG", "MY"), now=clock.now()), tmp_path / "hub") as hub:
        async with hub.hub_link() as link:
            await link.wait_connected(BOUND_S)
        assert await after_info(hub.place.port, hub.ca_pem, NEW) == "TLSv1.3"
        assert await after_info(hub.place.port, hub.ca_pem, OLD) != "TLSv1.2"


async def after_info(port: int, authority_pem: str, most: ssl.TLSVersion) -> str:
    """As `version_agreed`, after the server's first line, which NATS sends in clear."""
    context = ssl.create_default_context(cadata=authority_pem)
    context.maximum_version = most
    async with asyncio.timeout(BOUND_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert (await reader.readline()).startswith(b"INFO ")
        try:
            await writer.start_tls(context, server_hostname="localhost")
        except (ssl.SSLError, ConnectionError) as error:
            return type(error).__name__
        agreed = str(writer.get_extra_info("ssl_object").version())
        writer.close()
        return agreed


@asynccontextmanager
async def impostor(
    files: tuple[Path, Path], most: ssl.TLSVersion
) -> AsyncIterator[tuple[int, "asyncio.Future[str]"]]:
    """A server that says what NATS says first; and what came of the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = most
    context.load_cert_chain(*files)
    agreed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    info = {"server_id": "x", "tls_required": True, "max_payload": 1048576, "nonce": "n"}

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"INFO " + json.dumps(info).encode() + b"\r\n")
        try:
            await writer.start_tls(context)
            result = str(writer.get_extra_info("ssl_object").version())
        except (OSError, ssl.SSLError):
            result = "refused"
        if not agreed.done():
            agreed.set_result(result)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], agreed


@pytest.mark.parametrize(
    ("names", "most", "agreed"),
    [(NAMES, NEW, "TLSv1.3"), (NAMES, OLD, "refused"), (["elsewhere.example"], NEW, "refused")],
)
async def test_a_link_takes_tls_1_3_of_the_right_name_alone(
    tmp_path: Path, names: list[str], most: ssl.TLSVersion, agreed: str
) -> None:
    authority = Authority(tmp_path)
    async with impostor(authority.files(names), most) as (port, outcome):
        url, user = f"tls://localhost:{port}", SignKey.generate()
        given = Credentials((url,), authority.pem.decode(), "jwt", user, "_INBOX", "test")
        async with Link(given) as link, asyncio.timeout(BOUND_S):
            assert await outcome == agreed
            with pytest.raises(Unreachable):
                await link.wait_connected(0.1)


def test_the_context_of_a_link_trusts_its_one_authority(tmp_path: Path) -> None:
    context = tls_context(Authority(tmp_path).pem.decode())
    assert context.minimum_version is NEW
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) == 1

"""A real hub transport: nats-server with TLS, operator mode, accounts and streams, on loopback."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from broker import clock
from broker.transport.accounts import (
    HubKeys,
    inbox_prefix,
    member_account_jwt,
    public_nkey,
    user_jwt,
)
from broker.transport.credentials import Credentials
from broker.transport.link import Link
from broker.transport.server import Server, ServerPlace, write_configuration
from broker.transport.streams import Sizes, ensure_streams
from keys.primitives.certificates import issue_server, make_ca
from tests.support.region import TestRegion

MIB = 1024 * 1024
SMALL = Sizes(submit=16 * MIB, inbox=16 * MIB, held=8 * MIB, receipt=8 * MIB, audit=64 * MIB)
BOUND_S = 60.0  # far beyond what anything here takes, on a busy machine too


@dataclass
class RunningHub:
    """A server for the members of a test region."""

    region: TestRegion
    keys: HubKeys
    place: ServerPlace
    server: Server
    ca_pem: str
    members: Sequence[str]

    @property
    def url(self) -> str:
        return f"tls://localhost:{self.place.port}"

    def hub_credentials(self, name: str = "hub") -> Credentials:
        jwt = user_jwt(self.keys.account, self.keys.user.public.raw, name, now=clock.now())
        return Credentials((self.url,), self.ca_pem, jwt, self.keys.user, "_INBOX", name)

    def system_credentials(self) -> Credentials:
        jwt = user_jwt(
            self.keys.system, self.keys.system_user.public.raw, "system", now=clock.now()
        )
        user = self.keys.system_user
        return Credentials((self.url,), self.ca_pem, jwt, user, "_INBOX", "system")

    def member_credentials(self, code: str, *, confined: bool = True) -> Credentials:
        """Of a member's node; unconfined, as an attacker who signs his own user's JWT has them."""
        member = self.region.members[code]
        jwt = user_jwt(
            member.nats_account,
            member.nats_user.public.raw,
            code,
            now=clock.now(),
            member=code if confined else None,
        )
        return Credentials(
            (self.url,), self.ca_pem, jwt, member.nats_user, inbox_prefix(code), code
        )

    def hub_link(self) -> Link:
        return Link(self.hub_credentials())

    def member_link(self, code: str) -> Link:
        return Link(self.member_credentials(code))

    async def enrol(self, code: str, *, connections: int = 8) -> None:
        """Push the account of a member, as `hub run` does."""
        key = self.region.members[code].nats_account.public.raw
        jwt = member_account_jwt(
            self.keys,
            code,
            key,
            now=clock.now(),
            connections=connections,
        )
        async with Link(self.system_credentials()) as link:
            await link.wait_connected(BOUND_S)
            await link.request("$SYS.REQ.CLAIMS.UPDATE", jwt.encode(), timeout_s=BOUND_S)

    def account_of(self, code: str) -> str:
        return public_nkey("account", self.region.members[code].nats_account.public.raw)

    async def restart(self, *links: Link, kill: bool = True) -> None:
        """End it and start it; return once each of `links` has noticed, and is there again."""
        before = [link.generation for link in links]
        await self.server.stop(kill=kill)
        await self.server.start()
        async with asyncio.timeout(BOUND_S):
            for link, generation in zip(links, before, strict=True):
                while link.generation == generation or not link.connected:  # noqa: ASYNC110 - no event
                    await asyncio.sleep(0.02)


@asynccontextmanager
async def running_hub(
    region: TestRegion,
    folder: Path,
    *,
    members: Sequence[str] | None = None,
    sizes: Sizes = SMALL,
) -> AsyncIterator[RunningHub]:
    """A server with accounts and streams of `members`, stopped at the end."""
    codes = tuple(members or region.view.members())
    keys = HubKeys.generate()
    now = clock.now()
    place, ca_pem = _prepare(folder, now)
    write_configuration(place, keys, codes, now=now)
    server = Server(place)
    hub = RunningHub(region, keys, place, server, ca_pem.decode(), codes)
    await server.start()
    try:
        for code in codes:
            await hub.enrol(code)
        async with hub.hub_link() as link:
            await link.wait_connected(BOUND_S)
            await ensure_streams(link, codes, now=now, sizes=sizes)
        yield replace(hub)
    finally:
        await server.stop(kill=True)


def _prepare(folder: Path, now: datetime) -> tuple[ServerPlace, bytes]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ca_pem, ca_key = make_ca("Kentong test hub", now, 30)
    certificate, key = issue_server(ca_pem, ca_key, ["localhost", "127.0.0.1"], now, 30)
    (folder / "server.pem").write_bytes(certificate)
    (folder / "server.key").write_bytes(key)
    place = ServerPlace(folder, free_port(), folder / "server.pem", folder / "server.key")
    return place, ca_pem


def nothing_read(stream: str, numbers: Iterable[int]) -> None:
    """For a sweep where all that it takes out is unread."""
    raise AssertionError(stream, numbers)


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port

"""Serving the app on a Unix socket, a TLS port, or both; monitoring on a port without TLS."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvicorn
from starlette.applications import Starlette
from typing_extensions import override

from broker.api.door import DEFAULT_BOUNDS, Bounds, Door, HeadInTime, Ticket, listen
from broker.errors import BrokerError

MAX_SOCKET_PATH_BYTES: Final = 107  # sun_path of Linux, without its final zero
_BACKLOG: Final = 128
_CONNECTIONS: Final = 512  # beyond it a desk is told 503
_CLOSING_S: Final = 5  # what an answer under way may take when the node stops
_TCP: Final = (socket.AF_INET, socket.AF_INET6)


class ServingError(BrokerError):
    """The API cannot be offered at this place."""


@dataclass(frozen=True)
class TLSPort:
    """Where to offer the API over TLS 1.3.

    Attributes:
        host: Address to listen on.
        port: 0 for any free one.
        certificate: PEM file with the chain.
        key: PEM file with the private key.
        client_ca: If given, desks must show a certificate of these authorities as well.
        bounds: How many connections it takes, and how long one may say nothing.
    """

    host: str
    port: int
    certificate: Path
    key: Path
    client_ca: Path | None = None
    bounds: Bounds = DEFAULT_BOUNDS


@dataclass(frozen=True)
class PlainPort:
    """Where to offer monitoring without TLS: an address of this machine, or of a network apart."""

    host: str
    port: int


@dataclass(frozen=True)
class Served:
    """Where the application is offered; `port` is 0 without a port."""

    unix_path: Path | None
    port: int


@asynccontextmanager
async def serving(
    app: Starlette,
    *,
    unix_path: Path | None = None,
    tls: TLSPort | None = None,
    plain: PlainPort | None = None,
) -> AsyncIterator[Served]:
    """Offer `app` while the context is open; on leaving, streams end and answers are finished.

    Args:
        app: From `create_app`.
        unix_path: Made with mode 0600; a socket left by a killed process is replaced.
        tls: A port as well, or instead.
        plain: A port without TLS: for monitoring, which carries no token and no content.

    Raises:
        ServingError: A place is taken or cannot be used, or none is given.
    """
    if unix_path is None and tls is None and plain is None:
        raise ServingError("no-place", "name a Unix socket or a TLS port")
    listeners = list(_listeners(unix_path, tls, plain))
    servers = [
        _Server(_config(app), sock)
        if context is None or tls is None
        else _TLSServer(_config(app), sock, context, tls.bounds)
        for sock, context in listeners
    ]
    port = next((each.getsockname()[1] for each, _ in listeners if each.family in _TCP), 0)
    closing = getattr(app.state, "closing", None) or asyncio.Event()
    closing.clear()
    try:
        async with asyncio.TaskGroup() as tasks:
            for server in servers:
                tasks.create_task(server.serve(sockets=[server.sock]))
            try:
                for server in servers:
                    await server.listening.wait()
                yield Served(unix_path, port)
            finally:
                closing.set()
                for server in servers:
                    server.should_exit = True
                for server in servers:  # leaving by an exception would cancel them half-way
                    await server.stopped.wait()
    finally:
        _remove(unix_path, [sock for sock, _ in listeners])


class _Server(uvicorn.Server):
    """A server that leaves signals to the node, and says when it listens."""

    def __init__(self, config: uvicorn.Config, sock: socket.socket) -> None:
        super().__init__(config)
        self.sock = sock
        self.listening = asyncio.Event()
        self.stopped = asyncio.Event()

    @override
    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().serve(sockets=sockets)
        finally:
            self.stopped.set()

    @override
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.listening.set()


class _TLSServer(_Server):
    """A server that takes its connections through a door, since strangers reach it."""

    def __init__(
        self, config: uvicorn.Config, sock: socket.socket, context: ssl.SSLContext, bounds: Bounds
    ) -> None:
        super().__init__(config, sock)
        self.context = context
        self.door = Door(bounds)
        self._admitting: asyncio.Task[None] | None = None

    @override
    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        async with asyncio.TaskGroup() as group:
            listen(self.sock)
            self._admitting = group.create_task(
                self.door.admit_for_ever(self.sock, self.context, self._protocol)
            )
            try:
                await super().serve(sockets=[])  # uvicorn itself listens on none
            finally:
                self._admitting.cancel()

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._admitting is not None:
            self._admitting.cancel()
        await super().shutdown(sockets)

    def _protocol(self, ticket: Ticket) -> HeadInTime:
        return HeadInTime(
            head_s=self.door.bounds.head_s,
            ticket=ticket,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )


def _remove(unix_path: Path | None, sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()
    if unix_path is not None:
        unix_path.unlink(missing_ok=True)


def _config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        lifespan="off",
        ws="none",
        http="h11",
        interface="asgi3",
        access_log=False,  # a request line holds ids and cursor names; the app counts instead
        log_config=None,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=_CLOSING_S,
    )


def _listeners(
    unix_path: Path | None, tls: TLSPort | None, plain: PlainPort | None
) -> Iterator[tuple[socket.socket, ssl.SSLContext | None]]:
    if tls is not None:
        context = _context(tls)
        yield _port(tls), context
    if plain is not None:
        yield _port(plain), None
    if unix_path is not None:
        yield _unix(unix_path), None


def _unix(path: Path) -> socket.socket:
    if len(str(path).encode()) > MAX_SOCKET_PATH_BYTES - 4:
        raise ServingError("socket-path-too-long", "the path of the socket is too long; use --home")
    _refuse_if_alive(path)
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(fresh))
        fresh.chmod(0o600)  # nobody can connect before listen, so there is no moment in between
        fresh.rename(path)
    except OSError:
        sock.close()
        raise ServingError("socket-not-made", "the Unix socket cannot be made there") from None
    return sock


def _refuse_if_alive(path: Path) -> None:
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.connect(str(path))
        raise ServingError("already-running", "another process serves this socket")


def _port(place: TLSPort | PlainPort) -> socket.socket:
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((place.host, place.port))
    except OSError:
        sock.close()
        raise ServingError("port-taken", "the port cannot be used", retry="later") from None
    return sock


def _context(tls: TLSPort) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(tls.certificate, tls.key)
        if tls.client_ca is not None:
            context.load_verify_locations(tls.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError):
        raise ServingError("bad-certificate", "the certificate or key cannot be read") from None
    return context

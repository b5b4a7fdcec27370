"""A wire with a meter: hands every byte on and counts it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

_CHUNK = 64 * 1024


@dataclass
class Meter:
    """Bytes that went by, both ways, of every connection. Owned by the event loop.

    Attributes:
        upstream: Where the wire leads: a socket's path, or a host and port.
    """

    upstream: Path | tuple[str, int] | None = None
    up: int = 0
    down: int = 0

    @property
    def both(self) -> int:
        """Up and down together."""
        return self.up + self.down

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side ends it."""
        match self.upstream:
            case Path():
                there, back = await asyncio.open_unix_connection(self.upstream)
            case (host, port):
                there, back = await asyncio.open_connection(host, port)
            case _:
                raise AssertionError("the wire leads nowhere yet")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._hand_on(reader, back, up=True))
                group.create_task(self._hand_on(there, writer, up=False))
        finally:
            writer.close()
            back.close()

    async def _hand_on(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, up: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(_CHUNK):
                if up:
                    self.up += len(chunk)
                else:
                    self.down += len(chunk)
                sink.write(chunk)
                await sink.drain()
            if sink.can_write_eof():
                sink.write_eof()


@asynccontextmanager
async def metered_port() -> AsyncIterator[tuple[Meter, int]]:
    """A port on loopback that leads to the meter's upstream, which may be named later."""
    meter = Meter()
    server = await asyncio.start_server(meter.connected, "127.0.0.1", 0)
    try:
        yield meter, server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def metered_socket(path: Path, upstream: Path) -> AsyncIterator[Meter]:
    """A Unix socket at `path` that leads to the one at `upstream`."""
    meter = Meter(upstream)
    server = await asyncio.start_unix_server(meter.connected, path)
    try:
        yield meter
    finally:
        server.close()

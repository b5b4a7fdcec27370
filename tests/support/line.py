"""A line between a node and the hub that can be cut, stalled, or made late and thin.

It passes bytes and knows nothing of them: TLS runs through it from end to end.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

PIECE_BYTES = 16 * 1024


@dataclass
class Line:
    """What a line does at this moment, to all its connections.

    Attributes:
        to_ports: Where the hub's servers are, one behind each of `ports`; may be said once that is
            known. Several are reached over one line, as from a member that has one.
        delay_s: Before each piece of at most 16 KiB goes on, each way.
        passed: Bytes, each way together.
        kept_waiting: Pieces that met a line which was stalled or late.
    """

    to_ports: tuple[int, ...] = ()
    delay_s: float = 0.0
    passed: int = 0
    kept_waiting: int = 0
    ports: tuple[int, ...] = ()
    _cut: bool = False
    _open: asyncio.Event = field(default_factory=asyncio.Event)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @asynccontextmanager
    async def cut(self) -> AsyncIterator[None]:
        """Close every connection, and refuse new ones while the block runs."""
        self._cut = True
        for writer in self._writers:
            writer.transport.abort()
        try:
            yield
        finally:
            self._cut = False

    @asynccontextmanager
    async def stalled(self) -> AsyncIterator[None]:
        """Pass nothing while the block runs; nobody is told."""
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()

    @asynccontextmanager
    async def slow(self, delay_s: float) -> AsyncIterator[None]:
        """Be late with each piece while the block runs."""
        self.delay_s = delay_s
        try:
            yield
        finally:
            self.delay_s = 0.0

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side ends it."""
        if self._cut:
            writer.transport.abort()
            return
        try:
            port = self.ports.index(writer.get_extra_info("sockname")[1])
            there, back = await asyncio.open_connection("127.0.0.1", self.to_ports[port])
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, back))
                group.create_task(self._pass(there, writer))
        except* OSError:
            pass
        finally:
            self._writers -= {writer, back}
            for each in (writer, back):
                each.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(PIECE_BYTES):
            self.kept_waiting += bool(self.delay_s) or not self._open.is_set()
            await self._open.wait()
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            self.passed += len(piece)
            writer.write(piece)
            await writer.drain()
        raise ConnectionResetError  # the other direction ends as well


@asynccontextmanager
async def running_line(servers: int = 1) -> AsyncIterator[Line]:
    """A line on ports of its own, which passes everything until told otherwise."""
    line = Line()
    line._open.set()
    doors = [await asyncio.start_server(line.carry, "127.0.0.1", 0) for _ in range(servers)]
    line.ports = tuple(door.sockets[0].getsockname()[1] for door in doors)
    try:
        yield line
    finally:
        for door in doors:
            door.close()
        async with line.cut():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    for door in doors:
                        await door.wait_closed()

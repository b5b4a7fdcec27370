"""A line between a node and the hub that can be cut, stalled, or made late and thin.

It passes bytes and knows nothing of them: TLS runs through it from end to end.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
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
        ports: Of `localhost`, as whoever uses the line sees them.
        command: What whoever uses the line is started by, put before its own words.
    """

    to_ports: tuple[int, ...] = ()
    delay_s: float = 0.0
    passed: int = 0
    kept_waiting: int = 0
    ports: tuple[int, ...] = ()
    command: tuple[str, ...] = ()
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
        before, self.delay_s = self.delay_s, delay_s
        try:
            yield
        finally:
            self.delay_s = before

    def thin(self, bits_per_s: float) -> AbstractAsyncContextManager[None]:
        """Pass no more than this each way while the block runs: a proxy by being late.

        Args:
            bits_per_s: Of each connection, by a proxy; of the whole line, by a wire.
        """
        return self.slow(8 * PIECE_BYTES / bits_per_s)

    def parted(self) -> AbstractAsyncContextManager[None]:
        """Lose everything while the block runs: a proxy can but stall."""
        return self.stalled()

    def lossy(self, share: float) -> AbstractAsyncContextManager[None]:
        """Lose a share while the block runs: a proxy can but be late, as TCP is that sends again.

        Args:
            share: Of all that is sent, below 1.
        """
        return self.slow(share / (1 - share))

    @property
    def port(self) -> int:
        """The first of its ports."""
        return self.ports[0]

    @property
    def felt(self) -> int:
        """How often whoever uses the line met what is bad about it."""
        return self.kept_waiting

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side ends it."""
        if self._cut:
            writer.transport.abort()
            return
        try:
            port = self.ports.index(writer.get_extra_info("sockname")[1])
            there, back = await self._to_hub(self.to_ports[port])
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

    async def _to_hub(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", port)

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
    at = [socket.create_server(("127.0.0.1", 0)) for _ in range(servers)]
    async with served(line, at):
        yield line


@asynccontextmanager
async def served(line: Line, at: Sequence[socket.socket]) -> AsyncIterator[None]:
    """Take connections at sockets that listen, and carry them until the block ends."""
    line._open.set()
    line.ports = tuple(each.getsockname()[1] for each in at)
    doors = [await asyncio.start_server(line.carry, sock=each) for each in at]
    try:
        yield
    finally:
        for door in doors:
            door.close()
        async with line.cut():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    for door in doors:
                        await door.wait_closed()

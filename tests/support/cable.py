"""A line between two servers that can be cut without either being told, as a real one is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

PIECE_BYTES = 64 * 1024


@dataclass
class Cable:
    """Passes bytes on to a port. Cut, it holds what it has: nothing is refused, nothing arrives.

    Mended, it brings what it held: what a server said before the cut reaches the others late, as
    TCP would bring it.

    Attributes:
        passed: Bytes that it brought, both ways.
    """

    to_port: int
    port: int = 0
    passed: int = 0
    _joined: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def cut(self) -> None:
        self._joined.clear()

    def mend(self) -> None:
        self._joined.set()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side ends it."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        ends = [writer]
        try:
            await self._joined.wait()
            there, on = await asyncio.open_connection("127.0.0.1", self.to_port)
            ends.append(on)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, on))
                group.create_task(self._pass(there, writer))
        except* OSError:
            pass
        finally:
            for each in ends:
                each.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(PIECE_BYTES):
            await self._joined.wait()
            self.passed += len(piece)
            writer.write(piece)
            await writer.drain()
        raise ConnectionResetError  # the other direction ends as well

    def end(self) -> None:
        for task in self._tasks:
            task.cancel()


@asynccontextmanager
async def cable(to_port: int) -> AsyncIterator[Cable]:
    """A cable that is whole, on a port of its own."""
    line = Cable(to_port)
    line.mend()
    server = await asyncio.start_server(line.carry, "127.0.0.1", 0)
    line.port = server.sockets[0].getsockname()[1]
    try:
        yield line
    finally:
        server.close()
        line.end()

"""A line as thin, late and lossy as a satellite terminal's, made of two sockets and a clock.

For machines that let us make no wire (`wire.py`). Nothing here drops a packet: between two sockets
there are none to drop. What TCP makes of loss is shown instead. Each piece of a segment's size
takes its time on the line and its delay; with the chance of a loss it takes the time of another
round trip and a fifth of a second, in which the line carries nothing, and is sent again, perhaps in
vain. What comes behind waits, since TCP delivers in order. That is how a loss looks to whoever
reads; how windows shrink and grow is not shown.
"""

import asyncio
import contextlib
import random  # noqa: TID251 - seeded, so that a run can be repeated
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

SEGMENT_BYTES = 1_448  # of an Ethernet frame, after IP and TCP with timestamps
QUEUE_SEGMENTS = 24  # about four seconds of a modem at 64 kbit/s
SOCKET_BYTES = 16 * 1024  # or the loopback's own buffers would hide the line
TIMEOUT_S = 0.2  # the least that TCP waits beyond a round trip before it sends again


@dataclass
class Way:
    """One direction of the line, shared by all connections.

    Attributes:
        passed: Bytes that whoever reads was given.
        lost: Segments that were sent again.
    """

    passed: int = 0
    lost: int = 0
    free_at: float = 0.0  # When the line can take the next segment, by the loop's clock.


@dataclass
class PoorLine:
    """What the line is like. It may be changed at any moment.

    Attributes:
        bits_per_s: Each way.
        loss: Chance of each segment to be lost.
        delay_s: Each way.
    """

    to_port: int = 0
    bits_per_s: float = 64_000.0
    loss: float = 0.05
    delay_s: float = 0.4
    seed: int = 7
    port: int = 0
    command: tuple[str, ...] = ()  # As a `Line` has it.
    out: Way = field(default_factory=Way)  # To the hub.
    back: Way = field(default_factory=Way)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)  # noqa: S311 - a line, not a secret

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side ends it."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await asyncio.sleep(3 * self.delay_s)  # TCP's own greeting, before TLS can begin
            there, on = await asyncio.open_connection("127.0.0.1", self.to_port)
        except OSError:
            writer.transport.abort()
            self._tasks.discard(task)
            return
        for each in (writer, on):
            _small(each)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, on, self.out))
                group.create_task(self._pass(there, writer, self.back))
        except* OSError:
            pass
        finally:
            self._tasks.discard(task)
            for each in (writer, on):
                each.transport.abort()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way
    ) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUE_SEGMENTS)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._deliver(queue, writer, way))
            while segment := await reader.read(SEGMENT_BYTES):
                await queue.put((self._arrives(len(segment), way), segment))
            await queue.put((0.0, b""))

    async def _deliver(
        self, queue: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter, way: Way
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            at, segment = await queue.get()
            if not segment:
                raise ConnectionResetError  # the other direction ends as well
            await asyncio.sleep(max(0.0, at - loop.time()))
            way.passed += len(segment)
            writer.write(segment)
            await writer.drain()

    def _arrives(self, size: int, way: Way) -> float:
        """Return when a segment that is ready now is at the other end."""
        now = asyncio.get_running_loop().time()
        takes_s = size * 8 / self.bits_per_s
        sent = max(now, way.free_at) + takes_s
        while self._chance.random() < self.loss:
            way.lost += 1
            sent += 2 * self.delay_s + TIMEOUT_S + takes_s
        way.free_at = sent
        return sent + self.delay_s

    def cut(self) -> None:
        """End every connection."""
        for task in self._tasks:
            task.cancel()


def _small(writer: asyncio.StreamWriter) -> None:
    found = writer.get_extra_info("socket")
    if found is not None:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BYTES)


@asynccontextmanager
async def running_poor_line(**like: float) -> AsyncIterator[PoorLine]:
    """A poor line on a port of its own."""
    line = PoorLine(**like)  # type: ignore[arg-type] # its fields are numbers
    server = await asyncio.start_server(line.carry, "127.0.0.1", 0, limit=SOCKET_BYTES)
    line.port = server.sockets[0].getsockname()[1]
    try:
        yield line
    finally:
        server.close()
        line.cut()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await server.wait_closed()

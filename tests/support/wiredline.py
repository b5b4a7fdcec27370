"""A node's line to the hub: through a wire where this machine lets us make one, else a proxy."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from typing_extensions import override

from tests.support.line import Line, running_line, served
from tests.support.network import why_not
from tests.support.wire import Condition, Way, Wire, running_wire

THIN_BITS_PER_S = 256_000
SOCKET_BYTES = 16 * 1024  # or what the hub has written would pile up before the wire


@dataclass
class WiredLine(Line):
    """Takes a node's connections at the far end of a wire, and carries them on to the hub."""

    wire: Wire = field(kw_only=True)

    @property
    def out(self) -> Way:
        """What became of the packets to the hub."""
        return self.wire.out

    @property
    def back(self) -> Way:
        """What became of the packets from the hub."""
        return self.wire.back

    @override
    @asynccontextmanager
    async def slow(self, delay_s: float) -> AsyncIterator[None]:
        """Be late with each packet, by up to twice as much, and thin."""
        with self.wire.being(delay_s=delay_s, jitter_s=delay_s, bits_per_s=THIN_BITS_PER_S):
            yield

    @override
    @asynccontextmanager
    async def thin(self, bits_per_s: float) -> AsyncIterator[None]:
        """Pass no more than this each way while the block runs."""
        with self.wire.being(bits_per_s=bits_per_s):
            yield

    @override
    @asynccontextmanager
    async def parted(self) -> AsyncIterator[None]:
        """Lose every packet while the block runs."""
        with self.wire.being(cut=True):
            yield

    @override
    @asynccontextmanager
    async def lossy(self, share: float) -> AsyncIterator[None]:
        """Lose a share of the packets while the block runs, each way."""
        with self.wire.being(loss=share):
            yield

    @property
    @override
    def felt(self) -> int:
        return self.kept_waiting + self.wire.touched

    @override
    async def _to_hub(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await super()._to_hub(port)
        connected = writer.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BYTES)
        return reader, writer


@asynccontextmanager
async def running_wired_line(
    folder: Path, *, seed: int, condition: Condition | None = None, servers: int = 1
) -> AsyncIterator[WiredLine]:
    """A line through a wire of its own.

    Args:
        folder: Made where it is not there; a file of names is put there.
        seed: Of the wire.
        condition: Of the wire at first; None: it passes everything at once.
        servers: Of the hub, which are reached over this one line.

    Raises:
        OSError: This machine does not let us.
    """
    with running_wire(folder, seed=seed) as wire:
        wire.condition = condition or wire.condition
        line = WiredLine(command=wire.command, wire=wire)
        async with served(line, [wire.listening(number) for number in range(servers)]):
            yield line


@asynccontextmanager
async def running_bad_line(folder: Path, *, seed: int, servers: int = 1) -> AsyncIterator[Line]:
    """A line through a wire; where this machine does not let us make one, a proxy's, saying why.

    Args:
        folder: As for `running_wired_line`.
        seed: Of the wire.
        servers: Of the hub, which are reached over this one line.
    """
    if reason := why_not():
        print(f"a proxy: {reason}")  # noqa: T201 - to who asked
        async with running_line(servers) as proxy:
            yield proxy
        return
    async with running_wired_line(folder, seed=seed, servers=servers) as wired:
        yield wired

"""A wire between two networks of our own, which loses, delays, throttles and cuts real packets.

At each end is the kernel's own TCP; between them a thread reads packets from one device and writes
them to the other. So a loss is a loss: TCP sends again, backs off and waits as it would on a bad
link, and whoever is cut off is told nothing.
"""

import heapq
import os
import random  # noqa: TID251 - seeded, so that a run can be repeated
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from tests.support.network import Network

PACKET_BYTES: Final = 2048  # more than the 1,500 that a device gives at most
NEAR: Final = "10.77.0.2"
FAR: Final = "10.77.0.1"
MASK: Final = "255.255.255.252"
PORT: Final = 4222  # each far end is alone in its network
QUEUE_BYTES: Final = 36_000  # of a modem: 24 packets, four and a half seconds at 64 kbit/s
IPV4: Final = 4


@dataclass(frozen=True)
class Condition:
    """What a wire is like.

    Attributes:
        loss: Chance of each packet to be lost.
        delay_s: Of each packet, each way.
        jitter_s: At most so much more, drawn for each packet.
        reorders: Whether a packet that is less late overtakes.
        bits_per_s: Each way; 0 for no limit. What does not fit into the queue before it is lost.
        cut: Whether it passes nothing; what is on its way is lost too.
    """

    loss: float = 0.0
    delay_s: float = 0.0
    jitter_s: float = 0.0
    reorders: bool = False
    bits_per_s: float = 0.0
    cut: bool = False


@dataclass
class Way:
    """One direction. Owned by the wire's thread; others read the counts.

    Attributes:
        passed: Bytes that arrived, the headers of IP and TCP included.
        arrived: Packets that did.
        lost: Packets that were lost by chance.
        overflowed: Packets that found the queue full.
        swallowed: Packets that met a wire which was cut.
        late: Packets that were delayed.
    """

    to: int
    chance: random.Random
    passed: int = 0
    arrived: int = 0
    lost: int = 0
    overflowed: int = 0
    swallowed: int = 0
    late: int = 0
    free_at: float = 0.0  # When it can take the next packet.
    last_due: float = 0.0

    def due(self, size: int, condition: Condition, now: float) -> float | None:
        """Return when a packet that is sent now arrives; None if it never does."""
        if condition.cut:
            self.swallowed += 1
            return None
        sent = now
        if condition.bits_per_s:
            queued_s = max(0.0, self.free_at - now)
            if queued_s * condition.bits_per_s / 8 + size > QUEUE_BYTES:
                self.overflowed += 1
                return None
            sent = self.free_at = now + queued_s + size * 8 / condition.bits_per_s
        if self.chance.random() < condition.loss:
            self.lost += 1
            return None
        due = sent + condition.delay_s + self.chance.random() * condition.jitter_s
        if not condition.reorders:
            due = max(due, self.last_due)
        self.last_due = due
        self.late += due > now
        return due


@dataclass
class Wire:
    """Both ends, and what is between them.

    Attributes:
        near: Where a node lives.
        far: Where the hub seems to be.
        command: What starts a program at the near end, which knows the far one as `localhost`:
            the name in the hub's certificate.
        condition: May be set to another at any moment.
        out: From near to far.
        back: From far to near.
    """

    near: Network
    far: Network
    command: tuple[str, ...]
    out: Way
    back: Way
    condition: Condition = field(default_factory=Condition)

    def listening(self, number: int = 0) -> socket.socket:
        """A socket that takes connections at the far end; each number has a port of its own."""
        return self.far.within(lambda: socket.create_server((FAR, PORT + number)))

    def connecting(self) -> socket.socket:
        """A socket at the near end, not connected yet."""
        return self.near.within(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))

    @contextmanager
    def being(self, **like: float) -> Iterator[None]:
        """Be like this while the block runs: attributes of a `Condition`."""
        before = self.condition
        self.condition = replace(before, **like)  # type: ignore[arg-type] # numbers and truths
        try:
            yield
        finally:
            self.condition = before

    @property
    def touched(self) -> int:
        """Packets to which anything happened, both ways."""
        ways = (self.out, self.back)
        return sum(each.lost + each.overflowed + each.swallowed + each.late for each in ways)

    def carry(self, stop: int) -> None:
        """Pass packets on until something can be read from `stop`."""
        with selectors.DefaultSelector() as selector:
            self._carry(stop, selector)

    def _carry(self, stop: int, selector: selectors.BaseSelector) -> None:
        way_of = {self.back.to: self.out, self.out.to: self.back}  # by the device read from
        waiting: list[tuple[float, int, Way, bytes]] = []
        number = 0  # among packets due at once the first is first
        for device in (stop, *way_of):
            selector.register(device, selectors.EVENT_READ)
        while True:
            wait_s = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
            readable = [key.fd for key, _ in selector.select(wait_s)]
            if stop in readable:
                return
            for device in readable:
                packet = os.read(device, PACKET_BYTES)
                if packet[0] >> 4 != IPV4:  # the kernel looks for neighbours by IPv6
                    continue
                way, number = way_of[device], number + 1
                due = way.due(len(packet), self.condition, time.monotonic())
                if due is not None:
                    heapq.heappush(waiting, (due, number, way, packet))
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, way, packet = heapq.heappop(waiting)
                if self.condition.cut:
                    way.swallowed += 1
                    continue
                os.write(way.to, packet)
                way.arrived += 1
                way.passed += len(packet)


@contextmanager
def running_wire(folder: Path, *, seed: int) -> Iterator[Wire]:
    """A wire that passes everything until told otherwise.

    Args:
        folder: Made where it is not there; a file of names is put there.
        seed: Which packets are lost or late, in the order in which they are sent.

    Raises:
        OSError: This machine does not let us (`network.why_not`).
    """
    folder.mkdir(exist_ok=True)
    hosts = folder / "hosts"
    hosts.write_text(f"{FAR} localhost\n", "utf-8")
    order = random.Random(seed)  # noqa: S311 - not for a secret
    with ExitStack() as stack:
        near, far = Network(), Network()
        stack.callback(near.close)
        stack.callback(far.close)
        ends = near.device(NEAR, MASK), far.device(FAR, MASK)
        for end in ends:
            stack.callback(os.close, end)
        out, back = (
            Way(end, random.Random(order.random()))  # noqa: S311 - likewise
            for end in reversed(ends)
        )
        wire = Wire(near, far, near.command(hosts), out, back)
        stop = os.eventfd(0, os.EFD_CLOEXEC)
        stack.callback(os.close, stop)
        thread = threading.Thread(target=wire.carry, args=(stop,), name="wire")
        thread.start()
        stack.callback(thread.join)
        stack.callback(os.eventfd_write, stop, 1)
        yield wire

"""The wire that chaos and poor links run over: it is as bad as it is told to be, and no worse."""

import asyncio
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.line import Line
from tests.support.network import why_not
from tests.support.wire import FAR, PORT, Wire, running_wire
from tests.support.wiredline import WiredLine, running_bad_line

TCP_INFO_BYTES = 192
TOTAL_RETRANS = 100  # tcpi_total_retrans in linux/tcp.h
CHOSEN = """
import asyncio, sys, pathlib
from tests.support.wiredline import running_bad_line

async def chosen():
    async with running_bad_line(pathlib.Path(sys.argv[1]), seed=1) as line:
        print(type(line).__name__, line.command)

asyncio.run(chosen())
"""


def permitted() -> None:
    """Skip where this machine does not let us make networks; fail in CI."""
    if not (reason := why_not()):
        return
    if os.environ.get("CI"):  # noqa: TID251 - a test setting
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    permitted()
    with running_wire(tmp_path, seed=1) as wire:
        yield wire


async def connected(wire: Wire) -> tuple[socket.socket, socket.socket]:
    """A connection through the wire: its near and its far end."""
    loop = asyncio.get_running_loop()
    near = wire.connecting()
    near.setblocking(False)
    with wire.listening() as listening:
        listening.setblocking(False)
        async with asyncio.timeout(20):
            await loop.sock_connect(near, (FAR, PORT))
            far, _ = await loop.sock_accept(listening)
    return near, far


async def sent(near: socket.socket, far: socket.socket, content: bytes) -> float:
    """Send this from one end to the other; return how many seconds it took."""
    loop = asyncio.get_running_loop()
    began, got = time.monotonic(), b""
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(loop.sock_sendall(near, content))
        while len(got) < len(content):
            got += await loop.sock_recv(far, 65536)
    assert got == content
    return time.monotonic() - began


def sent_again(end: socket.socket) -> int:
    """Segments that the kernel's TCP sent again at this end."""
    told = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
    (count,) = struct.unpack_from("I", told, TOTAL_RETRANS)
    return int(count)


async def test_what_is_lost_is_sent_again_by_the_kernel(wire: Wire) -> None:
    near, far = await connected(wire)
    with near, far:
        await sent(near, far, os.urandom(200_000))
        assert wire.touched == 0
        with wire.being(loss=0.1):
            await sent(near, far, os.urandom(200_000))
            await sent(far, near, os.urandom(200_000))
        assert wire.out.lost > 0
        assert wire.back.lost > 0
        assert sent_again(near) > 0
        assert sent_again(far) > 0


async def test_a_cut_is_silent_and_heals(wire: Wire) -> None:
    near, far = await connected(wire)
    with near, far:
        with wire.being(cut=True):
            near.send(b"held")
            async with asyncio.timeout(20):
                while wire.out.swallowed < 3:  # noqa: ASYNC110 - the kernel sends it again
                    await asyncio.sleep(0.05)
            with pytest.raises(BlockingIOError):
                far.recv(1)
            assert near.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(20):
            assert await loop.sock_recv(far, 10) == b"held"
            await sent(far, near, b"and back")


async def test_each_way_takes_at_least_its_delay(wire: Wire) -> None:
    near, far = await connected(wire)
    with near, far, wire.being(delay_s=0.15, jitter_s=0.05):
        assert await sent(near, far, b"there") >= 0.15
        assert await sent(far, near, b"and back") >= 0.15


async def test_no_more_passes_than_the_limit(wire: Wire) -> None:
    near, far = await connected(wire)
    with near, far, wire.being(bits_per_s=400_000):
        assert await sent(near, far, os.urandom(100_000)) >= 2.0
        assert wire.out.overflowed > 0  # TCP tries more, until the queue is full


async def datagrams(wire: Wire, count: int, **like: float) -> list[int]:
    """Which numbers arrived of so many that were sent, in the order in which they did."""
    arrived, lost = wire.out.arrived, wire.out.lost
    loop = asyncio.get_running_loop()
    with wire.far.within(_datagram) as far, wire.near.within(_datagram) as near:
        far.bind((FAR, PORT))
        far.setblocking(False)
        with wire.being(**like):
            for number in range(count):
                near.sendto(struct.pack("I", number), (FAR, PORT))
            async with asyncio.timeout(20):
                while wire.out.arrived + wire.out.lost < arrived + lost + count:  # noqa: ASYNC110 - a thread
                    await asyncio.sleep(0.01)
                packets = [await loop.sock_recv(far, 4) for _ in range(wire.out.arrived - arrived)]
    return [struct.unpack("I", packet)[0] for packet in packets]


def _datagram() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


async def test_the_same_seed_loses_the_same_packets(tmp_path: Path) -> None:
    permitted()
    found = []
    for seed in (1, 1, 2):
        with running_wire(tmp_path, seed=seed) as wire:
            found.append(await datagrams(wire, 100, loss=0.3))
            assert wire.out.lost == 100 - len(found[-1])
    assert found[0] == found[1] != found[2]
    assert 0 < len(found[0]) < 100


async def test_packets_overtake_only_where_they_may(wire: Wire) -> None:
    numbers = list(range(100))
    jitter = {"delay_s": 0.01, "jitter_s": 0.1}
    assert await datagrams(wire, 100, **jitter) == numbers
    mixed = await datagrams(wire, 100, **jitter, reorders=True)
    assert mixed != numbers
    assert sorted(mixed) == numbers


async def test_a_program_at_the_near_end_finds_the_far_one_by_the_hubs_name(wire: Wire) -> None:
    known = names()
    asked = f"import socket; print(socket.create_connection(('localhost', {PORT})).recv(9))"
    loop = asyncio.get_running_loop()
    with wire.listening() as listening:
        listening.setblocking(False)
        process = await asyncio.create_subprocess_exec(
            *wire.command, sys.executable, "-c", asked, stdout=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(20):
            taken, _ = await loop.sock_accept(listening)
            with taken:
                taken.send(b"the hub")
                output, _ = await process.communicate()
    assert output == b"b'the hub'\n"
    assert names() == known


def names() -> bytes:
    return Path("/etc/hosts").read_bytes()


def network_and_files() -> tuple[list[str], str, int]:
    """This machine's devices and routes, and how many files we have open."""
    devices = [name for _, name in socket.if_nameindex()]
    opened = len(list(Path("/proc/self/fd").iterdir()))
    return devices, Path("/proc/net/route").read_text("utf-8"), opened


async def test_the_machines_own_network_stays_as_it_is(tmp_path: Path) -> None:
    permitted()
    before = network_and_files()
    async with running_bad_line(tmp_path / "line", seed=1) as line:
        assert isinstance(line, WiredLine)
        assert network_and_files()[:2] == before[:2]
    assert network_and_files() == before


def test_without_permission_a_proxy_is_used_and_it_is_said_why(tmp_path: Path) -> None:
    """The child is root without the two rights that it takes, if we are root."""
    words: tuple[str, ...] = ()
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        assert setpriv is not None
        words = (setpriv, "--bounding-set=-sys_admin,-net_admin")
    done = subprocess.run(  # noqa: S603 - our own
        (*words, sys.executable, "-c", CHOSEN, str(tmp_path / "line")),
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    why, chosen = done.stdout.splitlines()
    assert why.startswith("a proxy: no networks of our own: ")
    assert "Operation not permitted" in why
    assert chosen == f"{Line.__name__} ()"

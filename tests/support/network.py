"""Networks apart from the machine's own: made without a trace, and gone with whoever holds them.

A namespace is entered by a thread that ends when it has done its part, so that all others stay
where they are. Only descriptors refer to it: nothing lies under /run/netns, and no address, route
or device of the machine's own network changes.
"""

import ctypes
import fcntl
import functools
import os
import shutil
import socket
import struct
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")

NEW_NETWORK: Final = 0x40000000  # CLONE_NEWNET
TUN: Final = Path("/dev/net/tun")
DEVICE: Final = b"wire"
# From linux/if_tun.h and linux/sockios.h.
TUNSETIFF: Final = 0x400454CA
IFF_TUN_BARE: Final = 0x0001 | 0x1000  # packets as they are, with no header before them
SIOCSIFFLAGS: Final = 0x8914
SIOCSIFADDR: Final = 0x8916
SIOCSIFNETMASK: Final = 0x891C
IFF_UP: Final = 0x1
PROGRAMS: Final = ("nsenter", "unshare", "mount", "sh")


class Network:
    """A network of our own, with nothing in it but its loopback. Close it when nobody needs it."""

    def __init__(self) -> None:
        """Make it.

        Raises:
            OSError: This machine does not let us.
        """
        self.fd = _in_a_thread(_leave)

    def within(self, work: Callable[[], T]) -> T:
        """Do something as if we were there: what it opens stays there."""

        def there() -> T:
            _called("setns", self.fd, NEW_NETWORK)
            return work()

        return _in_a_thread(there)

    def device(self, address: str, mask: str) -> int:
        """Give it a device with this address; its packets are read from and written to the result.

        Raises:
            OSError: This machine does not let us.
        """
        return self.within(functools.partial(_device, address, mask))

    def command(self, hosts: Path) -> tuple[str, ...]:
        """What starts a program there, put before its own words.

        It stays one process: each of these becomes the next.

        Args:
            hosts: The names that it knows, as /etc/hosts has them; nobody else sees that.
        """
        known = ("sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts))
        return ("nsenter", f"--net=/proc/{os.getpid()}/fd/{self.fd}", "unshare", "--mount", *known)

    def close(self) -> None:
        os.close(self.fd)


@functools.cache
def why_not() -> str:
    """Say why this machine lets us make no networks; empty if it does."""
    for program in PROGRAMS:
        if shutil.which(program) is None:
            return f"no networks of our own: there is no {program} here"
    try:
        network = Network()
    except (OSError, AttributeError) as error:
        return f"no networks of our own: {error}"
    try:
        os.close(network.device("10.77.0.1", "255.255.255.252"))
        with tempfile.NamedTemporaryFile() as hosts:
            words = (*network.command(Path(hosts.name)), "true")
            subprocess.run(words, check=True, capture_output=True, timeout=30)  # noqa: S603 - ours
    except (OSError, subprocess.SubprocessError) as error:
        return f"no networks of our own: {error}"
    finally:
        network.close()
    return ""


def _in_a_thread(work: Callable[[], T]) -> T:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def _leave() -> int:
    _called("unshare", NEW_NETWORK)
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _called(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


def _device(address: str, mask: str) -> int:
    tun = os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", DEVICE, IFF_TUN_BARE))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            fcntl.ioctl(asked, SIOCSIFADDR, _with_address(address))
            fcntl.ioctl(asked, SIOCSIFNETMASK, _with_address(mask))
            for name in (b"lo", DEVICE):
                fcntl.ioctl(asked, SIOCSIFFLAGS, struct.pack("16sH22x", name, IFF_UP))
    except OSError:
        os.close(tun)
        raise
    return tun


def _with_address(address: str) -> bytes:
    return struct.pack("16sHH4s16x", DEVICE, socket.AF_INET, 0, socket.inet_aton(address))

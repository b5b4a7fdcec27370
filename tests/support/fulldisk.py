"""A disk of the hub's server that is full until it is said otherwise, on any machine.

Where file systems may be mounted, the store is one of its own in memory, which shrinks to what it
holds: ENOSPC, as on a disk. Elsewhere no file of hub and server may grow: EFBIG, which nats-server
takes in the same way (tried: both are kept as the stream's error until it is started anew).
"""

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

LIMIT = "size=16g"  # a bound, of which nothing is taken: the hub asks whether its streams fit
UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
LITTLE = 64  # bytes: what our processes write for themselves at the hub is small


def no_growth(pid: int) -> tuple[int, int]:
    """Let no file of a process grow beyond a line; return what held before."""
    limits = (LITTLE, resource.RLIM_INFINITY)
    return resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


def may_grow(*pids: int) -> None:
    """Take that back; of who ended meanwhile nothing is to be taken back."""
    for pid in pids:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, UNLIMITED)


@dataclass
class ServerDisk:
    """Where a server's streams lie.

    Attributes:
        folder: Of the streams.
        mounted: Whether it is a file system of its own.
    """

    folder: Path
    mounted: bool

    @contextmanager
    def full(self, hub: int, server: int) -> Iterator[None]:
        """No room while the block runs.

        Args:
            hub: Process id of the hub; what it starts meanwhile has no room either.
            server: Of its server.
        """
        if self.mounted:
            found = (each for each in self.folder.rglob("*"))
            used = sum(each.stat().st_blocks * 512 for each in found)
            _run("mount", "-o", f"remount,size={used}", str(self.folder))
        else:
            no_growth(hub)
            no_growth(server)
        try:
            yield
        finally:
            if self.mounted:
                _run("mount", "-o", f"remount,{LIMIT}", str(self.folder))
            else:
                may_grow(hub, server)


@contextmanager
def server_disk(folder: Path) -> Iterator[ServerDisk]:
    """A disk for a server that does not run yet; to be left once it does no more."""
    for each in (folder.parent, folder):
        each.mkdir(mode=0o700, exist_ok=True)
    mounted = True
    try:
        _run("mount", "-t", "tmpfs", "-o", f"{LIMIT},mode=0700", "tmpfs", str(folder))
    except (OSError, subprocess.CalledProcessError):
        mounted = False
    try:
        yield ServerDisk(folder, mounted)
    finally:
        if mounted:
            _run("umount", "--lazy", str(folder))


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=60)  # noqa: S603 - ours

"""A real PostgreSQL from the machine's packages, in a folder of its own, on a Unix socket alone."""

import os
import pwd
import select
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
import pytest

PACKAGES: Final = Path("/usr/lib/postgresql")  # where Debian puts them, by version
USER: Final = "postgres"  # the server refuses to run as root
# A killed server leaves to the kernel what it wrote; no test takes the power away.
SETTINGS: Final = """
listen_addresses = ''
fsync = off
shared_buffers = '16MB'
max_connections = 60
"""


@dataclass(frozen=True)
class Postgres:
    """A server; `databases` of it are made at need."""

    programs: Path
    folder: Path
    port: int = 5432  # of the socket's name as well

    def database(self, name: str) -> str:
        """The URL of a new, empty database."""
        self._run("createdb", "-h", str(self.folder), "-p", str(self.port), name)
        return self.url(name)

    def url(self, name: str) -> str:
        """The URL of a database."""
        return f"postgresql://{USER}@/{name}?host={self.folder}"

    def copy(self, of: str, name: str) -> None:
        """Make a database like another that nobody has open."""
        self.say(f"CREATE DATABASE {name} TEMPLATE {of}")

    def drop(self, name: str) -> None:
        """Take a database away, whoever has it open."""
        self.say(f"DROP DATABASE {name} WITH (FORCE)")

    def dump(self, name: str, file: Path) -> None:
        """Back a database up while it is in use."""
        written = self._run("pg_dump", "-h", str(self.folder), "--format=custom", name)
        file.write_bytes(written)

    def restore(self, file: Path, name: str) -> None:
        """Make a database of a backup."""
        self.database(name)
        words = ("-h", str(self.folder), "--exit-on-error", "--dbname", name)
        self._run("pg_restore", *words, given=file.read_bytes())

    def kill(self) -> None:
        """Kill its first process, as a kernel without memory does; return when the others ended."""
        first = int((self.data / "postmaster.pid").read_text().split()[0])
        listed = Path(f"/proc/{first}/task/{first}/children").read_text()
        os.kill(first, signal.SIGKILL)
        for child in map(int, listed.split()):
            _wait_until_gone(child)
        # Until it is buried by its parent, which is none of ours, `pg_ctl` takes it for alive.
        (self.data / "postmaster.pid").unlink()
        for lock in self.folder.glob(".s.PGSQL.*.lock"):
            lock.unlink()

    def start(self) -> None:
        """Return once it answers."""
        log = self.folder / "log"
        options = f"-k {self.folder}"
        self._run("pg_ctl", "-D", str(self.data), "-l", str(log), "-o", options, "-w", "start")

    def stop(self, mode: str = "immediate") -> None:
        """End it, as a crash does if not told otherwise."""
        self._run("pg_ctl", "-D", str(self.data), "-m", mode, "-w", "stop")

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def create(self) -> None:
        """Make its folder."""
        words = ("-A", "trust", "-U", USER, "--no-instructions", "-E", "UTF8", "--locale=C")
        self._run("initdb", "-D", str(self.data), *words)
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(SETTINGS)

    def say(self, statement: str) -> None:
        """Let its administrator say something."""
        place = f"host={self.folder} port={self.port} user={USER} dbname=postgres"
        with psycopg.connect(place, autocommit=True) as connection:
            connection.execute(statement.encode())

    def _run(self, program: str, *words: str, given: bytes = b"") -> bytes:
        # Not as root, and with no terminal of ours: the server keeps what it is given.
        root = os.geteuid() == 0
        entry = pwd.getpwnam(USER) if root else None
        done = subprocess.run(  # noqa: S603 - a program of the machine
            (str(self.programs / program), *words),
            user=None if entry is None else entry.pw_uid,
            group=None if entry is None else entry.pw_gid,
            extra_groups=None if entry is None else (),
            env={"PGUSER": USER, "PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            cwd=self.folder,
            check=True,
            input=given,
            stdout=subprocess.DEVNULL if program == "pg_ctl" else subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=60,
        )
        return done.stdout or b""


def installed() -> Path:
    """The programs of a server: a skip where there is none, a failure in CI."""
    found = programs()
    if found is None:
        reason = "PostgreSQL is not installed: apt-get install postgresql"
        if os.environ.get("CI"):  # noqa: TID251 - a test setting
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def programs() -> Path | None:
    """The newest server that is installed, if there is one that this user can run."""
    found = sorted(PACKAGES.glob("*/bin"), key=lambda path: int(path.parent.name))
    if not found or (os.geteuid() == 0 and not _is_user(USER)):
        return None
    return found[-1]


@contextmanager
def running_postgres(
    programs: Path, before: Callable[[Postgres], None] | None = None, *, port: int = 5432
) -> Iterator[Postgres]:
    """A server in a folder that its user may enter, ended and taken away at the end."""
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    try:
        if os.geteuid() == 0:
            entry = pwd.getpwnam(USER)
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        server = Postgres(programs, folder, port)
        server.create()
        if before is not None:
            before(server)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _wait_until_gone(pid: int) -> None:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([handle], [], [], 30)[0], "it does not end"
    finally:
        os.close(handle)

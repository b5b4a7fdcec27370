"""A real PostgreSQL from the machine's packages, in a folder of its own, on a Unix socket alone."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PACKAGES: Final = Path("/usr/lib/postgresql")  # where Debian puts them, by version
USER: Final = "postgres"  # the server refuses to run as root
SETTINGS: Final = """
listen_addresses = ''
fsync = on
shared_buffers = '16MB'
max_connections = 30
"""


@dataclass(frozen=True)
class Postgres:
    """A server; `databases` of it are made at need."""

    programs: Path
    folder: Path

    def database(self, name: str) -> str:
        """The URL of a new, empty database."""
        self._run("createdb", "-h", str(self.folder), name)
        return f"postgresql+psycopg://{USER}@/{name}?host={self.folder}"

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

    def _run(self, program: str, *words: str) -> None:
        # Not as root, and with no terminal of ours: the server keeps what it is given.
        root = os.geteuid() == 0
        entry = pwd.getpwnam(USER) if root else None
        subprocess.run(  # noqa: S603 - a program of the machine
            (str(self.programs / program), *words),
            user=None if entry is None else entry.pw_uid,
            group=None if entry is None else entry.pw_gid,
            extra_groups=None if entry is None else (),
            env={"PGUSER": USER, "PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            cwd=self.folder,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
        )


def programs() -> Path | None:
    """The newest server that is installed, if there is one that this user can run."""
    found = sorted(PACKAGES.glob("*/bin"), key=lambda path: int(path.parent.name))
    if not found or (os.geteuid() == 0 and not _is_user(USER)):
        return None
    return found[-1]


@contextmanager
def running_postgres(programs: Path) -> Iterator[Postgres]:
    """A server in a folder that its user may enter, ended and taken away at the end."""
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    try:
        if os.geteuid() == 0:
            entry = pwd.getpwnam(USER)
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        server = Postgres(programs, folder)
        server.create()
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

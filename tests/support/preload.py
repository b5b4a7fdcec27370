"""Small libraries preloaded into real processes: a clock that is wrong, a disk that dies."""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

SOURCES = Path(__file__).parent


def compiled(name: str, folder: Path) -> Path:
    """The library of `NAME.c`, made in `folder`; without a compiler the test is skipped."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here")
    made = folder / f"{name}.so"
    words = (compiler, "-shared", "-fPIC", "-O1", "-o", str(made), str(SOURCES / f"{name}.c"))
    subprocess.run((*words, "-ldl"), check=True, capture_output=True, timeout=60)  # noqa: S603 - ours
    return made


class WrongClock:
    """The clock of processes to be, which read from a file by how much it is wrong."""

    def __init__(self, library: Path, file: Path, *, of: str = "") -> None:
        """Take where.

        Args:
            library: Compiled from `shifted.c`.
            file: To be made.
            of: Of those that have the environment, only who has this in its command line.
        """
        self.file = file
        self.file.write_bytes(struct.pack("=q", 0))
        name = "KENTONG_TEST_CLOCK_ALONE" if of else "KENTONG_TEST_CLOCK"
        self.environment = {"LD_PRELOAD": str(library), name: str(file)}
        if of:
            self.environment["KENTONG_TEST_CLOCK_OF"] = of

    def put(self, ahead_s: int) -> None:
        """Put it wrong by so many seconds from now on."""
        with self.file.open("r+b") as file:
            file.write(struct.pack("=q", ahead_s))

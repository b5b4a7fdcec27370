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
    """The clock of one process to be, which reads from a file by how much it is wrong."""

    def __init__(self, library: Path, file: Path) -> None:
        self.file = file
        self.file.write_bytes(struct.pack("=q", 0))
        self.environment = {"LD_PRELOAD": str(library), "KENTONG_TEST_CLOCK": str(file)}

    def put(self, ahead_s: int) -> None:
        """Put it wrong by so many seconds from now on."""
        with self.file.open("r+b") as file:
            file.write(struct.pack("=q", ahead_s))

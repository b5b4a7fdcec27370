"""A crash before any step of any writer leaves what was there, or what was to be; never a third."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.writers import WRITERS
from tests.support.preload import compiled

pytestmark = [pytest.mark.processes, pytest.mark.timeout(400)]
KILLED = -9


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled("dies", tmp_path_factory.mktemp("library"))


@pytest.mark.parametrize("writer", WRITERS)
def test_it_holds_the_old_or_the_new_and_can_be_done_again(
    writer: str, tmp_path: Path, library: Path
) -> None:
    tmp_path.chmod(0o700)
    done = subprocess.run(  # noqa: S603 - ours
        (sys.executable, "-m", "tests.faults.writers", writer, str(tmp_path), str(library)),
        cwd=Path(__file__).parents[2],
        env={"LD_PRELOAD": str(library), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=False,
        text=True,
        timeout=190,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    steps = [line.split() for line in done.stdout.splitlines() if line[:1].isdigit()]
    *killed, last = [(int(ended), held) for _, ended, held in steps]
    assert last == (0, "new")
    assert {ended for ended, _ in killed} == {KILLED}
    held = [each for _, each in killed]
    assert held == sorted(held, reverse=True)  # "old" until one step, "new" from then on
    assert "old" in held

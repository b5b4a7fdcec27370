"""A crash before any step of any writer leaves what was there, or what was to be; never a third."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.writers import WRITERS
from tests.support.preload import compiled

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600), pytest.mark.slow]
KILLED = -9
STEP = re.compile(r"^([0-9]+) (-?[0-9]+) (old|new)$", re.MULTILINE)
TABLE = Path(__file__).parents[2] / "docs" / "crash-points.md"


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
        timeout=590,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    steps = STEP.findall(done.stdout)  # beside what the writers log
    *killed, last = [(int(ended), held) for _, ended, held in steps]
    assert last == (0, "new")
    assert {ended for ended, _ in killed} == {KILLED}
    held = [each for _, each in killed]
    assert held == sorted(held, reverse=True)  # "old" until one step, "new" from then on
    assert "old" in held


def test_the_table_in_the_documentation_names_every_writer() -> None:
    rows = re.findall(r"^\| ([^|]+?) +\|", TABLE.read_text("utf-8"), re.MULTILINE)
    assert set(WRITERS) == set(rows) - {"writer", "---"}

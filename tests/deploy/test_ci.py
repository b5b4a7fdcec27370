"""What CI runs a second time, and what it never forgives."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.programs import DEPLOY
from tests.support.unforgiven import FOLDERS, only_late, reasons
from tests.support.waiting import must_come

RUN = DEPLOY.parent / ".ci" / "run"
FLAKY = """
export KENTONG_UNFORGIVEN="$PWD/build/unforgiven"
make() {
  echo "$*" >> runs
  [ -z "$FOUND" ] || echo "$FOUND" >> "$KENTONG_UNFORGIVEN"
  [ "$(wc -l < runs)" -gt 1 ]
}
"""
WRONG = """
import asyncio

def test_wrong():
    assert 1 == 2

async def test_late():
    async with asyncio.timeout(0):
        await asyncio.sleep(1)
"""


def function() -> str:
    """The function of `.ci/run` that runs tests."""
    found = re.search(r"^tested\(\) \{\n.*?^\}\n", RUN.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert found
    return found[0]


@pytest.mark.parametrize(("found", "forgiven"), [("", True), ("tests/faults/test_x.py::y", False)])
def test_what_fails_once_passes_the_second_time_unless_it_is_never_forgiven(
    tmp_path: Path, found: str, *, forgiven: bool
) -> None:
    done = subprocess.run(  # noqa: S603 - our own script
        ["/bin/bash", "-c", f"set -euo pipefail\n{FLAKY}{function()}tested slow -x\n"],
        cwd=tmp_path,
        env={**os.environ, "FOUND": found},  # noqa: TID251 - handed on
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    runs = (tmp_path / "runs").read_text("utf-8").splitlines()
    assert all(line.startswith("slow ") and line.endswith("-x") for line in runs[:1])
    assert [line.split()[0] for line in runs] == ["slow"] * len(runs)
    assert (done.returncode == 0, len(runs)) == (forgiven, 2 if forgiven else 1)
    assert (found in done.stdout) or forgiven


@pytest.mark.parametrize("folder", ["faults", "chaos", "model", "fuzz", "ledger", "carry", "node"])
def test_only_what_those_tests_find_wrong_is_noted_and_not_that_they_were_late(
    tmp_path: Path, folder: str
) -> None:
    noted, where = tmp_path / "noted", tmp_path / "tests" / folder
    where.mkdir(parents=True)
    (where / "test_it.py").write_text(WRONG, "utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n", "utf-8")
    words = ("-P", "-m", "pytest", "-p", "tests.support.unforgiven", "--import-mode=importlib")
    roots = {"PYTHONPATH": str(DEPLOY.parent), "KENTONG_UNFORGIVEN": str(noted)}
    done = subprocess.run(  # noqa: S603 - our own
        [sys.executable, *words, "-q"],
        cwd=tmp_path,
        env={**os.environ, **roots},  # noqa: TID251 - handed on
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "2 failed" in done.stdout, done.stdout + done.stderr
    if folder == "node":
        assert not noted.exists()
        return
    name, why, *_ = noted.read_text("utf-8").splitlines()
    assert name == f"tests/{folder}/test_it.py::test_wrong"
    assert re.search(r"AssertionError at .*test_it.py:\d+$", why)


def test_each_test_is_run_by_one_of_the_four() -> None:
    lines = RUN.read_text("utf-8").splitlines()
    assert lines[-4:] == [
        "tested test",
        "tested slow",
        "tested test -m soak --ignore tests/chaos",
        "tested test -n 0 -m soak tests/chaos",
    ]
    chosen = re.findall(r'-m "([^"]+)"', (DEPLOY.parent / "Makefile").read_text("utf-8"))
    assert chosen == ["not slow and not soak", "slow and not soak"]


def test_each_folder_or_file_of_what_is_never_forgiven_is_there() -> None:
    for start in FOLDERS:
        assert [*DEPLOY.parent.glob(f"{start}*.py")], start


def test_what_was_wrong_is_told_with_each_reason_of_a_group() -> None:
    def wrong() -> None:
        count = 1
        assert count == 0, "one came twice"

    with pytest.raises(AssertionError) as caught:
        wrong()
    told = reasons(BaseExceptionGroup("", [BaseExceptionGroup("", [caught.value]), ValueError(7)]))
    assert told[0].startswith("AssertionError at test_ci.py:")
    assert "one came twice" in told
    assert told[-2:] == ["ValueError at ", "7"]


def test_a_group_is_late_only_if_all_in_it_are() -> None:
    late, wrong = TimeoutError(), AssertionError()
    assert only_late(BaseExceptionGroup("", [late, BaseExceptionGroup("", [late])]))
    assert not only_late(BaseExceptionGroup("", [late, wrong]))
    with pytest.raises(BaseException, match="Timeout") as caught:
        pytest.fail("Timeout (>1.0s) from pytest-timeout.")
    assert only_late(caught.value)
    assert not only_late(asyncio.CancelledError())


async def test_what_never_came_is_lost_and_not_late() -> None:
    async def waiting() -> None:
        async with must_come(0, lambda: "1 of 2 alerts never came"):
            await asyncio.Event().wait()

    with pytest.raises(BaseException, match="1 of 2 alerts never came") as caught:
        await waiting()
    assert not only_late(caught.value)
    with pytest.raises(BaseExceptionGroup) as group:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(waiting())
    assert not only_late(group.value)
    with pytest.raises(TimeoutError):  # of something inside, which had its own bound
        async with must_come(60, lambda: "nothing"):
            raise TimeoutError

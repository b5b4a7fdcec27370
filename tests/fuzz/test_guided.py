"""Coverage guides inputs into every parser of a wire format, for some seconds each way."""

import importlib.util
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

HAS_WHEEL = (sys.platform, platform.machine()) == ("linux", "x86_64") and (
    (3, 11) <= sys.version_info[:2] <= (3, 13)
)
IN_CI = bool(os.environ.get("CI"))  # noqa: TID251 - a test setting
pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(
        importlib.util.find_spec("atheris") is None and not (IN_CI and HAS_WHEEL),
        reason="atheris is not installed: pip install -r requirements-fuzz.lock, for a wheel of it",
    ),
]
ROOT = Path(__file__).parents[2]
SECONDS = int(os.environ.get("KENTONG_FUZZ_SECONDS", "200"))  # noqa: TID251 - a test setting


def guided(*words: str) -> subprocess.CompletedProcess[str]:
    """What `make fuzz` runs."""
    return subprocess.run(  # noqa: S603 - ours
        [sys.executable, "-m", "tests.fuzz.guided", *words],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
        timeout=590 + 4 * SECONDS,
    )


@pytest.mark.timeout(600 + 4 * SECONDS)
def test_guided_inputs_give_a_value_or_our_error() -> None:
    """What is found lies in `.fuzz`; `make fuzz` goes on from there for longer."""
    done = guided(str(SECONDS))
    assert done.returncode == 0, done.stdout[-3000:] or done.stderr[-3000:]
    assert "failed: none" in done.stdout


@pytest.mark.parametrize("words", [("1", "note", "typo"), ("soon",), ()], ids=str)
def test_a_command_line_that_names_nothing_to_run_is_refused(words: tuple[str, ...]) -> None:
    done = guided(*words)
    assert done.returncode == 2
    assert ("no parser is called typo" if "typo" in words else "SECONDS") in done.stderr
    assert "failed" not in done.stdout

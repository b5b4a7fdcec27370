"""Coverage guides inputs into every parser of a wire format, for a second or so each way."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = int(os.environ.get("KENTONG_FUZZ_SECONDS", "60"))  # noqa: TID251 - a test setting


@pytest.mark.soak
@pytest.mark.timeout(600 + 4 * SECONDS)
@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="atheris is not installed: pip install -r requirements-fuzz.lock, where it has a wheel",
)
def test_guided_inputs_give_a_value_or_our_error() -> None:
    """What is found lies in `.fuzz`; `make fuzz` goes on from there for longer."""
    done = subprocess.run(  # noqa: S603 - ours
        [sys.executable, "-m", "tests.fuzz.guided", str(SECONDS)],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
        timeout=590 + 4 * SECONDS,
    )
    assert done.returncode == 0, done.stdout[-3000:] or done.stderr[-3000:]
    assert "failed: none" in done.stdout

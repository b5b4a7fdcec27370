"""Programs of others that check our files where they are installed."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"


def program(name: str, *, how: str) -> str:
    """Its path; skips where it is not to be had, and says how to get it."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: {how}")
    return found


def ran(words: Sequence[str], *, folder: Path = DEPLOY, stdin: bytes = b"") -> tuple[int, str]:
    """Exit code, and what it wrote to both."""
    done = subprocess.run(  # noqa: S603 - a checker on our own files
        words, cwd=folder, input=stdin, capture_output=True, check=False, timeout=100
    )
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace")

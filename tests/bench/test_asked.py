"""A run that is asked for what is not there is refused, and measures nothing in silence."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from shutil import which

import pytest

from tests.bench.asked import PARTS, SYNCS, Asked, AskedError, asked
from tests.bench.counts import FULL, REDUCED

ROOT = Path(__file__).parents[2]
MAKE = which("make")
needs_make = pytest.mark.skipif(MAKE is None, reason="make is not installed")

TAKEN: tuple[tuple[str, dict[str, str], Asked], ...] = (
    ("", {}, Asked(REDUCED, PARTS, SYNCS, None)),
    ("", {"FULL": "", "SYNC": "", "MINUTES": ""}, Asked(REDUCED, PARTS, SYNCS, None)),
    ("ae", {"FULL": "0", "SYNC": "always"}, Asked(REDUCED, "ae", ("always",), None)),
    ("g", {"FULL": "1", "SYNC": "default", "MINUTES": "52"}, Asked(FULL, "g", ("default",), 3120)),
)
REFUSED: tuple[tuple[str, dict[str, str], str], ...] = (
    ("ax", {}, "no such part: x"),
    ("A", {}, "no such part: A"),
    ("", {"SYNC": "x"}, "SYNC is always or default, not 'x'"),
    ("", {"FULL": "yes"}, "FULL is 1 or 0, not 'yes'"),
    ("g", {"MINUTES": "soon"}, "MINUTES is a number above 0"),
    ("g", {"MINUTES": "0"}, "MINUTES is a number above 0"),
    ("g", {"MINUTES": "nan"}, "MINUTES is a number above 0"),
)


@pytest.mark.parametrize(("words", "settings", "meant"), TAKEN)
def test_what_is_asked_is_taken(words: str, settings: Mapping[str, str], meant: Asked) -> None:
    assert asked([words], settings) == meant


@pytest.mark.parametrize(("words", "settings", "why"), REFUSED)
def test_what_is_not_there_is_refused(words: str, settings: Mapping[str, str], why: str) -> None:
    with pytest.raises(AskedError) as refusal:
        asked([words], settings)
    assert why in str(refusal.value)


def test_the_command_ends_with_2_and_says_why() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "ax"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "no such part: x" in done.stderr


def make(*words: str) -> subprocess.CompletedProcess[str]:
    """What make would do, with no setting but these."""
    assert MAKE is not None
    return subprocess.run(  # noqa: S603 - the make of this machine
        [MAKE, "--dry-run", *words],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


@needs_make
@pytest.mark.parametrize(
    ("full", "counts"),
    [("", "600 alerts, 30 kills"), ("0", "600 alerts, 30 kills"), ("1", "10000 alerts, 200 kills")],
)
def test_full_0_is_not_full_for_the_crowd(full: str, counts: str) -> None:
    assert counts in make("chaos", f"FULL={full}").stdout


@needs_make
@pytest.mark.parametrize("setting", ["SERVERS=2", "SERVERS=", "SERVERS=one", "FULL=yes"])
def test_a_crowd_that_is_not_there_is_refused(setting: str) -> None:
    done = make("chaos", setting)
    assert done.returncode == 2
    assert f"{setting.partition('=')[0]} is" in done.stderr
    assert "pytest" not in done.stdout

"""Which failures CI never runs again: behind each may stand an alert lost or doubled."""

import os
import traceback
from collections.abc import Generator
from pathlib import Path

import pytest

_OF_HUB = "attachments chunk cluster full_cluster isolation past_leader queuewatch"
_OF_NODE = (
    "attachments every_bit handed_in_again held_mail lost_database nodes repeats restored same_id"
)
FOLDERS = (
    *(
        f"tests/{name}/"
        for name in ("carry", "chaos", "faults", "fuzz", "gateway", "ledger", "model", "secrecy")
    ),
    *(f"tests/hub/test_{name}" for name in _OF_HUB.split()),
    *(f"tests/node/test_{name}" for name in _OF_NODE.split()),
)
ROOT = Path(__file__).parents[2]
DEEP, LINES = 3, 20  # of what was wrong: calls and lines
NOTED = os.environ.get("KENTONG_UNFORGIVEN", "")  # noqa: TID251 - a file, where .ci/run asks


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note what an alert lost or doubled may stand behind: running it again proves nothing."""
    report = yield
    unforgiving = bool(NOTED) and item.nodeid.startswith(FOLDERS)
    if report.failed and unforgiving and call.excinfo and not only_late(call.excinfo.value):
        with Path(NOTED).open("a", encoding="utf-8") as file:
            file.write(f"{item.nodeid}\n")
            file.writelines(f"  {line}\n" for line in reasons(call.excinfo.value))
    return report


def reasons(error: BaseException) -> list[str]:
    """What was wrong and where, in lines: of a long output the end may be all that is kept."""
    if isinstance(error, BaseExceptionGroup):
        return [line for each in error.exceptions for line in reasons(each)]
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if Path(f.filename).is_relative_to(ROOT / "tests")] or frames
    where = [f"{Path(each.filename).name}:{each.lineno}" for each in ours[-DEEP:]]
    return [f"{type(error).__name__} at {', '.join(where)}", *str(error).splitlines()[:LINES]]


def only_late(error: BaseException) -> bool:
    """Whether a test was not ready in time, and nothing else was wrong.

    What waits for something that must come does so by `waiting.must_come`, and is not late.
    """
    if isinstance(error, BaseExceptionGroup):
        return all(map(only_late, error.exceptions))
    limit = isinstance(error, pytest.fail.Exception) and str(error).startswith("Timeout")
    return limit or isinstance(error, TimeoutError)

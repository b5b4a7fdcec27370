"""Which failures CI never runs again: behind each may stand an alert lost or doubled."""

import os
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
    return report


def only_late(error: BaseException) -> bool:
    """Whether a test was not ready in time, and nothing else was wrong.

    What waits for something that must come does so by `waiting.must_come`, and is not late.
    """
    if isinstance(error, BaseExceptionGroup):
        return all(map(only_late, error.exceptions))
    limit = isinstance(error, pytest.fail.Exception) and str(error).startswith("Timeout")
    return limit or isinstance(error, TimeoutError)

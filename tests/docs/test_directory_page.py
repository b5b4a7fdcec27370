"""The page about the directory tells the truth: its commands exist, its numbers are the code's."""

import re
import shlex
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from broker.cli.main import build
from broker.hub.rekeying import OVERLAP as GATEWAY_OVERLAP
from broker.node.present import SPLIT_GRACE
from keys.directory import layout
from keys.directory.edits import OVERLAP
from keys.epochs import KEPT_AFTER

PAGE = (Path(__file__).parents[2] / "docs" / "directory.md").read_text("utf-8")
LINES = [
    line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()
]
RUNNER = CliRunner()


@pytest.mark.parametrize("line", LINES)
def test_each_command_exists_with_its_options(line: str) -> None:
    program, name, sub, *words = shlex.split(line)
    assert program == "kentong"
    shown = RUNNER.invoke(build(chosen=name), [name, sub, "--help"])
    assert shown.exit_code == 0, shown.output
    for option in (word for word in words if word.startswith("--")):
        assert option in shown.output, option


@pytest.mark.parametrize(
    ("role", "lasts"),
    [
        ("root", layout.ROOT_LASTS),
        ("targets", layout.TARGETS_LASTS),
        ("member-CC", layout.DELEGATION_LASTS),
        ("revocations", layout.DELEGATION_LASTS),
    ],
)
def test_each_roles_lifetime_and_alarm_are_the_codes(role: str, lasts: timedelta) -> None:
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{role}` |")]
    before = layout.alarm_before(role)
    assert before
    assert row.endswith(f"| {lasts.days} days | {before.days} days |")


def test_the_other_numbers_are_the_codes() -> None:
    hour = timedelta(hours=1)
    for said, meant in (
        (f"{layout.DELEGATION_LASTS // hour} hours", timedelta(days=30)),
        (f"{layout.TARGETS_LASTS // hour:,} hours", timedelta(days=90)),
        (f"{layout.ROOT_LASTS // hour:,} hours", timedelta(days=365)),
        (f"overlap for {OVERLAP.days} days", timedelta(days=35)),
        (f"{KEPT_AFTER.days} days after its month", timedelta(days=90)),
    ):
        assert said in PAGE, meant
    assert timedelta(days=2) == GATEWAY_OVERLAP
    assert "both hold for two days" in PAGE
    assert timedelta(minutes=10) == SPLIT_GRACE
    assert "After ten minutes it seals nothing more" in PAGE
    assert hour == layout.TIMESTAMP_LASTS

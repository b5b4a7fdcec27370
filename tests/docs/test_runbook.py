"""The runbook can be followed: its commands parse, its tests, files, links and chapters exist."""

import re
import shlex
from typing import Any

import pytest
import typer
import yaml

from broker.cli.commands import COMMANDS
from broker.cli.main import build
from tests.docs.pages import (
    ROOT,
    anchors,
    broken_links,
    missing_files,
    missing_tests,
    named_tests,
    page,
    shell_lines,
)

TEXT = page("runbook.md")
LINES = shell_lines(TEXT)
OURS = [line for line in LINES if "kentong" in shlex.split(line)[0].rsplit("/", 1)[-1]]
OTHERS = {
    "chown",
    "createdb",
    "date",
    "createuser",
    "curl",
    "docker",
    "helm",
    "install",
    "journalctl",
    "kubectl",
    "mv",
    "pg_dump",
    "pg_restore",
    "python",
    "python3",
    "rm",
    "systemctl",
    "systemd-analyze",
    "systemd-ask-password",
    "tar",
    "umask",
    "useradd",
}


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    """The command that these words run, and what is left for it."""
    command: Any = typer.main.get_command(build(chosen=words[0]))
    rest = words
    while hasattr(command, "commands") and rest:
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


@pytest.mark.parametrize("line", OURS)
def test_each_command_parses_as_it_stands(line: str) -> None:
    words = shlex.split(line)[1:]
    if words[0] == "--home":
        words = words[2:]
    assert words[0] in COMMANDS
    command, rest = command_of(words)
    context = command.make_context(" ".join(words), rest)
    assert not context.args


@pytest.mark.parametrize(
    "words", [words for words in map(shlex.split, LINES) if "kubectl" in words and "--" in words]
)
def test_each_command_in_a_pod_parses_as_it_stands(words: list[str]) -> None:
    inner = words[words.index("--") + 1 :]
    if inner[0] == "kentong":
        command, rest = command_of(inner[1:])
        assert not command.make_context(" ".join(inner), rest).args
    else:
        assert inner[0] in {"chmod", "install"}


def test_every_other_program_is_one_that_the_system_has() -> None:
    programs = {shlex.split(line)[0].rsplit("/", 1)[-1] for line in LINES if line not in OURS}
    assert programs == OTHERS
    units = set(re.findall(r"kentong-[\w-]+@?(?:SG)?\.service", " ".join(LINES)))
    shipped = {path.name for path in (ROOT / "deploy" / "systemd").iterdir()}
    assert {unit.replace("@SG", "@") for unit in units} <= shipped


def test_every_test_file_and_link_exists() -> None:
    assert missing_tests(TEXT) == []
    assert missing_files(TEXT.replace("*.service", "kentong-hub.service")) == []
    assert broken_links("runbook.md") == []
    assert len(named_tests(TEXT)) > 30


def test_each_alert_leads_to_a_chapter() -> None:
    files = [ROOT / "deploy" / "alerts" / f"kentong-{site}.yml" for site in ("hub", "node")]
    leads = {
        rule["annotations"]["runbook"].removeprefix("docs/runbook.md#")
        for file in files
        for group in yaml.safe_load(file.read_text("utf-8"))["groups"]
        for rule in group["rules"]
    }
    assert leads <= anchors(TEXT)


def test_every_key_has_its_page_of_rotation_and_loss() -> None:
    for command in ("keys rotate", "keys rotate --signing", "member rekey", "hub rekey --gateway"):
        assert f"`{command}`" in TEXT, command
    for chapter in ("lost-hub", "lost-log-disk", "stolen-node", "stolen-officer-key"):
        assert chapter in anchors(TEXT), chapter
    assert {"split-directory", "quorum-lost"} <= anchors(TEXT)

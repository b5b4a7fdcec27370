"""Every command is there, explains itself with an example, and the README tells the truth."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from broker import clock
from broker.cli.commands import COMMANDS
from broker.cli.main import build
from broker.errors import BrokerError
from tests.support.envelopes import make
from tests.support.region import make_region

ROOT = Path(__file__).parents[2]
RUNNER = CliRunner()


def words_kept(help_text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", help_text)


def words_of(help_text: str) -> str:
    return re.sub(r"\s+", " ", words_kept(help_text))


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_loads_and_explains_itself(name: str) -> None:
    result = RUNNER.invoke(build(chosen=name), [name, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage" in result.output


def test_each_subcommand_has_an_example() -> None:
    for name, entry in COMMANDS.items():
        app = build(chosen=name)
        text = words_of(RUNNER.invoke(app, [name, "--help"]).output)
        if "COMMAND" not in text:
            assert "Example" in text, name
            continue
        found = re.findall(
            r"^[│ ]+([a-z][a-z-]+) {2,}", RUNNER.invoke(app, [name, "--help"]).output, re.MULTILINE
        )
        for sub in set(found):
            shown = RUNNER.invoke(app, [name, sub, "--help"])
            if shown.exit_code == 0:
                assert "Example" in shown.output, (name, sub, entry.module)


def test_the_list_of_commands_needs_none_of_them() -> None:
    result = RUNNER.invoke(build(), ["--help"])
    assert result.exit_code == 0
    for name in COMMANDS:
        assert name in result.output


def test_every_command_in_the_readme_exists() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    blocks = re.findall(r"```(?:sh|console)\n(.*?)```", text, re.DOTALL)
    lines = [
        line.removeprefix("$ ").strip()
        for block in blocks
        for line in block.splitlines()
        if "kentong" in line
    ]
    assert lines
    for line in lines:
        words = shlex.split(line.split("|")[0].split(">")[0].split("#")[0])
        words = words[words.index("kentong") + 1 :]
        options = [word.split("=")[0] for word in words if word.startswith("--")]
        while words and words[0].startswith("--"):
            words = words[2:]
        name = words[0]
        assert name in COMMANDS, line
        app = build(chosen=name)
        shown = RUNNER.invoke(app, [name, "--help"]).output
        if len(words) > 1 and re.search(rf"^[│ ]+{re.escape(words[1])} ", shown, re.MULTILINE):
            shown += RUNNER.invoke(app, [name, words[1], "--help"]).output
        for option in options:
            assert option in shown or option in {"--home", "--profile"}, (line, option)


def panels(help_text: str) -> list[str]:
    """The lists of commands in a help text, without boxes and spare room."""
    found: list[str] = []
    for line in help_text.splitlines():
        if title := re.match(r"╭─ (For .*?) ─+╮", line):
            found.append(title[1])
        elif found and (row := re.match(r"│ ([a-z-]+) {2,}(.*?) *│", line)):
            found.append(f"{row[1]} {row[2]}")
    return found


def test_the_readmes_help_is_the_help() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    block = re.search(r"```text\n\$ kentong --help\n(.*?)```", text, re.DOTALL)
    assert block
    shown = panels(words_kept(RUNNER.invoke(build(), ["--help"], env={"COLUMNS": "80"}).output))
    assert len(shown) == len(COMMANDS) + 4
    assert [" ".join(line.split()) for line in block[1].splitlines()] == shown


def test_policies_are_checked_and_explained() -> None:
    folder = ROOT / "deploy" / "policies"
    app = build(chosen="policy")
    checked = RUNNER.invoke(app, ["policy", "check", *map(str, sorted(folder.glob("*.toml")))])
    assert checked.exit_code == 0
    assert checked.output.count("ok:") == 12
    asked = ["policy", "explain", "--policies", str(folder), "--from", "SG", "--type", "cyber"]
    refused = RUNNER.invoke(app, [*asked, "--to", "TH", "--fact", "personal_data"])
    assert refused.exit_code == 1
    assert "TH import: forbid cyber-with-personal-data-needs-a-case" in refused.output
    assert RUNNER.invoke(app, [*asked, "--to", "MY"]).exit_code == 0


def test_cases_hold_or_are_named(tmp_path: Path) -> None:
    folder = ROOT / "deploy" / "policies"
    asked = ["policy", "test", "--policies", str(folder)]
    shipped = [str(path) for path in sorted((folder / "cases").glob("*.toml"))]
    assert RUNNER.invoke(build(chosen="policy"), [*asked, *shipped]).exit_code == 0
    wrong = tmp_path / "wrong.toml"
    case = '[[case]]\nname = "%s"\nfrom = "SG"\nto = ["MY"]\ntype = "cyber"\n'
    wrong.write_text(
        f'{case % "refused"}expect = "refuse"\n{case % "other"}expect = "permit"\nrule = "x"\n'
    )
    result = RUNNER.invoke(build(chosen="policy"), [*asked, str(wrong), "--json"])
    assert result.exit_code == 1
    told = json.loads(result.output)
    assert not told["ok"]
    assert [one["case"] for one in told["failed"]] == ["refused", "other"]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ('expect = "perhaps"', "case.0.expect"),
        ('expect = "permit"\ncolour = 1', "case.0.colour"),
        ('expect = "permit"\nfacts = ["persona"]', "case.0.facts.0"),
        ("expect = ", "not TOML"),
    ],
)
def test_a_bad_case_is_told_with_its_field(tmp_path: Path, line: str, named: str) -> None:
    path = tmp_path / "cases.toml"
    path.write_text(f'[[case]]\nname = "a"\nfrom = "SG"\nto = ["MY"]\ntype = "cyber"\n{line}\n')
    folder = ROOT / "deploy" / "policies"
    words = ["policy", "test", "--policies", str(folder), str(path)]
    result = RUNNER.invoke(build(chosen="policy"), words)
    assert result.exit_code == 1
    assert named in str(result.exception)


def test_a_proposed_policy_is_replayed_before_it_is_signed(tmp_path: Path) -> None:
    region = make_region(("SG", "MY"), now=clock.now())
    label = make(region, ("MY",)).label
    received = tmp_path / "received.json"
    received.write_text(json.dumps({"items": [{"label": label.model_dump(mode="json")}]}))
    folder = ROOT / "deploy" / "policies"
    current = folder / "MY.toml"
    words = [str(received), "--policies", str(folder)]
    same = RUNNER.invoke(build(chosen="policy"), ["policy", "replay", str(current), *words])
    assert same.exit_code == 0, same.output
    proposed = tmp_path / "MY.toml"
    rule = '[[rule]]\nname = "closed"\ndirection = "import"\neffect = "forbid"\n'
    proposed.write_text(f'{current.read_text()}{rule}types = ["{label.type}"]\n')
    asked = ["policy", "replay", str(proposed), *words]
    changed = RUNNER.invoke(build(chosen="policy"), asked)
    assert changed.exit_code == 1, changed.output
    assert "1 of 1" in changed.output
    assert "forbid closed" in changed.output
    received.write_text("[]")
    refused = RUNNER.invoke(build(chosen="policy"), asked).exception
    assert isinstance(refused, BrokerError)
    assert refused.code == "bad-labels"


def test_a_bad_policy_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "SG.toml"
    path.write_text('format = 1\nmember = "SG"\ntitle = "t"\n[[rule]]\nname = "a"\ncolour = 1\n')
    result = RUNNER.invoke(build(chosen="policy"), ["policy", "check", str(path)])
    assert result.exit_code == 1
    assert "line" in result.output


def test_the_form_of_a_type_is_shown_field_by_field_or_whole() -> None:
    app = build(chosen="schema")
    rows = RUNNER.invoke(app, ["schema", "show", "drugs"]).output.splitlines()
    assert "substances\tyes\tlist of Substance, at most 64" in rows
    assert all(row.split("\t")[2] for row in rows)
    whole = json.loads(RUNNER.invoke(app, ["schema", "show", "drugs", "--json"]).output)
    assert (whole["schema"], whole["ok"], whole["type"]) == ("kentong/schema/1", True, "drugs")
    assert "substances" in whole["json_schema"]["properties"]


def test_misuse_ends_with_2() -> None:
    for words in (["nonsense"], ["inbox", "--nonsense"]):
        start = "from broker.cli import main; main()"
        done = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-c", start, *words], capture_output=True, check=False, timeout=60
        )
        assert done.returncode == 2
        assert b"Traceback" not in done.stderr

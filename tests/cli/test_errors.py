"""A command that fails says so to a person, to a program, and by its exit code."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from broker.cli.errors import ERRORS, exit_code, sentence
from broker.cli.exits import EXIT_FAULT, EXIT_MISUSE, EXIT_REFUSED, EXIT_UNREACHABLE
from broker.cli.reasons import REASONS
from broker.cli.requests import RequestFileError
from broker.client import LocalError, Unreachable
from broker.errors import BrokerError
from keys.errors import KeysError
from schemas.errors import SchemaError

BROKER = Path(__file__).parents[2] / "broker"
RAISED = re.compile(
    r"(?:BrokerError|LocalError|RequestFileError|ImportRefusedError|NodeError|NotAccepted"
    r'|Undecided)\(\s*"([a-z0-9-]+)"|RequestError\(\s*[0-9]+,\s*"([a-z0-9-]+)"'
)
ENDS = {
    "a profile is missing": (LocalError("no-profile", ""), EXIT_FAULT),
    "a profile is damaged": (LocalError("bad-profile", ""), EXIT_FAULT),
    "a profile is typed wrongly": (BrokerError("bad-profile", ""), EXIT_MISUSE),
    "a disk is full": (BrokerError("disk-full", ""), EXIT_FAULT),
    "a key is no key": (KeysError("not-a-keystore", ""), EXIT_FAULT),
    "a file is none": (RequestFileError("bad-file", ""), EXIT_MISUSE),
    "a field is wrong": (RequestFileError("bad-request", ""), EXIT_MISUSE),
    "an id is none": (BrokerError("bad-id", ""), EXIT_MISUSE),
    "a form is wrong": (SchemaError("bad-alert", ""), EXIT_MISUSE),
    "nobody answers": (Unreachable(""), EXIT_UNREACHABLE),
    "nobody may get it": (BrokerError("nobody-permitted", ""), EXIT_REFUSED),
}


@pytest.mark.parametrize("name", ENDS)
def test_the_exit_code_says_what_kind_of_failure_it_is(name: str) -> None:
    error, wanted = ENDS[name]
    assert exit_code(error) == wanted


def codes_of_desks() -> set[str]:
    """Every code that an officer's command can end with, as the source has them."""
    folders = [BROKER / name for name in ("client", "importers", "node", "api")]
    files = [*(BROKER / "cli").glob("*.py"), *(path for f in folders for path in f.rglob("*.py"))]
    text = "".join(path.read_text("utf-8") for path in files)
    return {one or other for one, other in RAISED.findall(text)}


def test_every_code_has_a_sentence_that_can_be_translated() -> None:
    codes = codes_of_desks()
    assert {"no-profile", "bad-map", "nobody-permitted", "scope-missing"} < codes
    known = {key.partition("-")[2] for key in (*ERRORS, *REASONS)}
    assert sorted(codes - known) == []


def test_english_says_which_field_or_file() -> None:
    assert sentence(BrokerError("bad-file", "x.yaml, line 3")) == "x.yaml, line 3"


@pytest.mark.parametrize(
    ("words", "code", "end"),
    [
        (["inbox"], "no-profile", EXIT_FAULT),
        (["show", "nonsense"], "bad-id", EXIT_MISUSE),
        (["inbox", "--nonsense"], "bad-usage", EXIT_MISUSE),
        (["show"], "bad-usage", EXIT_MISUSE),
        (["nonsense"], "bad-usage", EXIT_MISUSE),
    ],
)
def test_a_program_reads_the_error_as_json(
    tmp_path: Path, words: list[str], code: str, end: int
) -> None:
    start = "from broker.cli import main; main()"
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", start, "--home", str(tmp_path), *words, "--json"],
        capture_output=True,
        check=False,
        timeout=60,
    )
    told = json.loads(done.stdout)
    assert (told["schema"], told["ok"], told["code"]) == ("kentong/error/1", False, code)
    assert told["retry"] == "never"
    assert done.returncode == end
    assert code.encode() in done.stderr

"""The shell completes commands, options and codes, in each of three shells."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

START = "import sys; sys.argv[0] = 'kentong'; from broker.cli import main; main()"


def asked(**environment: str) -> str:
    done = subprocess.run(  # noqa: S603 - our own
        [sys.executable, "-c", START],
        env={**os.environ, **environment},  # noqa: TID251 - handed on to a child
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def completed(words: str, at: int) -> list[str]:
    found = asked(_KENTONG_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=f"{at}")
    return found.split()


def test_commands_and_their_words_are_completed() -> None:
    assert completed("kentong in", 1) == ["inbox"]
    assert {"check", "explain", "test", "replay", "sign"} <= set(completed("kentong policy ", 2))
    assert completed("kentong audit verify-", 2) == ["verify-proof"]


def test_options_and_codes_are_completed() -> None:
    assert "--wait" in completed("kentong send --", 2)
    assert {"clear", "green", "amber", "red"} <= set(completed("kentong policy explain --tlp ", 4))


@pytest.mark.parametrize(
    ("shell", "has"),
    [("bash", "complete -o"), ("zsh", "#compdef kentong"), ("fish", "complete --command kentong")],
)
def test_each_shell_gets_its_script(shell: str, has: str) -> None:
    assert has in asked(_KENTONG_COMPLETE=f"source_{shell}")

"""The page about the key store tells the truth: its commands parse, its tests and codes exist."""

import re
import shlex

import pytest

from keys import kms, passphrase
from keys.keystore import Kind
from tests.docs.pages import ROOT, broken_links, missing_files, missing_tests, page, shell_lines
from tests.docs.test_runbook import command_of

TEXT = page("key-store.md")


@pytest.mark.parametrize("line", shell_lines(TEXT))
def test_each_command_parses_as_it_stands(line: str) -> None:
    program, *words = shlex.split(line)
    assert program == "kentong"
    command, rest = command_of(words)
    assert not command.make_context(" ".join(words), rest).args


def test_every_test_file_and_link_exists() -> None:
    assert missing_tests(TEXT) == []
    assert missing_files(TEXT) == []
    assert broken_links("key-store.md") == []


def test_every_code_of_a_token_stands_in_its_table() -> None:
    source = (ROOT / "keys" / "token.py").read_text("utf-8")
    raised = set(re.findall(r'TokenError\(\s*"([a-z0-9-]+)"', source))
    listed = set(re.findall(r"`([a-z0-9-]+)`", TEXT))
    assert raised - {"exists", "bad-token-uri", "no-pin"} <= listed
    assert {code for code in listed if code.startswith("token-")} <= raised


def test_every_kind_of_key_and_every_bound_is_the_codes() -> None:
    for kind in Kind.__args__:
        assert f"`{kind}`" in TEXT, kind
    assert f"one line of 1 to {passphrase.MAX_PASSPHRASE_BYTES} bytes" in TEXT
    assert f"at most {kms.MAX_WRAPPED_BYTES // 1024} KiB" in TEXT
    assert f"`PATH={kms.PATH}`" in TEXT

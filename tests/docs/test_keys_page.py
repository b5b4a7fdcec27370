"""The page of every key is whole: each row names commands and tests that exist."""

import re
import shlex

import pytest

from broker.cli.commands import COMMANDS
from tests.docs.pages import broken_links, missing_files, missing_tests, named_tests, page
from tests.docs.test_runbook import command_of

TEXT = page("keys.md")
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in TEXT.splitlines()
    if line.startswith("| ") and not line.startswith("| key |")
]
COLUMNS = ("key", "where, whose", "replace as planned", "lost", "stolen", "shown by")
# Every entry of a key store, and what else is a secret: a new kind of key needs its row.
KINDS = {
    "ministry's directory key": "root",
    "online keys": "timestamp",
    "node's signing key": "sign/",
    "months' encryption keys": "open/",
    "officer's key": "officer",
    "gateway's decision key": "sign/decisions",
    "record key": "record/",
    "node's broker account": "nats/account",
    "witness key": "witness",
    "storage key": "storage",
    "log's keys": "signer.keystore",
    "sequencer's key": "sequencer.keystore",
    "auditors' key": "auditors/share",
    "hub's TLS authority": "tls/authority",
    "hub's server certificate": "server.key",
    "certificate of a node's TLS port": "tls_key",
    "hub's broker keys": "nats/operator",
    "desks' API tokens": "tokens",
    "passphrase of key stores": "passphrase",
    "PIN of a hardware token": "pkcs11-pin",
}
SPANS = [
    (row[0], span)
    for row in ROWS
    for cell in row[2:5]
    for span in re.findall(r"`([^`]+)`", cell)
    if span.split()[0] in COMMANDS
]


def test_every_kind_of_key_has_its_row() -> None:
    for kind in KINDS:
        assert len([row for row in ROWS if row[0].startswith(kind)]) == 1, kind
    assert len(ROWS) == len(KINDS)


def test_each_row_is_whole_and_names_a_test_that_exists() -> None:
    for row in ROWS:
        assert len(row) == len(COLUMNS), row[0]
        assert all(row), row[0]
        assert named_tests(row[-1]), row[0]
    assert missing_tests(TEXT) == []


@pytest.mark.parametrize(("key", "span"), SPANS)
def test_each_command_exists_with_its_options(key: str, span: str) -> None:
    command, _ = command_of(shlex.split(span))
    known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
    for word in shlex.split(span):
        assert not word.startswith("--") or word in known, (key, word)


def test_whoever_can_replace_a_key_finds_a_command_or_reads_never() -> None:
    by_hand = ("hub's server certificate", "certificate of a node's TLS port")
    for row in ROWS:
        has = any(span in row[2] for key, span in SPANS if key == row[0])
        assert has or row[2].startswith("never") or row[0].startswith(by_hand), row[0]


def test_files_and_links_exist() -> None:
    assert missing_files(TEXT) == []
    assert broken_links("keys.md") == []

"""The ceremony of the auditors' key, as people run it: made, cut, proposed, joined."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from broker.cli.admin.auditors import KEY
from broker.cli.main import build
from keys.errors import KeyFileError
from keys.keystore import KeyStore
from keys.primitives.sealing import OpenKey

RUNNER = CliRunner()
MEMBERS = ("SG", "MY", "VN", "TH")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tmp_path.chmod(0o700)
    monkeypatch.setenv("KENTONG_SCRYPT_LOG2N", "15")
    words = tmp_path / "words"
    words.mkdir(mode=0o700)
    for name in (*MEMBERS, "auditor"):
        (words / name).write_text(f"{name} has a word of its own\n")
        (words / name).chmod(0o600)
    return tmp_path


def run(*words: object) -> Result:
    return RUNNER.invoke(build(chosen="auditors"), ["auditors", *map(str, words)])


def make(folder: Path) -> Path:
    made = folder / "made"
    done = run("init", "--threshold", 3, "--out", made, "--passphrases", folder / "words", *MEMBERS)
    assert done.exit_code == 0, done.output
    return made


def combine(folder: Path, made: Path, members: tuple[str, ...]) -> Result:
    shares = [made / f"{code}.keystore" for code in members]
    words = folder / "words"
    return run(
        *("combine", *shares, "--public", made / "auditors.json", "--out", folder / "a.keystore"),
        *("--passphrases", words, "--passphrase-file", words / "auditor"),
    )


def test_three_of_four_join_the_key(folder: Path) -> None:
    made = make(folder)
    assert sorted(path.name for path in made.iterdir() if not path.name.startswith(".")) == [
        *sorted(f"{code}.keystore" for code in MEMBERS),
        "auditors.json",
    ]
    assert combine(folder, made, ("MY", "TH", "SG")).exit_code == 0
    store = KeyStore.open(folder / "a.keystore", b"auditor has a word of its own")
    key = OpenKey(store.get(KEY, "suite-1").secret)
    public = json.loads((made / "auditors.json").read_text())
    assert key.public.raw.hex() == public["key"]


def test_two_do_not_and_leave_no_file(folder: Path) -> None:
    made = make(folder)
    result = combine(folder, made, ("MY", "TH"))
    assert isinstance(result.exception, KeyFileError)
    assert result.exception.code == "too-few-shares"
    assert not (folder / "a.keystore").exists()


def test_nobody_opens_anothers_share(folder: Path) -> None:
    made = make(folder)
    (folder / "words" / "TH").write_text("another word\n")
    result = combine(folder, made, ("MY", "TH", "SG"))
    assert isinstance(result.exception, KeyFileError)
    assert result.exception.code == "wrong-passphrase"

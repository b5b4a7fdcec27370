"""A passphrase out of a key management service: a real command, and each way in which it fails."""

import json
import time
from pathlib import Path

import pytest

from keys.errors import KeyFileError
from keys.kms import KMSSettings, read_kms_settings, unwrapped_passphrase
from tests.support.commands import Machine

# Stands for a service: it knows one wrapped key, and says what environment it was given.
SERVICE = """#!/bin/sh
wrapped=$(cat)
[ "$wrapped" = "wrapped once" ] || exit 3
[ "$1 $2" = "--key two words" ] || exit 4
env | cut -d= -f1 | sort | tr '\\n' ' ' > "$SAID"
echo "correct horse"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "kms"
    made.mkdir(mode=0o700)
    return made


def script(folder: Path, text: str) -> str:
    path = folder / "unwrap"
    path.write_text(text)
    path.chmod(0o700)
    return str(path)


def settings(folder: Path, text: str, *words: str, timeout_s: int = 20) -> KMSSettings:
    wrapped = folder / "wrapped"
    wrapped.write_bytes(b"wrapped once")
    wrapped.chmod(0o600)
    return KMSSettings(
        command=(script(folder, text), *words),
        wrapped=str(wrapped),
        timeout_s=timeout_s,
        environment={"SAID": str(folder / "said")},
    )


def test_a_command_unwraps_the_passphrase_in_a_clean_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of somebody")
    given = settings(folder, SERVICE, "--key", "two words")
    assert unwrapped_passphrase(given) == b"correct horse"
    assert set((folder / "said").read_text().split()) <= {"PATH", "SAID", "PWD", "SHLVL", "_"}


# name -> the command, and how its failure is told
FAILS = {
    "it ends with another code": ("#!/bin/sh\necho correct horse\nexit 7\n", "ended with 7"),
    "it is killed": ("#!/bin/sh\nkill -9 $$\n", "ended with -9"),
    "it says nothing": ("#!/bin/sh\ncat > /dev/null\n", "wrote no passphrase"),
    "it says garbage": ("#!/bin/sh\nprintf 'a\\0b'\n", "something else than one line"),
    "it says two lines": ("#!/bin/sh\nprintf 'a\\nb\\n'\n", "something else than one line"),
    "it says too much": ("#!/bin/sh\nhead -c 2000 /dev/zero\n", "wrote more than 1024 bytes"),
    "it never ends saying": ("#!/bin/sh\nyes\n", "wrote more than 1024 bytes"),
    "it is no program": ("no program\n", "does not start"),
}


@pytest.mark.parametrize("name", FAILS)
def test_what_the_command_does_wrong_is_said_and_nothing_of_its_words(
    folder: Path, name: str
) -> None:
    text, said = FAILS[name]
    with pytest.raises(KeyFileError, match=said) as caught:
        unwrapped_passphrase(settings(folder, text))
    assert caught.value.code == "kms-failed"
    assert "horse" not in str(caught.value)


def test_a_command_that_hangs_is_killed_with_all_it_started(folder: Path) -> None:
    pid = folder / "pid"
    text = f"#!/bin/sh\nsleep 300 &\necho $! > {pid}\nwait\n"
    before = time.monotonic()
    with pytest.raises(KeyFileError, match="took more than 3 s"):
        unwrapped_passphrase(settings(folder, text, timeout_s=3))
    assert time.monotonic() - before < 60  # not the five minutes that its child sleeps
    child = Path("/proc") / pid.read_text().strip()
    assert not child.exists() or " Z " in (child / "stat").read_text()


def test_a_command_that_closes_its_output_and_hangs_is_killed_too(folder: Path) -> None:
    text = "#!/bin/sh\necho correct horse\nexec > /dev/null\nsleep 300\n"
    with pytest.raises(KeyFileError, match="took more than 1 s"):
        unwrapped_passphrase(settings(folder, text, timeout_s=1))


def test_a_command_that_reads_nothing_of_much_is_no_obstacle(folder: Path) -> None:
    given = settings(folder, "#!/bin/sh\necho correct horse\n")
    Path(given.wrapped).write_bytes(bytes(64 * 1024))
    assert unwrapped_passphrase(given) == b"correct horse"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "command: Field required"),
        ('command = "unwrap --key x"\nwrapped = "/w"\n', "command: "),
        ('command = ["unwrap"]\nwrapped = "/w"\n', "command: name it by its full path"),
        ('command = ["/unwrap"]\nwrapped = "w"\n', "wrapped: name it by its full path"),
        ('command = ["/unwrap"]\nwrapped = "/w"\ntimeout_s = 0\n', "timeout_s: "),
        ('command = ["/unwrap"]\nwrapped = "/w"\nshell = true\n', "shell: "),
        ("command = [", "kms.toml: "),
    ],
)
def test_settings_that_are_wrong_are_named_by_their_field(
    folder: Path, text: str, said: str
) -> None:
    path = folder / "kms.toml"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match=said) as caught:
        read_kms_settings(path)
    assert caught.value.code == "bad-kms"


def test_settings_that_others_may_write_are_not_believed(folder: Path) -> None:
    path = folder / "kms.toml"
    path.write_text('command = ["/unwrap"]\nwrapped = "/w"\n')
    path.chmod(0o620)
    with pytest.raises(KeyFileError) as caught:
        read_kms_settings(path)
    assert caught.value.code == "too-open"


def test_a_nodes_keys_are_made_and_opened_with_what_the_service_gives(
    folder: Path, tmp_path: Path
) -> None:
    given = settings(folder, SERVICE, "--key", "two words")
    home = tmp_path / "SG"
    home.mkdir(mode=0o700)
    words = ", ".join(json.dumps(word) for word in given.command)
    (home / "kms.toml").write_text(
        f"command = [{words}]\nwrapped = {json.dumps(given.wrapped)}\n"
        f"[environment]\nSAID = {json.dumps(str(folder / 'said'))}\n"
    )
    (home / "kms.toml").chmod(0o600)
    (tmp_path / "ca.pem").write_text("not read here\n")
    machine, ca = Machine(home), str(tmp_path / "ca.pem")
    machine.good("node", "init", "--member", "SG", "--hub", "tls://hub:4222", "--ca", ca)
    assert '"use"' in machine.good("keys", "list", "--json")
    Path(given.wrapped).write_bytes(b"wrapped otherwise")
    code, said = machine.refused("keys", "list")
    assert (code, "ended with 3" in said) == ("kms-failed", True)

"""No crash writes keys to a disk, and no passphrase stands in an environment."""

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from broker.cli.admin.secret import passphrase, pin
from broker.settings import Settings, settings
from keys.errors import KeyFileError
from keys.files import read_given

PR_GET_DUMPABLE = 3
ASKED = f"""
import ctypes, resource
from broker.hardening import forbid_core_dumps
resource.setrlimit(resource.RLIMIT_CORE, resource.getrlimit(resource.RLIMIT_CORE))
prctl = ctypes.CDLL(None).prctl
before = prctl({PR_GET_DUMPABLE}, 0, 0, 0, 0)
forbid_core_dumps()
print(before, prctl({PR_GET_DUMPABLE}, 0, 0, 0, 0), *resource.getrlimit(resource.RLIMIT_CORE))
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "prctl"), reason="prctl(2) is Linux's")
def test_a_process_of_ours_leaves_no_core() -> None:
    words = [sys.executable, "-c", ASKED]
    done = subprocess.run(words, capture_output=True, check=True, timeout=60)  # noqa: S603 - ours
    assert done.stdout.split() == [b"1", b"0", b"0", b"0"]


def test_the_command_line_denies_itself_core_dumps_first() -> None:
    start = (
        "import resource, sys; from broker.cli import main; sys.argv = ['kentong', '--version']\n"
        "try: main()\n"
        "except SystemExit: print(*resource.getrlimit(resource.RLIMIT_CORE))"
    )
    words = [sys.executable, "-c", start]
    done = subprocess.run(words, capture_output=True, check=True, timeout=60)  # noqa: S603 - ours
    assert done.stdout.splitlines()[-1] == b"0 0"


def test_the_command_line_forgets_a_databases_password_first() -> None:
    start = (
        "import os, sys; from broker.cli import main; sys.argv = ['kentong', '--version']\n"
        "try: main()\n"
        "except SystemExit: print(os.popen('env').read())"
    )
    words = [sys.executable, "-c", start]
    beside = {"PATH": "/usr/bin:/bin", "PGPASSWORD": "open-sesame-42", "LEFT": "alone"}
    done = subprocess.run(words, env=beside, capture_output=True, check=True, timeout=60)  # noqa: S603 - ours
    assert b"LEFT=alone" in done.stdout
    assert b"PGPASSWORD" not in done.stdout


def test_no_setting_of_the_environment_is_a_secret() -> None:
    assert set(Settings.model_fields) == {
        "home",
        "profile",
        "passphrase_file",
        "database_password_file",
        "pkcs11_pin_file",
        "pkcs11_module",
        "scrypt_log2n",
        "language",
        "log_level",
        "trial_time_s",
        "trial_memory_mib",
    }


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As systemd 256 leaves them: the superuser's, with an access list's mask in the group bits."""
    folder = tmp_path / "kentong-hub.service"
    folder.mkdir(mode=0o550)
    file = folder / "passphrase"
    file.write_bytes(b"correct horse\n")
    file.chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    monkeypatch.delenv("KENTONG_PASSPHRASE_FILE", raising=False)
    settings.cache_clear()
    return file


def test_a_passphrase_is_taken_from_the_service_manager(credentials: Path) -> None:
    assert passphrase(None) == b"correct horse"
    credentials.chmod(0o444)
    with pytest.raises(KeyFileError, match="all users may read") as caught:
        passphrase(None)
    assert caught.value.code == "too-open"


def test_a_tokens_pin_is_taken_from_the_service_manager_or_the_file_that_is_named(
    credentials: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = credentials.with_name("pkcs11-pin")
    credentials.parent.chmod(0o750)
    given.write_bytes(b"2468\n")
    given.chmod(0o440)
    monkeypatch.delenv("KENTONG_PKCS11_PIN_FILE", raising=False)
    settings.cache_clear()
    assert pin() == b"2468"
    own = tmp_path / "own" / "pin"
    own.parent.mkdir(mode=0o700)
    own.write_bytes(b"1357\n")
    own.chmod(0o600)
    monkeypatch.setenv("KENTONG_PKCS11_PIN_FILE", str(own))
    settings.cache_clear()
    assert pin() == b"1357"
    own.chmod(0o644)
    with pytest.raises(KeyFileError, match="others may read"):
        pin()


def test_a_named_file_stands_above_the_service_managers(credentials: Path, tmp_path: Path) -> None:
    assert credentials.exists()
    folder = tmp_path / "own"
    folder.mkdir(mode=0o700)
    own = folder / "passphrase"
    own.write_bytes(b"another horse")
    own.chmod(0o600)
    assert passphrase(own) == b"another horse"


def test_a_link_is_no_credential(credentials: Path) -> None:
    link = credentials.with_name("link")
    link.symlink_to(credentials)
    with pytest.raises(KeyFileError):
        read_given(link, max_bytes=100)

"""What `hub run` and `log run` start opens its keys too: it gets the passphrase, or none starts."""

import asyncio
import os
import pty
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from broker import clock
from broker.hub.place import HubPlace
from broker.ledger.place import LedgerPlace
from keys.directory.founding import Founder, found_region
from keys.keystore import FLOOR_LOG2N
from schemas.directory import HubDocument, parse_toml_document
from tests.support.hub import free_port

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300), pytest.mark.slow]
BOUND_S = 120.0  # a process of Python on a machine that has much else to do
PASS = b"correct horse"
POLICIES = Path(__file__).parents[2] / "deploy" / "policies"
CODES = ("MY", "SG")
KENTONG = (sys.executable, "-c", "from broker.cli import main; main()")
# Nothing here names the passphrase.
ENVIRONMENT = {"KENTONG_SCRYPT_LOG2N": str(FLOOR_LOG2N), "LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A hub with a log, whose passphrase is in a file that only an option names."""
    tmp_path.chmod(0o700)
    (tmp_path / "passphrase").write_bytes(PASS)
    (tmp_path / "passphrase").chmod(0o600)
    given = ("--passphrase-file", str(tmp_path / "passphrase"))
    for words in (("hub", "init", "--port", str(free_port()), "--small"), ("log", "init", "l.int")):
        done = subprocess.run(  # noqa: S603 - our own command
            [*KENTONG, "--home", str(tmp_path), *words, *given],
            env=ENVIRONMENT,
            capture_output=True,
            check=False,
            timeout=BOUND_S,
        )
        assert done.returncode == 0, done.stderr
    found_region(
        [
            Founder(code, tmp_path / code, (POLICIES / f"{code}.toml").read_bytes())
            for code in CODES
        ],
        hub_home=tmp_path,
        hub=parse_toml_document(HubDocument, HubPlace(tmp_path).hub_document.read_bytes()),
        agreement=(POLICIES / "agreement.toml").read_bytes(),
        passphrase=PASS,
        now=clock.now(),
        log2n=FLOOR_LOG2N,
    )
    return tmp_path


@asynccontextmanager
async def at_work(home: Path, *words: str) -> AsyncIterator[None]:
    child = await asyncio.create_subprocess_exec(
        *(*KENTONG, "--home", str(home), *words),
        env=ENVIRONMENT,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        if child.returncode is None:
            child.terminate()
        await child.wait()


async def test_the_logs_signer_opens_its_keys_by_the_option_alone(home: Path) -> None:
    socket = LedgerPlace(home).socket
    given = ("--passphrase-file", str(home / "passphrase"))
    async with at_work(home, "log", "run", *given), asyncio.timeout(BOUND_S):
        while not socket.exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("words", [("hub", "run"), ("log", "run")])
def test_at_a_terminal_nothing_starts_whose_children_could_not_ask(
    home: Path, words: tuple[str, ...]
) -> None:
    ours, theirs = pty.openpty()
    try:
        os.write(ours, PASS + b"\n")  # what a person would type
        done = subprocess.run(  # noqa: S603 - our own command
            [*KENTONG, "--home", str(home), *words],
            env=ENVIRONMENT,
            stdin=theirs,
            capture_output=True,
            check=False,
            timeout=BOUND_S,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 5
    assert b"--passphrase-file FILE" in done.stderr
    assert b"[no-passphrase]" in done.stderr

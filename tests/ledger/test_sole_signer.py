"""One process alone signs for a log: a second one is refused before it reads what was signed."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from broker.ledger.errors import LedgerError
from broker.ledger.place import LedgerConfig, LedgerPlace
from broker.ledger.signer_socket import SignerClient, serving
from keys.keystore import FLOOR_LOG2N
from keys.primitives.signing import SignKey
from tests.ledger.test_signer import checkpoint_of, hashes

pytestmark = pytest.mark.timeout(120)
SECRET = b"a passphrase for nothing"
SIGN = "from broker.cli import main; main()"


@pytest.fixture
def place(tmp_path: Path) -> LedgerPlace:
    tmp_path.chmod(0o700)
    found_here = LedgerPlace(tmp_path)
    config = LedgerConfig(origin="log.example/kentong")
    found_here.create(config, SECRET, SignKey.generate(), "", log2n=FLOOR_LOG2N)
    (tmp_path / "passphrase").write_bytes(SECRET)
    (tmp_path / "passphrase").chmod(0o600)
    return found_here


def second(place: LedgerPlace) -> subprocess.CompletedProcess[str]:
    """`kentong log sign`, once more."""
    environment = {
        **os.environ,  # noqa: TID251 - handed on to a child
        "KENTONG_HOME": str(place.home),
        "KENTONG_PASSPHRASE_FILE": str(place.home / "passphrase"),
    }
    words = [sys.executable, "-c", SIGN, "log", "sign"]
    return subprocess.run(  # noqa: S603 - our own command
        words, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.processes
async def test_a_second_signer_does_not_start_and_takes_nothing_from_the_first(
    place: LedgerPlace,
) -> None:
    client = SignerClient(place.socket)
    with place.open_signer(SECRET) as signer:
        async with serving(signer, place.socket):
            before = place.socket.stat().st_ino
            done = await asyncio.to_thread(second, place)
            assert done.returncode != 0
            assert "signer-running" in done.stderr
            assert place.socket.stat().st_ino == before  # the socket is still the first one's
            assert checkpoint_of(await client.append(0, hashes(3))).size == 3


def test_two_signers_never_hold_one_state_and_the_next_reads_it_anew(place: LedgerPlace) -> None:
    """Else both would sign a tree of their own at the same place."""
    with place.open_signer(SECRET) as first:
        with pytest.raises(LedgerError) as caught, place.open_signer(SECRET) as other:
            other.append(0, hashes(3, 100))
        assert (caught.value.code, caught.value.retry) == ("signer-running", "later")
        first.append(0, hashes(3))
    with place.open_signer(SECRET) as after:
        assert after.size == 3
        with pytest.raises(LedgerError) as caught:
            after.append(0, hashes(3, 100))
        assert caught.value.code == "fork"

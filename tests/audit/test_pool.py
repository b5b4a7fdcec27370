"""Many processes find what one finds; a bar is for terminals alone."""

import multiprocessing
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from broker.audit.bundle import opened
from broker.audit.leafread import LeafKey, LeavesRead
from broker.audit.pool import CHUNK, read_in_order
from broker.audit.walk import Gap, Part, Walk
from broker.errors import BrokerError
from keys.primitives.signing import SignKey
from tests.audit.asking import Desk
from tests.audit.bundles import GATEWAY, entry, leaf, policy_text, said, write_log

COUNT = CHUNK * 256 * 24 + 100
FORGED = (0, 4095, 4096, 9000, COUNT - 1)
KEYS = (LeafKey(SignKey.generate().public.raw), LeafKey(GATEWAY.public.raw))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    entries = [entry(seq) for seq in range(COUNT)]
    for index in FORGED:
        entries[index] = leaf(said(index), SignKey.generate())
    return write_log(tmp_path_factory.mktemp("pool") / "log", entries)


def read(log: Path, processes: int) -> list[tuple[Part | Gap, LeavesRead | None]]:
    with opened(log) as bundle:
        return list(read_in_order(Walk(bundle, COUNT).steps(), KEYS, processes=processes))


def test_two_processes_find_what_one_finds_in_the_same_order(log: Path) -> None:
    (log / "tile/entries/001").rename(log / "aside")
    try:
        one, two = read(log, 1), read(log, 2)
    finally:
        (log / "aside").rename(log / "tile/entries/001")
    assert one == two
    assert [step.first for step, _ in one] == list(range(0, COUNT, 256))
    found = [index for _, each in one if each is not None for index in each.forged]
    assert found == list(FORGED)


def test_a_process_that_was_ended_is_told(log: Path) -> None:
    def steps(walk: Walk) -> Iterator[Part | Gap]:
        for step in walk.steps():
            if step.first == CHUNK * 256 * 2:
                for child in multiprocessing.active_children():
                    child.kill()
                    child.join()
            yield step

    with opened(log) as bundle, pytest.raises(BrokerError) as caught:
        list(read_in_order(steps(Walk(bundle, COUNT)), KEYS, processes=2))
    assert caught.value.code == "worker-died"


def test_a_large_log_is_shared_out(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", [entry(seq) for seq in range(17_000)])
    code, output = Desk(tmp_path).verify(log, "--processes", "2")
    assert code == 0, output
    assert "PASS gateway signatures: 17000 verify" in output


def test_a_bar_is_drawn_at_a_terminal_and_nowhere_else(log: Path, tmp_path: Path) -> None:
    (tmp_path / "policy").write_text(policy_text())
    words = ["audit", "verify", str(log), "--policy", str(tmp_path / "policy")]
    start = "from broker.cli import main; main()"
    terminal = pexpect.spawn(sys.executable, ["-c", start, *words], timeout=60, encoding="utf-8")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 3  # nobody looked at who signed the leaves
    assert "━" in str(terminal.before)
    output = Desk(tmp_path).ask("verify", str(log))[1]
    assert "━" not in output
    assert output.startswith("PASS policy")

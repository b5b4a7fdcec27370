"""Numbers and clocks of gateways: holes, doubles, voids, and hours that go back."""

import secrets
from pathlib import Path

import pytest

from broker.audit.counters import Counters
from broker.audit.findings import Findings
from broker.log.leaf import LeafKind
from tests.audit.asking import Desk, line_of
from tests.audit.bundles import START_S, entry, note_of, of_log, write_log


def told(*leaves: tuple[int, int], cosigned_s: int = 0, whole: bool = True) -> str:
    """What is said of these (number, time) of one run."""
    counters, findings = Counters(), Findings()
    for index, (seq, time_s) in enumerate(leaves):
        counters.take(index, gateway="g", boot=1, seq=seq, time_s=time_s)
    counters.finish(findings, cosigned_s=cosigned_s, whole=whole)
    return "\n".join(f"{each.outcome} {each.check}: {each.detail}" for each in findings.lines)


def test_any_order_without_a_hole_passes() -> None:
    numbers = list(range(500))
    secrets.SystemRandom().shuffle(numbers)
    assert told(*((seq, 0) for seq in numbers)).startswith("PASS counters: 1 runs of gateways")


def test_a_hole_is_a_failure_after_ten_minutes() -> None:
    assert "WARN counters: 1 runs of gateways; 2 numbers" in told((0, 0), (3, 0), (4, 600))
    assert "FAIL counters" in told((0, 0), (3, 0), (4, 610))
    assert "FAIL counters" in told((1, 0), (2, 610))  # the first number
    assert "WARN counters" in told((0, 0), (3, 0), cosigned_s=600)
    assert "FAIL counters" in told((0, 0), (3, 0), cosigned_s=601)  # a witness saw it unfilled


def test_a_hole_that_is_filled_is_none() -> None:
    assert "PASS counters" in told((0, 0), (3, 0), (1, 900), (4, 900), (2, 910))


def test_a_late_void_makes_no_other_hole_younger() -> None:
    assert "FAIL counters" in told((0, 0), (3, 0), (2, 620))


def test_one_number_twice_fails() -> None:
    for again in (0, 2, 4):
        leaves = ((0, 0), (1, 0), (2, 0), (4, 0), (again, 0))
        assert "FAIL counters: 1 numbers are taken twice, at 4" in told(*leaves)


def test_a_number_without_end_is_counted_and_not_walked_to() -> None:
    assert f"{2**64 - 2} numbers missing" in told((0, 0), (2**64 - 1, 0), (2**64 - 1, 700))


def test_what_was_not_read_is_not_missed() -> None:
    assert "SKIP counters" in told((5, 0), (9, 9000), whole=False)
    assert "FAIL counters" in told((5, 0), (5, 9000), whole=False)


def test_a_clock_may_go_back_by_the_skew_alone() -> None:
    assert "PASS times" in told((0, 1000), (1, 700), (2, 990))
    assert "FAIL times: 1 do not, at 2" in told((0, 1000), (1, 700), (2, 690))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_gateways_count_for_themselves(desk: Desk, tmp_path: Path) -> None:
    entries = [entry(0), entry(0, boot=8), entry(0, gateway="gateway-2"), entry(1, time_s=10**10)]
    code, output = desk.verify(write_log(tmp_path / "log", entries))
    assert code == 0, output
    assert "3 runs of gateways" in line_of(output, "counters")


def test_a_hole_that_witnesses_saw_for_long_fails(desk: Desk, tmp_path: Path) -> None:
    entries = [entry(0), entry(2)]
    young = write_log(tmp_path / "young", entries, note_of(entries, (START_S + 500,)))
    old = write_log(tmp_path / "old", entries, note_of(entries, (START_S + 700,)))
    code, output = desk.verify(young)
    assert (code, line_of(output, "counters")[:4]) == (0, "WARN")
    code, output = desk.verify(old)
    assert (code, line_of(output, "counters")[:4]) == (1, "FAIL")
    voided = [*entries, entry(1, kind=LeafKind.VOID, time_s=START_S + 690)]
    filled = write_log(tmp_path / "filled", voided, note_of(voided, (START_S + 700,)))
    assert desk.verify(filled)[0] == 0


def test_hours_that_go_back_are_told(desk: Desk, tmp_path: Path) -> None:
    entries = [entry(0), entry(1), entry(2, time_s=START_S - 400)]
    code, output = desk.verify(write_log(tmp_path / "log", entries))
    assert (code, line_of(output, "times")) == (1, "FAIL times: 1 do not, at 2")


def test_gaps_and_faults_are_shown(desk: Desk, tmp_path: Path) -> None:
    entries = [of_log(0, kind=LeafKind.STREAM), of_log(1, kind=LeafKind.FAULT)]
    code, output = desk.verify(write_log(tmp_path / "log", entries))
    assert code == 0
    assert "WARN events: 1 leaves say stream: ask the hub" in output
    assert "WARN events: 1 leaves say fault: ask the hub" in output

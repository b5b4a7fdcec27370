"""Who may sign which leaf: a gateway does not speak for the log, nor the log for a gateway."""

import json
from pathlib import Path

import pytest

from broker.ledger import intake
from broker.log.leaf import SEQUENCER, LeafKind
from broker.log.notekeys import SignatureType, VKey
from keys.primitives.signing import SignKey
from tests.audit.asking import Desk, line_of
from tests.audit.bundles import GATEWAY, GATEWAYS, ORIGIN, PEN, entry, leaf, of_log, said, write_log

GATEWAYS_SAY = (LeafKind.DECISION, LeafKind.EXERCISE, LeafKind.GATEWAY, LeafKind.VOID)
THE_LOG_SAYS = (
    LeafKind.DIRECTORY,
    LeafKind.ERASURE,
    LeafKind.STREAM,
    LeafKind.FAULT,
    LeafKind.VOID,
)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def forged(desk: Desk, *entries: bytes) -> str:
    """What is said of who signed them."""
    log = write_log(desk.folder / f"log-{entries[0].hex()[-24:]}", entries)
    return line_of(desk.verify(log)[1], "gateway signatures")


def test_each_says_what_it_may_say(desk: Desk) -> None:
    assert forged(desk, entry(0), *(entry(seq, kind=kind) for seq, kind in enumerate(
        GATEWAYS_SAY, start=1))).startswith("PASS")  # fmt: skip
    assert forged(desk, *(of_log(seq, kind=kind) for seq, kind in enumerate(THE_LOG_SAYS))
                  ).startswith("PASS")  # fmt: skip


@pytest.mark.parametrize("kind", sorted(set(LeafKind) - {LeafKind.VOID}))
def test_the_log_signs_nothing_for_a_gateway(desk: Desk, kind: LeafKind) -> None:
    of_another = leaf(said(1, kind=kind), PEN)
    assert forged(desk, entry(0), of_another) == "FAIL gateway signatures: 1 do not, at 1"


@pytest.mark.parametrize("kind", sorted(set(LeafKind) - set(THE_LOG_SAYS)))
def test_the_log_decides_nothing_in_its_own_name(desk: Desk, kind: LeafKind) -> None:
    assert forged(desk, of_log(0, kind=kind)) == "FAIL gateway signatures: 1 do not, at 0"


@pytest.mark.parametrize("kind", LeafKind)
def test_no_gateway_takes_the_logs_name(desk: Desk, kind: LeafKind) -> None:
    taken = leaf(said(0, kind=kind, gateway=SEQUENCER), GATEWAY)
    assert forged(desk, taken) == "FAIL gateway signatures: 1 do not, at 0"


@pytest.mark.parametrize("kind", sorted(set(LeafKind) - set(GATEWAYS_SAY)))
def test_no_gateway_says_what_only_the_log_finds(desk: Desk, kind: LeafKind) -> None:
    assert forged(desk, entry(0, kind=kind)) == "FAIL gateway signatures: 1 do not, at 0"


def test_a_number_that_the_log_gave_back_is_told(desk: Desk, tmp_path: Path) -> None:
    """A log that hides a decision closes the hole like this, and nobody else says a word."""
    by_log = leaf(said(1, kind=LeafKind.VOID), PEN)
    code, output = desk.verify(write_log(tmp_path / "log", [entry(0), by_log, entry(2)]))
    assert (code, line_of(output, "counters")[:4]) == (0, "PASS")
    told = "WARN events: 1 numbers were voided by the log, not by their gateway: ask the hub; at 1"
    assert line_of(output, "events") == told
    own = [entry(0), entry(1, kind=LeafKind.VOID), entry(2)]
    assert "events" not in desk.verify(write_log(tmp_path / "own", own))[1]


def test_one_key_has_one_role(desk: Desk, tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", [entry(0)])
    twice = VKey(f"{ORIGIN}/{SEQUENCER}", SignatureType.ED25519, GATEWAY.public.raw)
    (tmp_path / "twice").write_text(f"{GATEWAYS}{twice.to_text()}\n")
    code, output = desk.ask("verify", str(log), "--gateways", str(tmp_path / "twice"))
    assert (code, "one key for a gateway and for the log" in output) == (2, True)


def test_a_key_that_nobody_listed_signs_for_nobody(desk: Desk) -> None:
    thief = SignKey.generate()
    assert "2 do not" in forged(
        desk, leaf(said(0), thief), leaf(said(0, gateway=SEQUENCER, kind=LeafKind.STREAM), thief)
    )


def test_the_log_speaks_here_under_the_name_that_intake_keeps_for_it() -> None:
    assert SEQUENCER == intake.SEQUENCER


def test_json_says_the_same(desk: Desk, tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", [entry(0), leaf(said(1, kind=LeafKind.VOID), PEN)])
    code, output = desk.verify(log, "--json")
    told = {each["check"]: each["outcome"] for each in json.loads(output)["checks"]}
    assert (code, told["events"]) == (0, "WARN")

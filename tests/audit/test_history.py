"""Older checkpoints, witnesses and their clocks: what leads to the newest, and what is a fork."""

import json
from base64 import b64decode
from pathlib import Path

import pytest

from broker import clock
from tests.audit.asking import Desk, line_of
from tests.audit.bundles import START_S, entry, note_of, put, write_log

ENTRIES = [entry(seq) for seq in range(600)]
TWIN = [*ENTRIES[:5], entry(5, boot=8), *ENTRIES[6:]]
TIMES = (START_S + 100, START_S + 200, START_S + 300)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write_log(tmp_path / "log", ENTRIES, note_of(ENTRIES, TIMES))


def test_the_first_line_is_the_policy_and_witnesses_are_named(desk: Desk, log: Path) -> None:
    code, output = desk.verify(log, quorum=3)
    assert code == 0, output
    assert output.startswith("PASS policy: SHA-256 ")
    assert len(output.splitlines()[0]) == len("PASS policy: SHA-256 ") + 64
    witnesses = line_of(output, "witnesses")
    for name, time in (("w0", "14:15:00"), ("w1", "14:16:40"), ("w2", "14:18:20")):
        assert f"{name} 2026-09-21T{time}+00:00" in witnesses
    assert "at 2026-09-21T14:15:00+00:00" in line_of(output, "age")  # the slowest of the quorum


def test_what_is_not_proven_stands_at_the_end(desk: Desk, log: Path) -> None:
    output = desk.verify(log, quorum=2)[1]
    assert output.splitlines()[-7:] == [
        "This does not prove:",
        "- that a gateway logged all that it decided",
        "- that contents are true",
        "- that a leaf was signed before its gateway's key ended or was stolen: the list",
        "  of keys has no dates",
        "- that fewer than k witnesses collude (k is 2 in this policy)",
        "- anything after the last checkpoint",
    ]
    told = desk.told(log, quorum=2)
    shown = " ".join(line.strip() for line in output.splitlines()[-6:])
    assert shown == " ".join(f"- {limit}" for limit in told["not_proven"])


def test_json_says_the_same(desk: Desk, log: Path) -> None:
    put(log, "checkpoints/600", other := note_of(TWIN))
    output = desk.verify(log, quorum=3)[1]
    told = desk.told(log, quorum=3)
    shown = [f"{each['outcome']:4} {each['check']}: {each['detail']}" for each in told["checks"]]
    ages = [line for line in shown if " age: " not in line]
    assert ages == [line for line in output.splitlines()[: len(shown)] if " age: " not in line]
    assert (told["ok"], told["exit"], told["size"], told["quorum"]) == (False, 4, 600, 3)
    assert told["witnesses"][0] == {"name": "w0", "time": "2026-09-21T14:15:00+00:00"}
    (fork,) = told["forks"]
    assert b64decode(fork["other"]) == other
    assert b64decode(fork["newest"]) == (log / "checkpoint").read_bytes()


def test_a_quorum_is_as_young_as_its_slowest_witness(desk: Desk, tmp_path: Path) -> None:
    now = int(clock.now().timestamp())
    log = write_log(tmp_path / "log", ENTRIES, note_of(ENTRIES, (now, now - 7200)))
    assert desk.verify(log, "--max-age", "10", quorum=1)[0] == 0
    code, output = desk.verify(log, "--max-age", "10", quorum=2)
    assert (code, line_of(output, "age")[:4]) == (3, "FAIL")
    assert desk.verify(log, "--max-age", "180", quorum=2)[0] == 0


def test_too_few_witnesses_make_nothing_young(desk: Desk, tmp_path: Path) -> None:
    now = int(clock.now().timestamp())
    log = write_log(tmp_path / "log", ENTRIES, note_of(ENTRIES, (now,)))
    for words, outcome in (((), "SKIP"), (("--max-age", "10"), "FAIL")):
        code, output = desk.verify(log, *words, quorum=2)
        said = f"{outcome} age: too few witnesses say when this was the newest"
        assert (code, line_of(output, "age")) == (3, said)


def test_a_witness_from_the_future_is_not_young(desk: Desk, tmp_path: Path) -> None:
    ahead = int(clock.now().timestamp()) + 86_400
    log = write_log(tmp_path / "log", ENTRIES, note_of(ENTRIES, (ahead,)))
    code, output = desk.verify(log, "--max-age", "10", quorum=1)
    assert (code, line_of(output, "age")[:4]) == (3, "FAIL")
    code, output = desk.verify(log, quorum=1)
    assert line_of(output, "age").startswith("WARN age: cosigned 8")


def test_nobody_says_when(desk: Desk, tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", ENTRIES)
    code, output = desk.verify(log)
    assert (code, line_of(output, "age")[:4]) == (0, "SKIP")
    assert line_of(output, "cosignature times")[:4] == "SKIP"
    assert desk.verify(log, "--max-age", "10")[0] == 3
    code, output = desk.verify(log, quorum=1)
    assert (code, line_of(output, "witnesses")) == (3, "FAIL witnesses: 0 of 3 cosigned; no quorum")


def test_older_checkpoints_lead_to_the_newest(desk: Desk, log: Path) -> None:
    for size in (0, 1, 255, 256, 257, 512, 599, 600):
        put(log, f"checkpoints/{size}", note_of(ENTRIES[:size]))
    code, output = desk.verify(log)
    assert code == 0, output
    assert line_of(output, "older checkpoints").endswith("8 of 8 lead to the newest")


@pytest.mark.parametrize("size", [6, 256, 599, 600])
def test_another_past_is_a_fork(desk: Desk, log: Path, tmp_path: Path, size: int) -> None:
    put(log, f"checkpoints/{size}", other := note_of(TWIN[:size]))
    put(log, "checkpoints/2", note_of(ENTRIES[:2]))
    kept = tmp_path / "evidence"
    code, output = desk.verify(log, "--evidence", str(kept))
    assert code == 4
    assert f"FAIL FORK: checkpoints/{size}" in output
    (folder,) = kept.iterdir()
    assert (folder / f"checkpoints/{size}").read_bytes() == other
    assert (folder / "checkpoint").read_bytes() == (log / "checkpoint").read_bytes()
    assert other.decode() not in output
    assert other.decode() in desk.verify(log)[1]  # no folder was named, so they are printed


def test_changed_leaves_do_not_accuse_the_log(desk: Desk, log: Path) -> None:
    """Anybody can change a bundle on its way; only two signatures make a fork."""
    put(log, "checkpoints/300", note_of(ENTRIES[:300]))
    path = log / "tile/entries/000"
    path.write_bytes(path.read_bytes().replace(ENTRIES[5], TWIN[5]))
    code, output = desk.verify(log)
    assert code == 1
    assert "FORK" not in output
    assert "FAIL older checkpoints: 1 are not what these leaves begin with" in output
    put(log, "checkpoints/600", note_of(TWIN))
    assert desk.verify(log)[0] == 4  # two signatures of one size need no leaves


def test_two_older_ones_of_one_size_are_a_fork_beyond_the_newest(desk: Desk, log: Path) -> None:
    put(log, "checkpoints/600", note_of(ENTRIES))
    put(log, "proofs/x.tlog-proof", b"")
    put(log, "checkpoint", note_of(ENTRIES[:300]))
    assert desk.verify(log, "--since", str(log / "checkpoints/600"))[0] == 1
    (log / "proofs/x.tlog-proof").unlink()
    code, output = desk.verify(log, "--since", str(log / "checkpoints/600"))
    assert code == 3  # smaller than what was seen: stale, and no proof of two histories
    assert "nothing is shown of it" in output
    put(log, "twin", note_of(TWIN))
    assert desk.verify(log, "--since", str(log / "twin"))[0] == 4


@pytest.mark.parametrize(
    ("note", "said"),
    [
        (b"", "bad-note"),
        (note_of(ENTRIES[:300]).replace(b"\n300\n", b"\n299\n"), "bad-signature"),
        (b"x\n\n\xe2\x80\x94 a AAAAAAA=\n", "bad-checkpoint"),
        (note_of(ENTRIES[:299]), "is of 299 leaves"),
        (note_of(ENTRIES[:300], origin="other.example"), "unknown-log"),
    ],
)
def test_an_older_one_that_is_none_is_told(desk: Desk, log: Path, note: bytes, said: str) -> None:
    put(log, "checkpoints/300", note)
    put(log, "checkpoints/100", note_of(ENTRIES[:100]))
    code, output = desk.verify(log)
    assert code == 1
    assert said in next(line for line in output.splitlines() if line.startswith("FAIL older"))
    assert "lead to the newest" in output  # the other is checked all the same


def test_what_the_auditor_kept_must_be_readable(desk: Desk, log: Path, tmp_path: Path) -> None:
    put(tmp_path, "kept", b"rubbish")
    assert desk.verify(log, "--since", str(tmp_path / "kept"))[0] == 2
    assert desk.verify(log, "--since", str(tmp_path / "nothing"))[0] == 2
    put(tmp_path, "kept", note_of(ENTRIES[:300]))
    assert desk.verify(log, "--since", str(tmp_path / "kept"))[0] == 0


def test_a_witness_never_saw_the_larger_tree_first(desk: Desk, log: Path) -> None:
    put(log, "checkpoints/300", note_of(ENTRIES[:300], (TIMES[0], TIMES[1])))
    put(log, "checkpoints/400", note_of(ENTRIES[:400], (TIMES[0] - 1,)))
    code, output = desk.verify(log)
    assert code == 1
    assert line_of(output, "cosignature times").endswith("1 go back: w0 at 400 leaves")
    put(log, "checkpoints/400", note_of(ENTRIES[:400], (TIMES[0],)))
    code, output = desk.verify(log)
    assert code == 0
    assert line_of(output, "cosignature times").endswith("6 in 3 sizes, none goes back")


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [(None, 2), (b"", 2), (b"x", 2), (note_of(ENTRIES).replace(b"\n600\n", b"\n601\n"), 1)],
)
def test_all_checks_run_or_say_why_not(
    desk: Desk, log: Path, raw: bytes | None, wanted: int
) -> None:
    checks = [each["check"] for each in desk.told(log)["checks"]]
    (log / "checkpoint").unlink()
    if raw is not None:
        put(log, "checkpoint", raw)
    code, output = desk.verify(log)
    assert code == wanted
    assert json.loads(desk.verify(log, "--json")[1])["exit"] == wanted
    for check in checks:
        assert f" {check}: " in output, check


def test_an_absurd_size_ends(desk: Desk, log: Path) -> None:
    for size in (2**63 - 1, 2**40, 601, 599, 0):
        put(log, "checkpoint", note_of(ENTRIES).replace(b"\n600\n", b"\n%d\n" % size))
        assert desk.verify(log)[0] == 1

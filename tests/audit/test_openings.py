"""Openings speak of their leaf or are refused; an erasure points at a leaf or is named."""

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from broker import clock
from broker.log.commitments import statement_of
from broker.log.erasure import erasure_ref
from broker.log.leaf import LeafKind
from broker.log.merkle import leaf_hash
from schemas.decision import Decision, Opening, Salts
from schemas.vocabulary import Status
from tests.audit.asking import Desk, line_of
from tests.audit.bundles import entry, leaf, of_log, put, write_log
from tests.support.envelopes import decide, make
from tests.support.region import make_region

REGION = make_region(("SG", "MY", "VN"), now=clock.now())
REAL = decide(REGION, make(REGION, ("MY", "VN")).sealed.raw)
OTHER = decide(REGION, make(REGION, ("MY", "VN")).sealed.raw)
EXERCISE = decide(REGION, make(REGION, ("MY",), status=Status.EXERCISE).sealed.raw)
SALT = b"s" * 32


def of(decision: Decision, seq: int) -> bytes:
    return leaf(statement_of(decision, boot=3, seq=seq))


def erasure(seq: int, about: bytes, salt: bytes = SALT) -> bytes:
    return of_log(seq, kind=LeafKind.ERASURE, ref=erasure_ref(salt, leaf_hash(about)))


def opening_of_erasure(index: int, salt: bytes = SALT) -> bytes:
    return struct.pack(">32sQ", salt, index)


ENTRIES = [of(REAL, 0), entry(0), of(EXERCISE, 1), erasure(0, entry(0)), of(OTHER, 2)]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write_log(tmp_path / "log", ENTRIES)


def test_all_that_a_party_shows_matches(desk: Desk, log: Path) -> None:
    put(log, "openings/0", REAL.to_bytes())
    put(log, "openings/2", EXERCISE.for_recipient("MY").to_bytes())
    put(log, "openings/3", opening_of_erasure(1))
    put(log, "openings/4", OTHER.for_recipient("VN").to_bytes())
    code, output = desk.verify(log)
    assert code == 0, output
    assert line_of(output, "openings") == "PASS openings: 4 match their leaves"
    assert line_of(output, "erasures") == "PASS erasures: 1 of 1 shown to point at a leaf"


def test_nothing_need_be_shown(desk: Desk, log: Path) -> None:
    code, output = desk.verify(log)
    assert code == 0
    assert line_of(output, "openings") == "SKIP openings: the bundle has none"
    said = "SKIP erasures: 1 point at leaves that nobody shows"
    assert line_of(output, "erasures") == said


def with_record(decision: Decision, **changes: object) -> Decision:
    openings = list(decision.openings)
    at = next(at for at, each in enumerate(openings) if each is not None)
    found = openings[at]
    assert found is not None
    record = replace(found.record, **changes)  # type: ignore[arg-type]
    openings[at] = Opening(found.salt, record.to_bytes(), record)
    return replace(decision, openings=tuple(openings))


WRONG: dict[str, tuple[str, Callable[[], bytes]]] = {
    "of-another-leaf": ("0", OTHER.to_bytes),
    "another-route-salt": (
        "0",
        replace(REAL, salts=Salts(bytes(32), REAL.salts.body)).to_bytes,
    ),
    "another-body-salt": ("0", replace(REAL, salts=Salts(REAL.salts.route, bytes(32))).to_bytes),
    "another-recipient": ("0", with_record(REAL, recipient="TH").to_bytes),
    "another-verdict": ("0", with_record(REAL, accepted=False, code="policy").to_bytes),
    "another-header": (
        "0",
        lambda: REAL.to_bytes().replace(
            REAL.header_bytes, replace(REAL.header, sender="ID").to_bytes()
        ),
    ),
    "a-leaf-that-never-had-one": ("1", OTHER.to_bytes),
    "no-decision": ("0", lambda: b"rubbish"),
    "empty": ("0", bytes),
    "cut": ("0", lambda: REAL.to_bytes()[:-1]),
    "more": ("0", lambda: REAL.to_bytes() + b"x"),
    "no-such-leaf": ("5", REAL.to_bytes),
    "a-leading-zero": ("00", REAL.to_bytes),
    "erasure-of-another-leaf": ("3", lambda: opening_of_erasure(0)),
    "erasure-of-itself": ("3", lambda: opening_of_erasure(3)),
    "erasure-of-what-comes-later": ("3", lambda: opening_of_erasure(4)),
    "erasure-beyond-the-log": ("3", lambda: opening_of_erasure(2**64 - 1)),
    "erasure-with-another-salt": ("3", lambda: opening_of_erasure(1, b"t" * 32)),
    "erasure-too-short": ("3", lambda: opening_of_erasure(1)[:-1]),
    "a-decision-for-an-erasure": ("3", REAL.to_bytes),
}


@pytest.mark.parametrize("case", WRONG)
def test_another_opening_is_refused(desk: Desk, log: Path, case: str) -> None:
    name, made = WRONG[case]
    put(log, f"openings/{name}", made())
    put(log, "openings/4", OTHER.to_bytes())
    code, output = desk.verify(log)
    assert code == 1, output
    assert f"FAIL openings: 1 do not match their leaves: {name}" in output
    assert "PASS openings: 1 match their leaves" in output


def test_every_bit_of_an_opening_counts(desk: Desk, tmp_path: Path) -> None:
    shown = REAL.for_recipient("MY")
    raw = shown.to_bytes()
    log = write_log(tmp_path / "log", [of(REAL, 0)])
    signature = raw.index(shown.signature)
    places = set(range(0, len(raw), 7)) - set(range(signature - 18, signature + 64))
    for place in places:  # the leaf does not commit to the signature, nor to whose it is
        put(log, "openings/0", raw[:place] + bytes((raw[place] ^ 1,)) + raw[place + 1 :])
        assert desk.verify(log)[0] == 1, place


def test_an_opening_of_a_leaf_that_is_not_there_waits(desk: Desk, log: Path) -> None:
    put(log, "openings/0", REAL.to_bytes())
    (log / "tile/entries/000.p/5").unlink()
    code, output = desk.verify(log)
    assert code == 3
    assert line_of(output, "openings") == "SKIP openings: 1 of leaves that are not there: 0"


def test_only_erasures_refer_to_leaves(desk: Desk, tmp_path: Path) -> None:
    pointless = of_log(0, kind=LeafKind.ERASURE)
    pointing = entry(0, ref=b"r" * 32)
    log = write_log(tmp_path / "log", [pointless, pointing, erasure(1, pointing)])
    code, output = desk.verify(log)
    assert code == 1
    assert "FAIL erasures: 2 leaves refer wrongly, at 0, 1" in output

"""What auditors get of a decision: all of it, for the one leaf it stands beside, and sealed."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import clock
from broker.log.audited import Audited, parse_audited, seal_audited
from broker.log.commitments import statement_of
from broker.log.errors import LogError
from broker.log.leaf import SignedStatement
from broker.log.opening import OpeningSealer, SealedOpening, parse_opening
from broker.log.recordkeys import RecordKey
from keys.kid import kid_of
from keys.primitives.sealing import OpenKey, SealKey
from schemas.decision import Decision, Salts
from tests.support.envelopes import decide, make
from tests.support.region import make_region

REGION = make_region(("SG", "MY", "VN"), now=clock.now())
KEY = OpenKey.generate()
RECORD_KEY = RecordKey.generate()
TO = (kid_of(KEY.public.raw), KEY.public)


def a_decision(minutes: int = 0) -> Decision:
    at = REGION.now + timedelta(minutes=minutes)
    return decide(REGION, make(REGION, ("MY", "VN")).sealed.raw, at=at)


def stated(decision: Decision, seq: int = 0) -> SignedStatement:
    return statement_of(decision, boot=1, seq=seq).sign(REGION.gateway_sign_key)


def a_record(decision: Decision) -> Audited:
    return seal_audited(stated(decision), decision, RECORD_KEY, OpeningSealer(), TO)


def _for_auditors(sealer: OpeningSealer, decision: Decision, to: tuple[bytes, SealKey]) -> bytes:
    return seal_audited(stated(decision), decision, RECORD_KEY, sealer, to).record.for_auditors


def an_opening() -> SealedOpening:
    opening = a_record(a_decision()).record.opening
    assert opening is not None
    return opening


def test_an_auditor_reads_every_salt_from_the_file_alone() -> None:
    decision = a_decision()
    opening = parse_audited(a_record(decision).to_bytes()).opening
    assert opening is not None
    received = parse_opening(opening.to_bytes())
    assert received.to_bytes() == opening.to_bytes()
    assert received.kid == TO[0]
    assert received.open(KEY) == decision.to_bytes()


def test_nothing_of_the_decision_stands_in_it_in_clear() -> None:
    decision = a_decision()
    record = a_record(decision)
    told = [decision.header.digest, decision.salts.route, decision.salts.body, b"MY", b"VN"]
    told += [opening.salt for opening in decision.openings if opening is not None]
    assert [each for each in told if each not in record.decision_bytes] == []
    told = told[:3] + told[5:]  # two letters may stand anywhere by chance
    assert not [each for each in told if each in record.to_bytes()]


def test_another_key_another_leaf_or_one_flipped_bit_does_not_open_it() -> None:
    opening = an_opening()
    other = stated(a_decision(), seq=1)
    for key, wrong in ((OpenKey.generate(), opening), (KEY, replace(opening, signed=other))):
        with pytest.raises(LogError) as caught:
            wrong.open(key)
        assert caught.value.code == "cannot-open"
    for field in ("sealed", "for_auditors"):
        raw = getattr(opening, field)
        for place in range(0, len(raw), 97):
            flipped = raw[:place] + bytes((raw[place] ^ 1,)) + raw[place + 1 :]
            with pytest.raises(LogError):
                parse_opening(replace(opening, **{field: flipped}).to_bytes()).open(KEY)


def test_a_gateway_that_seals_another_decision_is_found_out() -> None:
    decision = a_decision()
    swapped = replace(decision, salts=Salts(bytes(32), bytes(32)))
    made = seal_audited(stated(decision), swapped, RECORD_KEY, OpeningSealer(), TO)
    opening = parse_audited(made.to_bytes()).opening
    assert opening is not None
    with pytest.raises(LogError) as caught:
        opening.open(KEY)
    assert caught.value.code == "opening-mismatch"


def test_one_sealing_serves_an_hour_and_one_key() -> None:
    sealer, another = OpeningSealer(), OpenKey.generate()
    times = {"begins": 0, "within": 59, "over": 60, "back": 30}
    sealed = {}
    for name, minutes in times.items():
        decision = a_decision(minutes)
        sealed[name] = _for_auditors(sealer, decision, TO)
    sealed["other"] = _for_auditors(
        sealer, a_decision(31), (kid_of(another.public.raw), another.public)
    )
    hours = {name: raw[:1000] for name, raw in sealed.items()}
    assert hours["begins"] == hours["within"]
    assert len(set(hours.values())) == 4


def test_a_region_without_auditors_seals_nothing() -> None:
    decision = a_decision()
    record = seal_audited(stated(decision), decision, RECORD_KEY, OpeningSealer())
    assert parse_audited(record.to_bytes()).opening is None


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with pytest.raises(LogError):
        parse_opening(raw)

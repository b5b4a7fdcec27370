"""A leaf speaks of one decision: for its sender, for each recipient, and for nobody else."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import clock
from broker.log.audited import parse_audited, seal_audited
from broker.log.commitments import body_of, check_opening, route_of, statement_of
from broker.log.errors import LogError
from broker.log.leaf import LeafKind
from broker.log.recordkeys import RecordKeys
from schemas.decision import Decision, Salts, parse_decision
from schemas.vocabulary import Status
from tests.support.envelopes import decide, make
from tests.support.region import make_region

REGION = make_region(("SG", "MY", "VN"), now=clock.now())


def a_decision(**changes: object) -> Decision:
    return decide(REGION, make(REGION, ("MY", "VN"), **changes).sealed.raw)


def test_sender_and_recipients_compute_the_same_commitments() -> None:
    decision = a_decision()
    statement = statement_of(decision, boot=1, seq=2)
    for shown in (decision, decision.for_recipient("MY"), decision.for_recipient("VN")):
        received = parse_decision(shown.to_bytes())
        check_opening(statement, received)
    assert statement.kind is LeafKind.DECISION
    assert statement.time_s % 10 == 0
    assert 0 <= decision.header.decided_at.timestamp() - statement.time_s < 10


def test_an_exercise_has_a_kind_of_its_own() -> None:
    statement = statement_of(a_decision(status=Status.EXERCISE), boot=1, seq=2)
    assert statement.kind is LeafKind.EXERCISE


def test_another_decision_or_another_salt_does_not_open_it() -> None:
    decision = a_decision()
    statement = statement_of(decision, boot=1, seq=2)
    other = replace(decision, salts=Salts(bytes(32), decision.salts.body))
    without_body = replace(decision, salts=Salts(decision.salts.route, bytes(32)))
    for wrong in (a_decision(), other, without_body):
        with pytest.raises(LogError) as caught:
            check_opening(statement, wrong)
        assert caught.value.code == "opening-mismatch"


def test_the_same_decision_twice_looks_like_two() -> None:
    made = make(REGION, ("MY",)).sealed.raw
    one, two = decide(REGION, made), decide(REGION, made)
    assert route_of(one) != route_of(two)
    assert body_of(one) != body_of(two)


def test_what_stands_in_the_stream_reads_as_it_was_written() -> None:
    decision = a_decision()
    signed = statement_of(decision, boot=1, seq=2).sign(REGION.gateway_sign_key)
    keys = RecordKeys.of(bytes(32))
    audited = seal_audited(signed, decision, keys.current)
    received = parse_audited(audited.to_bytes())
    assert received.to_bytes() == audited.to_bytes()
    check_opening(received.signed.statement, received.open(keys).decision)
    for wrong in (b"", audited.to_bytes()[:-1], decision.to_bytes()):
        with pytest.raises(LogError):
            parse_audited(wrong)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with pytest.raises(LogError):
        parse_audited(raw)

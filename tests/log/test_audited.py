"""A record's decision opens beside its own statement, under the hub's own key, whole, or not."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import clock
from broker.admission.judgement import RefusedWhole
from broker.envelope.submitted import parse_submitted
from broker.gateway.decide import Decider
from broker.gateway.notices import parse_sealed_notice, seal_notice
from broker.log.audited import Audited, SealedRecord, parse_audited
from broker.log.errors import LogError
from broker.log.padding import STEP_BYTES, padded, unpadded
from broker.log.recordkeys import HeldKeys, RecordKey, RecordKeys
from keys.errors import KeyFileError
from tests.support.envelopes import decide, make
from tests.support.region import make_region

CODES = ("SG", "MY", "VN", "TH", "ID", "PH", "BN")
REGION = make_region(CODES, now=clock.now())
KEYS = REGION.record_keys
DECIDER = Decider("gw-1", REGION.gateway_kid, REGION.gateway_sign_key, KEYS)
SUBJECT = "audit.2026.SG.x.left.y"


def a_record(*to: str) -> Audited:
    return DECIDER.audited(decide(REGION, make(REGION, to or ("MY", "VN")).sealed.raw))


def refused_to_open(record: SealedRecord, keys: RecordKeys = KEYS) -> str:
    with pytest.raises(LogError) as caught:
        record.open(keys)
    return caught.value.code


def test_it_opens_under_any_key_that_is_held_and_gives_the_decision_as_it_was_made() -> None:
    made = a_record()
    newer = RecordKeys(HeldKeys(RecordKey.generate(), (RecordKey.generate(), KEYS.current)))
    for keys in (KEYS, newer):
        opened = parse_audited(made.to_bytes()).open(keys)
        assert opened.record == made.record
        assert opened.decision_bytes == made.decision.to_bytes() == opened.decision.to_bytes()


def test_one_flipped_bit_anywhere_in_it_opens_nothing() -> None:
    sealed = a_record().record
    for place in range(len(sealed.sealed)):
        raw = bytearray(sealed.sealed)
        raw[place] ^= 1 << (place % 8)
        assert refused_to_open(replace(sealed, sealed=bytes(raw))) == "cannot-open"


def test_one_flipped_bit_anywhere_in_the_record_is_noticed() -> None:
    raw = a_record().to_bytes()
    for place in range(0, len(raw), 7):
        flipped = raw[:place] + bytes((raw[place] ^ 1,)) + raw[place + 1 :]
        with pytest.raises(LogError):
            parse_audited(flipped).open(KEYS)


def test_beside_another_statement_it_opens_nothing() -> None:
    mine, other = a_record().record, a_record().record
    assert refused_to_open(replace(mine, sealed=other.sealed)) == "cannot-open"
    assert refused_to_open(replace(mine, signed=other.signed)) == "cannot-open"


def test_under_another_key_of_the_same_name_it_opens_nothing() -> None:
    sealed, other = a_record().record, RecordKey.generate()
    assert refused_to_open(replace(sealed, key=other.name), RecordKeys(HeldKeys(other))) == (
        "cannot-open"
    )


@pytest.mark.parametrize("length", [0, 1, 15, 16, 2000, -1])
def test_cut_short_it_opens_nothing(length: int) -> None:
    sealed = a_record().record
    assert refused_to_open(replace(sealed, sealed=sealed.sealed[:length])) == "cannot-open"


def test_a_key_that_is_not_here_is_looked_for_once_and_one_that_was_lost_is_not() -> None:
    sealed, other = a_record().record, RecordKey.generate()
    looks: list[None] = []

    def reread() -> HeldKeys:
        looks.append(None)
        return HeldKeys(other, (KEYS.current,)) if len(looks) > 1 else HeldKeys(other)

    keys = RecordKeys(HeldKeys(other), reread)
    assert refused_to_open(sealed, keys) == "record-key-unknown"
    assert sealed.open(keys).record == sealed
    assert sealed.open(keys).record == sealed
    assert len(looks) == 2
    lost = RecordKeys(HeldKeys(other, lost=frozenset({sealed.key})), reread)
    assert refused_to_open(sealed, lost) == "record-key-lost"
    assert len(looks) == 2


def test_a_key_store_that_cannot_be_read_again_leaves_what_was_held() -> None:
    sealed, other = a_record().record, RecordKey.generate()

    def reread() -> HeldKeys:
        raise KeyFileError("changed", "it was written anew")

    keys = RecordKeys(HeldKeys(other), reread)
    assert refused_to_open(sealed, keys) == "record-key-unknown"
    assert keys.current == other


def test_its_length_does_not_tell_how_many_received_it_or_that_it_was_refused() -> None:
    raw = make(REGION, ("MY",)).sealed.raw
    submitted = parse_submitted(raw)
    refused = DECIDER.sign(
        RefusedWhole("expired", submitted.frame.digest, submitted),
        sender="SG",
        directory=REGION.view.version,
        now=REGION.now,
    )
    records = [a_record(*CODES[1 : 1 + count]) for count in range(1, 7)]
    records.append(DECIDER.audited(refused))
    assert len({len(each.decision_bytes) for each in records}) == len(records)
    assert len({len(each.record.sealed) for each in records}) == 1


@given(st.binary(max_size=3 * STEP_BYTES))
def test_what_was_filled_up_comes_back(raw: bytes) -> None:
    assert unpadded(padded(raw)) == raw
    assert len(padded(raw)) % STEP_BYTES == 0


@pytest.mark.parametrize("raw", [b"", b"\0\0\0", bytes(STEP_BYTES - 1), b"\0\0\0\1" * 512,
                                 b"\xff" * STEP_BYTES, bytes(2 * STEP_BYTES)])  # fmt: skip
def test_another_filling_is_refused(raw: bytes) -> None:
    with pytest.raises(LogError) as caught:
        unpadded(raw)
    assert caught.value.code == "bad-padding"


# --- notices ---


def test_a_notice_opens_on_its_subject_alone() -> None:
    raw = seal_notice(b"a notice", SUBJECT, KEYS.current)
    assert parse_sealed_notice(raw).open(SUBJECT, KEYS) == b"a notice"
    wrong = [(SUBJECT + "z", KEYS, raw), (SUBJECT, RecordKeys.of(bytes(32)), raw)]
    wrong += [
        (SUBJECT, KEYS, raw[:place] + bytes((raw[place] ^ 1,)) + raw[place + 1 :])
        for place in range(0, len(raw), 5)
    ]
    wrong += [(SUBJECT, KEYS, raw[:length]) for length in (0, 1, 50, len(raw) - 1)]
    for subject, keys, each in wrong:
        with pytest.raises(LogError):
            parse_sealed_notice(each).open(subject, keys)


def test_two_notices_on_one_subject_are_sealed_under_two_keys() -> None:
    """Two workers may say the same at two times; under one key that would open both."""
    one, two = (seal_notice(b"a notice", SUBJECT, KEYS.current) for _ in range(2))
    assert parse_sealed_notice(one).salt != parse_sealed_notice(two).salt
    assert parse_sealed_notice(one).sealed != parse_sealed_notice(two).sealed

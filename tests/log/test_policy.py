"""Policies: who must have signed, who enough, and files that say neither clearly."""

from hashlib import sha256

import pytest

from broker.log.checkpoint import Checkpoint
from broker.log.errors import LogError
from broker.log.merkle import EMPTY_ROOT
from broker.log.note import SignatureLine
from broker.log.notekeys import SignatureType, VKey
from broker.log.notesigner import NoteSigner
from broker.log.policy import Group, KnownLog, Policy, Witness, supermajority

ORIGIN = "log.example/1"
NOW = 1_700_000_000
CHECKPOINT = Checkpoint(ORIGIN, 7, bytes(range(32)))


def signer(name: str, kind: int, seed: int) -> NoteSigner:
    return NoteSigner(name, SignatureType(kind), bytes([seed]) * 32)


LOG_ED, LOG_ML = signer(ORIGIN, 1, 1), signer(ORIGIN, 6, 2)
COSIGNERS = [signer(f"w{number}.example", 4 + 2 * (number % 2), 10 + number) for number in range(6)]
NAMES = [b"X1", b"X2", b"X3", b"Y1", b"Y2", b"Y3"]
LOGS = (KnownLog(LOG_ED.vkey), KnownLog(LOG_ML.vkey))
WITNESSES = tuple(Witness(name, key.vkey) for name, key in zip(NAMES, COSIGNERS, strict=True))
GROUPS = (  # the example of the specification
    Group(b"X-witnesses", 2, (b"X1", b"X2", b"X3")),
    Group(b"Y-witnesses", 1, (b"Y1", b"Y2", b"Y3")),
    Group(b"X-and-Y", 2, (b"X-witnesses", b"Y-witnesses")),
)
POLICY = Policy(LOGS, WITNESSES, GROUPS, b"X-and-Y")
BY_LOG = [LOG_ED.sign(CHECKPOINT.to_text()), LOG_ML.cosign(CHECKPOINT, time_s=0)]
BY_WITNESS = [key.cosign(CHECKPOINT, time_s=NOW + at) for at, key in enumerate(COSIGNERS)]


def note(*lines: SignatureLine, checkpoint: Checkpoint = CHECKPOINT) -> bytes:
    return checkpoint.signed(lines).to_bytes()


def code_of(raw: bytes, policy: Policy = POLICY) -> str:
    with pytest.raises(LogError) as caught:
        policy.check(raw)
    return caught.value.code


def test_a_checkpoint_of_the_log_and_a_quorum_is_trusted() -> None:
    signed = POLICY.check(note(*BY_LOG, BY_WITNESS[0], BY_WITNESS[2], BY_WITNESS[5]))
    assert signed.checkpoint == CHECKPOINT
    assert {each.key for each in signed.log_signatures} == {LOG_ED.vkey, LOG_ML.vkey}
    assert signed.cosigned == {b"X1": NOW, b"X3": NOW + 2, b"Y3": NOW + 5}


@pytest.mark.parametrize(
    ("who", "enough"),
    [
        ("", False),
        ("X1 X2 X3", False),
        ("Y1 Y2 Y3 X1", False),
        ("X1 X2 Y2", True),
        ("X1 X2 X3 Y1 Y2 Y3", True),
        ("X-witnesses Y-witnesses", False),  # the names of groups are nobody's signature
        ("X-and-Y", False),
    ],
)
def test_the_quorum_is_met_as_the_groups_say(who: str, enough: bool) -> None:  # noqa: FBT001
    assert POLICY.quorum_met(set(who.encode().split())) is enough


def test_every_part_of_the_quorum_is_demanded_of_a_note() -> None:
    assert code_of(note(*BY_LOG)) == "quorum-unmet"
    assert code_of(note(*BY_LOG, *BY_WITNESS[:3])) == "quorum-unmet"
    assert code_of(note(*BY_LOG, BY_WITNESS[0], *[BY_WITNESS[3]] * 5)) == "quorum-unmet"
    POLICY.verify_log(note(*BY_LOG))
    Policy(LOGS, (), (), None).check(note(*BY_LOG))
    Policy(LOGS, WITNESSES, (), b"X2").check(note(*BY_LOG, BY_WITNESS[1]))


def test_both_signatures_of_the_log_are_demanded() -> None:
    for line in BY_LOG:
        assert code_of(note(line, *BY_WITNESS)) == "log-unsigned"
        POLICY.check(note(line, *BY_WITNESS), every_key=False)
    assert code_of(note(*BY_WITNESS)) == "log-unsigned"
    with pytest.raises(LogError, match="0 of 2"):
        POLICY.check(note(*BY_WITNESS), every_key=False)
    assert code_of(note(SignatureLine.of("x", 1, b"?"))) == "unverified"


def test_another_log_is_unknown_even_under_a_known_key() -> None:
    other = Checkpoint("log.example/2", 7, CHECKPOINT.root)
    lines = [LOG_ED.sign(other.to_text()), LOG_ML.cosign(other, time_s=0)]
    assert code_of(note(*lines, checkpoint=other)) == "unknown-log"
    elsewhere = KnownLog(signer("log.example/2", 1, 3).vkey)
    policy = Policy((*LOGS, elsewhere), (), (), None)
    assert code_of(note(*lines, checkpoint=other), policy) == "log-unsigned"


def test_one_signature_of_a_witness_that_fails_spoils_the_note() -> None:
    wrong = SignatureLine.of(BY_WITNESS[0].name, BY_WITNESS[0].key_id, bytes(72))
    assert code_of(note(*BY_LOG, wrong, *BY_WITNESS[1:])) == "bad-signature"
    wrong = SignatureLine.of(BY_LOG[0].name, BY_LOG[0].key_id, bytes(64))
    assert code_of(note(wrong, BY_LOG[1], *BY_WITNESS)) == "bad-signature"


def test_a_cosignature_without_a_time_does_not_count() -> None:
    timeless = [key.cosign(CHECKPOINT, time_s=0) for key in COSIGNERS]
    assert POLICY.verify_log(note(*BY_LOG, *timeless)).cosigned == {}
    assert code_of(note(*BY_LOG, *timeless)) == "quorum-unmet"


def test_no_checkpoint_and_no_note_are_refused_before_anything_is_verified() -> None:
    assert code_of(b"") == "bad-note"
    line = LOG_ED.sign("text\n")
    assert code_of(f"text\n\n{line.to_text()}".encode()) == "bad-checkpoint"


def test_an_empty_tree_with_a_root_is_refused_whoever_signed_it() -> None:
    policy = Policy(LOGS[:1], WITNESSES, GROUPS, b"X-and-Y")
    for root, expected in ((EMPTY_ROOT, "quorum-unmet"), (bytes(32), "bad-empty-root")):
        empty = Checkpoint(ORIGIN, 0, root)
        assert code_of(note(LOG_ED.sign(empty.to_text()), checkpoint=empty), policy) == expected
    with pytest.raises(LogError):
        LOG_ML.cosign(Checkpoint(ORIGIN, 0, bytes(32)), time_s=0)
    LOG_ML.cosign(Checkpoint(ORIGIN, 0, EMPTY_ROOT), time_s=0)


@pytest.mark.parametrize("count", range(1, 33))
def test_two_supermajorities_share_more_witnesses_than_may_lie(count: int) -> None:
    liars = (count - 1) // 3
    assert 2 * supermajority(count) - count > liars
    assert supermajority(count) <= count


def test_two_keys_of_one_name_and_id_are_no_policy() -> None:
    seen: dict[bytes, bytes] = {}
    for number in range(2**20):  # a key id has 32 bits: some 80,000 keys hold such a pair
        raw = number.to_bytes(32, "big")
        key_id = sha256(b"a\n\x04" + raw).digest()[:4]
        if key_id in seen:
            break
        seen[key_id] = raw
    pair = [VKey("a", SignatureType.COSIGNATURE_ED25519, each) for each in (raw, seen[key_id])]
    assert pair[0].key_id == pair[1].key_id
    with pytest.raises(LogError, match="one key id"):
        Policy((), tuple(Witness(key.public.hex().encode(), key) for key in pair), (), None)


def test_what_has_no_clear_meaning_is_no_policy() -> None:
    one, two = WITNESSES[:2]
    same_key = Witness(b"Z", signer("z.example", 4, 10).vkey)
    plain_key = Witness(b"Z", signer("z.example", 1, 3).vkey)
    wrong = [
        (LOGS, (one, same_key), (), None),
        ((*LOGS, LOGS[0]), (), (), None),
        (LOGS, (plain_key,), (), None),
        (LOGS, (one, Witness(one.name, two.key)), (), None),
        (LOGS, (Witness(b"none", one.key),), (), None),
        (LOGS, (Witness(b"", one.key),), (), None),
        (LOGS, (Witness(b"a b", one.key),), (), None),
        (LOGS, (Witness(b"a", one.key, b"http://a\n"),), (), None),
        (LOGS, (one,), (Group(b"g", 1, ()),), None),
        (LOGS, (one,), (Group(b"g", 0, (b"X1",)),), None),
        (LOGS, (one,), (Group(b"g", 2, (b"X1",)),), None),
        (LOGS, (one,), (Group(b"g", 1, (b"X2",)),), None),
        (LOGS, (one,), (Group(b"g", 1, (b"g",)),), None),
        (LOGS, (one,), (Group(b"X1", 1, (b"X1",)),), None),
        (LOGS, (one,), (Group(b"g", 1, (b"X1", b"X1")),), None),
        (LOGS, (one,), (Group(b"g", 1, (b"X1",)), Group(b"h", 1, (b"X1",))), None),
        (LOGS, (one,), (Group(b"g", 1, (b"h",)), Group(b"h", 1, (b"X1",))), None),
        (LOGS, (one,), (), b"X2"),
        (LOGS, (one,), (), b"none"),
    ]
    for logs, witnesses, groups, quorum in wrong:
        with pytest.raises(LogError) as caught:
            Policy(logs, witnesses, groups, quorum)
        assert caught.value.code == "bad-policy"


@pytest.mark.parametrize(
    ("who", "by"),
    [
        ({}, None),
        ({"X1": 1, "X2": 2, "X3": 3}, None),
        ({"X1": 9, "X2": 2, "Y1": 5}, 9),
        ({"X1": 9, "X2": 2, "X3": 3, "Y1": 5, "Y2": 4}, 4),
        ({"X1": 1, "X2": 1, "Y1": 1, "X3": 9}, 1),
        ({"X1": 1, "X2": 1, "else": 1}, None),
    ],
)
def test_a_quorum_stood_by_the_time_of_the_last_witness_that_it_needs(
    who: dict[str, int], by: int | None
) -> None:
    assert POLICY.quorum_by({name.encode(): at_s for name, at_s in who.items()}) == by


def test_where_nobody_need_cosign_nobody_says_when() -> None:
    assert Policy(LOGS, WITNESSES, (), None).quorum_by({b"X1": 1}) is None


EXTENDED = Checkpoint(ORIGIN, 7, CHECKPOINT.root, ("a line that 0x06 does not cover",))


def test_a_cosignature_that_covers_three_lines_spoils_no_note_with_more() -> None:
    """So others cosign, and one such line must not take the rest of a note with it."""
    bare = COSIGNERS[1]
    assert bare.vkey.type is SignatureType.COSIGNATURE_MLDSA44
    raw = note(LOG_ED.sign(EXTENDED.to_text()), BY_WITNESS[1],
               COSIGNERS[0].cosign(EXTENDED, time_s=NOW), checkpoint=EXTENDED)  # fmt: skip
    for policy in (
        Policy(LOGS[:1], WITNESSES, GROUPS, b"X1"),
        Policy(LOGS[:1], WITNESSES, GROUPS, b"X2"),
        Policy(LOGS[:1], WITNESSES, GROUPS, b"X-witnesses"),
    ):
        assert policy.check(raw, every_key=False).cosigned == {b"X1": NOW, b"X2": NOW + 1}
    wrong = SignatureLine.of(BY_WITNESS[1].name, BY_WITNESS[1].key_id, bytes(2428))
    raw = note(LOG_ED.sign(EXTENDED.to_text()), wrong, checkpoint=EXTENDED)
    with pytest.raises(LogError, match="does not verify"):
        POLICY.verify_log(raw, every_key=False)


def test_our_own_log_has_no_lines_that_one_of_its_signatures_does_not_cover() -> None:
    by_log = (LOG_ED.sign(EXTENDED.to_text()), BY_LOG[1])
    assert code_of(note(*by_log, checkpoint=EXTENDED)) == "log-unsigned"
    others = Policy(LOGS[1:], (), (), None)
    assert others.check(note(BY_LOG[1], checkpoint=EXTENDED), every_key=False).log_signatures


def test_one_key_may_be_a_logs_and_a_witnesss() -> None:
    """The specification forbids a key twice of one kind alone, and others' policies may do it."""
    same = Policy(LOGS, (Witness(b"itself", LOG_ML.vkey),), (), b"itself")
    raw = note(BY_LOG[0], LOG_ML.cosign(CHECKPOINT, time_s=NOW))
    assert same.check(raw).cosigned == {b"itself": NOW}
    with pytest.raises(LogError) as caught:
        same.check(note(*BY_LOG))  # without a time it makes no claim
    assert caught.value.code == "quorum-unmet"
    renamed = Policy(LOGS, (Witness(b"Z", signer("z.example", 6, 2).vkey),), (), b"Z")
    cosigned = signer("z.example", 6, 2).cosign(CHECKPOINT, time_s=NOW)
    assert renamed.check(note(*BY_LOG, cosigned)).cosigned == {b"Z": NOW}
    assert code_of(note(*BY_LOG), renamed) == "quorum-unmet"

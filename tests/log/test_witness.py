"""What a witness decides, status by status, in the order of the specification's checks."""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.log import answered
from broker.log.answered import answered_for
from broker.log.checkpoint import Checkpoint, parse_checkpoint
from broker.log.errors import LogError
from broker.log.merkle import Frontier, consistency_proof, leaf_hash
from broker.log.note import MAX_SIGNATURES, Note, parse_line
from broker.log.notekeys import SignatureType, VKey
from broker.log.notesigner import NoteSigner
from broker.log.tiles import Tile, lookup_in
from broker.log.witness import (
    MAX_REQUEST_BYTES,
    Acceptable,
    Seen,
    WitnessRefusal,
    WitnessRequest,
    judge,
    parse_request,
    report_of,
)

ORIGIN = "log.example/kentong"
ED = NoteSigner(ORIGIN, SignatureType.ED25519, bytes(32))
ML = NoteSigner(ORIGIN, SignatureType.COSIGNATURE_MLDSA44, bytes(31) + b"x")
STRANGER = NoteSigner(ORIGIN, SignatureType.ED25519, bytes(31) + b"y")
KEYS = (ED.vkey, ML.vkey)
LEAVES = [leaf_hash(b"leaf %d" % number) for number in range(20)]
EMPTY = Frontier().root()


def checkpoint(size: int, *, origin: str = ORIGIN, root: bytes = b"", lines: int = 0) -> Checkpoint:
    root = root or Frontier().append(LEAVES[:size]).root()
    return Checkpoint(origin, size, root, tuple(f"extension {at}" for at in range(lines)))


def signed(of: Checkpoint, *signers: NoteSigner) -> Note:
    lines = []
    for signer in signers or (ED, ML):
        if signer.vkey.type is SignatureType.ED25519:
            lines.append(signer.sign(of.to_text()))
        else:
            lines.append(signer.cosign(of, time_s=0))
    return of.signed(tuple(lines))


def path(old: int, new: int) -> tuple[bytes, ...]:
    def read(tile: Tile) -> tuple[bytes, ...]:
        assert tile.level == 0
        return tuple(LEAVES[: tile.width])

    return consistency_proof(old, new, lookup_in(read, new))


def request(
    old: int, of: Checkpoint, *signers: NoteSigner, proof: tuple[bytes, ...] | None = None
) -> bytes:
    proof = path(old, of.size) if proof is None and 0 < old <= of.size else proof or ()
    return WitnessRequest(old, proof, signed(of, *signers)).to_bytes()


def seen(size: int) -> Seen:
    return Seen(size, checkpoint(size).root, 1) if size else Seen()


def spoiled(raw: bytes) -> bytes:
    """The same, with another last character but one of its last signature."""
    return raw[:-9] + (b"A" if raw[-9:-8] != b"A" else b"B") + raw[-8:]


ED_LINE = ED.sign(checkpoint(9).to_text()).to_text().encode()
FORGED = signed(checkpoint(9)).to_bytes().replace(b"\n9\n", b"\n8\n")


@dataclass(frozen=True)
class Case:
    """A request to a witness that saw `seen` leaves, and what is to come of it."""

    raw: Callable[[], bytes]
    status: HTTPStatus
    known: int = 5
    signed: bool = True  # The log answers for it, so that it is kept and told to others.
    evidence: bool = False
    keys: tuple[VKey, ...] = KEYS


CASES = {
    "rubbish": Case(lambda: b"rubbish", HTTPStatus.BAD_REQUEST, signed=False),
    "nothing": Case(lambda: b"", HTTPStatus.BAD_REQUEST, signed=False),
    "no checkpoint in the note": Case(
        lambda: b"old 5\n\nhello\n\n\xe2\x80\x94 a AAAAAAAA\n", HTTPStatus.BAD_REQUEST, signed=False
    ),
    "a number with a leading zero": Case(
        lambda: request(5, checkpoint(9)).replace(b"old 5", b"old 05"), HTTPStatus.BAD_REQUEST
    ),
    "a proof of 64 hashes": Case(
        lambda: request(5, checkpoint(9), proof=(bytes(32),) * 64), HTTPStatus.BAD_REQUEST
    ),
    "another tree of our size, with a line that is none": Case(
        lambda: request(5, checkpoint(5, root=bytes(32))) + b"\xff\n",
        HTTPStatus.BAD_REQUEST,
        evidence=True,
    ),
    "another tree of our size, and behind it more than a request may have": Case(
        lambda: request(5, checkpoint(5, root=bytes(32))) + b"x" * MAX_REQUEST_BYTES,
        HTTPStatus.BAD_REQUEST,
        evidence=True,
    ),
    "a checkpoint alone": Case(lambda: signed(checkpoint(9)).to_bytes(), HTTPStatus.BAD_REQUEST),
    "one good signature of the log and one that is rubbish": Case(
        lambda: spoiled(request(5, checkpoint(9))), HTTPStatus.FORBIDDEN, evidence=True
    ),
    "a rubbish first line of a key whose second is good": Case(
        lambda: request(5, checkpoint(9)).replace(ED_LINE, spoiled(ED_LINE) + ED_LINE),
        HTTPStatus.FORBIDDEN,
        evidence=True,
    ),
    "another log, before its signature is looked at": Case(
        lambda: request(5, checkpoint(9, origin="other.example"), STRANGER),
        HTTPStatus.NOT_FOUND,
        signed=False,
    ),
    "no signature of the log, before the sizes are looked at": Case(
        lambda: request(99, checkpoint(9), STRANGER), HTTPStatus.FORBIDDEN, signed=False
    ),
    "a signature of the log that does not verify": Case(
        lambda: b"old 5\n\n" + FORGED, HTTPStatus.FORBIDDEN, signed=False
    ),
    "one of the log's two signatures": Case(
        lambda: request(5, checkpoint(9), ED), HTTPStatus.FORBIDDEN, evidence=True
    ),
    "an extension line": Case(
        lambda: request(5, checkpoint(9, lines=1), ED), HTTPStatus.FORBIDDEN, evidence=True
    ),
    "an old size above the new one, before it is compared with ours": Case(
        lambda: request(7, checkpoint(6)), HTTPStatus.BAD_REQUEST
    ),
    "an old size that is not ours": Case(lambda: request(4, checkpoint(9)), HTTPStatus.CONFLICT),
    "an old size that is not ours, before the proof is looked at": Case(
        lambda: request(4, checkpoint(9), proof=(bytes(32),)), HTTPStatus.CONFLICT
    ),
    "another tree of our size under a wrong old size": Case(
        lambda: request(4, checkpoint(5, root=bytes(32))), HTTPStatus.CONFLICT, evidence=True
    ),
    "a smaller tree under our old size": Case(
        lambda: request(5, checkpoint(3)), HTTPStatus.BAD_REQUEST
    ),
    "an empty tree with a root": Case(
        lambda: request(0, checkpoint(0, root=bytes(32)), ED),
        HTTPStatus.UNPROCESSABLE_ENTITY,
        known=0,
        evidence=True,
        keys=(ED.vkey,),  # ML-DSA-44 cosignatures of such a tree are not even well formed
    ),
    "a proof from nothing": Case(
        lambda: request(0, checkpoint(3), proof=(bytes(32),)),
        HTTPStatus.UNPROCESSABLE_ENTITY,
        known=0,
        evidence=True,
    ),
    "another tree of our size": Case(
        lambda: request(5, checkpoint(5, root=bytes(32))),
        HTTPStatus.UNPROCESSABLE_ENTITY,
        evidence=True,
    ),
    "a proof for our own size": Case(
        lambda: request(5, checkpoint(5), proof=(bytes(32),)),
        HTTPStatus.UNPROCESSABLE_ENTITY,
        evidence=True,
    ),
    "a wrong proof": Case(
        lambda: request(5, checkpoint(9), proof=(bytes(32),) * len(path(5, 9))),
        HTTPStatus.UNPROCESSABLE_ENTITY,
        evidence=True,
    ),
    "no proof where one is needed": Case(
        lambda: request(5, checkpoint(9), proof=()),
        HTTPStatus.UNPROCESSABLE_ENTITY,
        evidence=True,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_with_the_status_of_the_first_check_that_fails(name: str) -> None:
    case = CASES[name]
    found = judge(case.raw(), keys=case.keys, seen=seen(case.known))
    assert isinstance(found, WitnessRefusal)
    assert (found.status, found.evidence) == (case.status, case.evidence)
    assert (found.checkpoint is not None) is case.signed
    assert found.body.endswith(b"\n")
    if found.status is HTTPStatus.CONFLICT:
        assert found.body == b"%d\n" % case.known


@pytest.mark.parametrize("name", CASES)
def test_what_is_told_of_a_refused_request_is_well_formed_and_signed_by_the_log(name: str) -> None:
    case = CASES[name]
    raw = case.raw()
    told = report_of(raw, case.keys, max_bytes=20_000)
    assert (told is not None) is case.signed
    if told is not None:
        assert len(told) <= 20_000
        again = answered_for(parse_request(told).note.to_bytes(), case.keys)
        assert again is not None
        assert again.text == parse_request(told).note.text
        assert told == raw or again == parse_request(told).note


@given(st.binary(max_size=400), st.sampled_from((b"", b"old 5\n\n", b"\n\n", ORIGIN.encode())))
def test_nobody_answers_for_bytes_that_the_log_did_not_sign(raw: bytes, head: bytes) -> None:
    for changed in (head + raw, raw + head, spoiled(FORGED) + raw):
        assert answered_for(changed, KEYS) is None


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_whatever_stands_around_it_the_log_answers_for_what_it_signed(
    before: bytes, behind: bytes
) -> None:
    note = signed(checkpoint(9))
    found = answered_for(before + b"\n" + note.to_bytes() + behind, KEYS)
    assert found is not None
    assert found.text == note.text
    assert set(found.signatures) <= set(note.signatures)


@pytest.mark.parametrize(
    ("body", "most"),
    [
        (b"\n\n" * 262_144, 0),
        (b"old 5\n\n" + b"\n\n" * 262_140, 0),
        (f"{ORIGIN}\n\n".encode() * 20_000, MAX_SIGNATURES),
        (f"{ORIGIN}\n9\nx\n\n".encode() * 20_000, MAX_SIGNATURES),
    ],
)
def test_a_body_of_half_a_mebibyte_costs_no_more_than_a_note_of_the_log_may(
    monkeypatch: pytest.MonkeyPatch, body: bytes, most: int
) -> None:
    parsed = []

    def counted(text: str) -> Checkpoint:
        parsed.append(text)
        return parse_checkpoint(text)

    monkeypatch.setattr(answered, "parse_checkpoint", counted)
    found = judge(body, keys=KEYS, seen=seen(5))
    assert isinstance(found, WitnessRefusal)
    assert found.status is HTTPStatus.BAD_REQUEST
    assert len(parsed) == most
    assert report_of(body, KEYS, max_bytes=20_000) is None
    assert len(parsed) == 2 * most
    behind = body[: MAX_REQUEST_BYTES - 20_000] if not most else b""  # it hides nothing either
    note = signed(checkpoint(9))
    told = answered_for(behind + note.to_bytes(), KEYS)
    assert told is not None
    assert told.text == note.text


def test_a_refusal_has_the_logs_own_signatures_and_nothing_of_who_asked() -> None:
    of = checkpoint(9)
    note = signed(of)
    rubbish = parse_line(spoiled(ED_LINE).decode().removesuffix("\n"))
    more = note.signed_also((STRANGER.sign(of.to_text()), rubbish))
    for old in (4, 5, 10):
        found = judge(WitnessRequest(old, (), more).to_bytes(), keys=KEYS, seen=seen(5))
        assert isinstance(found, WitnessRefusal)
        assert found.note == note
    raw = WitnessRequest(5, path(5, 9), more).to_bytes()
    accepted = judge(raw, keys=KEYS, seen=seen(5))
    assert isinstance(accepted, Acceptable)
    assert accepted.note == note  # nor has what is kept as cosigned last


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 1), (0, 20), (5, 5), (5, 6), (8, 20)])
def test_what_extends_is_accepted_and_only_what_was_verified_is_signed(old: int, new: int) -> None:
    of = checkpoint(new)
    other = STRANGER.sign(of.to_text())
    note = signed(of)
    raw = WitnessRequest(old, path(old, new) if old else (), note.signed_also((other,)))
    found = judge(raw.to_bytes(), keys=KEYS, seen=seen(old))
    assert isinstance(found, Acceptable)
    assert found.checkpoint == of
    assert found.note == note  # the stranger's line is not carried on


@given(st.binary(max_size=400))
def test_any_bytes_are_a_request_or_our_refusal(raw: bytes) -> None:
    found = judge(raw, keys=KEYS, seen=seen(5))
    assert isinstance(found, WitnessRefusal)
    assert found.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN}


GOOD = request(5, checkpoint(9))


@given(st.integers(0, len(GOOD) - 1), st.binary(max_size=3), st.integers(0, 40))
def test_a_changed_request_is_a_request_that_says_the_same_bytes_or_refused(
    at: int, put: bytes, cut: int
) -> None:
    raw = GOOD[:at] + put + GOOD[at + cut :]
    try:
        found = parse_request(raw)
    except LogError:
        return
    again = parse_request(found.to_bytes())
    assert (again.old, again.proof, again.note.text) == (found.old, found.proof, found.note.text)


def test_every_flipped_bit_before_the_signatures_is_refused() -> None:
    head = GOOD.index(b"\n\n\xe2\x80\x94")
    for bit in range(head * 8):
        raw = bytearray(GOOD)
        raw[bit // 8] ^= 1 << bit % 8
        assert isinstance(judge(bytes(raw), keys=KEYS, seen=seen(5)), WitnessRefusal), bit


def test_a_request_that_is_too_long_is_not_read() -> None:
    with pytest.raises(LogError):
        parse_request(b"old 0\n\n" + b"x" * MAX_REQUEST_BYTES)

"""Cosignatures: the bytes that they sign, what they cover, and what they do not."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.log.checkpoint import Checkpoint
from broker.log.cosignature import (
    Cosignature,
    ed25519_message,
    mldsa_message,
    parse_cosignature,
    subtree_message,
)
from broker.log.errors import LogError
from broker.log.note import SignatureLine
from broker.log.notekeys import SignatureType, VKey
from broker.log.notesigner import NoteSigner
from keys.primitives.mldsa import MLDSASignKey
from keys.primitives.signing import SignKey

NOW = 1_679_315_147
ROOT = bytes(range(32))
CHECKPOINT = Checkpoint("log.example/1", 7, ROOT)
EXTENDED = Checkpoint("log.example/1", 7, ROOT, ("more",))
ED = NoteSigner("w.example", SignatureType.COSIGNATURE_ED25519, bytes(32))
ML = NoteSigner("w.example", SignatureType.COSIGNATURE_MLDSA44, bytes(32))
NOTE = NoteSigner("w.example", SignatureType.ED25519, bytes(32))


def test_the_ed25519_message_is_the_one_of_the_specification() -> None:
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    root = bytes.fromhex("0ac5186a91863e8e1d90c808014aa89bf5da8e3ee1d9f07630f0378f68f1ab62")
    checkpoint = Checkpoint("example.com/behind-the-sofa", 20852163, root)
    expected = f"cosignature/v1\ntime 1679315147\n{text}"
    assert ed25519_message(checkpoint, NOW).decode() == expected


def test_the_ml_dsa_message_is_laid_out_as_specified() -> None:
    message = mldsa_message("w.example", CHECKPOINT, NOW)
    assert message == (
        b"subtree/v1\n\0"
        b"\x09w.example"
        + struct.pack(">Q", NOW)
        + b"\x0dlog.example/1"
        + struct.pack(">QQ", 0, 7)
        + ROOT
    )


def test_both_types_verify_under_keys_known_from_elsewhere() -> None:
    body = ED.cosign(CHECKPOINT, time_s=NOW).body()
    assert int.from_bytes(body[:8], "big") == NOW
    SignKey(bytes(32)).public.verify(body[8:], ed25519_message(CHECKPOINT, NOW))
    body = ML.cosign(CHECKPOINT, time_s=0).body()
    assert len(body) == 2428
    MLDSASignKey(bytes(32)).public.verify(body[8:], mldsa_message("w.example", CHECKPOINT, 0))


@pytest.mark.parametrize("signer", [ED, ML], ids=["0x04", "0x06"])
def test_a_cosignature_covers_time_origin_size_and_root(signer: NoteSigner) -> None:
    line = signer.cosign(CHECKPOINT, time_s=NOW)
    assert signer.vkey.verify(CHECKPOINT.to_text(), line).time_ms == NOW * 1000
    later = Cosignature(NOW + 1, parse(line).signature).to_body()
    others = [
        (Checkpoint("log.example/2", 7, ROOT).to_text(), line),
        (Checkpoint("log.example/1", 8, ROOT).to_text(), line),
        (Checkpoint("log.example/1", 7, bytes(32)).to_text(), line),
        (CHECKPOINT.to_text() + "\n", line),
        ("no checkpoint\n", line),
        (CHECKPOINT.to_text(), SignatureLine.of(line.name, line.key_id, later)),
        (CHECKPOINT.to_text(), SignatureLine.of(line.name, line.key_id ^ 1, line.body())),
        (CHECKPOINT.to_text(), SignatureLine.of("another", line.key_id, line.body())),
        (CHECKPOINT.to_text(), SignatureLine.of(line.name, line.key_id, line.body()[:-1])),
        (CHECKPOINT.to_text(), SignatureLine.of(line.name, line.key_id, line.body() + b"\0")),
        (CHECKPOINT.to_text(), SignatureLine.of(line.name, line.key_id, b"\xff" + line.body()[1:])),
    ]
    for text, other in others:
        with pytest.raises(LogError) as caught:
            signer.vkey.verify(text, other)
        assert caught.value.code == "bad-signature"


def parse(line: SignatureLine) -> Cosignature:
    return parse_cosignature(line.body(), signature_bytes=len(line.body()) - 8)


def test_only_the_ml_dsa_cosignature_binds_the_name_of_its_maker() -> None:
    for signer, binds in ((ED, False), (ML, True)):
        other = VKey("v.example", signer.vkey.type, signer.vkey.public)
        body = signer.cosign(CHECKPOINT, time_s=NOW).body()
        line = SignatureLine.of(other.name, other.key_id, body)
        if binds:
            with pytest.raises(LogError):
                other.verify(CHECKPOINT.to_text(), line)
        else:  # so one key has one name: broker.log.policy refuses a key that stands in it twice
            other.verify(CHECKPOINT.to_text(), line)


def test_extension_lines_are_cosigned_by_the_type_that_covers_them_alone() -> None:
    line = ED.cosign(EXTENDED, time_s=NOW)
    ED.vkey.verify(EXTENDED.to_text(), line)
    for signed, shown in ((CHECKPOINT, EXTENDED), (EXTENDED, CHECKPOINT)):
        with pytest.raises(LogError) as caught:
            ED.vkey.verify(shown.to_text(), ED.cosign(signed, time_s=NOW))
        assert caught.value.code == "bad-signature"
    with pytest.raises(LogError) as caught:
        ML.cosign(EXTENDED, time_s=NOW)
    assert caught.value.code == "bad-cosignature"


def test_where_others_cosigned_under_extension_lines_it_is_for_the_three_lines_alone() -> None:
    line = ML.cosign(CHECKPOINT, time_s=NOW)
    assert ML.vkey.verify(EXTENDED.to_text(), line).time_ms == NOW * 1000
    other = Checkpoint(EXTENDED.origin, 8, ROOT, EXTENDED.extensions)
    with pytest.raises(LogError):
        ML.vkey.verify(other.to_text(), line)


def test_a_signature_of_one_type_is_none_of_another() -> None:
    note_line = NOTE.sign(CHECKPOINT.to_text())
    body = bytes(8) + note_line.body()
    with pytest.raises(LogError):
        ED.vkey.verify(CHECKPOINT.to_text(), SignatureLine.of("w.example", ED.vkey.key_id, body))
    assert len({NOTE.vkey.key_id, ED.vkey.key_id, ML.vkey.key_id}) == 3


def test_a_key_makes_signatures_of_its_own_type_alone() -> None:
    for signer in (ED, ML):
        with pytest.raises(LogError) as caught:
            signer.sign(CHECKPOINT.to_text())
        assert caught.value.code == "wrong-key-type"
    with pytest.raises(LogError) as caught:
        NOTE.cosign(CHECKPOINT, time_s=NOW)
    assert caught.value.code == "wrong-key-type"


@pytest.mark.parametrize("time_s", [-1, 2**63, 2**64])
def test_a_time_out_of_bounds_is_neither_signed_nor_read(time_s: int) -> None:
    for signer in (ED, ML):
        with pytest.raises(LogError):
            signer.cosign(CHECKPOINT, time_s=time_s)
    with pytest.raises(LogError):
        parse_cosignature(b"\x80" + bytes(71), signature_bytes=64)


@pytest.mark.parametrize(
    ("cosigner", "origin", "start", "end", "time_s"),
    [
        ("", "o", 0, 1, 0),
        ("c" * 256, "o", 0, 1, 0),
        ("c", "", 0, 1, 0),
        ("c", "ö" * 128, 0, 1, 0),
        ("\ud800", "o", 0, 1, 0),
        ("c", "o", 2, 1, 0),
        ("c", "o", -1, 1, 0),
        ("c", "o", 1, 1, 0),  # of no leaves there is one root, and it is not this one
        ("c", "o", 0, 2**63, 0),
        ("c", "o", 1, 2, NOW),  # a part of a tree says nothing of which tree is the largest
    ],
)
def test_a_subtree_out_of_bounds_is_not_signed(
    cosigner: str, origin: str, start: int, end: int, time_s: int
) -> None:
    with pytest.raises(LogError):
        subtree_message(cosigner, origin=origin, start=start, end=end, root=ROOT, time_s=time_s)


@given(st.integers(0, 2**63 - 1), st.binary(min_size=64, max_size=64))
def test_a_cosignature_comes_back(time_s: int, signature: bytes) -> None:
    made = Cosignature(time_s, signature)
    assert parse_cosignature(made.to_body(), signature_bytes=64) == made


@given(st.binary(max_size=100))
def test_any_body_gives_our_error(body: bytes) -> None:
    for key in (ED.vkey, ML.vkey):
        with pytest.raises(LogError):
            key.verify(CHECKPOINT.to_text(), SignatureLine.of(key.name, key.key_id, body or b"x"))

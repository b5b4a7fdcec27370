"""Signed notes: the published cases, every refusal, and every flipped bit of every type."""

import json
from base64 import b64decode
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.log.checkpoint import Checkpoint
from broker.log.cosignature import parse_cosignature
from broker.log.errors import LogError
from broker.log.note import MAX_NOTE_BYTES, MAX_SIGNATURES, Note, SignatureLine, parse_note
from broker.log.notekeys import SignatureType, VKey, parse_vkey, verify_note
from broker.log.notesigner import NoteSigner, parse_skey

ED = NoteSigner("log.example/1", SignatureType.ED25519, bytes(32))
TEXT = "a text\n\nwith an empty line\n"
LINE = ED.sign(TEXT)
CODES = {
    "malformed": {"bad-note"},
    "invalid signature": {"bad-signature"},
    "unverified": {"unverified"},
}


def cases(external: Path, kind: str) -> list[dict[str, Any]]:
    every = json.loads((external / "vectors/notes.json").read_text("utf-8"))
    return [case for case in every if case["kind"] == kind]


def code_of(raw: bytes, keys: list[VKey]) -> str | None:
    try:
        verify_note(parse_note(raw), keys)
    except LogError as error:
        return error.code
    return None


@pytest.mark.records
def test_the_published_notes_come_out_as_published(external: Path) -> None:
    published = cases(external, "note")
    assert len(published) == 13
    for case in published:
        raw = bytes.fromhex(case["note_hex"]) if "note_hex" in case else case["note"].encode()
        keys = [parse_vkey(text) for text in case["vkeys"]]
        if case["expect"] == "ok":
            note = parse_note(raw)
            names = [each.key.name for each in verify_note(note, keys)]
            assert names == case.get("verified", names)
            assert note.to_bytes() == raw
        else:
            assert code_of(raw, keys) in CODES[case["expect"]], case["name"]


@pytest.mark.records
def test_the_published_keys_are_taken_or_refused_as_published(external: Path) -> None:
    published = cases(external, "vkey")
    assert len(published) == 5
    for case in published:
        if case["expect"] == "ok":
            key = parse_vkey(case["vkey"])
            assert key.to_text() == case["vkey"]
            assert key.type == case.get("type", key.type)
        else:
            with pytest.raises(LogError):
                parse_vkey(case["vkey"])


@pytest.mark.records
def test_the_published_signatures_are_made_again_to_the_bit(external: Path) -> None:
    for case in cases(external, "note-sign"):
        signer = parse_skey(case["skey"])
        note = Note(case["text"], (signer.sign(case["text"]),))
        assert note.to_bytes().decode() == case["expect_note"]
    for case in cases(external, "cosig-timestamp"):
        body = b64decode(case["sig_b64"])[4:]
        assert parse_cosignature(body, signature_bytes=64).time_s == case["expect"]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n\n",
        b"\xff\n\n",
        b"a\n",
        f"a\n{LINE.to_text()}".encode(),  # no empty line
        f"a\n\n{LINE.to_text()}"[:-1].encode(),
        f"a\n\n{LINE.to_text()}x\n".encode(),
        f"a\n\n{LINE.to_text()}\n".encode(),
        f"a\r\n\n{LINE.to_text()}".encode(),
        f"\n{LINE.to_text()}".encode(),
        f"a\n\n-{LINE.to_text()[1:]}".encode(),
        f"a\n\n\N{EM DASH} {LINE.name}\n".encode(),
        f"a\n\n\N{EM DASH} {LINE.name} \n".encode(),
        f"a\n\n\N{EM DASH} {LINE.name} AAAAAA==\n".encode(),  # a key id and nothing else
        f"a\n\n\N{EM DASH} {LINE.name} AAAAAAA\n".encode(),
        f"a\n\n\N{EM DASH}  {LINE.encoded}\n".encode(),
        f"a\n\n\N{EM DASH} a+b {LINE.encoded}\n".encode(),
        f"a\n\n\N{EM DASH} a\N{NO-BREAK SPACE}b {LINE.encoded}\n".encode(),
        f"a\n\n\N{EM DASH} a\N{NEXT LINE}b {LINE.encoded}\n".encode(),
        f"a\n\n\N{EM DASH} n {LINE.encoded} x\n".encode(),
        b"a" * MAX_NOTE_BYTES + f"\n\n{LINE.to_text()}".encode(),
    ],
)
def test_what_is_no_note_is_refused(raw: bytes) -> None:
    with pytest.raises(LogError) as caught:
        parse_note(raw)
    assert caught.value.code == "bad-note"


@pytest.mark.parametrize("count", [1, 16, MAX_SIGNATURES])
def test_a_hundred_lines_of_unknown_keys_are_ignored(count: int) -> None:
    unknown = [SignatureLine.of(f"x{number}", number, b"?") for number in range(count - 1)]
    raw = Note(TEXT, (*unknown, LINE)).to_bytes()
    assert [each.key for each in verify_note(parse_note(raw), [ED.vkey])] == [ED.vkey]
    too_many = raw + SignatureLine.of("y", 1, b"?").to_text().encode() * MAX_SIGNATURES
    assert code_of(too_many, [ED.vkey]) == "bad-note"


def test_a_name_or_an_id_alone_does_not_make_a_key_known() -> None:
    for other in (
        SignatureLine.of(LINE.name, LINE.key_id ^ 1, b"?"),
        SignatureLine.of("another", LINE.key_id, b"?"),
    ):
        assert code_of(Note(TEXT, (other,)).to_bytes(), [ED.vkey]) == "unverified"
        assert code_of(Note(TEXT, (other, LINE)).to_bytes(), [ED.vkey]) is None
    assert code_of(Note(TEXT, (LINE,)).to_bytes(), []) == "unverified"


def test_one_bad_line_of_a_known_key_spoils_the_note_and_a_repetition_does_not() -> None:
    other = NoteSigner("other", SignatureType.ED25519, bytes(range(32)))
    bad = SignatureLine.of("other", other.vkey.key_id, bytes(64))
    keys = [ED.vkey, other.vkey]
    assert code_of(Note(TEXT, (LINE, bad)).to_bytes(), keys) == "bad-signature"
    assert code_of(Note(TEXT, (LINE, other.sign(TEXT), bad)).to_bytes(), keys) is None


def test_two_known_keys_of_one_name_and_id_are_ambiguous() -> None:
    assert code_of(Note(TEXT, (LINE,)).to_bytes(), [ED.vkey, ED.vkey]) == "ambiguous-key"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a", (LINE,)),
        ("", (LINE,)),
        ("a\t\n", (LINE,)),
        ("\ud800\n", (LINE,)),
        (TEXT, ()),
        (TEXT, (LINE,) * (MAX_SIGNATURES + 1)),
        ("a" * (MAX_NOTE_BYTES - 100) + "\n", (LINE,)),
    ],
)
def test_a_note_that_could_not_be_read_back_is_not_made(
    text: str, lines: tuple[SignatureLine, ...]
) -> None:
    with pytest.raises(LogError) as caught:
        Note(text, lines)
    assert caught.value.code == "bad-note"


def test_unused_bits_make_a_signature_invalid_and_the_note_not_malformed() -> None:
    loose = SignatureLine(LINE.name, LINE.encoded[:-2] + "H=")
    assert loose.encoded != LINE.encoded
    note = parse_note(Note(TEXT, (loose,)).to_bytes())
    assert note.signatures[0].key_id == LINE.key_id
    assert code_of(note.to_bytes(), [ED.vkey]) == "bad-signature"


@pytest.mark.parametrize("kind", [1, 4, 6])
def test_each_flipped_bit_of_a_signed_note_fails(kind: int) -> None:
    signer = NoteSigner("w.example", SignatureType(kind), bytes(32))
    checkpoint = Checkpoint("log.example/1", 7, bytes(range(32)))
    text = checkpoint.to_text()
    line = signer.sign(text) if kind == 1 else signer.cosign(checkpoint, time_s=1_700_000_000)
    good = Note(text, (line,)).to_bytes()
    assert code_of(good, [signer.vkey]) is None
    for place in range(len(good) * 8):
        bad = bytearray(good)
        bad[place // 8] ^= 1 << place % 8
        assert code_of(bytes(bad), [signer.vkey]) is not None, place


LINES = st.text(max_size=40).map(lambda text: f"{text}\n\n\N{EM DASH} a AAAAAAA=\n".encode())


@given(st.binary(max_size=200) | LINES)
def test_any_bytes_give_a_note_that_reads_back_or_our_error(raw: bytes) -> None:
    with suppress(LogError):
        assert parse_note(raw).to_bytes() == raw


@given(st.text(max_size=40).filter(lambda text: all(c >= " " or c == "\n" for c in text)))
def test_a_signed_text_comes_back(text: str) -> None:
    text += "\n"
    note = Note(text, (ED.sign(text),))
    assert parse_note(note.to_bytes()) == note
    assert note.signed_also(note.signatures) == note

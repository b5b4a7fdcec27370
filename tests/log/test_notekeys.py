"""Keys of notes: one text each, their own key id, and the types that only others make."""

from base64 import b64encode
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from broker.log.checkpoint import Checkpoint
from broker.log.errors import LogError
from broker.log.note import SignatureLine
from broker.log.notekeys import SignatureType, VKey, parse_vkey
from broker.log.notesigner import NoteSigner, parse_skey
from tests.log.test_note import cases

MADE = [SignatureType(kind) for kind in (1, 4, 6)]
CHECKPOINT = Checkpoint("ct.example/1", 3, bytes(range(32)))
ECDSA = ec.derive_private_key(12345, ec.SECP256R1())
SPKI = ECDSA.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
REKOR = (  # the key of a log that runs since 2021, published in the configuration of its witnesses
    "rekor.sigstore.dev+c0d23d6a+AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNhtmPtrWm3U1eQXBogSMdGvXwBcK5A"
    "W5i0hrZLOC96l+smGNM7nwZ4QvFK/4sueRoVj//QP22Ni4Qt9DPfkWLc="
)


def code_of(text: str) -> str:
    with pytest.raises(LogError) as caught:
        parse_vkey(text)
    return caught.value.code


def vkey_text(name: str, raw: bytes) -> str:
    key_id = sha256(name.encode() + b"\n" + raw).hexdigest()[:8]
    return f"{name}+{key_id}+{b64encode(raw).decode()}"


@pytest.mark.parametrize("kind", MADE)
def test_keys_come_back_from_their_texts(kind: SignatureType) -> None:
    signer = NoteSigner("w.example/1", kind, bytes(range(32)))
    assert parse_vkey(signer.vkey.to_text()) == signer.vkey
    assert signer.vkey.to_text() == vkey_text("w.example/1", bytes([kind]) + signer.vkey.public)
    again = parse_skey(signer.to_secret_text())
    assert (again.vkey, again.to_secret_text()) == (signer.vkey, signer.to_secret_text())
    assert b64encode(bytes(range(32))).decode()[:20] not in repr(signer)


@pytest.mark.records
def test_every_part_and_every_neighbour_of_a_published_key_is_refused(external: Path) -> None:
    text = next(case["vkey"] for case in cases(external, "vkey") if "every proper" in str(case))
    for start in range(len(text)):
        for end in range(start, len(text) + 1):
            if (start, end) != (0, len(text)):
                code_of(text[start:end])
    for place, char in enumerate(text):
        code_of(text[:place] + chr(ord(char) + 1) + text[place + 1 :])


@pytest.mark.parametrize(
    "text",
    [
        vkey_text("", b"\x01" + bytes(32)),
        vkey_text("a b", b"\x01" + bytes(32)),
        vkey_text("a\x01", b"\x01" + bytes(32)),
        vkey_text("a", b"\x01" + bytes(31)),
        vkey_text("a", b"\x01" + bytes(33)),
        vkey_text("a", b"\x04" + bytes(31)),
        vkey_text("a", b"\x06" + bytes(1311)),
        vkey_text("a", b""),
        vkey_text("a", b"\x02" + bytes(32)),
        vkey_text("a", b"\x03" + bytes(32)),
        vkey_text("a", b"\x05" + bytes(32)),
        vkey_text("a", b"\xff" + bytes(32)),
        vkey_text("a" * 256, b"\x06" + bytes(1312)),
        vkey_text("a" * 4096, b"\x01" + bytes(32)),
        vkey_text("a", b"\x06" + bytes(1312)).upper(),
        REKOR.upper().replace("REKOR", "rekor"),
        REKOR[:-1],
    ],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    assert code_of(text) == "bad-vkey"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PRIVATE+KEY+a+00000000+AQ==",
        NoteSigner("a", MADE[0], bytes(32)).vkey.to_text(),
        NoteSigner("a", MADE[0], bytes(32)).to_secret_text().replace("+a+", "+b+"),
        f"PRIVATE+KEY+a+00000000+{b64encode(bytes([2]) + bytes(32)).decode()}",
        f"PRIVATE+KEY+a b+00000000+{b64encode(bytes([1]) + bytes(32)).decode()}",
    ],
)
def test_what_is_no_private_key_is_refused_without_a_word_of_it(text: str) -> None:
    with pytest.raises(LogError) as caught:
        parse_skey(text)
    assert caught.value.code in {"bad-skey", "bad-vkey", "wrong-key-type"}
    assert not text or text[-8:] not in str(caught.value)


def test_an_ecdsa_key_has_the_id_that_the_world_knows_it_by() -> None:
    key = parse_vkey(REKOR)
    assert (key.type, key.key_id, key.to_text()) == (SignatureType.ECDSA, 0xC0D23D6A, REKOR)


def test_an_ecdsa_signature_verifies_over_the_text_and_no_other() -> None:
    key = VKey("e.example", SignatureType.ECDSA, SPKI)
    line = SignatureLine.of(key.name, key.key_id, ECDSA.sign(b"a\n", ec.ECDSA(hashes.SHA256())))
    assert key.verify("a\n", line).time_ms is None
    with pytest.raises(LogError):
        key.verify("b\n", line)


def _tree_head(time_ms: int = 1_700_000_000_123, algorithm: bytes = b"\x04\x03") -> SignatureLine:
    head = time_ms.to_bytes(8, "big")
    message = b"\0\1" + head + CHECKPOINT.size.to_bytes(8, "big") + CHECKPOINT.root
    signature = ECDSA.sign(message, ec.ECDSA(hashes.SHA256()))
    body = head + algorithm + len(signature).to_bytes(2, "big") + signature
    key = VKey(CHECKPOINT.origin, SignatureType.TREE_HEAD, SPKI)
    return SignatureLine.of(key.name, key.key_id, body)


def test_a_tree_head_of_certificate_transparency_verifies() -> None:
    key = VKey(CHECKPOINT.origin, SignatureType.TREE_HEAD, SPKI)
    log_id = sha256(SPKI).digest()
    assert key.key_id.to_bytes(4, "big").hex() == vkey_text(key.name, b"\5" + log_id).split("+")[1]
    assert parse_vkey(key.to_text()) == key
    assert key.verify(CHECKPOINT.to_text(), _tree_head()).time_ms == 1_700_000_000_123


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (CHECKPOINT.to_text().replace("\n3\n", "\n4\n"), _tree_head()),
        (CHECKPOINT.to_text() + "more\n", _tree_head()),
        ("another" + CHECKPOINT.to_text(), _tree_head()),
        ("no checkpoint\n", _tree_head()),
        (CHECKPOINT.to_text(), _tree_head(algorithm=b"\x04\x01")),
        (CHECKPOINT.to_text(), _tree_head(time_ms=2**63)),
    ],
)
def test_what_a_tree_head_signature_does_not_cover_is_refused(
    text: str, line: SignatureLine
) -> None:
    with pytest.raises(LogError) as caught:
        VKey(CHECKPOINT.origin, SignatureType.TREE_HEAD, SPKI).verify(text, line)
    assert caught.value.code == "bad-signature"


@given(st.binary(max_size=120))
def test_any_body_gives_our_error(body: bytes) -> None:
    for key in (VKey("ct.example/1", SignatureType(kind), SPKI) for kind in (2, 5)):
        with pytest.raises(LogError):
            key.verify(CHECKPOINT.to_text(), SignatureLine.of(key.name, key.key_id, body or b"x"))


@given(st.text(max_size=60) | st.binary(max_size=40).map(lambda raw: vkey_text("a", raw)))
def test_any_text_gives_a_key_that_reads_back_or_our_error(text: str) -> None:
    with suppress(LogError):
        assert parse_vkey(text).to_text() == text

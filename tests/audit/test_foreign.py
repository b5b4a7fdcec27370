"""Logs that nobody here wrote: other keys, other layouts, pruned parts, lines that nobody knows."""

import hashlib
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from typer.testing import CliRunner

from broker.cli.main import build
from broker.log.checkpoint import Checkpoint
from broker.log.merkle import Frontier, leaf_hash
from broker.log.note import SignatureLine
from broker.log.notekeys import SignatureType, VKey
from broker.log.notesigner import NoteSigner
from broker.log.tiles import TILE_WIDTH
from tests.audit.asking import line_of
from tests.audit.bundles import proof_of, put, write_log

COUNT = 3 * TILE_WIDTH + 44
ENTRIES = [b"record %d" % number for number in range(COUNT)]
NAME = "tlog.example/2026"
ECDSA = ec.generate_private_key(ec.SECP256R1())
SPKI = ECDSA.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
ED25519 = NoteSigner(NAME, SignatureType.ED25519, b"f" * 32)
GREASE = tuple(SignatureLine.of(f"grease-{at}.example", at, b"g" * 70) for at in range(15))


def checkpoint(*extensions: str, origin: str = NAME) -> Checkpoint:
    grown = Frontier().append(leaf_hash(each) for each in ENTRIES)
    return Checkpoint(origin, grown.size, grown.root(), extensions)


def by_ecdsa(made: Checkpoint, name: str = NAME) -> tuple[VKey, SignatureLine]:
    key = VKey(name, SignatureType.ECDSA, SPKI)
    signature = ECDSA.sign(made.to_text().encode(), ec.ECDSA(SHA256()))
    return key, SignatureLine.of(name, int.from_bytes(hashlib.sha256(SPKI).digest()[:4]), signature)


def by_tree_head(made: Checkpoint) -> tuple[VKey, SignatureLine]:
    """As RFC 6962 logs sign, for static-ct-api."""
    key = VKey(NAME, SignatureType.TREE_HEAD, SPKI)
    time_ms = 1_790_000_000_123
    message = b"\0\1" + struct.pack(">QQ", time_ms, made.size) + made.root
    signature = ECDSA.sign(message, ec.ECDSA(SHA256()))
    body = struct.pack(">Q2sH", time_ms, b"\4\3", len(signature)) + signature
    return key, SignatureLine.of(NAME, key.key_id, body)


def by_ed25519(made: Checkpoint) -> tuple[VKey, SignatureLine]:
    return ED25519.vkey, ED25519.sign(made.to_text())


def by_mldsa(made: Checkpoint) -> tuple[VKey, SignatureLine]:
    """Over the first three lines, as the specification has it; ours makes none under more."""
    signer = NoteSigner(NAME, SignatureType.COSIGNATURE_MLDSA44, b"f" * 32)
    return signer.vkey, signer.cosign(Checkpoint(made.origin, made.size, made.root), time_s=0)


def ask(folder: Path, keys: Sequence[VKey], *words: str) -> tuple[int, str]:
    policy = folder / "policy"
    policy.write_text("".join(f"log {key.to_text()}\n" for key in keys) + "quorum none\n")
    asked = ["audit", *words, "--policy", str(policy)]
    result = CliRunner().invoke(build(chosen="audit"), asked)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def tiles_only(folder: Path, log: Path, *keys: VKey) -> tuple[int, str]:
    return ask(folder, keys, "verify", str(log), "--tiles-only")


EXTENDED = ("Timestamp: 1790000000123456789", "another line")
SIGNED = {
    "ed25519": (checkpoint(), by_ed25519),
    "ed25519-and-extension-lines": (checkpoint(*EXTENDED), by_ed25519),
    "ecdsa": (checkpoint(), by_ecdsa),
    "ecdsa-and-extension-lines": (checkpoint(*EXTENDED), by_ecdsa),
    "tree-head": (checkpoint(), by_tree_head),
    "ml-dsa": (checkpoint(), by_mldsa),
    "ml-dsa-and-extension-lines": (checkpoint(*EXTENDED), by_mldsa),
}


@pytest.mark.parametrize("case", SIGNED)
def test_each_kind_of_key_and_lines_that_nobody_knows(tmp_path: Path, case: str) -> None:
    made, sign = SIGNED[case]
    key, line = sign(made)
    note = made.signed((*GREASE[:8], line, *GREASE[8:])).to_bytes()
    log = write_log(tmp_path / "log", ENTRIES, note)
    code, output = tiles_only(tmp_path, log, key)
    assert code == 0, output
    assert line_of(output, "leaves") == "SKIP leaves: tiles only"
    proof = proof_of(ENTRIES, 700, note).to_bytes()
    put(tmp_path, "x.tlog-proof", proof)
    put(tmp_path, "x", ENTRIES[700])
    words = ("verify-proof", str(tmp_path / "x.tlog-proof"), "--leaf", str(tmp_path / "x"))
    assert ask(tmp_path, (key,), *words)[0] == 0
    other = VKey(
        NAME, SignatureType.ED25519, NoteSigner(NAME, SignatureType.ED25519, b"o" * 32).vkey.public
    )
    assert ask(tmp_path, (key, other), *words)[0] == 0  # an older key of the log
    assert ask(tmp_path, (key, other), *words, "--all-keys")[0] == 1
    assert ask(tmp_path, (other,), *words)[0] == 1


def test_a_key_by_another_name_than_the_origin(tmp_path: Path) -> None:
    """Rekor's first version has "rekor.sigstore.dev - <tree>", signed by rekor.sigstore.dev."""
    made = checkpoint(*EXTENDED, origin="tlog.example - 42")
    key, line = by_ecdsa(made, "tlog.example")
    log = write_log(tmp_path / "log", ENTRIES, made.signed((line,)).to_bytes())
    assert tiles_only(tmp_path, log, key)[0] == 0
    assert tiles_only(tmp_path, log, ED25519.vkey)[0] == 1
    assert ask(tmp_path, (key,), "verify", str(log))[0] == 1  # ours is named as its key


def test_the_layout_of_the_go_checksum_database(tmp_path: Path) -> None:
    signer = NoteSigner("sum.example", SignatureType.ED25519, b"s" * 32)
    made = checkpoint(origin="go.sum database tree")
    note = made.signed((signer.sign(made.to_text()),)).to_bytes()
    log = write_log(tmp_path / "log", ENTRIES, note)
    (log / "checkpoint").rename(log / "latest")
    (log / "tile").rename(log / "8")
    (log / "tile").mkdir()
    (log / "8").rename(log / "tile" / "8")
    code, output = tiles_only(tmp_path, log, signer.vkey)
    assert code == 0, output
    flip(log / "tile/8/0/001")
    assert tiles_only(tmp_path, log, signer.vkey)[0] == 1


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[40] ^= 1
    path.write_bytes(bytes(raw))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    made = checkpoint()
    return write_log(tmp_path / "log", ENTRIES, made.signed((by_ed25519(made)[1],)).to_bytes())


@pytest.mark.parametrize("grown", [COUNT + 100, 4 * TILE_WIDTH, 9 * TILE_WIDTH])
def test_a_partial_tile_that_was_deleted_is_read_out_of_a_wider_one(
    tmp_path: Path, log: Path, grown: int
) -> None:
    note = (log / "checkpoint").read_bytes()
    more = [*ENTRIES, *(b"later %d" % number for number in range(grown - COUNT))]
    later = write_log(tmp_path / "later", more, note)
    code, output = tiles_only(tmp_path, later, ED25519.vkey)
    assert code == 0, output
    code, output = ask(tmp_path, (ED25519.vkey,), "verify", str(later))
    assert line_of(output, "root")[:4] == "PASS"
    assert line_of(output, "entries") == f"PASS entries: {COUNT} of {COUNT} hashed again"


def test_a_pruned_log_is_held_against_its_root(tmp_path: Path, log: Path) -> None:
    (log / "tile/0/000").unlink()
    (log / "tile/0/001").unlink()
    code, output = tiles_only(tmp_path, log, ED25519.vkey)
    assert code == 3
    assert line_of(output, "root")[:4] == "PASS"
    assert "FAIL tiles: 2 missing: tile/0/000, tile/0/001" in output
    flip(log / "tile/1/000.p/3")
    assert tiles_only(tmp_path, log, ED25519.vkey)[0] == 1


GONE = {
    "the-last": ("tile/0/003.p/44",),
    "one-and-what-names-it": ("tile/0/001", "tile/1/000.p/3"),
    "all": ("tile/0/000", "tile/0/001", "tile/0/002", "tile/0/003.p/44", "tile/1/000.p/3"),
}


@pytest.mark.parametrize("case", GONE)
def test_what_no_tile_names_leaves_the_root_open(tmp_path: Path, log: Path, case: str) -> None:
    for path in GONE[case]:
        (log / path).unlink()
    code, output = tiles_only(tmp_path, log, ED25519.vkey)
    assert code == 3
    assert line_of(output, "root").startswith("FAIL root: cannot be computed")


def test_entries_that_are_missing_are_taken_from_their_tile(tmp_path: Path, log: Path) -> None:
    (log / "tile/entries/001").unlink()
    code, output = ask(tmp_path, (ED25519.vkey,), "verify", str(log))
    assert "FAIL entries: 1 missing: tile/entries/001" in output
    assert f"PASS entries: {COUNT - 256} of {COUNT} hashed again" in output
    assert line_of(output, "root")[:4] == "PASS"
    assert code == 1  # these entries are no leaves of ours
    put(log, "tile/entries/001", b"rubbish")
    output = ask(tmp_path, (ED25519.vkey,), "verify", str(log))[1]
    assert "FAIL entries: 1 hold something else: tile/entries/001" in output


@pytest.mark.parametrize("raw", [b"", b"x" * 8191, b"x" * 8192, b"x" * 8193])
def test_a_tile_of_another_size_or_content_is_told(tmp_path: Path, log: Path, raw: bytes) -> None:
    put(log, "tile/0/001", raw)
    assert tiles_only(tmp_path, log, ED25519.vkey)[0] == 1


def test_no_leaves_at_all(tmp_path: Path) -> None:
    made = Checkpoint(NAME, 0, hashlib.sha256(b"").digest())
    log = write_log(tmp_path / "log", [], made.signed((by_ed25519(made)[1],)).to_bytes())
    assert tiles_only(tmp_path, log, ED25519.vkey)[0] == 0
    assert ask(tmp_path, (ED25519.vkey,), "verify", str(log))[0] == 3  # one algorithm alone
    mldsa, line = by_mldsa(made)
    put(log, "checkpoint", made.signed((by_ed25519(made)[1], line)).to_bytes())
    assert ask(tmp_path, (ED25519.vkey, mldsa), "verify", str(log))[0] == 0


def test_a_leaf_of_another_log_may_be_large(tmp_path: Path) -> None:
    entries = [b"small", b"L" * 100_000]
    grown = Frontier().append(map(leaf_hash, entries))
    made = Checkpoint(NAME, 2, grown.root())
    note = made.signed((by_ed25519(made)[1],)).to_bytes()
    put(tmp_path, "x.tlog-proof", proof_of(entries, 1, note).to_bytes())
    put(tmp_path, "x", entries[1])
    words = ("verify-proof", str(tmp_path / "x.tlog-proof"), "--leaf", str(tmp_path / "x"))
    assert ask(tmp_path, (ED25519.vkey,), *words)[0] == 0

"""An auditor alone with files: what is whole passes, whatever was touched does not."""

import asyncio
import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from broker.cli.main import build
from broker.ledger.commit import Entry
from broker.ledger.state import Number
from broker.log.checkpoint import Checkpoint, parse_checkpoint
from broker.log.leaf import LeafKind, Statement
from broker.log.merkle import inclusion_proof, leaf_hash
from broker.log.note import Note, parse_note
from broker.log.notekeys import SignatureType, VKey
from broker.log.notesigner import NoteSigner
from broker.log.proof import InclusionProof, parse_proof
from broker.log.tiles import lookup_in
from keys.primitives.signing import SignKey
from tests.ledger.growing import KEY, ORIGIN, a_log

RUNNER = CliRunner()
GATEWAY = SignKey.generate()
MLDSA = NoteSigner(ORIGIN, SignatureType.COSIGNATURE_MLDSA44, b"m" * 32)
WITNESS = NoteSigner("witness.example", SignatureType.COSIGNATURE_ED25519, b"w" * 32)
COUNT, LATER = 300, 600


def entry(seq: int, key: SignKey = GATEWAY, kind: LeafKind = LeafKind.DECISION) -> Entry:
    statement = Statement(kind, 1_790_000_000 + seq // 10 * 10, "gateway-1", 7, seq)
    return Entry(
        statement.sign(key).found_at(bytes(16), seq).to_bytes(), Number("gateway-1", 7, seq)
    )


def both(checkpoint: Checkpoint) -> Note:
    """As our log signs."""
    lines = (KEY.sign(checkpoint.to_text()), MLDSA.cosign(checkpoint, time_s=0))
    return checkpoint.signed(lines)


async def grow(folder: Path, batches: list[list[Entry]]) -> list[bytes]:
    """Grow a log by these; return the checkpoint after each."""
    notes: list[bytes] = []
    async with a_log(folder, sign=both, vkeys=(KEY.vkey, MLDSA.vkey)) as committer:
        size = 0
        for batch in batches:
            locked = await committer.grow(size, batch, {})
            size, notes = locked.size, [*notes, locked.note]
    return notes


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `bundle`, `older`, `policy`, `gateways` and a second history in `other`."""
    folder = tmp_path_factory.mktemp("audit")
    for name, changed in (("log", None), ("twin", 5)):
        place = folder / name
        place.mkdir(mode=0o700)
        entries = [entry(seq) for seq in range(LATER)]
        if changed is not None:
            entries[changed] = entry(changed, kind=LeafKind.VOID)
        notes = asyncio.run(grow(place, [entries[:COUNT], entries[COUNT:]]))
        (folder / f"{name}.older").write_bytes(notes[0])
        shutil.copytree(place / "tiles", folder / f"{name}.bundle")
    logs = "".join(f"log {key.vkey.to_text()}\n" for key in (KEY, MLDSA))
    (folder / "policy").write_text(f"{logs}quorum none\n")
    (folder / "strict").write_text(f"{logs}witness w {WITNESS.vkey.to_text()}\nquorum w\n")
    vkey = VKey("gateway", SignatureType.ED25519, GATEWAY.public.raw)
    (folder / "gateways").write_text(vkey.to_text() + "\n")
    return folder


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    """A copy of the bundle, to be touched."""
    shutil.copytree(made / "log.bundle", tmp_path / "bundle")
    return tmp_path / "bundle"


def run(
    made: Path, bundle: Path, *words: str, policy: str = "policy", gateways: bool = True
) -> tuple[int, str]:
    asked = ["audit", "verify", str(bundle), "--policy", str(made / policy), *words]
    asked += ["--gateways", str(made / "gateways")] if gateways else []
    result = RUNNER.invoke(build(chosen="audit"), asked)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_a_whole_log_passes_wherever_it_lies(made: Path, bundle: Path, tmp_path: Path) -> None:
    since = ("--since", str(made / "log.older"))
    code, output = run(made, bundle, *since)
    assert code == 0, output
    assert "FAIL" not in output
    assert "1 of 1 lead to the newest" in output
    assert f"{LATER} verify" in output
    assert "This does not prove" in output
    with tarfile.open(tmp_path / "log.tar", "w") as archive:
        archive.add(bundle, ".")
    assert run(made, tmp_path / "log.tar", *since)[0] == 0
    told = json.loads(run(made, bundle, "--json")[1])
    assert (told["ok"], told["size"], told["kinds"]) == (True, LATER, {"decision": LATER})


@pytest.mark.parametrize("kept", [KEY, MLDSA])
def test_one_algorithm_alone_is_no_success(
    made: Path, bundle: Path, tmp_path: Path, kept: NoteSigner
) -> None:
    """A policy with one key asks for one signature, and the log may have made no other."""
    (tmp_path / "policy").write_text(f"log {kept.vkey.to_text()}\nquorum none\n")
    asked = ("--policy", str(tmp_path / "policy"))
    code, output = run(made, bundle, *asked)
    assert (code, "[one-algorithm]" in output) == (3, True)
    assert f"FAIL checkpoint: {ORIGIN}, {LATER} leaves, 1 signatures of the log" in output
    assert run(made, bundle, "--tiles-only", *asked)[0] == 0  # others sign as they like
    note = parse_note((bundle / "checkpoint").read_bytes())
    lines = [line for line in note.signatures if kept.vkey.matches(line)]
    (bundle / "checkpoint").write_bytes(Note(note.text, tuple(lines)).to_bytes())
    assert run(made, bundle, *asked)[0] == 3
    assert run(made, bundle)[0] == 1  # who lists both keys demands both


def test_without_the_gateways_keys_it_is_no_success(made: Path, bundle: Path) -> None:
    code, output = run(made, bundle, gateways=False)
    said = f"SKIP gateway signatures: 0 of {LATER} checked: no keys of gateways were given"
    assert (code, said in output, "FAIL" in output) == (3, True, False)
    assert run(made, bundle, "--tiles-only", gateways=False)[0] == 0  # nobody asked about leaves
    assert not json.loads(run(made, bundle, "--json", gateways=False)[1])["ok"]
    flip(bundle / "tile/entries/000")
    assert run(made, bundle, gateways=False)[0] == 1  # what is worse, wins


def test_the_checks_are_said_in_the_order_of_the_specification(made: Path, bundle: Path) -> None:
    order = ["policy", "checkpoint", "witnesses", "age", "entries", "root", "tiles",
             "older checkpoints", "leaves", "gateway signatures", "counters", "times", "openings",
             "proofs", "erasures", "cosignature times"]  # fmt: skip
    for words in ((), ("--tiles-only",)):
        told = json.loads(run(made, bundle, "--json", *words)[1])
        assert [each["check"] for each in told["checks"]] == order


def flip(path: Path, place: int = 40) -> None:
    raw = bytearray(path.read_bytes())
    raw[place] ^= 1
    path.write_bytes(bytes(raw))


def other_signature(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-9] = ord("B") if raw[-9] == ord("A") else ord("A")  # still Base64
    path.write_bytes(bytes(raw))


TOUCHED: dict[str, tuple[Callable[[Path], object], int, str]] = {
    "an-entry": (lambda b: flip(b / "tile/entries/000"), 1, "FAIL root"),
    "an-entrys-length": (lambda b: flip(b / "tile/entries/000", 1), 1, "FAIL entries"),
    "a-tile": (lambda b: flip(b / "tile/0/001"), 1, "FAIL tiles"),
    "an-upper-tile": (lambda b: flip(b / "tile/1/000.p/2"), 1, "FAIL tiles"),
    "a-partial-tile": (lambda b: flip(b / "tile/0/002.p/88"), 1, "FAIL tiles"),
    "a-tile-too-long": (
        lambda b: (b / "tile/0/000").write_bytes((b / "tile/0/000").read_bytes() + b"x"),
        1,
        "FAIL tiles",
    ),
    "a-tile-gone": (lambda b: (b / "tile/0/000").unlink(), 3, "missing"),
    "entries-gone": (lambda b: (b / "tile/entries/001").unlink(), 3, "missing"),
    "the-signature": (lambda b: other_signature(b / "checkpoint"), 1, "FAIL checkpoint"),
    "the-size": (
        lambda b: (b / "checkpoint").write_bytes(
            (b / "checkpoint").read_bytes().replace(b"\n600\n", b"\n599\n")
        ),
        1,
        "does not verify",
    ),
    "no-checkpoint": (lambda b: (b / "checkpoint").unlink(), 2, "FAIL checkpoint"),
    "rubbish": (lambda b: (b / "checkpoint").write_bytes(b"\xff\n\n"), 2, "FAIL checkpoint"),
    "empty": (lambda b: (b / "checkpoint").write_bytes(b""), 2, "FAIL checkpoint"),
}


@pytest.mark.parametrize("case", TOUCHED)
def test_what_was_touched_does_not_pass(made: Path, bundle: Path, case: str) -> None:
    touch, wanted, said = TOUCHED[case]
    touch(bundle)
    code, output = run(made, bundle)
    assert code == wanted, output
    assert said in output


def test_two_histories_are_a_fork_and_kept(made: Path, bundle: Path, tmp_path: Path) -> None:
    kept = tmp_path / "evidence"
    code, output = run(made, bundle, "--since", str(made / "twin.older"), "--evidence", str(kept))
    assert code == 4, output
    assert "FAIL FORK" in output
    (folder,) = kept.iterdir()
    assert (folder / f"checkpoints/{COUNT}").read_bytes() == (made / "twin.older").read_bytes()
    assert run(made, folder, "--tiles-only")[0] == 4  # for whoever never saw the log
    (bundle / "checkpoints").mkdir()
    shutil.copy(made / "twin.bundle" / "checkpoint", bundle / "checkpoints" / "600")
    assert run(made, bundle)[0] == 4  # the same size, another root
    shutil.copy(made / "log.bundle" / "checkpoint", bundle / "checkpoints" / "600")
    shutil.copy(made / "log.older", bundle / "checkpoint")
    assert run(made, bundle)[0] == 3  # smaller than what was seen: stale, but no second history


def test_a_quorum_that_is_missing_is_not_a_broken_log(made: Path, bundle: Path) -> None:
    code, output = run(made, bundle, policy="strict")
    assert (code, "FAIL witnesses" in output) == (3, True)
    note = parse_note((bundle / "checkpoint").read_bytes())
    line = WITNESS.cosign(parse_checkpoint(note.text), time_s=1_790_000_000)
    (bundle / "checkpoint").write_bytes(note.signed_also((line,)).to_bytes())
    assert run(made, bundle, policy="strict")[0] == 0
    code, output = run(made, bundle, "--max-age", "10", policy="strict")
    assert (code, "FAIL age" in output) == (3, True)
    assert run(made, bundle, "--max-age", "10")[0] == 3  # nobody says when


def test_tiles_of_anybodys_log_are_enough(made: Path, bundle: Path) -> None:
    shutil.rmtree(bundle / "tile" / "entries")
    assert run(made, bundle, "--tiles-only")[0] == 0
    assert run(made, bundle)[0] == 3
    flip(bundle / "tile/0/000")
    code, output = run(made, bundle, "--tiles-only")
    assert (code, "FAIL root" in output) == (1, True)


def test_leaves_that_no_gateway_signed_or_that_are_none(made: Path, tmp_path: Path) -> None:
    place = tmp_path / "log"
    place.mkdir(mode=0o700)
    rubbish = Entry(b"no leaf", Number("x", 0, 0))
    forged = entry(1, SignKey.generate())
    asyncio.run(grow(place, [[entry(0), forged, rubbish]]))
    code, output = run(made, place / "tiles")
    assert code == 1
    assert "FAIL leaves: 1 do not, at 2" in output
    assert "FAIL gateway signatures: 1 do not, at 1" in output


def test_a_number_left_out_is_said_and_soon_is_a_failure(made: Path, tmp_path: Path) -> None:
    for name, seqs, wanted in (
        ("young", [0, 1, 3], 0),
        ("old", [0, *range(2, 900)], 1),
    ):
        place = tmp_path / name
        place.mkdir(mode=0o700)
        asyncio.run(grow(place, [[entry(seq) for seq in seqs]]))
        code, output = run(made, place / "tiles")
        assert code == wanted, output
        assert ("WARN counters" in output) == (wanted == 0)
        assert ("FAIL counters" in output) == (wanted == 1)


@pytest.mark.parametrize("text", ["", "log nonsense\n", "quorum none\n", "\xff"])
def test_a_policy_that_is_none_is_told(made: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "policy").write_bytes(text.encode("latin-1"))
    asked = ["audit", "verify", str(made / "log.bundle"), "--policy", str(tmp_path / "policy")]
    result = RUNNER.invoke(build(chosen="audit"), asked)
    assert result.exit_code in {1, 2}
    assert "FAIL" in result.output


def test_another_logs_keys_do_not_verify_it(made: Path, tmp_path: Path) -> None:
    other = NoteSigner("other.example", SignatureType.ED25519, b"o" * 32)
    (tmp_path / "policy").write_text(f"log {other.vkey.to_text()}\nquorum none\n")
    asked = ["audit", "verify", str(made / "log.bundle"), "--policy", str(tmp_path / "policy")]
    result = RUNNER.invoke(build(chosen="audit"), asked)
    assert result.exit_code == 1
    assert "unknown-log" in result.output


def test_no_bundle_at_all_is_told(made: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no tar")
    assert run(made, tmp_path / "file")[0] == 2
    assert run(made, tmp_path / "nothing")[0] == 2


def test_a_compressed_tar_is_told_to_be_unpacked(made: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "log.tar.gz", "w:gz") as archive:
        archive.add(made / "log.bundle", ".")
    code, output = run(made, tmp_path / "log.tar.gz")
    assert code == 2
    assert "unpack it" in output


@pytest.mark.parametrize("text", ["", "nonsense", "witness.example+00000000+AAAA"])
def test_keys_of_gateways_that_are_none_are_told(made: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "keys").write_text(text)
    asked = ("--gateways", str(tmp_path / "keys"))
    assert run(made, made / "log.bundle", *asked, gateways=False)[0] == 2


def proof_of(made: Path, index: int) -> InclusionProof:
    files = made / "log.bundle"
    note = (files / "checkpoint").read_bytes()

    def read(tile: object) -> list[bytes]:
        raw = (files / tile.path).read_bytes()  # type: ignore[attr-defined]
        return [raw[i : i + 32] for i in range(0, len(raw), 32)]

    return InclusionProof(index, inclusion_proof(index, LATER, lookup_in(read, LATER)), note)


def check(made: Path, folder: Path, proof: bytes, leaf: bytes, policy: str = "policy") -> int:
    (folder / "proof").write_bytes(proof)
    (folder / "leaf").write_bytes(leaf)
    words = ["audit", "verify-proof", str(folder / "proof"), "--leaf", str(folder / "leaf")]
    words += ["--policy", str(made / policy)]
    return RUNNER.invoke(build(chosen="audit"), words).exit_code


def test_a_proof_holds_for_its_leaf_alone(made: Path, tmp_path: Path) -> None:
    leaf, proof = entry(257).raw, proof_of(made, 257)
    raw = proof.to_bytes()
    assert parse_proof(raw) == proof
    assert check(made, tmp_path, raw, leaf) == 0
    assert check(made, tmp_path, raw, entry(256).raw) == 1
    assert check(made, tmp_path, raw, leaf, "strict") == 3
    assert check(made, tmp_path, raw.replace(b"index 257", b"index 256"), leaf) == 1
    assert check(made, tmp_path, raw.replace(b"index 257", b"index 0257"), leaf) == 2
    assert check(made, tmp_path, raw[:-9], leaf) == 2  # the note is none any more
    assert check(made, tmp_path, b"", leaf) == 2
    other = replace(proof, hashes=(leaf_hash(b"x"), *proof.hashes[1:])).to_bytes()
    assert check(made, tmp_path, other, leaf) == 1
    nothing = (b"no note", b"", proof.note.replace(b"\n600\n", b"\nsix hundred\n"))
    for note in nothing:
        assert check(made, tmp_path, replace(proof, note=note).to_bytes(), leaf) == 2
    assert check(made, tmp_path, other, leaf, "strict") == 1  # false for ever, whoever cosigns yet
    with_extra = replace(proof, extra=b"not trusted").to_bytes()
    assert parse_proof(with_extra).extra == b"not trusted"
    assert check(made, tmp_path, with_extra, leaf) == 0
    assert ORIGIN.encode() in raw


def test_what_cannot_be_read_is_json_where_a_program_reads(made: Path, tmp_path: Path) -> None:
    nothing, policy = tmp_path / "nothing", made / "policy"
    (tmp_path / "leaf").write_bytes(b"leaf")
    gone = ["--policy", str(policy), "--json"]
    proof = ["verify-proof", str(nothing), "--leaf", str(tmp_path / "leaf")]
    asked = {
        "audit-verify": ["audit", "verify", str(nothing), *gone],
        "audit-report": ["audit", "report", str(nothing), *gone],
        "verify-proof": ["audit", *proof, *gone],
        "evidence-verify": ["evidence", "verify", str(nothing), *gone, "--root", str(policy)],
    }
    for schema, words in asked.items():
        result = RUNNER.invoke(build(chosen=words[0]), words)
        told = json.loads(result.stdout)
        assert (result.exit_code, told["exit"], told["ok"]) == (2, 2, False), schema
        assert told["schema"] == f"kentong/{schema}/1"
        assert told["code"]

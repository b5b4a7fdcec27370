"""Parsers of the log's formats, and of what an auditor or a witness is given."""

import asyncio
from functools import cache
from pathlib import Path

from broker.audit import walk
from broker.audit.bundle import CHECKPOINT, opened
from broker.audit.evidence import parse_evidence, verify_evidence
from broker.audit.findings import Exit
from broker.audit.openings import opened_decision
from broker.cli.admin.audit_question import read_policy
from broker.errors import BrokerError
from broker.gateway.notices import parse_sealed_notice
from broker.ledger.commit import _decode
from broker.ledger.signer import Signer
from broker.ledger.signer_socket import _answer
from broker.log.audited import parse_audited, statement_in
from broker.log.checkpoint import parse_checkpoint
from broker.log.cosignature import instant, parse_cosignature
from broker.log.erasure import encode_erasure, is_erasure, parse_erasure
from broker.log.errors import LogError
from broker.log.leaf import Leaf, parse_leaf, parse_signed
from broker.log.line import read_base64, read_number, write_base64
from broker.log.merkle import EMPTY_ROOT, leaf_hash
from broker.log.note import parse_line, parse_note
from broker.log.notekeys import SignatureType, parse_vkey
from broker.log.notesigner import NoteSigner, parse_skey
from broker.log.opening import parse_opening
from broker.log.padding import padded, unpadded
from broker.log.policy import Policy
from broker.log.policyfile import parse_policy, write_policy
from broker.log.proof import parse_proof
from broker.log.rebuilt import check_rebuilt, is_rebuilt
from broker.log.tiles import (
    HASH_BYTES,
    Tile,
    encode_bundle,
    parse_bundle,
    parse_hashes,
    parse_path,
)
from broker.log.treehead import parse_tree_head_signature
from broker.log.witness import Seen, WitnessRefusal, judge, parse_request
from broker.node import logreading
from keys.directory.bundle import parse_bundle as parse_directory
from keys.primitives.signing import SignKey
from tests.fuzz.parser import CORPUS, Parser, folder, from_file, text, to_bytes

ORIGIN = "log.example/kentong"
PROVEN = 2  # the place of the leaf that the kept proof is about
LOG_KEYS = (
    NoteSigner(ORIGIN, SignatureType.ED25519, bytes(32)).vkey,
    NoteSigner(ORIGIN, SignatureType.COSIGNATURE_MLDSA44, b"m" * 32).vkey,
)


def log_policy(path: Path) -> Policy:
    policy, _ = read_policy(path)
    assert parse_policy(write_policy(policy)) == policy
    return policy


@cache
def _proven() -> bytes:
    """The hash of the leaf that the kept proof is about."""
    raw = (CORPUS / "entry-bundle" / "1").read_bytes()
    return leaf_hash(parse_bundle(raw[1:], raw[0] + 1)[PROVEN])


def proof_verified(raw: bytes) -> object:
    return parse_proof(raw).verify(_proven(), _policy())


def witnessed(raw: bytes) -> object:
    """What a witness may cosign; what it answers instead counts as refused, not as read."""
    answer = judge(raw, keys=LOG_KEYS, seen=Seen(0, EMPTY_ROOT))
    if isinstance(answer, WitnessRefusal):
        raise LogError("refused", f"the witness says {answer.status}")
    assert answer.checkpoint.origin == ORIGIN
    return answer


@cache
def _policy() -> Policy:
    lines = [f"log {key.to_text()}\n" for key in LOG_KEYS]
    return parse_policy("".join([*lines, "quorum none\n"]).encode())


@cache
def _root() -> bytes:
    """The first root of the region that the kept evidence is of."""
    kept = parse_evidence((CORPUS / "evidence" / "1").read_bytes())
    return parse_directory(kept.directory).roots[0].encode()


def evidence_verified(raw: bytes) -> object:
    """Every check is run; evidence of which one fails counts as refused."""
    proved = verify_evidence(parse_evidence(raw), _policy(), pinned_root=_root())
    if proved.findings.exit is not Exit.PASS:
        raise BrokerError("not-proved", "a check failed")
    return proved


@cache
def _leaf() -> Leaf:
    return parse_leaf((CORPUS / "leaf" / "1").read_bytes())


def tar(path: Path) -> object:
    with opened(path) as bundle:
        names = bundle.names("tile/0")
        return [bundle.read(CHECKPOINT), *(bundle.read(f"tile/0/{name}") for name in names)]


def cut(raw: bytes) -> object:
    """Both of those who take a narrow tile out of a wider one."""
    for tile in (Tile(None, 0, 3), Tile(0, 0, 3)):
        assert logreading._cut(raw, tile) == walk._first_of(raw, tile)
    return raw


def _bundle(raw: bytes) -> tuple[int, tuple[bytes, ...]]:
    width = raw[0] + 1 if raw else 1
    return width, parse_bundle(raw[1:], width)


def _tile(raw: bytes) -> tuple[bytes, ...]:
    return parse_hashes(raw, max(1, len(raw) // HASH_BYTES))


def rebuilt(raw: bytes) -> object:
    """What the log put back on a subject, or the mark that all of it is back."""
    key = SignKey(bytes(32)).public
    if is_rebuilt(raw):
        check_rebuilt(raw, "audit.2026.SG.x", key)
    return is_rebuilt(raw)


def _signer() -> Signer:
    """One that has signed nothing yet: what was asked before must not decide what is reached."""
    key = NoteSigner(ORIGIN, SignatureType.ED25519, bytes(32))
    path = folder() / "signing.json"
    path.unlink(missing_ok=True)
    return Signer.create(path, ORIGIN, lambda each: each.signed([key.sign(each.to_text())]))


def signer_call(raw: bytes) -> bytes:
    """What the signer answers to a sequencer that somebody took over; it never fails."""
    answer, _ = asyncio.run(_answer(_signer(), raw))
    return answer


LOG = (
    Parser("leaf", parse_leaf, ("broker.log.leaf.parse_leaf",), to_bytes, wire=True),
    Parser(
        "statement",
        parse_signed,
        ("broker.log.leaf.parse_signed", "broker.log.leaf._fields"),
        to_bytes,
        wire=True,
    ),
    Parser(
        "audited", parse_audited, ("broker.log.audited.parse_audited",), to_bytes, "canonical",
        wire=True,
    ),
    Parser(
        "audited-statement",
        statement_in,
        ("broker.log.audited.statement_in",),
        form="canonical",
        like="audited",
        wire=True,
    ),
    Parser(
        "sealed-notice",
        parse_sealed_notice,
        ("broker.gateway.notices.parse_sealed_notice",),
        to_bytes,
        "canonical",
        wire=True,
    ),
    Parser("filled-up", unpadded, ("broker.log.padding.unpadded",), padded),
    Parser(
        "opening",
        parse_opening,
        ("broker.log.opening.parse_opening", "broker.log.opening._parts"),
        to_bytes,
        "canonical",
        wire=True,
    ),
    Parser(
        "opened-decision",
        lambda raw: opened_decision(_leaf(), raw),
        ("broker.audit.openings.opened_decision",),
        to_bytes,
        "canonical",
        like="decision",
        wire=True,
    ),
    Parser(
        "erasure",
        parse_erasure,
        ("broker.log.erasure.parse_erasure",),
        lambda found: encode_erasure(*found),
        wire=True,
    ),
    Parser("erased", is_erasure, ("broker.log.erasure.is_erasure",)),
    Parser("note", parse_note, ("broker.log.note.parse_note",), to_bytes, "lines", wire=True),
    Parser(
        "note-line",
        lambda raw: parse_line(text(raw)),
        ("broker.log.note.parse_line", "broker.log.line.read_loose_base64"),
        lambda found: found.to_text()[:-1].encode(),
        "lines",
        wire=True,
    ),
    Parser(
        "checkpoint",
        lambda raw: parse_checkpoint(text(raw)),
        ("broker.log.checkpoint.parse_checkpoint",),
        lambda found: found.to_text().encode(),
        "lines",
        wire=True,
    ),
    Parser(
        "vkey",
        lambda raw: parse_vkey(text(raw)),
        ("broker.log.notekeys.parse_vkey", "broker.log.notekeys.read_typed"),
        lambda found: found.to_text().encode(),
        "lines",
        wire=True,
    ),
    Parser("skey", lambda raw: parse_skey(text(raw)), ("broker.log.notesigner.parse_skey",)),
    Parser(
        "number",
        lambda raw: read_number(text(raw), code="bad"),
        ("broker.log.line.read_number",),
        lambda found: str(found).encode(),
        "lines",
    ),
    Parser(
        "base64",
        lambda raw: read_base64(text(raw), code="bad"),
        ("broker.log.line.read_base64",),
        lambda found: write_base64(found).encode(),
        "lines",
    ),
    Parser(
        "cosignature",
        lambda raw: parse_cosignature(raw, signature_bytes=64),
        ("broker.log.cosignature.parse_cosignature",),
        lambda found: found.to_body(),
        wire=True,
    ),
    Parser(
        "cosigned-at",
        lambda raw: instant(parse_cosignature(raw, signature_bytes=64).time_s),
        ("broker.log.cosignature.instant",),
        like="cosignature",
        wire=True,
    ),
    Parser(
        "tree-head",
        parse_tree_head_signature,
        ("broker.log.treehead.parse_tree_head_signature",),
        wire=True,
    ),
    Parser(
        "log-policy",
        from_file("policy", log_policy),
        ("broker.log.policyfile.parse_policy", "broker.cli.admin.audit_question.read_policy"),
        form="lines",
        wire=True,
    ),
    Parser("tile", _tile, ("broker.log.tiles.parse_hashes",), b"".join, wire=True),
    Parser(
        "tile-path",
        lambda raw: parse_path(text(raw)),
        ("broker.log.tiles.parse_path",),
        lambda found: found.path.encode(),
        "lines",
        wire=True,
    ),
    Parser(
        "entry-bundle",
        _bundle,
        ("broker.log.tiles.parse_bundle",),
        lambda found: bytes((found[0] - 1,)) + encode_bundle(found[1]),
        wire=True,
    ),
    Parser("cut-tile", cut, ("broker.node.logreading._cut", "broker.audit.walk._first_of"),
           wire=True),
    Parser(
        "proof", parse_proof, ("broker.log.proof.parse_proof",), to_bytes, "lines", wire=True
    ),
    Parser(
        "proof-verified",
        proof_verified,
        ("broker.log.proof.parse_proof", "broker.log.proof.InclusionProof.included",
         "broker.log.merkle.verify_inclusion"),
        form="lines",
        wire=True,
    ),
    Parser(
        "witness-request", parse_request, ("broker.log.witness.parse_request",), to_bytes, "lines",
        wire=True,
    ),
    Parser("witness-judged", witnessed, ("broker.log.witness.judge",), form="lines",
           like="witness-request", wire=True),
    Parser(
        "evidence",
        parse_evidence,
        ("broker.audit.evidence.parse_evidence",),
        to_bytes,
        "canonical",
        wire=True,
    ),
    Parser(
        "evidence-verified",
        evidence_verified,
        ("broker.audit.evidence._parsed", "broker.audit.evidence._shown"),
        form="canonical",
        like="evidence",
        examples=20,
        wire=True,
    ),
    Parser("rebuilt", rebuilt, ("broker.log.rebuilt._decoded",), form="canonical", wire=True),
    Parser(
        "signer-call",
        signer_call,
        ("broker.ledger.signer_socket._answer",),
        form="canonical",
        examples=30,
    ),
    Parser("log-tar", from_file("log.tar", tar), ("broker.audit.bundle.opened",), wire=True),
    Parser("log-staged", _decode, ("broker.ledger.commit._decode",), form="json"),
    Parser(
        "signer-state",
        from_file("signer.json", lambda path: Signer.open(path, ORIGIN, lambda _: None)),  # type: ignore[arg-type, return-value]
        ("broker.ledger.signer.Signer.open", "broker.ledger.signer._Tree.value"),
        form="json",
    ),
)  # fmt: skip

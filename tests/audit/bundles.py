"""Bundles as an auditor gets them, made of leaves alone: no hub, no signer process."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from broker.log.checkpoint import Checkpoint
from broker.log.leaf import SEQUENCER, LeafKind, Statement
from broker.log.merkle import Frontier, inclusion_proof, leaf_hash
from broker.log.notekeys import SignatureType, VKey
from broker.log.notesigner import NoteSigner
from broker.log.proof import InclusionProof
from broker.log.tiles import TILE_WIDTH, Tile, bundles_of, encode_bundle, lookup_in, tile_root
from keys.primitives.signing import SignKey

ORIGIN = "log.example/kentong"
KEY = NoteSigner(ORIGIN, SignatureType.ED25519, bytes(32))
MLDSA = NoteSigner(ORIGIN, SignatureType.COSIGNATURE_MLDSA44, b"m" * 32)
WITNESSES = tuple(
    NoteSigner(f"witness-{name}.example", SignatureType.COSIGNATURE_ED25519, name.encode() * 32)
    for name in "abc"
)
GATEWAY = SignKey.generate()
PEN = SignKey.generate()  # of the log itself
GATEWAYS = "".join(
    f"{VKey(f'{ORIGIN}/{name}', SignatureType.ED25519, key.public.raw).to_text()}\n"
    for name, key in (("gateway-1", GATEWAY), (SEQUENCER, PEN))
)
START_S = 1_790_000_000
STREAM = bytes(16)


def leaf(statement: Statement, key: SignKey = GATEWAY) -> bytes:
    return statement.sign(key).found_at(STREAM, statement.seq).to_bytes()


def said(seq: int, **changes: object) -> Statement:
    fields = {
        "kind": LeafKind.DECISION,
        "time_s": START_S + seq // 10 * 10,
        "gateway": "gateway-1",
        "boot": 7,
        "seq": seq,
        **changes,
    }
    return Statement(**fields)  # type: ignore[arg-type]


def entry(seq: int, **changes: object) -> bytes:
    return leaf(said(seq, **changes))


def of_log(seq: int, **changes: object) -> bytes:
    """A leaf that the log itself signs."""
    return leaf(said(seq, **{"gateway": SEQUENCER, "boot": 5, **changes}), PEN)


def policy_text(*, quorum: int | None = None) -> str:
    lines = [f"log {key.vkey.to_text()}" for key in (KEY, MLDSA)]
    lines += [f"witness w{at} {each.vkey.to_text()}" for at, each in enumerate(WITNESSES)]
    if quorum is not None:
        lines.append(f"group all-of-us {quorum} w0 w1 w2")
    lines.append("quorum none" if quorum is None else "quorum all-of-us")
    return "\n".join(lines) + "\n"


def note_of(
    entries: Iterable[bytes],
    times_s: Sequence[int] = (),
    *,
    origin: str = ORIGIN,
    signers: Sequence[NoteSigner] = (KEY, MLDSA),
) -> bytes:
    """A checkpoint of these entries, signed, and cosigned by the first witnesses at these times."""
    grown = Frontier().append(leaf_hash(each) for each in entries)
    checkpoint = Checkpoint(origin, grown.size, grown.root())
    lines = []
    for signer in signers:
        if signer.vkey.type is SignatureType.ED25519:
            lines.append(signer.sign(checkpoint.to_text()))
        else:
            lines.append(signer.cosign(checkpoint, time_s=0))
    for witness, time_s in zip(WITNESSES, times_s, strict=False):
        lines.append(witness.cosign(checkpoint, time_s=time_s))
    return checkpoint.signed(lines).to_bytes()


def write_log(folder: Path, entries: Sequence[bytes], note: bytes | None = None) -> Path:
    """Write the whole log of these entries as a bundle."""
    for bundle in bundles_of(len(entries)):
        first = bundle.index * TILE_WIDTH
        put(folder, bundle.path, encode_bundle(entries[first : first + bundle.width]))
    row, level = [leaf_hash(each) for each in entries], 0
    while row:
        above = []
        for first in range(0, len(row), TILE_WIDTH):
            hashes = row[first : first + TILE_WIDTH]
            put(folder, Tile(level, first // TILE_WIDTH, len(hashes)).path, b"".join(hashes))
            if len(hashes) == TILE_WIDTH:
                above.append(tile_root(hashes))
        row, level = above, level + 1
    put(folder, "checkpoint", note_of(entries) if note is None else note)
    return folder


def put(folder: Path, path: str, raw: bytes) -> None:
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(raw)


def proof_of(entries: Sequence[bytes], index: int, note: bytes) -> InclusionProof:
    """Prove one entry in the tree of these."""
    hashes = [leaf_hash(each) for each in entries]

    def read(tile: Tile) -> list[bytes]:
        row = hashes
        for _ in range(tile.level or 0):
            full = len(row) - len(row) % TILE_WIDTH
            row = [tile_root(row[at : at + TILE_WIDTH]) for at in range(0, full, TILE_WIDTH)]
        first = tile.index * TILE_WIDTH
        return row[first : first + tile.width]

    size = len(entries)
    return InclusionProof(index, inclusion_proof(index, size, lookup_in(read, size)), note)

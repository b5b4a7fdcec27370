"""Writers of what a node keeps because of the log: as witness, as reader, and for its own mail."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar

from sqlalchemy import select
from typing_extensions import override

from broker import clock
from broker.envelope.decision import encode_delivery
from broker.envelope.submitted import deliver, parse_submitted
from broker.ledger.cosigning import Cosigning
from broker.log.checkpoint import Checkpoint, parse_checkpoint
from broker.log.commitments import statement_of
from broker.log.merkle import Frontier, consistency_proof, leaf_hash, small_root
from broker.log.note import Note, parse_note
from broker.log.regional import regional_policy
from broker.log.witness import WitnessRequest
from broker.node.logstate import copied_of, seen_of
from broker.node.logwatch import LogWatch
from broker.node.node import Node
from broker.store import tables
from broker.store.tilefiles import TileFiles
from broker.transport.link import Link
from keys.directory.view import DirectoryView
from keys.primitives.hashing import sha256
from schemas.directory import MemberDocument, RevocationReason
from schemas.label import Sender
from tests.audit.bundles import entry
from tests.faults.received_writers import counts
from tests.faults.writer import Writer
from tests.ledger.growing import ORIGIN
from tests.log import trees
from tests.support.envelopes import decide, delivery, make
from tests.support.nodes import lonely_node
from tests.support.witnesses import KEYS, watched_region

REGION = watched_region()
# Without witnesses the log's own signature is enough, so that a copy can be made of it here.
UNWITNESSED = replace(REGION, view=replace(REGION.view, witness_sets=()))
FIRST, NEXT = 2, 5  # leaves that the witness cosigned, and that it is asked to cosign
ENTRIES = [entry(seq, c_route=sha256(b"%d" % seq)) for seq in range(300)]  # more than one tile
COPIED = 200
ResultT = TypeVar("ResultT")


class FolderLink(Link):
    """The files of a log as its hub answers for them, without a server in between."""

    def __init__(self, like: Link, folder: Path) -> None:
        super().__init__(like._credentials)
        view = UNWITNESSED.view
        policy = lambda: regional_policy(view, at=clock.now())  # noqa: E731
        self._log = Cosigning(TileFiles(folder), policy)

    @override
    async def request(self, subject: str, payload: bytes, *, timeout_s: float) -> bytes:
        return self._log._file(subject, payload)


@asynccontextmanager
async def _node(folder: Path, *, witnessed: bool = True) -> AsyncIterator[Node]:
    region = REGION if witnessed else UNWITNESSED
    async with lonely_node(region, "SG", folder / "node.db") as node:
        yield Node(
            node.present,
            node.identity,
            node.database,
            node.link if witnessed else FolderLink(node.link, folder / "hub"),
            node.attachments_folder,
            log_folder=folder / "log",
        )


def _with_node(
    folder: Path, work: Callable[[Node], Awaitable[ResultT]], *, witnessed: bool = True
) -> ResultT:
    async def run() -> ResultT:
        async with _node(folder, witnessed=witnessed) as node:
            return await work(node)

    return asyncio.run(run())


def _watch(node: Node) -> LogWatch:
    assert node.log is not None
    return node.log


# --- the witness ---


def _asked(old: int, new: int, hashes: list[bytes]) -> bytes:
    checkpoint = Checkpoint(ORIGIN, new, Frontier().append(hashes[:new]).root())
    proof = consistency_proof(old, new, trees.lookup) if old else ()
    return WitnessRequest(old, proof, KEYS.sign(checkpoint)).to_bytes()


def _make_witness(folder: Path) -> None:
    async def work(node: Node) -> None:
        status, _ = await _watch(node).cosigner.answer(_asked(0, FIRST, trees.leaves(FIRST)))
        assert status is HTTPStatus.OK

    _with_node(folder, work)


def _cosign(folder: Path) -> None:
    """The signature is written where all the world can see it, as soon as it is made."""

    async def work(node: Node) -> None:
        asked = _asked(FIRST, NEXT, trees.leaves(NEXT))
        status, line = await _watch(node).cosigner.answer(asked)
        assert status is HTTPStatus.OK
        (folder / "signature").write_bytes(line)

    _with_node(folder, work)


def _has_cosigned(folder: Path) -> bool:
    """Whose signature is out has it in its memory, and signs no other tree."""

    async def work(node: Node) -> int:
        async with node.database.read() as connection:
            seen, note = await seen_of(connection, ORIGIN)
        shown: Note = parse_note(note)
        assert parse_checkpoint(shown.text) == Checkpoint(ORIGIN, seen.size, seen.root or b"")
        assert seen.root == Frontier().append(trees.leaves(seen.size)).root()
        if seen.size == NEXT:
            other = [*trees.leaves(FIRST), *map(leaf_hash, (b"x", b"y", b"z"))]
            status, _ = await _watch(node).cosigner.answer(_asked(0, NEXT, other))
            assert status is not HTTPStatus.OK
        return seen.size

    size = _with_node(folder, work)
    assert size in {FIRST, NEXT}
    assert size == NEXT or not (folder / "signature").exists()
    return size == NEXT


# --- the copy of the log ---


def _publish(folder: Path, start: int, size: int, entries: Sequence[bytes] = ENTRIES) -> None:
    """Let the hub show so many leaves."""
    files = TileFiles(folder / "hub")
    files.add(start, entries[start:size])
    signed = KEYS.sign(Checkpoint(ORIGIN, size, small_root(entries[:size])))
    files.publish_note("checkpoint", signed.to_bytes())


def _make_copy(folder: Path) -> None:
    (folder / "hub").mkdir(mode=0o700)
    _publish(folder, 0, COPIED)
    _follow(folder)
    _publish(folder, COPIED, len(ENTRIES))


def _follow(folder: Path) -> None:
    _with_node(folder, lambda node: _watch(node).mirror.follow(), witnessed=False)


def _has_followed(folder: Path) -> bool:
    """Leaves and by what they are found are there as far as the row says, and hash to the root."""

    async def work(node: Node) -> bool:
        async with node.database.read() as connection:
            copied = await copied_of(connection, ORIGIN)
            found = (await connection.execute(select(tables.leaves.c.number))).scalars().all()
        assert copied.size in {COPIED, len(ENTRIES)}
        assert sorted(found) == list(range(copied.size))
        assert parse_checkpoint(parse_note(copied.note).text).size == copied.proven <= copied.size
        _watch(node).files.check_edge(copied.size, small_root(ENTRIES[: copied.size]))
        return copied.proven == len(ENTRIES)

    return _with_node(folder, work, witnessed=False)


# --- our own mail ---


def _make_expected(folder: Path) -> None:
    """An alert that came, and a copy of a log that has the leaf of the decision on it."""
    sealed = make(UNWITNESSED, ("SG",), sender=Sender(member="MY", agency="POL")).sealed.raw
    decision = decide(UNWITNESSED, sealed)
    raw = encode_delivery(deliver(parse_submitted(sealed), "SG"), decision, "SG")
    statement = statement_of(decision, boot=1, seq=7)
    signed = statement.sign(UNWITNESSED.gateway_sign_key).found_at(bytes(16), 7)
    (folder / "hub").mkdir(mode=0o700)
    _publish(folder, 0, COPIED, (signed.to_bytes(), *ENTRIES))

    async def work(node: Node) -> None:
        assert await node.incoming.take(raw)

    _with_node(folder, work, witnessed=False)
    _follow(folder)


def _prove(folder: Path) -> None:
    _with_node(folder, lambda node: _watch(node).prove(), witnessed=False)


def _is_proved(folder: Path) -> bool:
    """With the proof is the note that it leads to."""

    async def work(node: Node) -> bool:
        async with node.database.read() as connection:
            row = (await connection.execute(select(tables.proofs))).one()
        (notes,) = await counts(node, "proof_notes")
        assert (row.number, row.size, notes) in {(None, None, 0), (0, COPIED, 1)}
        return row.number is not None

    return _with_node(folder, work, witnessed=False)


# --- mail under a stolen key ---


def _stolen() -> DirectoryView:
    """MY's node key is said to be stolen after the mail was sent, and before it arrives."""
    at, reason = REGION.now + timedelta(minutes=1), RevocationReason.COMPROMISED

    def document(old: MemberDocument) -> MemberDocument:
        ended = {"revoked_at": at, "reason": reason}
        keys = tuple(key.model_copy(update=ended) for key in old.verification_keys)
        return old.model_copy(update={"verification_keys": keys})

    return REGION.changed("MY", document=document)


def _make_mail(folder: Path) -> None:
    sealed = make(REGION, ("SG",), sender=Sender(member="MY", agency="POL")).sealed.raw
    (folder / "mail").write_bytes(delivery(REGION, sealed, "SG"))
    _with_node(folder, lambda node: counts(node, "held"))


def _hold(folder: Path) -> None:
    async def work(node: Node) -> None:
        node.present.take(_stolen())
        assert await node.incoming.take((folder / "mail").read_bytes())

    _with_node(folder, work)


def _is_held(folder: Path) -> bool:
    """It waits, whole and once, and is nowhere else."""

    async def work(node: Node) -> bool:
        assert await counts(node, "inbox", "quarantine", "received") == [0, 0, 0]
        async with node.database.read() as connection:
            rows = (await connection.execute(select(tables.held.c.raw))).scalars().all()
        assert list(rows) in ([], [(folder / "mail").read_bytes()])
        return bool(rows)

    return _with_node(folder, work)


LOGGED = {
    "what a witness cosigned": Writer(_make_witness, _cosign, _has_cosigned),
    "a node's copy of the log": Writer(_make_copy, _follow, _has_followed),
    "a decision that the log proves": Writer(_make_expected, _prove, _is_proved),
    "mail that waits for the log": Writer(_make_mail, _hold, _is_held),
}

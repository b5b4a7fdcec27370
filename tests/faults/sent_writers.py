"""Writers of what becomes of an alert at its sender's node: an answer, a peer's word, its end."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from sqlalchemy import select

from broker import clock
from broker.envelope.officer import make_audience
from broker.node import pairs, submissions
from broker.node.erasure import destroy
from broker.node.node import Node
from broker.store import tables
from schemas.content import Content
from schemas.control import PairState, Told, control_intent, encode_control
from schemas.desk import AttachedFile, RecipientState, Submission, SubmissionState
from schemas.label import Label, Reference, Sender
from schemas.receipt import DecisionReceipt, Where, encode_receipt
from schemas.vocabulary import Kind, Status
from tests.faults.received_writers import counts
from tests.faults.writer import Writer
from tests.support.attachments import handed
from tests.support.envelopes import decide, delivery, seal_content
from tests.support.labels import uuid7_at
from tests.support.nodes import lonely_node, request, send
from tests.support.witnesses import watched_region

REGION = watched_region()  # with a log, so that an answer is to be proved
ResultT = TypeVar("ResultT")


def _with_node(folder: Path, work: Callable[[Node], Awaitable[ResultT]]) -> ResultT:
    async def run() -> ResultT:
        async with lonely_node(REGION, "SG", folder / "node.db") as node:
            return await work(node)

    return asyncio.run(run())


async def _only(node: Node) -> Submission:
    (found,) = (await node.outbox()).items
    return found


def _queued(folder: Path, *, with_file: bool = False) -> None:
    async def work(node: Node) -> None:
        files: tuple[AttachedFile, ...] = (await handed(node, b"x" * 100),) if with_file else ()
        await send(node, REGION, request(REGION, ("MY",), attachments=files))

    _with_node(folder, work)


# --- the gateway's answer ---


def _make_sealed(folder: Path) -> None:
    """An alert with a file that is with the hub, and the answer to it."""
    _queued(folder, with_file=True)

    async def work(node: Node) -> None:
        await node.outgoing.seal_due()
        async with node.database.read() as connection:
            raw = (await connection.execute(select(tables.outbox.c.raw))).scalar_one()
        decision = decide(REGION, raw)
        receipt = DecisionReceipt(decision.to_bytes(), (("MY", Where.STORED),))
        (folder / "receipt").write_bytes(encode_receipt(receipt))

    _with_node(folder, work)


def _answer(folder: Path) -> None:
    _with_node(folder, lambda node: node.receipts.take((folder / "receipt").read_bytes()))


def _is_answered(folder: Path) -> bool:
    """All that follows from the answer is there, or the bytes still go out."""

    async def work(node: Node) -> bool:
        outbox, proofs, again, unproven = await counts(
            node, "outbox", "proofs", "repeatable", "unproven"
        )
        async with node.database.read() as connection:
            sent = (await connection.execute(select(tables.sent.c.state))).scalar_one()
            decided = (await connection.execute(select(tables.envelopes.c.decided))).scalar_one()
            upload = (await connection.execute(select(tables.uploads.c.decided))).scalar_one()
        (outcome,) = (await _only(node)).recipients
        if outbox:
            assert (proofs, again, unproven, sent, decided, upload) == (0, 0, 0, "pending", 0, 0)
            assert outcome.state is RecipientState.SUBMITTED
            return False
        assert (proofs, again, unproven, sent, decided, upload) == (1, 1, 1, "accepted", 1, 1)
        assert outcome.state is RecipientState.STORED
        return True

    return _with_node(folder, work)


# --- a peer's word ---


def _said_by_peer(kind: Kind, ref: Reference | None, message: bytes) -> bytes:
    """SG's copy of a control that MY's node sealed."""
    sender = Sender(member="MY", agency="POL")
    meant = control_intent(kind, sender=sender, ref=ref, status=Status.ACTUAL, now=REGION.now)
    label = Label.from_intent(meant, id=uuid7_at(REGION.now, 9), directory=REGION.view.version)
    sealed = seal_content(REGION, label, Content(message), make_audience(["SG"]))
    return delivery(REGION, sealed.raw, "SG")


def _make_answered(folder: Path) -> None:
    """An accepted alert, the word of MY's node that it arrived, and what SG's numbers are."""
    _make_sealed(folder)
    _answer(folder)

    async def work(node: Node) -> None:
        async with node.database.read() as connection:
            row = (await connection.execute(select(tables.envelopes))).one()
        ref = Reference(id=UUID(row.id), digest=row.digest)
        arrived = encode_control(Told(Kind.DELIVERED, REGION.now))
        (folder / "word").write_bytes(_said_by_peer(Kind.DELIVERED, ref, arrived))

    _with_node(folder, work)


def _hear(folder: Path) -> None:
    _with_node(folder, lambda node: node.incoming.take((folder / "word").read_bytes()))


def _is_heard(folder: Path) -> bool:
    """What was said is shown, counted by its number, to be proved, and not taken twice."""

    async def work(node: Node) -> bool:
        known = await counts(node, "received", "numbers", "peers")
        (outcome,) = (await _only(node)).recipients
        (proofs,) = await counts(node, "proofs")
        heard = outcome.state is RecipientState.DELIVERED
        assert (known, proofs) == (([1, 1, 1], 2) if heard else ([0, 0, 0], 1))
        return heard

    return _with_node(folder, work)


def _make_numbers(folder: Path) -> None:
    """An accepted alert, and a peer that lacks it and has sent three that are not here."""
    _make_sealed(folder)
    _answer(folder)

    async def work(node: Node) -> None:
        async with node.database.read() as connection:
            row = (await connection.execute(select(tables.sent))).one()
        lacks = ((row.incarnation, row.number, row.number),)
        state = PairState(REGION.now, 1, 2, 4, missing=lacks)
        raw = _said_by_peer(Kind.PAIR_STATE, None, encode_control(state))
        (folder / "word").write_bytes(raw)

    _with_node(folder, work)


def _is_compared(folder: Path) -> bool:
    """Gaps, what goes out again and that it was heard are there together, or none of them."""

    async def work(node: Node) -> bool:
        names = ("received", "numbers", "peers", "peer_incarnations", "outbox")
        known, (gaps,) = await counts(node, *names), await counts(node, "gaps")
        assert (known, gaps) in (([0] * 5, 0), ([1] * 5, 3)), (known, gaps)
        return gaps > 0

    return _with_node(folder, work)


def _make_due(folder: Path) -> None:
    """An accepted alert, so that its recipient is to hear of our numbers."""
    _make_sealed(folder)
    _answer(folder)


def _tell(folder: Path) -> None:
    _with_node(folder, lambda node: node.upkeep.tell_pairs())


def _is_told(folder: Path) -> bool:
    """It is numbered, goes out, and is due no more, or none of this."""

    async def work(node: Node) -> bool:
        async with node.database.read() as connection:
            due = await pairs.due(connection, now=clock.now())
        found = await counts(node, "outbox", "envelopes", "sent")
        assert (due, found) in ((("MY",), [0, 1, 1]), ((), [1, 2, 2])), (due, found)
        return not due

    return _with_node(folder, work)


# --- what a desk decides ---


def _cancel(folder: Path) -> None:
    async def work(node: Node) -> None:
        await node.cancel((await _only(node)).submission_id)

    _with_node(folder, work)


def _is_cancelled(folder: Path) -> bool:
    """It is withdrawn and is never sealed, or it is as it was."""

    async def work(node: Node) -> bool:
        found = await _only(node)
        (outcome,) = found.recipients
        cancelled = found.state is SubmissionState.CANCELLED
        assert cancelled or found.state is SubmissionState.QUEUED
        assert cancelled == (outcome.state is RecipientState.REFUSED)
        if cancelled:
            await node.outgoing.seal_due()
            assert await counts(node, "outbox", "envelopes", "sent") == [0, 0, 0]
        return cancelled

    return _with_node(folder, work)


def _make_waiting(folder: Path) -> None:
    """An alert that a person has to look at."""
    _queued(folder)

    async def work(node: Node) -> None:
        found = await _only(node)
        stopped = {"state": SubmissionState.NEEDS_ATTENTION, "attention": "verdict-worse"}
        changed = found.model_copy(update=stopped)
        await node.database.change(lambda c: submissions.save(c, changed))

    _with_node(folder, work)


def _proceed(folder: Path) -> None:
    async def work(node: Node) -> None:
        await node.proceed((await _only(node)).submission_id)

    _with_node(folder, work)


def _proceeds(folder: Path) -> bool:
    """It goes on as a person said, or it still waits for one."""

    async def work(node: Node) -> bool:
        found = await _only(node)
        waits = (SubmissionState.NEEDS_ATTENTION, "verdict-worse")
        assert (found.state, found.attention) in {waits, (SubmissionState.QUEUED, "proceed")}
        return found.state is SubmissionState.QUEUED

    return _with_node(folder, work)


# --- its end ---


def _erase(folder: Path) -> None:
    async def work(node: Node) -> None:
        async with node.database.read() as connection:
            ident = (await connection.execute(select(tables.envelopes.c.id))).scalar_one()
        await destroy(node.database, UUID(ident))

    _with_node(folder, work)


def _is_erased(folder: Path) -> bool:
    """Content, envelope and opening of the leaf are gone together; the outcome stays."""

    async def work(node: Node) -> bool:
        found = await counts(node, "proofs", "repeatable", "unproven", "uploads")
        async with node.database.read() as connection:
            sealed = (await connection.execute(select(tables.submissions.c.sealed))).scalar_one()
        assert found in ([0] * 4, [1] * 4)
        assert (sealed == b"") == (found == [0] * 4)
        (outcome,) = (await _only(node)).recipients
        assert outcome.state is RecipientState.STORED
        return sealed == b""

    return _with_node(folder, work)


SENT = {
    "the answer to an alert": Writer(_make_sealed, _answer, _is_answered),
    "what a peer says of an alert": Writer(_make_answered, _hear, _is_heard),
    "what a peer says of its numbers": Writer(_make_numbers, _hear, _is_compared),
    "what a peer is told of our numbers": Writer(_make_due, _tell, _is_told),
    "an alert withdrawn": Writer(_queued, _cancel, _is_cancelled),
    "an alert that goes all the same": Writer(_make_waiting, _proceed, _proceeds),
    "an envelope erased": Writer(_make_due, _erase, _is_erased),
}

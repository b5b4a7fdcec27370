"""One submission that the disk changed costs a carried file its own mail alone."""

from pathlib import Path

from sqlalchemy import select, text, update

from broker import clock
from broker.carry.form import Record, What
from broker.node.node import Node
from broker.store import tables
from broker.store.errors import DAMAGED_CODE
from keys.primitives.hashing import sha256
from schemas.desk import RecipientState
from schemas.receipt import DecisionReceipt, Where, encode_receipt
from tests.carry.test_unsigned_counts import carried, codes
from tests.support.envelopes import decide, delivery
from tests.support.nodes import lonely_node, request, send
from tests.support.region import TestRegion, make_region


async def envelopes(node: Node) -> list[tuple[str, bytes]]:
    """Subject's id and bytes of what waits, in the order in which it was sealed."""
    table = tables.outbox
    async with node.database.read() as connection:
        rows = await connection.execute(select(table.c.id, table.c.raw).order_by(table.c.number))
        return [(row.id, row.raw) for row in rows]


def receipt_of(region: TestRegion, ident: str, raw: bytes) -> Record:
    decision = decide(region, raw).to_bytes()
    said = encode_receipt(DecisionReceipt(decision, (("MY", Where.STORED),)))
    return Record(What.RECEIPT, f"receipt.SG.{ident}", 1, said)


async def answers(region: TestRegion, sent: list[tuple[str, bytes]], folder: Path) -> list[Record]:
    """What MY's node says of these, as copies for SG."""
    async with lonely_node(region, "MY", folder / "my.db") as my:
        for _, raw in sent:
            assert await my.incoming.take(delivery(region, raw, "MY"))
        await my.upkeep.answer_again()
        said = await envelopes(my)
    return [Record(What.COPY, "control", 1, delivery(region, raw, "SG")) for _, raw in said]


async def damage(node: Node, ident: str) -> None:
    """The disk changes the document of the submission of one envelope."""
    of_it = select(tables.envelopes.c.submission_id).where(tables.envelopes.c.id == ident)
    table = tables.submissions
    await node.database.change(
        lambda c: c.execute(
            update(table)
            .where(table.c.id.in_(of_it))
            .values(document=text("'?' || substr(document, 2)"))
        )
    )


async def test_what_is_about_a_damaged_submission_is_left_out_and_all_the_rest_is_taken(
    tmp_path: Path,
) -> None:
    region = make_region(("SG", "MY"), now=clock.now())
    async with lonely_node(region, "SG", tmp_path / "sg.db") as sg:
        asked = [await send(sg, region, request(region, ("MY",))) for _ in range(2)]
        assert await sg.outgoing.seal_due() == 2
        sent = await envelopes(sg)
        receipts = [receipt_of(region, *each) for each in sent]
        said = await answers(region, sent, tmp_path)
        assert len(said) == 2
        await damage(sg, sent[0][0])

        taken, done = await carried(sg, tmp_path, *receipts, *said)
        assert (taken.receipts, taken.answers, taken.damaged, taken.left) == (1, 1, 2, 0)
        assert taken.again == 0
        assert set(done.hashes) == {sha256(receipts[1].payload), sha256(said[1].payload)}
        (outcome,) = (await sg.submission(asked[1].submission_id)).recipients
        assert outcome.state is RecipientState.DELIVERED
        assert DAMAGED_CODE in await codes(sg)

"""A receipt whose submission the disk changed is tried as often as other mail, then put aside."""

from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from broker import clock
from broker.node.incoming import MAX_FAULTS
from broker.node.node import Node
from broker.store import tables
from broker.store.errors import DAMAGED_CODE
from schemas.desk import RecipientState, Submission
from schemas.receipt import DecisionReceipt, Where, encode_receipt
from tests.support.envelopes import decide
from tests.support.handed import Handed
from tests.support.nodes import lonely_node, request, send
from tests.support.region import TestRegion, make_region

pytestmark = pytest.mark.usefixtures("databases")


async def sealed(node: Node, region: TestRegion) -> tuple[Submission, Handed]:
    """An alert that waits for its receipt, and the receipt."""
    submission = await send(node, region, request(region, ("MY",)))
    assert await node.outgoing.seal_due() == 1
    submission = await node.submission(submission.submission_id)
    assert submission.id is not None
    async with node.database.read() as connection:
        waiting = select(tables.outbox.c.raw).where(tables.outbox.c.id == str(submission.id))
        raw = (await connection.execute(waiting)).scalar_one()
    decision = decide(region, raw, at=region.now).to_bytes()
    receipt = DecisionReceipt(decision, (("MY", Where.STORED),))
    subject = f"receipt.SG.{submission.id}"
    return submission, Handed(encode_receipt(receipt), subject, "RECEIPT_SG.SG")


async def waiting(node: Node) -> int:
    async with node.database.read() as connection:
        return len((await connection.execute(select(tables.outbox.c.id))).all())


@pytest.mark.parametrize("row", ["no document", "gone"])
async def test_a_receipt_for_a_damaged_submission_is_put_aside_and_hinders_no_other(
    tmp_path: Path, row: str
) -> None:
    region = make_region(("SG", "MY"), now=clock.now())
    async with lonely_node(region, "SG", tmp_path / "sg.db") as sg:
        damaged, receipt = await sealed(sg, region)
        whole, other = await sealed(sg, region)
        table = tables.submissions
        mine = table.c.id == str(damaged.submission_id)
        spoiled = update(table).where(mine).values(document="{")
        change = spoiled if row == "no document" else delete(table).where(mine)
        await sg.database.change(lambda connection: connection.execute(change))

        for attempt in (1, MAX_FAULTS):
            await sg.receipts._take(receipt.message(attempt))
        assert all(told.startswith(b"-NAK") for told in receipt.told)
        assert await waiting(sg) == 2

        await sg.receipts._take(receipt.message(MAX_FAULTS + 1))
        assert receipt.told[-1] == b"+ACK"
        assert await waiting(sg) == 1, "its envelope is handed in again for ever"
        assert [a.code for a in (await sg.status()).alarms].count(DAMAGED_CODE) == 1

        await sg.receipts._take(other.message(1))
        assert other.told == [b"+ACK"]
        last = await sg.submission(whole.submission_id)
        assert [each.state for each in last.recipients] == [RecipientState.STORED]
        assert await waiting(sg) == 0

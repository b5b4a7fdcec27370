"""Past its `delete_by` an alert goes by itself, at the sender and at the recipient; not before."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
import pytest_asyncio
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker import clock
from broker.node.errors import NodeError
from broker.node.node import Node
from broker.node.retention import TOGETHER
from broker.store import tables
from broker.store.errors import StoreError
from schemas.desk import DraftRequest
from schemas.label import Retention
from tests.support.gateway import running_gateway
from tests.support.hub import RunningHub, running_hub
from tests.support.nodes import Clock, opened_node, request, send, until_over
from tests.support.region import make_region

pytestmark = [pytest.mark.hub, pytest.mark.timeout(90)]
SECOND = timedelta(seconds=1)


@pytest_asyncio.fixture
async def hub(tmp_path: Path) -> AsyncIterator[RunningHub]:
    region = make_region(("SG", "MY"), now=clock.now())
    async with running_hub(region, tmp_path / "hub") as hub, running_gateway(hub):
        yield hub


def short_lived(hub: RunningHub) -> DraftRequest:
    asked = request(hub.region, ("MY",))
    over = clock.now() + timedelta(days=2)
    return asked.model_copy(
        update={
            "expires": over - SECOND,
            "retention": Retention(review_by=over, delete_by=over),
        }
    )


async def noted(node: Node) -> list[str]:
    async with node.database.read() as connection:
        return list((await connection.execute(select(tables.retention.c.id))).scalars())


async def contents(node: Node, ident: str) -> int:
    """How many rows hold something of the alert; what answers it is not counted."""
    drafted = select(tables.submissions.c.id).where(tables.submissions.c.sealed != b"")
    count = 0
    async with node.database.read() as connection:
        for table in (tables.inbox, tables.outbox, tables.repeatable, tables.proofs):
            query = select(func.count()).select_from(table).where(table.c.id == ident)
            count += int((await connection.execute(query)).scalar_one())
        count += len((await connection.execute(drafted)).all())
    return count


async def test_it_goes_when_its_time_is_over_and_a_wrong_clock_takes_nothing(
    hub: RunningHub, tmp_path: Path
) -> None:
    now = Clock()
    async with (
        opened_node(hub, "SG", tmp_path, now=now) as sg,
        opened_node(hub, "MY", tmp_path, now=now) as my,
    ):
        asked = short_lived(hub)
        async with sg.running(), my.running():
            submission = await send(sg, hub.region, asked)
            last = await until_over(sg, submission.submission_id)
        assert asked.retention is not None
        (item,) = (await my.inbox()).items
        ident = str(item.id)
        for node in (sg, my):
            assert await noted(node) == [ident]
            now.stopped = asked.retention.delete_by - SECOND
            await node.upkeep.forget()
            assert await contents(node, ident) > 0
            now.stopped = asked.retention.delete_by + SECOND
            node.present.skew = timedelta(days=2)
            await node.upkeep.forget()
            node.present.skew = None  # not asked yet
            await node.upkeep.forget()
            assert await contents(node, ident) > 0
            node.present.skew = timedelta(0)
            await node.upkeep.forget()
            assert await contents(node, ident) == 0
            assert await noted(node) == []
        with pytest.raises(NodeError):
            await my.item(item.id)
        known = await sg.submission(submission.submission_id)  # what became of it stays
        assert known.recipients == last.recipients


async def test_what_waits_for_its_verdict_is_kept(hub: RunningHub, tmp_path: Path) -> None:
    now = Clock()
    async with opened_node(hub, "SG", tmp_path, now=now) as sg:
        asked = short_lived(hub)
        await send(sg, hub.region, asked)
        sg.present.skew = timedelta(0)
        await sg.outgoing.seal_due()
        assert asked.retention is not None
        now.stopped = asked.retention.delete_by + SECOND
        (ident,) = await noted(sg)
        before = await contents(sg, ident)
        await sg.upkeep.forget()
        assert await noted(sg) == [ident]
        assert await contents(sg, ident) == before > 0


async def test_whoever_reads_for_long_keeps_nothing_that_is_over(
    hub: RunningHub, tmp_path: Path
) -> None:
    """As the look at a whole database does; only the journal is emptied after that."""
    idents, mark = [str(UUID(int=each)) for each in range(TOGETHER + 10)], b"quokka" * 100

    async def fill(connection: AsyncConnection) -> None:
        over = [{"id": ident, "delete_ms": 1} for ident in idents]
        await connection.execute(insert(tables.retention), over)
        rows = [
            {
                "id": ident,
                "digest": ident.encode(),
                "alert_id": ident,
                "rev": 1,
                "type": "cyber",
                "exercise": 0,
                "sealed": mark,
            }
            for ident in idents
        ]
        await connection.execute(insert(tables.inbox), rows)

    async with opened_node(hub, "SG", tmp_path) as sg:
        sg.present.skew = timedelta(0)
        await sg.upkeep.destroy_over()
        await sg.database.change(fill)
        async with sg.database.read() as connection:
            await connection.execute(select(tables.inbox))
            with pytest.raises(StoreError) as caught:
                await sg.upkeep.destroy_over()
            assert caught.value.code == "database-locked"
            assert await noted(sg) == []
            for ident in idents:
                assert await contents(sg, ident) == 0
        assert mark in journal(tmp_path)
        await sg.upkeep.destroy_over()
        assert mark not in journal(tmp_path)


def journal(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("SG.db*") if path.is_file())

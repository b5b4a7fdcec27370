"""An answer that a suspension kept from its peer is said again once that may be over."""

from datetime import timedelta
from pathlib import Path
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker import clock
from broker.node.controls import AGAIN_AFTER, KEPT
from broker.node.ids import from_ms, to_ms
from broker.node.node import Node
from broker.store import tables
from schemas.control import Told
from schemas.label import Reference
from schemas.vocabulary import Kind, Status
from tests.support.nodes import Clock, lonely_node
from tests.support.region import LONG, make_region

REGION = make_region(("SG", "MY"), now=clock.now(), fresh=LONG)
ABOUT = Reference(id=UUID("019ab000-0000-7000-8000-000000000001"), digest=bytes(32))


async def waits(node: Node) -> list[tuple[str | None, timedelta]]:
    async with node.database.read() as connection:
        rows = (await connection.execute(select(tables.controls))).all()
    now = node.present.now()
    return [(row.envelope_id, from_ms(row.due_ms) - now) for row in rows]


async def test_a_suspension_does_not_end_an_answer(tmp_path: Path) -> None:
    now = Clock()
    async with lonely_node(REGION, "MY", tmp_path / "my.db") as node:
        node.present.now = now
        controls, now.stopped = node.upkeep.controls, clock.now().replace(microsecond=0)
        message = Told(Kind.DELIVERED, now.stopped)

        async def say(connection: AsyncConnection) -> None:
            await controls.say(connection, message, to="SG", ref=ABOUT, status=Status.ACTUAL)

        async def suspended() -> list[tuple[str | None, timedelta]]:
            ((ident, _),) = await waits(node)
            assert ident is not None
            await node.database.change(
                lambda c: controls.decided(c, UUID(ident), "member-suspended")
            )
            return await waits(node)

        await node.database.change(say)
        assert await suspended() == [(None, AGAIN_AFTER)]
        now.stopped += timedelta(minutes=10)
        assert await controls.seal_due() == 1
        assert await suspended() == [(None, timedelta(minutes=2, seconds=30))]
        old = update(tables.controls).values(due_ms=0, kept_ms=to_ms(now.stopped - KEPT))
        await node.database.change(lambda connection: connection.execute(old))
        assert await controls.seal_due() == 1
        assert await suspended() == []  # nobody waits for it any more

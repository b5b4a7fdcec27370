"""What the log does not prove in time is handed in again by itself, until it does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Select, insert, select, update

from broker import clock
from broker.ledger.sequencer import Sequencer
from broker.log.merkle import leaf_hash
from broker.log.proof import InclusionProof
from broker.node import repeats
from broker.node.ids import new_id, to_ms
from broker.node.logstate import Copied
from broker.node.node import Node
from broker.node.proofs import first_proof, leaf_at
from broker.node.repeats import FIRST_AFTER, KEPT, KEPT_UNPROVEN, LAST_AFTER, UNPROVEN_AT_ONCE
from broker.store import tables
from broker.store.database import Database, open_database, sqlite_url
from broker.transport.link import Link
from schemas.desk import RecipientState
from tests.ledger.stages import sequencer_of
from tests.support.gateway import announce, running_gateway
from tests.support.hub import BOUND_S
from tests.support.nodes import request, send, until_over
from tests.support.witnesses import NODES, Watched, watching

pytestmark = [pytest.mark.hub, pytest.mark.timeout(90)]
NOW = clock.now()


async def rows(database: Database, asked: Select[Any]) -> list[Any]:
    async with database.read() as connection:
        return list((await connection.execute(asked)).all())


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(sqlite_url(tmp_path / "n.db"), tables.metadata) as opened:
        yield opened


async def accepted(database: Database, *, logged: bool = True) -> str:
    """An envelope that waits in the outbox, and whose receipt is taken."""
    ident = new_id(NOW)

    async def change(connection: Any) -> None:  # noqa: ANN401
        await connection.execute(
            insert(tables.outbox).values(
                id=str(ident), subject="s", digest=ident.bytes, attempt=3, next_ms=0, raw=b"bytes"
            )
        )
        await repeats.keep(connection, ident, now=NOW, logged=logged)
        await repeats.settled(connection, ident)

    await database.change(change)
    return str(ident)


async def due(database: Database, at: datetime) -> int:
    return await database.change(lambda c: repeats.unproven_due(c, at))


async def answered(database: Database) -> None:
    """The receipt came again for all that was handed in."""
    for row in await rows(database, select(tables.outbox)):
        await database.change(lambda c, ident=row.id: repeats.settled(c, ident))


async def proved(database: Database, ident: str, number: int | None) -> None:
    row = {"id": ident, "about": bytes(32), "sent": 1, "decided_ms": 0, "decision": b""}
    await database.change(
        lambda c: c.execute(
            insert(tables.proofs).values(**row, envelope=b"", overdue=0, number=number)
        )
    )


async def test_it_is_repeated_after_longer_and_longer_waits_with_the_same_bytes(
    database: Database,
) -> None:
    ident = await accepted(database)
    at, waits = NOW, []
    second = timedelta(seconds=1)
    for _ in range(11):
        start = at
        (row,) = await rows(database, select(tables.unproven))
        at = NOW + timedelta(milliseconds=row.next_ms - to_ms(NOW))
        assert not await due(database, at - second)
        assert await due(database, at) == 1
        assert not await due(database, at + LAST_AFTER)  # it waits in the outbox
        (put,) = await rows(database, select(tables.outbox))
        assert (put.id, put.subject, put.raw, put.attempt) == (ident, "s", b"bytes", 0)
        await answered(database)
        waits.append(at - start)
    assert waits[0] == FIRST_AFTER
    assert all(later == 2 * wait for wait, later in pairwise(waits[:8]))
    assert waits[-2:] == [LAST_AFTER] * 2


@pytest.mark.parametrize("number", [7, None])
async def test_a_proof_ends_it_and_a_promise_of_one_does_not(
    database: Database, number: int | None
) -> None:
    ident = await accepted(database)
    await proved(database, ident, number)
    assert await due(database, NOW + FIRST_AFTER) == (0 if number else 1)


async def test_what_is_refused_anew_is_repeated_no_more(database: Database) -> None:
    ident = await accepted(database)
    await database.change(lambda c: repeats.given_up(c, ident))
    assert not await due(database, NOW + FIRST_AFTER)
    assert len(await rows(database, select(tables.repeatable))) == 1  # a peer may still lack it


async def test_without_a_log_nothing_is_repeated(database: Database) -> None:
    await accepted(database, logged=False)
    assert not await due(database, NOW + LAST_AFTER)


async def test_so_many_go_at_once_and_the_others_at_the_next_look(database: Database) -> None:
    for _ in range(UNPROVEN_AT_ONCE + 3):
        await accepted(database)
    assert await due(database, NOW + FIRST_AFTER) == UNPROVEN_AT_ONCE
    assert await due(database, NOW + FIRST_AFTER) == 3


async def test_bytes_go_once_they_are_proved_and_their_time_is_over(database: Database) -> None:
    proven, waiting = await accepted(database), await accepted(database)
    await proved(database, proven, 1)
    await due(database, NOW)
    for after, kept in (
        (KEPT - timedelta(seconds=1), {proven, waiting}),
        (KEPT, {waiting}),
        (KEPT_UNPROVEN, set()),
    ):
        at = NOW + after
        await database.change(lambda c, at=at: repeats.forget(c, to_ms(at)))
        assert {row.id for row in await rows(database, select(tables.repeatable))} == kept
    assert not await rows(database, select(tables.unproven))


@dataclass
class Stage:
    """Nodes at work, a gateway, and a log that reads what the test lets it."""

    watched: Watched
    own: Link
    serving: AsyncExitStack  # The gateway at work.
    sequencer: Sequencer
    size: int = 0

    @property
    def sg(self) -> Node:
        return self.watched.nodes["SG"]

    @property
    def my(self) -> Node:
        return self.watched.nodes["MY"]

    async def start_gateway(self) -> None:
        """A new one, which remembers nothing of before."""
        link = await self.serving.enter_async_context(running_gateway(self.watched.hub))
        await announce(link, self.watched.region)

    async def lose_the_record(self) -> None:
        """Before the log read any of it, as of a hub that is put back from a backup."""
        await self.serving.aclose()
        name = f"AUDIT_{clock.now().year}"
        config = (await self.own.api(f"STREAM.INFO.{name}", {}))["config"]
        await self.own.api(f"STREAM.DELETE.{name}", {})
        await self.own.api(f"STREAM.CREATE.{name}", config)

    async def grow(self) -> None:
        self.size = await self.sequencer.step(self.size)

    async def grow_until_proved(self, node: Node) -> None:
        assert node.log is not None
        async with asyncio.timeout(BOUND_S):
            while not (await node.log.shown()).own_proved:  # type: ignore[union-attr]
                await self.grow()
                await asyncio.sleep(0.05)


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with watching(tmp_path / "w") as watched, AsyncExitStack() as stack:
        serving = await stack.enter_async_context(AsyncExitStack())
        own = await stack.enter_async_context(watched.hub.hub_link())
        await own.wait_connected(BOUND_S)
        for code in NODES:
            await stack.enter_async_context(watched.nodes[code].running())
        sequencer = sequencer_of(own, watched.committer, watched.region)
        size = (await watched.committer.recover()).size
        stage = Stage(watched, own, serving, sequencer, size)
        await stage.start_gateway()
        yield stage


async def five_minutes_go_by(stage: Stage) -> None:
    """The server forgets the ids of its window, as it does after two."""

    async def change(connection: Any) -> None:  # noqa: ANN401
        await connection.execute(update(tables.unproven).values(next_ms=0))

    await stage.sg.database.change(change)
    links = [node.link for node in stage.watched.nodes.values()]
    await stage.watched.hub.restart(*links, stage.own)


async def test_what_the_hub_lost_before_the_log_had_it_comes_back_by_the_repetition_alone(
    stage: Stage,
) -> None:
    submission = await send(stage.sg, stage.watched.region, request(stage.watched.region, ("MY",)))
    last = await until_over(stage.sg, submission.submission_id)
    assert last.recipients[0].state is RecipientState.DELIVERED
    await stage.lose_the_record()
    await stage.grow()
    assert not await stage.sg.upkeep.repeat_unproven()  # five minutes are not over
    assert len(await rows(stage.sg.database, select(tables.unproven))) == 1
    await five_minutes_go_by(stage)
    await stage.start_gateway()
    assert await stage.sg.upkeep.repeat_unproven() == 1
    await stage.grow_until_proved(stage.sg)
    await stage.grow_until_proved(stage.my)
    assert not await stage.sg.upkeep.repeat_unproven()
    assert not await rows(stage.sg.database, select(tables.unproven))
    assert len((await stage.my.inbox()).items) == 1
    status = await stage.my.status()
    assert (status.quarantined, status.gaps) == (0, ())
    assert await stage.sg.submission(submission.submission_id) == last
    await still_proved_by_what_proved_it_first(stage)


async def still_proved_by_what_proved_it_first(stage: Stage) -> None:
    """The checkpoint of then is kept, whatever the log grows to."""
    await announce(stage.own, stage.watched.region)
    await stage.grow()
    for node in (stage.sg, stage.my):
        asked = select(tables.proofs).where(tables.proofs.c.number.is_not(None))
        (row, *_) = await rows(node.database, asked)
        async with node.database.read() as connection:
            found = await first_proof(connection, row.size, row.path)
        assert found is not None
        entry = leaf_at(stage.watched.committer.files, row.number, Copied(stage.size))
        proof = InclusionProof(row.number, *found)
        assert proof.verify(leaf_hash(entry), stage.watched.policy()).checkpoint.size == row.size

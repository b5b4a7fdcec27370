"""What a peer says of its numbers costs this node no more than the numbers that it looks at."""

import tracemalloc
from pathlib import Path

import pytest
from sqlalchemy import func, select

from broker import clock
from broker.envelope.officer import make_audience
from broker.node import pairs
from broker.store.tables import gaps
from schemas.canonical import MAX_INT
from schemas.content import Content
from schemas.control import PairState, control_intent, encode_control
from schemas.label import Label, Sender
from schemas.vocabulary import Kind, Status
from tests.support.envelopes import delivery, make, seal_content
from tests.support.labels import uuid7_at
from tests.support.nodes import lonely_node
from tests.support.region import TestRegion, make_region

MIB = 2**20
COUNTED = 10**6  # so many would take a hundred MiB, if somebody counted to it


def told(region: TestRegion, state: PairState, tail: int) -> bytes:
    """MY's copy of a pair-state that SG's node sealed, whatever it says."""
    sender = Sender(member="SG", agency="SPF")
    meant = control_intent(
        Kind.PAIR_STATE, sender=sender, ref=None, status=Status.ACTUAL, now=region.now
    )
    label = Label.from_intent(meant, id=uuid7_at(region.now, tail), directory=region.view.version)
    sealed = seal_content(region, label, Content(encode_control(state)), make_audience(["MY"]))
    return delivery(region, sealed.raw, "MY")


@pytest.mark.usefixtures("databases")
async def test_a_range_without_an_end_is_not_counted_to_it(tmp_path: Path) -> None:
    region = make_region(("SG", "MY"), now=clock.now())
    many = [(1, COUNTED), (1, MAX_INT), (MAX_INT - 1, MAX_INT), (MAX_INT, MAX_INT)]
    async with lonely_node(region, "MY", tmp_path / "my.db") as my:
        for tail, (first, last) in enumerate(many, 2):
            void = ((first, last),)
            state = PairState(region.now, 1, first, last, void, missing=((MAX_INT, 1, last),))
            raw = told(region, state, tail)
            tracemalloc.start()
            try:
                assert await my.incoming.take(raw)
                assert tracemalloc.get_traced_memory()[1] < 32 * MIB
            finally:
                tracemalloc.stop()
        good = make(region, ("MY",))
        assert await my.incoming.take(delivery(region, good.sealed.raw, "MY"))
        status = await my.status()
        assert (len((await my.inbox()).items), status.quarantined) == (1, 0)


@pytest.mark.usefixtures("databases")
async def test_a_peer_that_speaks_of_ever_more_numbers_hides_no_gap_of_another(
    tmp_path: Path,
) -> None:
    region = make_region(("SG", "MY", "VN"), now=clock.now())
    later = region.now + pairs.GAP_AFTER
    async with lonely_node(region, "MY", tmp_path / "my.db") as my:

        async def hear(peer: str, state: PairState) -> None:
            await my.database.change(lambda c: pairs.compare(c, peer, state, now=region.now))

        async def kept(peer: str) -> int:
            async with my.database.read() as connection:
                mine = select(func.count()).select_from(gaps).where(gaps.c.peer == peer)
                return int((await connection.execute(mine)).scalar_one())

        for incarnation in range(1, 4):  # each would note 5,001 more
            await hear("SG", PairState(region.now, incarnation, 1, MAX_INT))
        await hear("VN", PairState(region.now, 1, 1, 2))
        assert (await kept("SG"), await kept("VN")) == (pairs.KEPT_OF_PEER, 2)

        async with my.database.read() as connection:
            lacking = await pairs.count_gaps(connection, now=later)
            shown = await pairs.open_gaps(connection, lacking, now=later)
        assert [gap.peer for gap in shown] == ["SG"] * pairs.SHOWN_OF_EACH + ["VN"] * 2
        told = await my.database.change(lambda c: pairs.state_for(c, "VN", now=later))
        assert told.missing == ((1, 1, 2),), "VN is not asked for what it says it sent"

        await hear("SG", PairState(region.now, 1, 1, MAX_INT, void=((1, MAX_INT),)))
        assert await kept("SG") == 0, "what is void is no gap, whatever was full"
        await hear("SG", PairState(region.now, 3, 1, 2))
        assert await kept("SG") == 2


async def test_what_is_missing_or_void_shows_as_ever_where_it_is_looked_at(tmp_path: Path) -> None:
    region = make_region(("SG", "MY"), now=clock.now())
    later = region.now + pairs.GAP_AFTER
    async with lonely_node(region, "MY", tmp_path / "my.db") as my:

        async def gaps(*states: PairState) -> list[int]:
            for state in states:
                await my.database.change(
                    lambda c, state=state: pairs.compare(c, "SG", state, now=region.now)
                )
            async with my.database.read() as connection:
                return [gap.number for gap in await pairs.open_gaps(connection, ["SG"], now=later)]

        state = PairState(region.now, 1, 1, 4, void=((2, 2),), pending=((4, 4),))
        assert await gaps(state) == [1, 3]
        assert await gaps(state, state) == [1, 3]
        assert await gaps(PairState(region.now, 1, 2, 5, void=((3, 4),))) == [1, 2, 5]
        last = PairState(region.now, 1, MAX_INT, MAX_INT)
        assert await gaps(last) == [1, 2, 5, MAX_INT]
        assert await gaps(PairState(region.now, 1, 1, 0)) == [1, 2, 5, MAX_INT]

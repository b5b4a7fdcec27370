"""What one peer claims takes nothing from another's gaps: what it lacks is shown and asked for."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest_asyncio
from sqlalchemy import insert

from broker import clock
from broker.api.metrics import Metrics
from broker.node import pairs
from broker.node.node import Node
from broker.store import tables
from schemas.control import MAX_MISSING, PairState, encode_control, parse_control
from tests.support.nodes import lonely_node
from tests.support.region import make_region

CLAIMED = 600  # numbers of MY that were never given out
NOW = clock.now().replace(microsecond=0)
LATER = NOW + pairs.GAP_AFTER


@dataclass
class Desk:
    """SG's node, to which MY and VN say what it must have."""

    node: Node

    async def told(self, peer: str, state: PairState) -> None:
        await self.node.database.change(lambda c: pairs.compare(c, peer, state, now=NOW))

    async def state_for(self, peer: str) -> PairState:
        return await self.node.database.change(lambda c: pairs.state_for(c, peer, now=LATER))


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    region = make_region(("SG", "MY", "VN"), now=NOW)
    async with lonely_node(region, "SG", tmp_path / "sg.db") as node:
        node.present.now = lambda: LATER
        desk = Desk(node)
        await desk.told("MY", PairState(NOW, 1, 1, CLAIMED))
        await desk.told("VN", PairState(NOW, 1, 7, 8))
        yield desk


async def test_a_peer_that_claims_much_does_not_hide_what_another_withheld(desk: Desk) -> None:
    status = await desk.node.status()
    assert [(gap.peer, gap.number) for gap in status.gaps[-3:]] == [
        ("MY", pairs.SHOWN_OF_EACH),
        ("VN", 7),
        ("VN", 8),
    ]
    assert status.gap_counts == {"MY": CLAIMED, "VN": 2}
    shown = Metrics().exposition(status, streams=0, now=LATER).decode()
    assert f"kentong_node_gaps {CLAIMED + 2}.0" in shown
    assert 'kentong_node_peer_gaps{peer="VN"} 2.0' in shown


async def test_each_peer_is_asked_for_what_came_not_from_it(desk: Desk) -> None:
    assert (await desk.state_for("MY")).missing == ((1, 1, CLAIMED),)
    assert (await desk.state_for("VN")).missing == ((1, 7, 8),)


async def test_each_peer_of_which_something_is_missing_is_asked_soon(desk: Desk) -> None:
    rows = [
        {"peer": peer, "incarnation": 1, "number": 1, "id": peer, "state": "accepted"}
        for peer in ("MY", "VN", "TH")
    ]
    await desk.node.database.change(lambda c: c.execute(insert(tables.sent), rows))
    for peer in ("MY", "VN", "TH"):
        await desk.state_for(peer)
    async with desk.node.database.read() as connection:
        soon = LATER + pairs.GAP_AFTER
        assert await pairs.due(connection, now=soon - timedelta(seconds=1)) == ()
        assert await pairs.due(connection, now=soon) == ("MY", "VN")


async def test_each_gap_is_asked_for_in_its_turn_however_many_there_are(desk: Desk) -> None:
    many = range(1, 4 * MAX_MISSING, 2)  # of another incarnation, each a range of its own
    void = tuple((number + 1, number + 1) for number in many)
    await desk.told("VN", PairState(NOW, 2, 1, many[-1], void=void))
    states = [await desk.state_for("VN") for _ in range(4)]
    assert [parse_control(encode_control(state)) for state in states] == states
    asked = [state.missing for state in states]
    singles = [(2, number, number) for number in many]
    assert asked[0] == ((1, 7, 8), *singles[: MAX_MISSING - 1])
    assert asked[1] == tuple(singles[MAX_MISSING - 1 : 2 * MAX_MISSING - 1])
    assert asked[2] == ((1, 7, 8), *singles[: MAX_MISSING - 2], singles[-1])  # and so on
    assert asked[3][0] == singles[MAX_MISSING - 2]

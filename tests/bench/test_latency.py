"""What the bench sends is bounded by the path, and by no rule of how often one desk may ask."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from broker import clock
from broker.api import Limits
from broker.client import Client
from keys.officers import OfficerKey
from tests.bench.latency import READER, SENDER, Arrivals, PutOffError, sender
from tests.support.desks import offered
from tests.support.nodes import lonely_node
from tests.support.region import make_region

ONE_ALERT = Limits(requests_per_s=0.001, burst=2)  # for each desk: drafted, and submitted


async def test_each_desk_sends_in_turn_and_one_that_is_put_off_ends_it(tmp_path: Path) -> None:
    region = make_region((SENDER, READER), now=clock.now())
    async with (
        lonely_node(region, SENDER, tmp_path / "node.db") as node,
        offered(node, tmp_path / "s", limits=ONE_ALERT) as place,
        AsyncExitStack() as stack,
    ):
        desks = [
            await stack.enter_async_context(
                Client(
                    url=f"unix://{place.socket}",
                    token=await place.token(f"desk-{number}"),
                    officer_key=OfficerKey(SENDER, "7Q4", region.members[SENDER].officer_key),
                    patience_s=0,
                )
            )
            for number in range(3)
        ]
        arrivals = Arrivals()
        send = sender(desks, arrivals)
        for _ in desks:
            await send()
        assert len(arrivals.sent) == len(desks)
        with pytest.raises(PutOffError, match="too-many-requests"):
            await send()
        assert len(arrivals.sent) == len(desks)

"""One id, two envelopes: of two members, say, since the gateway counts ids by their sender."""

from pathlib import Path

import pytest

from broker import clock
from schemas.label import Sender
from tests.support.envelopes import delivery, make
from tests.support.nodes import lonely_node
from tests.support.region import make_region


@pytest.mark.usefixtures("databases")
async def test_the_second_is_set_aside_its_sender_told_and_the_lane_goes_on(tmp_path: Path) -> None:
    region = make_region(("SG", "MY", "VN"), now=clock.now())
    first = make(region, ("MY",))
    second = make(region, ("MY",), sender=Sender(member="VN", agency="POLICE"))
    assert first.label.id == second.label.id
    async with lonely_node(region, "MY", tmp_path / "my.db") as my:
        for made in (first, second, second):
            assert await my.incoming.take(delivery(region, made.sealed.raw, "MY"))
        assert [item.sender for item in (await my.inbox()).items] == ["SG"]
        status = await my.status()
        assert status.quarantined == 1
        assert [alarm.code for alarm in status.alarms] == ["quarantined-id-reused"]
        async with my.database.read() as connection:
            assert await my.incoming.controls.count(connection) == 2  # one answer to each

"""What policies forbid by now, and was delivered before they did."""

from pathlib import Path

import pytest

from broker import clock
from schemas.policy import PolicyDocument
from tests.support.envelopes import delivery, make
from tests.support.nodes import lonely_node
from tests.support.region import make_region

NOTHING = PolicyDocument(format=1, member="MY", title="MY takes nothing any more")


@pytest.mark.usefixtures("databases")
async def test_a_copy_of_what_is_here_is_not_set_aside_by_a_policy_of_later(tmp_path: Path) -> None:
    region = make_region(("SG", "MY", "VN"), now=clock.now())
    here, never = make(region), make(region, tail=2, counter=2)
    async with lonely_node(region, "MY", tmp_path / "my.db") as my:
        raw = delivery(region, here.sealed.raw, "MY")
        assert await my.incoming.take(raw)
        my.present.take(region.changed("MY", policy=NOTHING))
        assert await my.incoming.take(raw)  # the hub hands it over once more
        status = await my.status()
        assert (status.quarantined, status.alarms) == (0, ())
        assert await my.incoming.take(delivery(region, never.sealed.raw, "MY"))
        assert (await my.status()).quarantined == 1
        assert [item.id for item in (await my.inbox()).items] == [here.label.id]

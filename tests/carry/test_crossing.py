"""A node without any link: its mail goes and comes by file, and nothing is lost or there twice."""

from collections import Counter
from pathlib import Path

import pytest

from schemas.desk import RecipientState
from tests.carry.stage import crossing
from tests.support.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.soak, pytest.mark.timeout(600)]


async def test_mail_crosses_both_ways_exactly_once_however_often_a_file_is_carried(
    tmp_path: Path,
) -> None:
    async with crossing(tmp_path / "r", log=True) as stage:
        theirs = [await stage.send("MY", number, ("SG", "VN")) for number in range(3)]
        ours = [await stage.send("SG", 10 + number, ("MY", "VN")) for number in range(3)]

        async def stored() -> bool:
            states = [await stage.states("MY", each) for each in theirs]
            return all(
                found <= {RecipientState.STORED, RecipientState.DELIVERED} for found in states
            )

        await until(stored)
        sent = Counter(str(each.alert_id) for each in ours)
        came = Counter(str(each.alert_id) for each in theirs)
        first = await stage.to_hub()
        await stage.at_ferry("in", str(first))  # once more
        await until(stage.cosigned)
        back = await stage.to_node()
        assert back["alerts"] == 3
        assert back["directory"] == back["log"] == "taken"
        assert back["leaves"] > 0
        assert await stage.inbox("SG") == came

        async def delivered() -> bool:
            return await stage.inbox("MY") == sent

        await until(delivered)
        again = await stage.at_node("in", str(stage.file("to-node")))
        assert again["alerts"] == 0
        assert again["again"] >= 3
        await stage.at_ferry("in", str(first))  # an old file, after a newer one came back
        await stage.to_hub()
        last = await stage.to_node()
        assert last["alerts"] == 0
        for each in ours:
            assert await stage.states("SG", each) == {RecipientState.DELIVERED}

        async def told() -> bool:
            states = [await stage.states("MY", each) for each in theirs]
            return all(found == {RecipientState.DELIVERED} for found in states)

        await until(told)
        await stage.to_hub()
        empty = await stage.at_ferry("out", "--to", str(stage.file("empty")))
        assert await stage.inbox("SG") == came
        assert await stage.inbox("MY") == sent
        assert (await stage.inbox("VN")) == sent + came
        assert empty["copies"] <= 2  # a pair-state may have come since
        status = await stage.clients["SG"].node_status()
        assert (status.quarantined, status.gaps) == (0, ())

"""A node whose line passes nothing any more, and tells nobody: no refusal, no reset, silence.

It is cut while alerts are under way both ways, so that each of them may have been decided, kept or
answered on the other side without this one's knowing.
"""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from broker.cli.admin.node_place import NodePlace
from broker.cli.demo.region import DemoRegion
from broker.client import Client
from broker.hub.place import HubPlace
from tests.support.line import Line
from tests.support.processes import running_region, warning
from tests.support.waiting import until
from tests.support.wiredline import running_bad_line

pytestmark = [pytest.mark.processes, pytest.mark.soak, pytest.mark.timeout(400)]
EACH = 12
BOUND_S = 150.0  # a silent line shows after fifty seconds


def behind(line: Line, region: DemoRegion) -> None:
    """Let Singapore reach the hub by this line."""
    line.to_ports = (HubPlace(region.hub).config().port,)
    place = NodePlace(region.home("SG"))
    config = place.config().model_copy(update={"hub_url": f"tls://localhost:{line.port}"})
    place.write(config, place.authority_pem())


async def test_a_node_that_is_cut_off_in_silence_says_so_and_nothing_is_lost_or_doubled(
    tmp_path: Path,
) -> None:
    async with (
        running_bad_line(tmp_path / "line", seed=5) as line,
        running_region(
            tmp_path / "r",
            prepare=lambda region: behind(line, region),
            launchers={"SG": line.command},
        ) as (_, _, clients),
    ):
        sg, my = clients["SG"], clients["MY"]

        async def connected() -> bool:
            return (await sg.node_status()).connected

        async def unconnected() -> bool:
            return not await connected()

        await until(connected)
        ours, theirs = await asyncio.gather(
            asyncio.gather(*(sg.send(warning(number, ("MY",))) for number in range(EACH))),
            asyncio.gather(*(my.send(warning(100 + number, ("SG",))) for number in range(EACH))),
        )
        before = line.felt
        async with line.parted():
            ours.append(await sg.send(warning(200, ("MY",))))
            await until(unconnected, BOUND_S)
            assert line.felt > before
            last = await ours[-1].refresh()
            assert not last.accepted
        for each in (*ours, *theirs):
            await each.wait("delivered", timeout_s=BOUND_S)
        assert await alerts_of(my) == Counter(str(each.alert_id) for each in ours)
        assert await alerts_of(sg) == Counter(str(each.alert_id) for each in theirs)
        assert await connected()


async def alerts_of(client: Client) -> Counter[str]:
    return Counter(str(item.alert_id) for item in (await client.inbox(limit=500)).items)

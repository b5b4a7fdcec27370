"""A node on one core with 256 MiB, behind 64 kbit/s with 5 % loss: late, and whole.

`make poorlink` measures the same at 800 ms each way; docs/poor-links.md has the figures.
"""

import os
from collections import Counter
from pathlib import Path

import pytest

from schemas.vocabulary import Precedence, Status
from tests.bench.poorlink import MEMORY_BYTES, desk, first_start, stage
from tests.support.processes import warning
from tests.support.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.soak, pytest.mark.timeout(900)]
ALERTS = max(4, int(os.environ.get("KENTONG_SOAK_ALERTS", "0")) // 250)  # noqa: TID251 - a setting
DELAY_S = 0.4


async def test_a_node_behind_a_poor_line_sends_and_receives_each_alert_once(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path / "r", delay_s=DELAY_S) as (region, line, small):
        await small.start("SG")
        async with desk(region, "SG") as sg, desk(region, "MY") as my:
            await first_start(sg)
            ours, theirs = [], []
            for number in range(ALERTS):
                ours.append(str((await sg.send(warning(number, ("MY",)))).alert_id))
                theirs.append(str((await my.send(warning(900 + number, ("SG",)))).alert_id))
            urgent = warning(500, ("MY",)).model_copy(
                update={"precedence": Precedence.FLASH, "status": Status.ACTUAL}
            )
            ours.append(str((await sg.send(urgent)).alert_id))

            async def whole() -> bool:
                there = [str(each.alert_id) for each in (await my.inbox(limit=500)).items]
                here = [str(each.alert_id) for each in (await sg.inbox(limit=500)).items]
                return (len(there), len(here)) == (len(ours), len(theirs))

            await until(whole, 600)
            there = [str(each.alert_id) for each in (await my.inbox(limit=500)).items]
            here = [str(each.alert_id) for each in (await sg.inbox(limit=500)).items]
            assert Counter(there) == Counter(ours)
            assert Counter(here) == Counter(theirs)
            assert line.out.lost + line.back.lost > 0
            small.look()
            assert 0 < small.peak_mib * 1024 * 1024 < MEMORY_BYTES

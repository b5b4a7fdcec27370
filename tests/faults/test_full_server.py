"""The disk of the hub's server is full, and has room again: nobody has to start anything.

nats-server refuses a stream that met a full disk for ever, until it is started anew; the hub does.
"""

import asyncio
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from broker.cli.admin.hub_figures import HubFigures
from broker.cli.demo.region import DemoRegion
from broker.hub.place import HubPlace
from schemas.desk import RecipientState
from tests.cli.test_ceremonies import run
from tests.faults.test_kills import whole_inbox
from tests.support.fulldisk import ServerDisk, server_disk
from tests.support.monitoring import of_hub
from tests.support.processes import child_of_hub, running_region, until_delivered, warning
from tests.support.waiting import must_come

pytestmark = [pytest.mark.processes, pytest.mark.soak, pytest.mark.timeout(300)]
BOUND_S = 120


async def not_storing(region: DemoRegion) -> float:
    answer = await of_hub(region, "/metrics")
    return HubFigures(answer.text).one("kentong_hub_servers_not_storing")


def status(region: DemoRegion) -> subprocess.CompletedProcess[str]:
    return run(region, region.hub, "hub", "status")


async def until_shown(region: DemoRegion, value: int) -> None:
    """Return once monitoring sees so many servers that store no more."""
    async with must_come(BOUND_S, lambda: f"{value} servers that store no more are never shown"):
        while await not_storing(region) != value:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)


async def test_it_stores_again_by_itself_once_there_is_room(tmp_path: Path) -> None:
    disks: list[ServerDisk] = []
    with ExitStack() as stack:

        def prepare(region: DemoRegion) -> None:
            hub = HubPlace(region.hub)
            disks.append(stack.enter_context(server_disk(hub.server(hub.config()).store)))

        async with running_region(tmp_path / "r", nodes=("SG", "MY"), prepare=prepare) as (
            region,
            processes,
            clients,
        ):
            sg = clients["SG"]
            first = await sg.send(warning(1, ("MY",)))
            await until_delivered(sg, first, BOUND_S)
            assert (await asyncio.to_thread(status, region)).returncode == 0
            hub, server = processes.pids()["hub"], child_of_hub(processes, "nats-server")
            with disks[0].full(hub, server):
                second = await sg.send(warning(2, ("MY",)))
                await until_shown(region, 1)
                told = await asyncio.to_thread(status, region)
                assert told.returncode == 1
                assert "a server stores no more" in told.stdout
                shown = (await sg.status(second.id)).shown
                assert shown.recipients[0].state in {
                    RecipientState.QUEUED,
                    RecipientState.SUBMITTED,
                }
                # As long as there is no room, a new start would help nobody.
                assert child_of_hub(processes, "nats-server") == server
            await until_delivered(sg, second, BOUND_S)
            await until_shown(region, 0)
            assert processes.pids()["hub"] == hub
            assert child_of_hub(processes, "nats-server") not in {0, server}
            kept = [item.alert_id for item in await whole_inbox(clients["MY"])]
            assert sorted(kept) == sorted(each.alert_id for each in (first, second))
            assert (await asyncio.to_thread(status, region)).returncode == 0

"""A hub whose clock jumps ninety days ahead, running and at a start: no mail leaves it by that."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.cli.demo.region import DemoRegion
from broker.hub.place import HubPlace
from broker.transport.link import Link
from broker.transport.streamstates import stream_states
from tests.cli.test_ceremonies import run
from tests.faults.test_kills import whole_inbox
from tests.faults.test_lost_record import log_lines, stop_hub
from tests.support.preload import WrongClock, compiled
from tests.support.processes import running_region, warning
from tests.support.waiting import must_come

pytestmark = [pytest.mark.processes, pytest.mark.soak, pytest.mark.timeout(600)]
DAY_S = 86_400
BOUND_S = 120  # far beyond what the hub waits between two looks and two sweeps


async def until(condition: Callable[[], bool]) -> None:
    async with must_come(BOUND_S, lambda: "what was waited for at the hub never came"):
        while not condition():  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)


async def unread(region: DemoRegion) -> dict[str, int]:
    """How many alerts wait for MY, and how many copies of anything left unread."""
    hub = HubPlace(region.hub)
    credentials = hub.open_hub(region.passphrase).hub_credentials(hub, hub.config())
    async with Link(credentials) as link:
        await link.wait_connected(BOUND_S)
        states = await stream_states(link)
        waiting = states["INBOX_MY_exercise"].messages
        return {"waiting": waiting, "left": states["EXPIRED"].last_seq}


def said(region: DemoRegion, event: str) -> int:
    """How often the hub itself said so."""
    lines = [json.loads(line) for line in log_lines(region, f'"{event}"')]
    return sum(line["event"] == event for line in lines)


def status(region: DemoRegion, *words: str) -> tuple[int, bool]:
    done = run(region, region.hub, "hub", "status", "--json", *words)
    return done.returncode, json.loads(done.stdout)["clock_in_doubt"]


async def until_swept(region: DemoRegion) -> None:
    """Return once the hub came to throw away what is over, and did not."""
    before = said(region, "nothing-swept")
    await until(lambda: said(region, "nothing-swept") > before)


async def test_a_clock_that_jumps_ahead_throws_no_mail_away(tmp_path: Path) -> None:
    clock = WrongClock(compiled("shifted", tmp_path), tmp_path / "hub.clock")
    async with running_region(
        tmp_path / "r", nodes=("SG", "MY"), environment={"hub": clock.environment}
    ) as (region, processes, clients):
        await processes.kill("MY")
        submission = await clients["SG"].send(warning(1, ("MY",)))
        await submission.wait("accepted")
        before = await unread(region)
        assert before["waiting"] > 0
        assert before["left"] == 0
        assert status(region) == (0, False)

        clock.put(90 * DAY_S)
        await until(lambda: said(region, "hub-clock") == 1)
        await until_swept(region)
        assert await unread(region) == before
        clock.put(0)
        await until(lambda: said(region, "hub-clock-believed") == 1)

        await stop_hub(processes)
        clock.put(90 * DAY_S)
        await processes.start_hub()
        await until_swept(region)
        assert said(region, "hub-clock") == 2
        await stop_hub(processes)
        clock.put(0)
        await processes.start_hub()
        assert await unread(region) == before
        await processes.start_node("MY")
        async with must_come(BOUND_S, lambda: "what waited never came to MY"):
            while not (await whole_inbox(clients["MY"])):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)

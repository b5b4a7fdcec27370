"""An older copy of an inbox and of what was handed in is put back while mail is under way."""

import asyncio
import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from broker.cli.demo.processes import Processes
from broker.cli.demo.region import DemoRegion
from broker.client import Client, Submission
from broker.hub.place import HubPlace
from broker.transport.link import Link
from broker.transport.streams import stream_state
from schemas.desk import RecipientState
from tests.backup.test_node_backup import lacks, long_ago
from tests.faults.test_lost_record import all_proved, log_lines, submitted, verified
from tests.support.processes import child_of_hub, kill_child, running_region
from tests.support.waiting import must_come

pytestmark = [pytest.mark.processes, pytest.mark.soak, pytest.mark.timeout(900)]
BOUND_S: Final = 120
COMES_AGAIN_S: Final = 500
HEARD_S: Final = 20.0  # then another quarter of an hour goes by
LOOKS: Final = 2  # the first may have begun before
INBOX, HANDED_IN = STREAMS = ("INBOX_MY_exercise", "SUBMIT_SG")


async def messages(region: DemoRegion, stream: str) -> int:
    """How many a stream holds, as its server says."""
    hub = HubPlace(region.hub)
    credentials = hub.open_hub(region.passphrase).hub_credentials(hub, hub.config())
    async with Link(credentials) as link:
        await link.wait_connected()
        return (await stream_state(link, stream)).messages


async def looked(region: DemoRegion) -> None:
    """Return once the hub looked at its streams: what it never saw, it does not miss."""
    state, seen = HubPlace(region.hub).state_file, set[str]()
    async with must_come(BOUND_S, lambda: "the hub looks at nothing"):
        while len(seen) <= LOOKS:
            with suppress(OSError, ValueError):  # it is being written
                seen.add(json.loads(state.read_text())["at"])
            await asyncio.sleep(0.1)


def folder_of(region: DemoRegion, stream: str) -> Path:
    """Where the server keeps it."""
    (found,) = (each for each in region.hub.rglob(f"streams/{stream}") if each.is_dir())
    return found


async def has(client: Client) -> Counter[str]:
    return Counter(str(each.alert_id) for each in (await client.inbox(limit=200)).items)


async def until_has(client: Client, wanted: Counter[str], bound_s: float) -> None:
    async with must_come(bound_s, lambda: "not all came, or some came twice"):
        while await has(client) != wanted:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)


async def started_later(region: DemoRegion, processes: Processes, *codes: str) -> None:
    for code in codes:
        await processes.kill(code)
        long_ago(region.home(code))
        await processes.start_node(code)


async def a_quarter_of_an_hour_goes_by(
    region: DemoRegion, processes: Processes, my: Client, wanted: Counter[str]
) -> None:
    """Let peers say what MY must have, and MY ask for it."""
    assert kill_child(processes, "nats-server")  # it forgets the ids of its window
    await started_later(region, processes, "SG", "VN")
    lacking = (wanted - await has(my)).total()
    with suppress(TimeoutError):
        async with asyncio.timeout(HEARD_S):
            while not await lacks(region.home("MY"), lacking):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.1)
    await started_later(region, processes, "MY")
    with suppress(TimeoutError):
        async with asyncio.timeout(HEARD_S):
            while await has(my) != wanted:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.1)


@dataclass
class Stage:
    """What SG sent to MY and VN, and the copies that the operator made."""

    region: DemoRegion
    processes: Processes
    clients: dict[str, Client]
    older: Path
    sent: list[Submission] = field(default_factory=list)

    def wanted(self) -> Counter[str]:
        return Counter(str(each.alert_id) for each in self.sent)

    async def accepted(self, *numbers: int) -> None:
        for number in numbers:
            self.sent.append(await submitted(self.clients["SG"], number))
            await self.sent[-1].wait("accepted", timeout_s=BOUND_S)

    async def until_all_have(self) -> None:
        for code in ("MY", "VN"):
            await until_has(self.clients[code], self.wanted(), BOUND_S)

    async def handed_in(self, number: int, then: Callable[[], None]) -> None:
        """Hand one in that nobody decides, and change the server's disk while it is down."""
        hub = self.processes.pids()["hub"]
        os.kill(hub, signal.SIGSTOP)  # so it starts nobody again
        try:
            assert kill_child(self.processes, "gateway run")
            self.sent.append(await submitted(self.clients["SG"], number))
            async with must_come(BOUND_S, lambda: "what was submitted never reached the hub"):
                while not await messages(self.region, HANDED_IN):  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.1)
            assert kill_child(self.processes, "nats-server")
            while child_of_hub(self.processes, "nats-server"):  # noqa: ASYNC110 - going down
                await asyncio.sleep(0.02)
            await asyncio.to_thread(then)
        finally:
            os.kill(hub, signal.SIGCONT)

    def set_aside(self) -> None:
        for name in STREAMS:
            shutil.copytree(folder_of(self.region, name), self.older / name)

    def put_back(self) -> None:
        for name in STREAMS:
            place = folder_of(self.region, name)
            shutil.rmtree(place)
            shutil.copytree(self.older / name, place)

    async def hub_says(self, alarm: str) -> None:
        for name in STREAMS:
            async with must_come(BOUND_S, lambda name=name: f"no {alarm} about {name}"):
                while not [e for e in log_lines(self.region, alarm) if name in e]:  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.1)

    async def my_shows(self, count: int) -> None:
        """Return once MY shows that it lacks so many; who could send them again is away."""
        home = self.region.home("MY")
        async with must_come(BOUND_S, lambda: f"MY does not know of {count}"):
            while not await lacks(home, count):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.1)
        await self.processes.kill("SG")
        await started_later(self.region, self.processes, "MY")
        async with must_come(BOUND_S, lambda: "MY shows no gap"):
            while not (await self.clients["MY"].node_status()).gaps:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.1)
        await self.processes.start_node("SG")

    async def comes_again(self) -> None:
        my = self.clients["MY"]
        async with must_come(COMES_AGAIN_S, lambda: "what was lost did not come again"):
            while await has(my) != self.wanted():
                assert not (await has(my)) - self.wanted()
                await a_quarter_of_an_hour_goes_by(self.region, self.processes, my, self.wanted())


async def test_what_older_copies_of_two_streams_lack_comes_again_and_nothing_twice(
    tmp_path: Path,
) -> None:
    """One inbox has mail again that was read, and not what was accepted since; so has a queue."""
    async with running_region(tmp_path / "r", log=True) as (region, processes, clients):
        stage = Stage(region, processes, clients, tmp_path / "older")
        await stage.accepted(1)
        await stage.until_all_have()
        await processes.kill("MY")
        await stage.accepted(2, 3)
        await stage.handed_in(4, stage.set_aside)
        await processes.start_node("MY")
        await stage.until_all_have()
        await processes.kill("MY")
        await stage.accepted(5, 6, 7)
        await looked(region)
        await stage.handed_in(8, stage.put_back)
        await stage.hub_says("stream-went-back")
        assert await messages(region, INBOX) >= 2  # read once already, and there again
        await processes.start_node("MY")
        await stage.accepted(9)  # behind what is lost, which shows by it
        await stage.my_shows(3)
        await stage.comes_again()
        await stage.until_all_have()
        for each in stage.sent:
            await each.wait("delivered", timeout_s=BOUND_S)
            assert {to.state for to in each.shown.recipients} == {RecipientState.DELIVERED}
        assert not (await clients["MY"].node_status()).gaps
        await stage.accepted(10)
        await stage.until_all_have()
        async with must_come(BOUND_S, lambda: "not all is proved"):
            await all_proved(clients)
        outcomes = await asyncio.to_thread(verified, region, tmp_path)
        assert outcomes["counters"] == outcomes["gateway signatures"] == "PASS"
        assert "FAIL" not in outcomes.values()

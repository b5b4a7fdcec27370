"""An older copy of an inbox and of what was handed in is put back while mail is under way."""

import asyncio
import os
import shutil
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest

from broker.cli.demo.processes import Processes
from broker.cli.demo.region import DemoRegion
from broker.client import Client, Submission
from broker.hub.place import HubPlace
from broker.transport.link import Link
from broker.transport.streamstates import stream_state
from schemas.desk import RecipientState
from tests.backup.test_node_backup import lacks, long_ago
from tests.faults.test_lost_record import all_proved, log_lines, submitted, verified
from tests.support.processes import child_of_hub, kill_child, looked, running_region
from tests.support.waiting import must_come, until

pytestmark = [pytest.mark.processes, pytest.mark.soak, pytest.mark.timeout(900)]
BOUND_S: Final = 120
COMES_AGAIN_S: Final = 500
HEARD_S: Final = 20.0  # then another quarter of an hour goes by
INBOX, HANDED_IN = STREAMS = ("INBOX_MY_exercise", "SUBMIT_SG")


async def messages(region: DemoRegion, stream: str) -> int:
    """How many a stream holds, as its server says."""
    hub = HubPlace(region.hub)
    credentials = hub.open_hub(region.passphrase).hub_credentials(hub, hub.config())
    async with Link(credentials) as link:
        await link.wait_connected()
        return (await stream_state(link, stream)).messages


def folder_of(region: DemoRegion, stream: str) -> Path:
    """Where the server keeps it."""
    (found,) = (each for each in region.hub.rglob(f"streams/{stream}") if each.is_dir())
    return found


async def has(client: Client) -> Counter[str]:
    return Counter(str(each.alert_id) for each in (await client.inbox(limit=200)).items)


async def until_has(client: Client, wanted: Counter[str], bound_s: float) -> None:
    """Return once a desk that reads it from the beginning was brought all of it, each once."""
    brought = Counter[str]()
    missing = lambda: f"lacks {wanted - brought}, has beside it {brought - wanted}"  # noqa: E731
    async with must_come(bound_s, missing), client.subscribe(cursor=uuid4().hex) as events:
        async for item in events:
            brought[str(item.shown.alert_id)] += 1
            if brought == wanted:
                break
    assert await has(client) == wanted


async def started_later(region: DemoRegion, processes: Processes, *codes: str) -> None:
    for code in codes:
        await processes.kill(code)
        long_ago(region.home(code))
        await processes.start_node(code)


async def heard(met: Callable[[], Awaitable[bool]]) -> None:
    """Return once it is so, or a while later: then another quarter of an hour goes by."""
    with suppress(pytest.fail.Exception):
        await until(met, HEARD_S)


async def a_quarter_of_an_hour_goes_by(
    region: DemoRegion, processes: Processes, my: Client, wanted: Counter[str]
) -> None:
    """Let peers say what MY must have, and MY ask for it."""
    assert kill_child(processes, "nats-server")  # it forgets the ids of its window
    await started_later(region, processes, "SG", "VN")
    lacking = (wanted - await has(my)).total()
    await heard(lambda: lacks(region.home("MY"), lacking))
    await started_later(region, processes, "MY")

    async def all_here() -> bool:
        return await has(my) == wanted

    await heard(all_here)


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
            await until(self.is_handed_in, BOUND_S, lambda: "it never reached the hub")
            assert kill_child(self.processes, "nats-server")
            await until(self.is_down, BOUND_S, lambda: "the server does not end")
            await asyncio.to_thread(then)
        finally:
            os.kill(hub, signal.SIGCONT)

    async def is_handed_in(self) -> bool:
        return await messages(self.region, HANDED_IN) > 0

    async def is_down(self) -> bool:
        return not child_of_hub(self.processes, "nats-server")

    def set_aside(self) -> None:
        for name in STREAMS:
            shutil.copytree(folder_of(self.region, name), self.older / name)

    def put_back(self) -> None:
        for name in STREAMS:
            place = folder_of(self.region, name)
            shutil.rmtree(place)
            shutil.copytree(self.older / name, place)

    async def hub_says(self, alarm: str) -> None:
        async def said() -> bool:
            lines = log_lines(self.region, alarm)
            return all(any(name in line for line in lines) for name in STREAMS)

        await until(said, BOUND_S, lambda: f"no {alarm} about each of {STREAMS}")

    async def my_shows(self, count: int) -> None:
        """Return once MY shows that it lacks so many; who could send them again is away."""
        home = self.region.home("MY")
        await until(lambda: lacks(home, count), BOUND_S, lambda: f"MY does not know of {count}")
        await self.processes.kill("SG")
        await started_later(self.region, self.processes, "MY")

        async def shown() -> bool:
            return bool((await self.clients["MY"].node_status()).gaps)

        await until(shown, BOUND_S, lambda: "MY shows no gap")
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

"""Three servers: one is killed, one is frozen, and nothing is lost or decided twice."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import pytest

from broker import clock
from broker.cli.demo.processes import Processes
from broker.cli.demo.region import DemoRegion, found
from broker.cli.demo.story import desks
from broker.client import BrokerError, Client, Submission
from broker.hub.place import HubPlace
from broker.transport.errors import SequenceConflict, Unreachable
from broker.transport.link import Link
from broker.transport.server import Server
from broker.transport.streams import stream_states
from schemas.desk import RecipientState
from schemas.desk import Submission as Outcome
from tests.faults.test_kills import again_later, prepared, submitted, whole_inbox

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]
NODES = ("SG", "MY")
COUNT, SERVERS = 60, 3
FROZEN_S = 6.0
BOUND_S = 200.0
T = TypeVar("T")


@dataclass
class Cluster:
    """A region on three servers, each a process that the test may kill or freeze."""

    region: DemoRegion
    servers: dict[str, Server]
    clients: dict[str, Client]
    link: Link

    async def leader(self, stream: str) -> str:
        """The server that leads a stream at this moment."""
        while True:
            info = await steady(lambda: self.link.api(f"STREAM.INFO.{stream}", {}))
            if name := (info.get("cluster") or {}).get("leader"):
                return str(name)
            await asyncio.sleep(0.2)

    def signal(self, name: str, number: signal.Signals) -> None:
        pid = self.servers[name].pid
        assert pid is not None
        os.kill(pid, number)

    async def restart(self, name: str) -> None:
        await self.servers[name].stop(kill=True)
        await self.servers[name].start()


@asynccontextmanager
async def running_cluster(folder: Path) -> AsyncIterator[Cluster]:
    region = await asyncio.to_thread(found, folder, nodes=NODES, gateways=2, servers=SERVERS)
    place = HubPlace(region.hub)
    config = place.config()
    servers = {each.name: Server(place.cluster_server(each)) for each in config.cluster}
    processes = Processes(region)
    async with AsyncExitStack() as stack:
        for server in servers.values():
            await server.start()
            stack.push_async_callback(server.stop)
        stack.push_async_callback(processes.stop)
        await processes.start_all()
        clients = await stack.enter_async_context(desks(region))
        secrets = place.open_hub(region.passphrase)
        credentials = replace(secrets.hub_credentials(place, config), name="test")
        link = await stack.enter_async_context(Link(credentials))
        await link.wait_connected(30)
        yield Cluster(region, servers, clients, link)


async def over(client: Client, submission: Submission) -> Outcome:
    while True:
        try:
            shown = (await client.status(submission.submission_id)).shown
        except BrokerError as error:
            await again_later(error)
            continue
        if all(each.state.final for each in shown.recipients):
            return shown
        await asyncio.sleep(0.1)


async def test_a_leader_killed_and_a_server_frozen_lose_and_double_nothing(tmp_path: Path) -> None:
    async with asyncio.timeout(BOUND_S), running_cluster(tmp_path / "r") as cluster:
        audit = f"AUDIT_{clock.now().year}"
        states = await stream_states(cluster.link)
        assert {"SUBMIT_SG", "INBOX_MY_exercise", audit} <= states.keys()
        info = await cluster.link.api(f"STREAM.INFO.{audit}", {})
        assert info["config"]["num_replicas"] == SERVERS
        sent: list[Submission] = []
        for number in range(COUNT):
            signed = await prepared(cluster.clients["SG"], ("MY",), number)
            sent.append(await submitted(cluster.clients["SG"], signed))
            if number == COUNT // 4:
                await cluster.restart(await cluster.leader(audit))
            if number == COUNT // 2:
                frozen = await cluster.leader("INBOX_MY_exercise")
                cluster.signal(frozen, signal.SIGSTOP)  # the others hear nothing of it any more
                asyncio.get_running_loop().call_later(
                    FROZEN_S, cluster.signal, frozen, signal.SIGCONT
                )
        final = [await over(cluster.clients["SG"], each) for each in sent]
        assert {each.recipients[0].state for each in final} == {RecipientState.DELIVERED}
        got = Counter(str(item.alert_id) for item in await whole_inbox(cluster.clients["MY"]))
        assert got == Counter({str(each.alert_id): 1 for each in final})
        await each_id_is_decided_once(cluster, audit, final)


async def each_id_is_decided_once(cluster: Cluster, audit: str, final: list[Outcome]) -> None:
    """And a second record is refused by whichever server leads, while another is away."""
    year = audit.removeprefix("AUDIT_")
    records = {}
    for each in final:
        subject = f"audit.{year}.SG.{each.id}"
        records[subject] = await steady(lambda s=subject: cluster.link.get_last(audit, s))
        assert records[subject] is not None
        asked = {"subjects_filter": f"{subject}.>"}
        info = await steady(lambda a=asked: cluster.link.api(f"STREAM.INFO.{audit}", a))
        assert not info["state"].get("subjects")  # no other bytes came under this id
    leader = await cluster.leader(audit)
    other = next(name for name in cluster.servers if name != leader)
    cluster.signal(other, signal.SIGSTOP)
    try:
        for number, subject in enumerate(list(records)[:3]):
            await refused(cluster.link, subject, f"other-{number}")
    finally:
        cluster.signal(other, signal.SIGCONT)
    for subject, before in records.items():
        assert await steady(lambda s=subject: cluster.link.get_last(audit, s)) == before


async def steady(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer, once the servers agree again."""
    while True:
        try:
            return await ask()
        except Unreachable:
            await asyncio.sleep(0.2)


async def refused(link: Link, subject: str, msg_id: str) -> None:
    """Return once a server said no; it may be the frozen one that we are connected to."""
    while True:
        try:
            await link.publish_acked(subject, b"another", msg_id=msg_id, expect_last_subject_seq=0)
        except SequenceConflict:
            return
        except Unreachable:
            await link.wait_connected(60)
        else:
            pytest.fail("a second record was taken")
